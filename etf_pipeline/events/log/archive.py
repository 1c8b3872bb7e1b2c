"""Events as Parquet by topic and day, verified before anything may take the originals."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError, TamperError
from etf_pipeline.events.model.chain import chain
from etf_pipeline.events.model.envelope import Event, from_micros
from etf_pipeline.events.model.positions import Batches, Key
from etf_pipeline.events.model.table import from_table, to_table
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.model.file_names import STAMP
from etf_pipeline.model.schemas import EVENTS
from etf_pipeline.store.closed import cannot_open
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_with_footer
from etf_pipeline.store.writer import META_KEY, publish

# Where events came from, as footers say it: a local log was one of this mode once.
LOG, TOPICS = "embedded", "kafka"
_EVENTS_AT_ONCE = 50_000
_OBJECTS = 5_000
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Archived:
    """One archive file, told by its footer.

    Attributes:
        path: where it is.
        origin: `LOG` or `TOPICS`.
        log: id of the local log, empty for topics and in files of earlier releases.
        channel: of all its events.
        rows: how many these are.
        ranges: by partition, the first position and the one after the last.
        last_ids: by partition, the id of the last event.
    """

    path: Path
    origin: str
    log: str
    channel: str
    rows: int
    ranges: dict[int, tuple[int, int]]
    last_ids: dict[int, str]

    @property
    def first(self) -> int:
        """The least position in it."""
        return min(a for a, _ in self.ranges.values())

    @property
    def last(self) -> int:
        """The greatest position in it."""
        return max(b for _, b in self.ranges.values()) - 1


@dataclass(frozen=True)
class ArchiveReport:
    """What one archiving did."""

    files: list[Path]
    events: int


@dataclass(frozen=True)
class Origin:
    """Where events of an archive come from: a local log by its id, or topics (`log` empty).

    Files of earlier releases name no log.
    """

    name: str
    log: str = ""

    def has(self, file: Archived) -> bool:
        """Whether a file's events come from here."""
        return (file.origin, file.log) == (self.name, self.log)


