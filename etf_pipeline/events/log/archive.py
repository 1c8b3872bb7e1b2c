"""Events as Parquet by topic and day, verified before anything may take the originals."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError, TamperError
from etf_pipeline.events.model.chain import GENESIS, chain
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.positions import Batches, Key
from etf_pipeline.events.model.table import from_table, to_table
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.model.schemas import EVENTS
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.writer import META_KEY, publish


@dataclass(frozen=True)
class Archived:
    """One archive file, told by its footer; `mode` is that of the log its events came from."""

    path: Path
    mode: str
    channel: str
    rows: int
    ranges: dict[int, tuple[int, int]]
    last_ids: dict[int, str]


@dataclass(frozen=True)
class ArchiveReport:
    """What one archiving did."""

    files: list[Path]
    events: int
    next: dict[Key, int]


class Archive:
    """The folder `events/archive`; each run adds files, none is ever changed."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.root = layout.archive

    def files(self) -> list[Archived]:
        """Every file, oldest day first.

        Raises:
            CorruptFileError: a file is not readable, or not one of ours.
        """
        found = []
        for path in self._layout.files(EVENTS):
            try:
                footer = pq.read_metadata(path)
                meta = json.loads((footer.metadata or {})[META_KEY])
                mode, channel = str(meta["store"]), str(meta["channel"])
                ranges = {int(p): (int(a), int(b)) for p, (a, b) in meta["ranges"].items()}
            except (OSError, pa.ArrowException, KeyError, ValueError) as error:
                raise CorruptFileError(
                    f"archive file {path} is damaged: restore it from a backup"
                ) from error
            last_ids = {int(p): str(i) for p, i in meta["last_ids"].items()}
            found.append(Archived(path, mode, channel, footer.num_rows, ranges, last_ids))
        return found

    def files_of(self, mode: str) -> list[Archived]:
        """The files whose events came from the log of one mode."""
        return [f for f in self.files() if f.mode == mode]

    def ends(self, mode: str) -> dict[Key, tuple[int, str]]:
        """By channel and partition: the position after the last archived event, and its id."""
        found: dict[Key, tuple[int, str]] = {}
        for file in self.files_of(mode):
            for partition, (_, after) in file.ranges.items():
                key = (file.channel, partition)
                if after > found.get(key, (0, ""))[0]:
                    found[key] = (after, file.last_ids[partition])
        return found

    def read(self, channels: Sequence[str] = CHANNELS) -> Batches:
        """Every archived event, a batch per file; the content hash of each file is checked.

        Raises:
            TamperError: a file does not hold what was written.
        """
        for file in self.files():
            if file.channel in channels:
                yield read_file(file.path)

    def add(self, mode: str, events: Sequence[Event], stamp: str) -> list[Path]:
        """Write events into new files, read each back and compare.

        Raises:
            TamperError: what was read back differs; the originals must stay.
        """
        groups: dict[tuple[str, dt.date], list[Event]] = {}
        for event in events:
            groups.setdefault((event.channel, event.recorded.date()), []).append(event)
        made = []
        for (channel, day), group in sorted(groups.items()):
            path = self._layout.of(EVENTS, channel, day, f"{mode}-{stamp}")
            group.sort(key=lambda e: (e.partition, e.position))
            ranges: dict[int, list[int]] = {}
            last_ids = {}
            for event in group:
                span = ranges.setdefault(event.partition, [event.position, 0])
                span[1] = event.position + 1
                last_ids[event.partition] = event.id
            table = to_table(group)
            publish(
                path,
                EVENTS,
                table,
                {"channel": channel, "ranges": ranges, "last_ids": last_ids, "store": mode},
            )
            if read_file(path) != group:
                raise TamperError(f"{path}: read back, it differs from what was written")
            made.append(path)
        return made


def archived_chain(archive: Archive, mode: str, upto: int) -> bytes:
    """The hash chain over a log's archived events, up to one of them.

    Raises:
        TamperError: an event is missing, or a file was changed.
    """
    files = archive.files_of(mode)
    files.sort(key=lambda f: min(a for a, _ in f.ranges.values()), reverse=True)
    head, waiting = GENESIS, dict[int, Event]()
    for seq in range(1, upto + 1):
        while files and min(a for a, _ in files[-1].ranges.values()) <= seq:
            waiting.update({e.position: e for e in read_file(files.pop().path)})
        if seq not in waiting:
            raise TamperError(f"{archive.root}: event {seq} is missing")
        head = chain(head, waiting.pop(seq))
    return head


def read_file(path: Path) -> list[Event]:
    """The events of one archive file.

    Raises:
        TamperError: its content is not what its footer vouches for.
    """
    table = read_table(path).replace_schema_metadata(None)
    meta = json.loads((pq.read_metadata(path).metadata or {})[META_KEY])
    if content_hash(table) != meta["content_hash"]:
        raise TamperError(f"{path}: its content was changed after it was written")
    return from_table(table)
