"""From the local log into the archive and, once read back from there, out of the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from etf_pipeline.errors import TamperError
from etf_pipeline.events.log.archive import LOG, Archive, ArchiveReport, Origin, archived_chain
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.envelope import micros
from etf_pipeline.events.model.numbered import holes, joined
from etf_pipeline.events.model.positions import Batches
from etf_pipeline.events.model.types import CHANNELS, LINEAGE

_ALL = (*CHANNELS, LINEAGE)
# More than one archiving has of parts.
_PARTS = 10_000


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
    ends = archive.ends(origin)
    if any(not log.holds(after - 1, name) for after, name in ends.values()):
        # An older copy of the log was put back: from here on it is another one.
        log.begin_anew()
        origin, ends = origin_of(log), {}
    start = {(c, 0): ends.get((c, 0), (0, ""))[0] for c in _ALL}
    done = ArchiveReport([], 0)
    for part, batches in enumerate([*_left_out(log, archive, origin), log.read(_ALL, start)]):
        more = archive.add_all(origin, batches, now, part * _PARTS)
        done = ArchiveReport([*done.files, *more.files], done.events + more.events)
    return done


def _left_out(log: SqliteLog, archive: Archive, origin: Origin) -> Iterator[Batches]:
    """What lies between archived files of a channel, where one was removed and the log has it."""
    files, pruned = archive.files_of(origin), log.anchor()[0]
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
