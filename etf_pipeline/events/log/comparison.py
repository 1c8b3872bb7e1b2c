"""What brokers have, and what this machine recorded, compared while both are read once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from etf_pipeline.events.log.archive import Archive, read_batches
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.retention import origin_of
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.ids import IdSet, Packed
from etf_pipeline.events.model.positions import Key, Range
from etf_pipeline.events.model.sums import Sums
from etf_pipeline.events.model.types import CHANNELS, LINEAGE

_ALL = (*CHANNELS, LINEAGE)
_EVER = 2**62


class Comparison:
    """What brokers have of this machine's events, compared with what it recorded.

    It is made before anything is read.

    Args:
        log: the local log.
        archive: what it was archived into.

    Attributes:
        sums: which of this machine's events brokers have otherwise.
        ranges: of the brokers' partitions, as of before they are read.
    """

    def __init__(self, log: Outbox, archive: Archive) -> None:
        self._log = log
        self._archive = archive
        self._upto = log.last()  # what is recorded later may be sent after the log was read
        self._caught_up = False
        self._others = IdSet()
        self.sums = Sums(log.id)
        self.ranges: Mapping[Key, Range] = {}

    def recorded(self, events: Sequence[Event]) -> None:
        """These are in the log, or were archived from it; what topics had says nothing of it."""
        self.sums.saw(events)

    def there(self, events: Sequence[Event]) -> None:
        """Brokers have these, and end where they ended before any of them was read."""
        if not self._caught_up:  # by then all that they have of this machine was recorded
            self._caught_up = True
            for batch in self._since():
                self.sums.saw(batch)
        if rest := self.sums.compare(events):
            names = [e.id for e in rest]
            self._others.add(names, Packed(names))

    def _since(self) -> Iterator[list[Event]]:
        yield from self._log.read(_ALL, dict.fromkeys(((c, 0) for c in _ALL), self._upto + 1))
        pruned = self._log.anchor()[0]
        for file in self._archive.files_of(origin_of(self._log)) if pruned > self._upto else ():
            if file.first <= pruned and file.last > self._upto:
                yield from read_batches(file.path)

    def gone(self) -> int:
        """How many events brokers confirmed and have no longer, but for what retention took."""
        gone = 0
        for key in self._log.partitions():
            # What is sent meanwhile does not count.
            for numbers in self._log.confirmed_within(key, self.ranges.get(key, (0, _EVER))):
                if rest := self.sums.not_same(numbers):
                    gone += len(self._others.missing(self._log.ids_of(rest)))
        return gone
