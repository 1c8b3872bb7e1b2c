"""The logs and the archive read as one, with a proof that nothing is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from etf_pipeline.errors import EventError
from etf_pipeline.events.log.archive import LOG, Archive, Archived, read_batches
from etf_pipeline.events.log.retention import origin_of
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.checks import first_few
from etf_pipeline.events.model.envelope import Event, source_of
from etf_pipeline.events.model.numbers import Gap, Held, Numbers
from etf_pipeline.events.model.positions import Batches
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.events.protocol import Events


def read_all(
    events: Events, archive: Archive, channels: Sequence[str] = CHANNELS
) -> Iterator[list[Event]]:
    """Every event of a store: the local log, the archive, and what topics have besides.

    Things only move from the log to the archive, so the log is read first. Duplicates may come,
    gaps may not: the numbers of each log are counted, and reading ends with an error when one is
    nowhere.

    Raises:
        EventError: a log cannot be read, or events are missing.
    """
    numbers, log = Numbers(), events.log
    held = Held(log.id)
    given = {(log.id, c): n for c, n in log.numbers().items() if c in channels}
    for batch in log.read(channels):
        numbers.saw(batch)
        held.saw(batch)
        yield batch
    start = events.seam(archive)
    for file in _needed(archive, log, channels):
        for batch in _of_store(file, events.instance):
            numbers.saw(batch)
            held.saw(batch)
            yield batch
    for batch in events.elsewhere(channels, start, held):
        numbers.saw(batch)
        yield batch
    if start and any(numbers.gaps(given)):
        # Another machine was sending meanwhile, or topics have what the archive lost.
        for batch in events.elsewhere(channels, {}):
            numbers.saw(batch)
            yield batch
    if gaps := list(numbers.gaps(given)):
        raise EventError(missing(gaps))


def _needed(archive: Archive, log: SqliteLog, channels: Sequence[str]) -> list[Archived]:
    """The archive's files that hold what was not read from the log: what it let go, and others'."""
    mine, former = origin_of(log), set(log.former_ids)
    pruned, before = log.anchor()[0], log.begun_after

    def in_log(file: Archived) -> bool:
        if file.first <= pruned:
            return False
        earlier = file.origin == LOG and file.log in former and file.last <= before
        return mine.has(file) or earlier

    return [f for f in archive.files() if f.channel in channels and not in_log(f)]


def _of_store(file: Archived, store: str) -> Batches:
    """A file's events; earlier releases archived what other stores had sent to the topics too."""
    mine = source_of(store)
    for batch in read_batches(file.path):
        yield batch if file.origin == LOG else [e for e in batch if e.source == mine]


def missing(gaps: Sequence[Gap]) -> str:
    """What is missing, in words, and what to do."""
    named = [f"{g.channel} {g.first} to {g.last} of log {g.log}" for g in gaps]
    return (
        f"events are missing: {first_few(named)}; nothing was concluded from the others. Restore "
        "events/archive from a backup, or start a process on the machine of that log, which sends "
        "what waits there"
    )
