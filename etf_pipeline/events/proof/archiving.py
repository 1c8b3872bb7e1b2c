"""The logs and the archive read as one, with a proof that nothing is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import cast

from etf_pipeline.errors import EventError
from etf_pipeline.events.log.archive import LOG, Archive, Archived, read_batches
from etf_pipeline.events.log.comparison import Comparison
from etf_pipeline.events.log.retention import origin_of
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.envelope import Event, source_of
from etf_pipeline.events.model.numbers import Gap, Held, Numbers, Series, missing
from etf_pipeline.events.model.positions import Batches
from etf_pipeline.events.model.types import CHANNELS, DATA, EventsLost
from etf_pipeline.events.protocol import Events

LOST = EventsLost.__name__


def read_all(
    events: Events,
    archive: Archive,
    channels: Sequence[str] = CHANNELS,
    comparison: Comparison | None = None,
) -> Iterator[list[Event]]:
    """Every event of a store: the local log, the archive, and what topics have besides.

    Things only move from the log to the archive, so the log is read first. Duplicates may come,
    gaps may not: the numbers of each log are counted, and reading ends with an error when one is
    nowhere, and nobody declared it lost.

    Raises:
        EventError: a log cannot be read, or events are missing.
    """
    reading = Reading(events, archive, channels, comparison)
    yield from reading.batches()
    if gaps := reading.gaps():
        raise EventError(missing(gaps, "nothing was concluded from the others"))


class Reading:
    """One reading of all that there is, and what it missed.

    Args:
        events: of the store.
        archive: of the store.
        channels: which are read.
        comparison: of what brokers have and what was recorded here, when it is asked for.
    """

    def __init__(
        self,
        events: Events,
        archive: Archive,
        channels: Sequence[str],
        comparison: Comparison | None = None,
    ) -> None:
        self._events = events
        self._comparison = comparison
        self._archive = archive
        self._channels = channels
        self._numbers, self._held = Numbers(), Held(events.log.id)
        self._lost: dict[str, Event] = {}
        self._given = {key: n for key, n in events.log.given().items() if key[1] in channels}
        self._tops: dict[Series, int] | None = None  # which numbers were looked for twice

    def batches(self) -> Iterator[list[Event]]:
        """Every event, some twice."""
        events, channels = self._events, self._channels
        after = 0
        for batch in self._here(events.log.read(channels), recorded=True):
            after = max(after, batch[-1].position + 1) if batch else after
            yield batch
        start, mine = events.seam(self._archive), origin_of(events.log)
        files = files_beside(self._archive, events.log, channels)
        for file in files:
            yield from self._here(of_store(file, events.instance), recorded=mine.has(file))
        yield from self._counted(events.elsewhere(channels, start, self._held, self._comparison))
        if self.gaps():
            yield from self._again(after, {f.path for f in files})

    def _again(self, after: int, files: Set[Path]) -> Iterator[list[Event]]:
        """What may have been missed: topics have what an archive lost, and machines went on.

        They send to one partition what comes after what they send to another. What this one
        sent is in its log, or was let go of since, which is read last for that.
        """
        events, channels = self._events, self._channels
        self._tops = self._numbers.tops()
        yield from self._counted(events.elsewhere(channels, {}))
        since = events.log.read(channels, {(c, 0): after for c in channels})
        yield from self._here(since, recorded=False)
        for file in files_beside(self._archive, events.log, channels):
            if file.path not in files:
                yield from self._here(of_store(file, events.instance), recorded=False)

    def _here(self, batches: Iterable[list[Event]], recorded: bool) -> Iterator[list[Event]]:
        for batch in self._counted(batches):
            self._held.saw(batch)
            if recorded and self._comparison is not None:
                self._comparison.recorded(batch)
            yield batch

    def _counted(self, batches: Iterable[list[Event]]) -> Iterator[list[Event]]:
        for batch in batches:
            self._numbers.saw(batch)
            self._lost.update({e.id: e for e in batch if e[1] == LOST})
            yield batch

    def gaps(self) -> list[Gap]:
        """What is missing after `batches`, and nobody declared lost."""
        if not any(self._numbers.gaps(self._given, self._tops)):
            return []
        if DATA not in self._channels:  # where losses are declared
            told = Reading(self._events, self._archive, [DATA])
            for _ in told.batches():
                pass
            self._lost |= told._lost
        for event in self._lost.values():
            data = cast(EventsLost, event.payload())
            if data.partition is None and data.channel in self._channels:
                self._numbers.declared(Gap(data.log, data.channel, data.first, data.last))
        return list(self._numbers.gaps(self._given, self._tops))


def files_beside(archive: Archive, log: SqliteLog, channels: Sequence[str]) -> list[Archived]:
    """The archive's files that hold what was not read from the log: what it let go, and others'."""
    mine, unnamed = origin_of(log), "" in log.former_ids
    pruned, before = log.anchor()[0], log.begun_after

    def in_log(file: Archived) -> bool:
        if file.first <= pruned:
            return False
        # What was archived under another id of this log is read for its numbers, which the log
        # does not have: all of them, or those that are read would seem to follow a gap.
        earlier = unnamed and (file.origin, file.log) == (LOG, "") and file.last <= before
        # An older copy of the log that was put back ends before, or went on another way.
        same = all(log.holds(b - 1, file.last_ids[p]) for p, (_, b) in file.ranges.items())
        return (mine.has(file) or earlier) and same

    found = [f for f in archive.files() if f.channel in channels and not in_log(f)]
    return sorted(found, key=lambda f: not mine.has(f))  # as `own.py` takes them


def of_store(file: Archived, store: str) -> Batches:
    """A file's events; earlier releases archived what other stores had sent to the topics too."""
    mine = source_of(store)
    for batch in read_batches(file.path):
        yield batch if file.origin == LOG else [e for e in batch if e.source == mine]
