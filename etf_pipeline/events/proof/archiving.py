"""From the log into the archive, and both read as one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path

from etf_pipeline.events.log.archive import Archive, ArchiveReport
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.events.protocol import Events
from etf_pipeline.model.file_names import STAMP

_EVENTS_AT_ONCE = 200_000


def archive_events(
    events: Events, archive: Archive, now: dt.datetime, channels: Sequence[str] = CHANNELS
) -> ArchiveReport:
    """Move what the log of `events` holds and the archive does not into the archive.

    Raises:
        EventError: the log had let events go before they were archived.
    """
    ends = events.seam(archive)
    before = archive.ends(events.name)
    began_again = any(ends.get(key, 0) < after for key, (after, _) in before.items())
    stamp = now.astimezone(dt.UTC).strftime(STAMP)
    files: list[Path] = []
    count, part = 0, 0
    seen = {e.id for batch in archive.read() for e in batch} if began_again else set()
    held: list[Event] = []
    for batch in events.read(channels, ends):
        held += [e for e in batch if e.id not in seen]
        if len(held) >= _EVENTS_AT_ONCE:
            files += archive.add(events.name, held, f"{stamp}-{part:04d}")
            count, part, held = count + len(held), part + 1, []
    if held:
        files += archive.add(events.name, held, f"{stamp}-{part:04d}")
        count += len(held)
    return ArchiveReport(files, count, {k: v[0] for k, v in archive.ends(events.name).items()})


def read_all(
    events: Events,
    archive: Archive,
    channels: Sequence[str] = CHANNELS,
) -> Iterator[list[Event]]:
    """Archive, what the log holds beyond it, and what still waits to be sent.

    Duplicates may come; gaps may not.

    Raises:
        EventError: the log cannot be read, or lacks events that it should have.
    """
    # Looked at first: what is sent while the log is read would be in neither otherwise.
    waiting = events.pending()
    start = None
    if archive.root.is_dir():
        start = events.seam(archive)
        yield from archive.read(channels)
    yield from events.read(channels, start)
    yield [e for e in waiting if e.channel in channels]
