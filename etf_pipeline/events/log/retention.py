"""From the local log into the archive and, once read back from there, out of the log."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from etf_pipeline.errors import TamperError
from etf_pipeline.events.log.archive import (
    LOG,
    Archive,
    Archived,
    ArchiveReport,
    Origin,
    archived_chain,
    ends_of,
)
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.envelope import micros
from etf_pipeline.events.model.numbered import holes, joined
from etf_pipeline.events.model.positions import Batches
from etf_pipeline.events.model.types import CHANNELS, LINEAGE

_ALL = (*CHANNELS, LINEAGE)
# More than one archiving has of parts.
_PARTS = 10_000
# Facts by the names of archive files: log, channel, first and last event of each, as JSON.
_FILED = "archive_file:"


@dataclass(frozen=True)
class Pruned:
    """What one pruning did: how many events went, how many stay, and why each of these does."""

    events: int
    kept: int
    why: tuple[str, ...] = ()


def origin_of(log: SqliteLog) -> Origin:
    """How an archive tells a local log's files."""
    return Origin(LOG, log.id)


def origins_of(log: SqliteLog) -> list[Origin]:
    """The same, under the ids that the log had before too."""
    return [origin_of(log), *(Origin(LOG, name) for name in log.former_ids)]


def archive_log(log: SqliteLog, archive: Archive, now: dt.datetime) -> ArchiveReport:
    """Copy into the archive what the local log holds and the archive does not.

    The log is one chain over everything, lineage too, so everything of it is kept.
    """
    origin = origin_of(log)
    files = archive.files_of(origin)
    if any(not log.holds(after - 1, name) for after, name in ends_of(files).values()):
        # An older copy of the log was put back: from here on it is another one.
        log.begin_anew()
        origin, files = origin_of(log), []
    done = _made_again(log, archive, origin)
    files += archive.described(done.files)
    ends = ends_of(files)
    start = {(c, 0): ends.get((c, 0), (0, ""))[0] for c in _ALL}
    for part, batches in enumerate([*_left_out(log, files), log.read(_ALL, start)]):
        more = archive.add_all(origin, batches, now, part * _PARTS)
        files += archive.described(more.files)
        done = ArchiveReport([*done.files, *more.files], done.events + more.events)
    _note(log, archive, files)
    return done


def _note(log: SqliteLog, archive: Archive, files: Iterable[Archived]) -> None:
    """Keep beside the log which of its events are in which file."""
    noted = log.facts(_FILED)
    facts = {}
    for file in files:
        name = file.path.relative_to(archive.root).as_posix()
        if name not in noted:
            facts[_FILED + name] = json.dumps([file.log, file.channel, file.first, file.last])
    if facts:
        log.append([], facts=facts)


def _made_again(log: SqliteLog, archive: Archive, origin: Origin) -> ArchiveReport:
    """Make files that were removed, and whose events the log has, as and where they were.

    Signed heads name them, and vouch for their bytes.
    """
    files, events, pruned = list[Path](), 0, log.anchor()[0]
    for name, text in log.facts(_FILED).items():
        path = archive.root / name
        of, channel, first, last = json.loads(text)
        if of != origin.log or first <= pruned or path.exists():
            continue
        found = log.read([channel], {(channel, 0): first}, last)
        group = [event for batch in found for event in batch]
        if group and (group[0].position, group[-1].position) == (first, last):
            archive.make(path, origin, group)
            files.append(path)
            events += len(group)
    return ArchiveReport(files, events)


def _left_out(log: SqliteLog, files: Sequence[Archived]) -> Iterator[Batches]:
    """What lies between archived files of a channel, where one was removed and the log has it."""
    pruned = log.anchor()[0]
    for channel in _ALL:
        spans = sorted((f.first, f.last) for f in files if f.channel == channel)
        for first, last in holes(joined(spans), 0):
            if last > pruned:
                yield log.read([channel], {(channel, 0): first}, last)


def prune(log: Outbox, archive: Archive, days: int, safe: int, wait: str = "") -> Pruned:
    """Let events of the local log go that are older than `days` and safe elsewhere.

    Args:
        log: the local log.
        archive: what an event must be in; it is read back and its hash chain computed anew.
        days: -1 keeps everything.
        safe: number of the last event that waits for nothing else, with all before it.
        wait: what those after it wait for.

    Raises:
        TamperError: the archive holds something else than the log.
    """
    last = log.last()
    if days < 0:
        kept = last - log.anchor()[0]
        return Pruned(0, kept, ("EVENT_STORE_RETENTION_DAYS=-1 keeps everything",) if kept else ())
    before = micros(dt.datetime.now(dt.UTC) - dt.timedelta(days=days))
    old = log.last_recorded_before(before)
    upto = _read_back(log, archive, min(old, safe))
    gone = log.prune(upto)
    why = []
    if last > old:
        why.append(f"{last - old} not older than {days} days, or after one that is not")
    if old > safe:
        why.append(f"{old - safe} {wait}")
    if min(old, safe) > upto:
        why.append(f"{min(old, safe) - upto} not in {archive.root}: run `etf events archive`")
    return Pruned(gone, last - max(upto, log.anchor()[0]), tuple(why))


def _read_back(log: SqliteLog, archive: Archive, upto: int) -> int:
    """Number of the last event, up to one, that the archive holds with all before it."""
    seq, head = log.anchor()
    for number, value in archived_chain(archive, origin_of(log), (seq, head)):
        if number > upto:
            break
        seq, head = number, value
    if log.hash_at(seq) != head:
        raise TamperError(
            f"{archive.root}: it differs from {log.path} up to event {seq}; nothing was let go. "
            "Restore the archive from a backup, or move it away and archive anew"
        )
    return seq