class Archive:
    """The folder `events/archive`; each run adds files, none is ever changed."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.root = layout.archive
        # Footers that were read, by what tells whether a file is the same.
        self._footers: dict[Path, tuple[tuple[int, ...], Archived]] = {}

    def files(self) -> list[Archived]:
        """Every file, oldest day first.

        Raises:
            CorruptFileError: a file is not readable, or not one of ours.
        """
        return self.described(self._layout.files(EVENTS))

    def described(self, paths: Iterable[Path]) -> list[Archived]:
        """Some of its files."""
        return [self._described(path) for path in paths]

    def _described(self, path: Path) -> Archived:
        try:
            found = path.stat()
        except OSError as error:
            raise _damaged(path) from error
        same = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        kept = self._footers.get(path)
        if kept is None or kept[0] != same:
            kept = self._footers[path] = (same, _described(path))
        return kept[1]

    def files_of(self, origin: Origin) -> list[Archived]:
        """The files whose events came from one place."""
        return [f for f in self.files() if origin.has(f)]

    def read(self, channels: Sequence[str] = CHANNELS) -> Batches:
        """Every archived event in batches; the content hash of each file is checked first.

        Raises:
            TamperError: a file does not hold what was written.
        """
        for file in self.files():
            if file.channel in channels:
                yield from read_batches(file.path)

    def add_all(
        self, origin: Origin, batches: Iterable[list[Event]], now: dt.datetime, part: int = 0
    ) -> ArchiveReport:
        """Write batches into new files, some at a time.

        Args:
            origin: where the events come from.
            batches: what follows each other in its channel and partition.
            now: what the files are named by, with `part` and the numbers after it.
            part: as many files' parts were named by `now` before.

        Raises:
            TamperError: what was read back differs; the originals must stay.
        """
        stamp, count = now.astimezone(dt.UTC).strftime(STAMP), 0
        files, held = list[Path](), list[Event]()
        for batch in batches:
            held += batch
            if len(held) >= _EVENTS_AT_ONCE:
                files += self.add(origin, held, f"{stamp}-{part:04d}")
                count, part, held = count + len(held), part + 1, []
        if held:
            files += self.add(origin, held, f"{stamp}-{part:04d}")
        return ArchiveReport(files, count + len(held))

    def add(self, origin: Origin, events: Iterable[Event], stamp: str) -> list[Path]:
        """Write events into new files, read each back and compare.

        A file holds what follows each other in its channel and partition, so that an end in
        between leaves no hole before the last archived event. Its day is the latest on which any
        of these was recorded: a clock that goes to and fro makes no file of its own.

        Raises:
            TamperError: what was read back differs; the originals must stay.
        """
        made = []
        for n, (day, group) in enumerate(_runs(events)):
            name = f"{origin.name}-{stamp}-{n:04d}"
            path = self._layout.of(EVENTS, group[0].channel, day, name)
            self.make(path, origin, group)
            made.append(path)
        return made

    def make(self, path: Path, origin: Origin, group: Sequence[Event]) -> None:
        """Write events that follow each other in a channel and partition, read back and compare.

        Raises:
            TamperError: what was read back differs; the originals must stay.
        """
        channel, partition = group[0].channel, group[0].partition
        facts = {
            "channel": channel,
            "ranges": {partition: [group[0].position, group[-1].position + 1]},
            "last_ids": {partition: group[-1].id},
            "store": origin.name,
            "log": origin.log,
        }
        publish(path, EVENTS, to_table(group), facts)
        if not _same(read_batches(path), group):
            raise TamperError(f"{path}: read back, it differs from what was written")


def ends_of(files: Iterable[Archived]) -> dict[Key, tuple[int, str]]:
    """By channel and partition: the position after the last event of these files, and its id."""
    found: dict[Key, tuple[int, str]] = {}
    for file in files:
        for partition, (_, after) in file.ranges.items():
            key = (file.channel, partition)
            if after > found.get(key, (0, ""))[0]:
                found[key] = (after, file.last_ids[partition])
    return found


def _same(batches: Batches, events: Sequence[Event]) -> bool:
    """Whether batches are these events, one after the other."""
    at = 0
    for batch in batches:
        if batch != list(events[at : at + len(batch)]):
            return False
        at += len(batch)
    return at == len(events)


def _runs(events: Iterable[Event]) -> Iterator[tuple[dt.date, list[Event]]]:
    """By channel and partition, what follows each other up to another day."""
    ordered = sorted(events, key=lambda e: (e.channel, e.partition, e.position))
    for _, group in groupby(ordered, key=lambda e: (e.channel, e.partition)):
        there = list(group)
        days = accumulate((e.recorded_us // _DAY_US for e in there), max)
        for day, run in groupby(zip(days, there, strict=True), key=lambda pair: pair[0]):
            yield from_micros(day * _DAY_US).date(), [e for _, e in run]


def _described(path: Path) -> Archived:
    try:
        footer = pq.read_metadata(path)
        meta = json.loads((footer.metadata or {})[META_KEY])
        return Archived(
            path,
            str(meta["store"]),
            str(meta.get("log") or ""),
            str(meta["channel"]),
            footer.num_rows,
            {int(p): (int(a), int(b)) for p, (a, b) in meta["ranges"].items()},
            {int(p): str(i) for p, i in meta["last_ids"].items()},
        )
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise cannot_open(path, error) or _damaged(path) from error


def _damaged(path: Path) -> CorruptFileError:
    return CorruptFileError(f"archive file {path} is damaged: restore it from a backup")


def archived_chain(
    archive: Archive, origin: Origin, after: tuple[int, bytes]
) -> Iterator[tuple[int, bytes]]:
    """Number and hash of a log's archived events, one after the other, until one is missing.

    Args:
        archive: where they are read from, each file checked against its content hash.
        origin: of the log.
        after: number and hash of the event before the first wanted.

    Raises:
        TamperError: a file was changed.
    """
    files = sorted(archive.files_of(origin), key=lambda f: f.first, reverse=True)
    seq, head = after
    waiting: dict[int, Event] = {}
    while True:
        while files and files[-1].first <= seq + 1:
            file = files.pop()
            if file.last > seq:
                found = (e for batch in read_batches(file.path) for e in batch)
                waiting.update({e.position: e for e in found if e.position > seq})
        event = waiting.pop(seq + 1, None)
        if event is None:
            return
        seq, head = seq + 1, chain(head, event)
        yield seq, head


def read_batches(path: Path) -> Batches:
    """The events of one archive file, some at a time: as objects they are many times as large.

    Raises:
        TamperError: its content is not what its footer vouches for; then none was given.
    """
    table, meta = read_with_footer(path)
    table = table.replace_schema_metadata(None)
    if content_hash(table) != meta.get("content_hash"):
        raise TamperError(f"{path}: its content was changed after it was written")
    for i in range(0, table.num_rows, _OBJECTS):
        yield from_table(table.slice(i, _OBJECTS))
