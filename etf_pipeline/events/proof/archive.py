"""Events as Parquet by topic and day, verified before anything may take the originals."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError, EventError, TamperError
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.sqlite import GENESIS, chain
from etf_pipeline.events.model.envelope import Event, micros
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline.events.store import Batches, EventStore
from etf_pipeline.model.schemas import EVENTS
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.writer import META_KEY, publish

Key = tuple[str, int]


@dataclass(frozen=True)
class Archived:
    """One archive file, told by its footer."""

    path: Path
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
                ranges = {int(p): (int(a), int(b)) for p, (a, b) in meta["ranges"].items()}
            except (OSError, pa.ArrowException, KeyError, ValueError) as error:
                raise CorruptFileError(
                    f"archive file {path} is damaged: restore it from a backup"
                ) from error
            last_ids = {int(p): str(i) for p, i in meta["last_ids"].items()}
            found.append(Archived(path, meta["channel"], footer.num_rows, ranges, last_ids))
        return found

    def ends(self, store: str) -> dict[Key, tuple[int, str]]:
        """By channel and partition: the position after the last archived event, and its id."""
        found: dict[Key, tuple[int, str]] = {}
        for file in self.files():
            if not file.path.name.startswith(f"{store}-"):
                continue
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

    def add(self, store: str, events: Sequence[Event], stamp: str) -> list[Path]:
        """Write events into new files, read each back and compare.

        Raises:
            TamperError: what was read back differs; the originals must stay.
        """
        groups: dict[tuple[str, dt.date], list[Event]] = {}
        for event in events:
            groups.setdefault((event.channel, event.recorded.date()), []).append(event)
        made = []
        for (channel, day), group in sorted(groups.items()):
            path = self._layout.of(EVENTS, channel, day, f"{store}-{stamp}")
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
                {"channel": channel, "ranges": ranges, "last_ids": last_ids, "store": store},
            )
            if read_file(path) != group:
                raise TamperError(f"{path}: read back, it differs from what was written")
            made.append(path)
        return made


def archive_events(store: EventStore, archive: Archive, now: dt.datetime) -> ArchiveReport:
    """Move what the store holds and the archive does not into the archive.

    Raises:
        EventError: the store had let events go before they were archived.
    """
    ends = check_seam(store, archive)
    before = archive.ends(store.name)
    began_again = any(ends.get(key, 0) < after for key, (after, _) in before.items())
    stamp = now.astimezone(dt.UTC).strftime("%Y%m%dT%H%M%S%fZ")
    files: list[Path] = []
    count, part = 0, 0
    seen = {e.id for batch in archive.read() for e in batch} if began_again else set()
    held: list[Event] = []
    # The embedded log is one chain over everything, so everything of it is kept.
    channels = (*CHANNELS, LINEAGE) if store.name == "embedded" else CHANNELS
    for batch in store.read(channels, ends):
        held += [e for e in batch if e.id not in seen]
        if len(held) >= 200_000:
            files += archive.add(store.name, held, f"{stamp}-{part:04d}")
            count, part, held = count + len(held), part + 1, []
    if held:
        files += archive.add(store.name, held, f"{stamp}-{part:04d}")
        count += len(held)
    return ArchiveReport(files, count, {k: v[0] for k, v in archive.ends(store.name).items()})


def check_seam(store: EventStore, archive: Archive) -> dict[Key, int]:
    """Where in the store the archive goes on; from the start where the store lost its end.

    Raises:
        EventError: between the archive's end and the store's beginning events are missing.
    """
    reader: Any = getattr(store, "reader", None)
    ends = archive.ends(store.name)
    if reader is None:
        return {k: after for k, (after, _) in ends.items()}
    found: dict[Key, int] = {}
    for key, (low, high) in reader.ranges(CHANNELS).items():
        after, last_id = ends.get(key, (0, ""))
        if low > after:
            raise EventError(
                f"{key[0]}[{key[1]}]: offsets {after} to {low - 1} went by retention before they "
                "were archived; restore them from a backup, or raise EVENT_STORE_RETENTION_DAYS "
                "and archive more often"
            )
        intact = after == 0 or (
            high >= after and (low == after or reader.id_at(*key, after - 1) == last_id)
        )
        found[key] = after if intact else 0
    return found


def prune_log(log: Outbox, archive: Archive, days: int, sent: bool) -> int:
    """Let events of the local log go that are older than `days`; returns how many.

    Only what the archive has goes, or, when the log is an outbox (`sent`), what Kafka confirmed.
    """
    if days < 0:
        return 0
    before = micros(dt.datetime.now(dt.UTC) - dt.timedelta(days=days))
    safe = [after - 1 for after, _ in archive.ends(log.name).values()]
    waiting = log.pending(1) if sent else []
    kept = waiting[0].position - 1 if waiting else log.last_recorded_before(2**62)
    upto = kept if sent else max(safe, default=0)
    return log.prune(min(upto, log.last_recorded_before(before)))


def archived_chain(archive: Archive, upto: int) -> bytes:
    """The hash chain over the embedded log's archived events, up to one of them.

    Raises:
        TamperError: an event is missing, or a file was changed.
    """
    files = [f for f in archive.files() if f.path.name.startswith("embedded-")]
    files.sort(key=lambda f: min(a for a, _ in f.ranges.values()), reverse=True)
    head, waiting = GENESIS, dict[int, Event]()
    for seq in range(1, upto + 1):
        while files and min(a for a, _ in files[-1].ranges.values()) <= seq:
            waiting.update({e.position: e for e in read_file(files.pop().path)})
        if seq not in waiting:
            raise TamperError(f"{archive.root}: event {seq} is missing")
        head = chain(head, waiting.pop(seq))
    return head


def read_all(
    store: EventStore,
    archive: Archive,
    channels: Sequence[str] = CHANNELS,
    from_us: int | None = None,
    outbox: Outbox | None = None,
) -> Iterator[list[Event]]:
    """Archive, what the store holds beyond it, and what still waits in an outbox.

    Duplicates may come; gaps may not.
    """
    # Looked at first: what the store takes in while it is read would be in neither otherwise.
    waiting = [] if outbox is None else outbox.pending(2**31)
    start = None
    if archive.root.is_dir():
        start = check_seam(store, archive)
        yield from archive.read(channels)
    yield from store.read(channels, start, from_us)
    yield [e for e in waiting if e.channel in channels]


def to_table(events: Sequence[Event]) -> pa.Table:
    """Events as the table `schemas.EVENTS`."""
    columns = list(zip(*events, strict=True))
    names = [
        "id",
        "type",
        "version",
        "source",
        "subject",
        "time",
        "recorded",
        "data",
        "channel",
        "partition",
        "position",
    ]
    return pa.table(
        [
            pa.array(c, pa.int64()).cast(f.type)
            if pa.types.is_timestamp(f.type)
            else pa.array(c, f.type)
            for c, f in zip(columns, (EVENTS.arrow.field(n) for n in names), strict=True)
        ],
        schema=EVENTS.arrow,
    )


def read_file(path: Path) -> list[Event]:
    """The events of one archive file.

    Raises:
        TamperError: its content is not what its footer vouches for.
    """
    table = read_table(path).replace_schema_metadata(None)
    meta = json.loads((pq.read_metadata(path).metadata or {})[META_KEY])
    if content_hash(table) != meta["content_hash"]:
        raise TamperError(f"{path}: its content was changed after it was written")
    columns = [
        c.cast(pa.int64()).to_pylist() if pa.types.is_timestamp(c.type) else c.to_pylist()
        for c in table.columns
    ]
    return list(map(Event._make, zip(*columns, strict=True)))
