"""Whether two places have the same of an event, told by its log, channel and number. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from etf_pipeline.events.model.chain import GENESIS, chain
from etf_pipeline.events.model.envelope import Event


class Sums:
    """A sum of 64 bits of each event of one log, by channel and number; eight bytes an event.

    Attributes:
        differing: ids of events that were compared and are otherwise.
        lacking: ids of events that were compared and were never seen.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._sums: dict[str, array[int]] = {}
        self.differing: dict[str, None] = {}
        self.lacking: dict[str, None] = {}

    def saw(self, events: Iterable[Event]) -> None:
        """The log has these; those of other logs, and those without a number, are passed over."""
        for event in events:
            if event.number and event.log == self._log:
                sums = self._sums.setdefault(event.channel, array("Q"))
                if event.number >= len(sums):
                    sums.extend(bytes(event.number + 1 - len(sums)))
                sums[event.number] = _sum(event)

    def compare(self, events: Iterable[Event]) -> None:
        """Another place has these."""
        for event in events:
            if event.number and event.log == self._log:
                sums = self._sums.get(event.channel, ())
                known = sums[event.number] if event.number < len(sums) else 0
                if known == 0:
                    self.lacking[event.id] = None
                elif known != _sum(event):
                    self.differing[event.id] = None


def _sum(event: Event) -> int:
    return int.from_bytes(chain(GENESIS, event)[:8]) | 1  # 0 is for none
