"""From the share to the working copy: what changed there is fetched, checked and put in place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

from etf_pipeline.errors import ShareError
from etf_pipeline.model.schemas import HISTORY, MANIFEST, Table
from etf_pipeline.share.copy import Copy, each, read_whole
from etf_pipeline.share.dropping import forget_left, without
from etf_pipeline.share.fitness import Fitness, judged, pulled
from etf_pipeline.share.index import NOT_TAKEN, Entry, Stamp, stamp_of
from etf_pipeline.share.manifests import tells_more
from etf_pipeline.share.names import CURRENT, IMMUTABLE
from etf_pipeline.share.place import Found, away
from etf_pipeline.share.strangers import Known
from etf_pipeline.store.hashing import file_hash
from etf_pipeline.store.writer import filled, temp_beside

log = logging.getLogger(__name__)
_TRIES = 3
_AT_ONCE = 256
Wanted = Callable[[str], bool]
A = TypeVar("A")


class _Local(Enum):
    """How a local file stands to what was pulled or published under its name."""

    ABSENT = "there is no file"
    SAME = "it is what was pulled or published"
    MADE = "a step made it since, and it is not published yet"
    FOREIGN = "somebody put a file of their own there"
    DAMAGED = "it is damaged, or was changed by hand"


@dataclass(frozen=True)
class _Job:
    """An object to fetch.

    Attributes:
        found: its version as it was listed.
        local: how the local file stands to it.
        stamp: of the local file when that was told.
        ours: SHA-256 of the local file, where it was read.
    """

    table: Table
    name: str
    found: Found
    local: _Local
    stamp: Stamp | None
    ours: str | None


def pull(
    copy: Copy,
    tables: Iterable[Table],
    wanted: Wanted | None = None,
    *,
    writer: bool = False,
    below: str | None = None,
) -> int:
    """Bring tables of the working copy up to date, in the order that is given.

    Nothing is removed. A current file that another machine has dropped is set aside, where no
    reader finds it; one that the share has lost stays. An object that is damaged, or not what its
    name says, is told of and not taken: the local file stays, and the next run of a machine that
    has a good one publishes that.

    Args:
        copy: the working copy.
        tables: which tables.
        wanted: which of their objects, by name; None for all.
        writer: whether a step is about to make these files anew: then what it made and could not
            publish, because another machine did so first, gives way. For a reader it stays.
        below: a folder of the tables, of which alone the share is asked; None for all of them.

    Returns:
        How many files changed here.

    Raises:
        ShareAwayError: the share does not answer; what was fetched so far is in place.
        ShareError: an immutable object has other bytes than the local file.
    """
    changed, known = 0, Known(copy)
    for table in tables:
        entries, listed = copy.index.entries(), copy.place.list(below or copy.names.folder(table))
        found = _asked(copy, table, listed, wanted)
        if table in CURRENT:
            missed = {name: entry for name, entry in entries.items() if name not in found}
            without(copy, _asked(copy, table, missed, wanted), listed, writer=writer)
            if writer:
                forget_left(copy, found, listed)
        elif writer and wanted is None and table in IMMUTABLE:
            _publish_again(copy, table, found, entries)
        jobs, same = list[_Job](), dict[str, Entry]()
        for name, one in found.items():
            job = _job(copy, table, name, one, entries.get(name), same)
            if job is not None and _to_fetch(job, entries.get(name), writer):
                jobs.append(job)
        copy.index.put(same)
        _tell_not_taken(copy, found, entries, {job.name for job in jobs})
        changed += _fetch_all(copy, jobs, known, writer)
    return changed


def _asked(
    copy: Copy, table: Table, objects: Mapping[str, A], wanted: Wanted | None
) -> dict[str, A]:
    """Those objects that are a table's and are wanted, by name."""
    return {
        name: one
        for name, one in objects.items()
        if copy.names.has(table, name) and (wanted is None or wanted(name))
    }


def not_taken(copy: Copy) -> set[str]:
    """Objects that are damaged or not what their names say, so that they were not taken."""
    return {name for name, entry in copy.index.entries().items() if not entry.taken}


def _tell_not_taken(
    copy: Copy, found: dict[str, Found], entries: dict[str, Entry], again: set[str]
) -> None:
    """Tell of objects that were not taken before and are the same still."""
    bad = [
        name
        for name, one in found.items()
        if name not in again
        and (entry := entries.get(name)) is not None
        and not entry.taken
        and entry.found.etag == one.etag
    ]
    if bad:
        log.warning(
            "of the share %s is still damaged, or not what its name says, and not taken: %s",
            *(copy.url, ", ".join(sorted(bad))),
        )


def _fetch_all(copy: Copy, jobs: list[_Job], strangers: Known, writer: bool) -> int:
    """Fetch objects, some at a time, and keep what is known of them after each lot."""
    changed = 0
    for i in range(0, len(jobs), _AT_ONCE):
        lot = jobs[i : i + _AT_ONCE]
        known = dict[str, Entry]()
        try:
            got = each(lambda job: _fetch(copy, job, strangers, writer), lot)
            for job, entry in zip(lot, got, strict=True):
                if entry is not None:
                    known[job.name] = entry
                    changed += entry.taken and entry.digest != job.ours
        finally:
            copy.index.put(known)
    return changed


def _job(
    copy: Copy,
    table: Table,
    name: str,
    found: Found,
    entry: Entry | None,
    same: dict[str, Entry],
) -> _Job | None:
    """What there is to decide of one object; None where the local file is that object.

    `same` takes what is known anew of files that were merely touched.
    """
    path = copy.names.path(name)
    stamp = stamp_of(path)
    current = entry is not None and entry.found.etag == found.etag
    if stamp is None:
        return _Job(table, name, found, _Local.ABSENT, None, None)
    if entry is not None and stamp == entry.stamp:
        return None if current else _Job(table, name, found, _Local.SAME, stamp, entry.digest)
    ours = file_hash(path)
    if entry is not None and entry.taken and ours == entry.digest:
        same[name] = Entry(entry.found, ours, stamp)
        return None if current else _Job(table, name, found, _Local.SAME, stamp, ours)
    fit = judged(copy.layout, table, path, read_whole(path) or b"").fit
    local = {
        Fitness.OURS: _Local.MADE,
        Fitness.FOREIGN: _Local.FOREIGN,
        Fitness.DAMAGED: _Local.DAMAGED,
    }[fit]
    return _Job(table, name, found, local, stamp, ours)


def _to_fetch(job: _Job, entry: Entry | None, writer: bool) -> bool:
    """Whether an object is wanted here, given the local file."""
    if job.local is _Local.FOREIGN:
        if entry is None or entry.found.etag != job.found.etag:
            log.warning(
                "%s was not written by this pipeline and is left alone; the share has another: "
                "move it away to use that one",
                job.name,
            )
        return False
    if job.local is _Local.MADE and entry is not None and entry.found.etag == job.found.etag:
        # Nobody else changed it: it is published as it is, unless it can only be a mistake.
        return job.table in IMMUTABLE
    return True


def _fetch(copy: Copy, job: _Job, strangers: Known, writer: bool) -> Entry | None:
    """Fetch one object and put it in place; None where the local file stays for its own sake.

    Raises:
        ShareAwayError: it comes short, however often.
    """
    path = copy.names.path(job.name)
    temp = temp_beside(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        try:
            found = _filled(copy, job.name, temp)
        except FileNotFoundError:  # dropped since it was listed
            return None
        digest = file_hash(temp)
        if digest != job.ours or job.local is _Local.DAMAGED:
            why = _not_to_take(copy, job, path, temp, strangers)
            if why is not None:
                log.warning(
                    "%s of the share %s is not taken: %s; %s",
                    *(job.name, copy.url, why, _what_now(job)),
                )
                return Entry(found, digest, NOT_TAKEN)
        with copy.held(job.name):
            if stamp_of(path) != job.stamp:  # a step wrote it meanwhile
                return None
            if digest == job.ours:
                return Entry(found, digest, job.stamp or NOT_TAKEN)
            if not _make_way(copy, job, path, temp, writer):
                return None
            temp.replace(path)
            stamp = stamp_of(path)
        return None if stamp is None else Entry(found, digest, stamp)
    finally:
        temp.unlink(missing_ok=True)


def _filled(copy: Copy, name: str, temp: Path) -> Found:
    """Fetch an object into a temp file, whole.

    Raises:
        FileNotFoundError: there is no such object.
        ShareAwayError: it comes short, however often.
    """
    for _ in range(_TRIES):
        with filled(temp) as handle:
            found = copy.place.fetch(name, handle)
        if temp.stat().st_size == found.size:
            return found
    raise away(copy.url, f"{name} came short {_TRIES} times")


def _not_to_take(copy: Copy, job: _Job, path: Path, temp: Path, strangers: Known) -> str | None:
    """Why an object may not become the local file; None where it may."""
    one = pulled(copy.layout, job.table, path, temp.read_bytes())
    if one.fit is Fitness.DAMAGED:
        return one.why
    if job.table is HISTORY and one.meta is not None and strangers.is_strange(one.meta):
        return "none of the raw batches that it names was ever in this share, so it is another's"
    return None


def _what_now(job: _Job) -> str:
    if job.local in (_Local.SAME, _Local.MADE):
        return "this machine's own file stays, and its next run publishes what is right"
    if job.table in CURRENT:
        return "the next run of a machine that writes it makes it anew from the raw batches"
    return "restore an older version of the object, or run where a good file is"


def _make_way(copy: Copy, job: _Job, path: Path, temp: Path, writer: bool) -> bool:
    """Whether other bytes may take the place of the local file; what is damaged is set aside.

    Raises:
        ShareError: both are good, and of a kind that never changes.
    """
    if job.local is _Local.DAMAGED:
        aside = copy.layout.set_aside(path, "damaged")
        path.replace(aside)
        log.warning("%s was damaged or changed by hand: set aside as %s", path, aside.name)
        return True
    if job.table in IMMUTABLE and job.local in (_Local.SAME, _Local.MADE):
        raise other_bytes(copy, job.name)
    if job.local is _Local.MADE:
        if job.table is MANIFEST:
            return not tells_more(copy, job.name, path.read_bytes(), temp.read_bytes())
        return writer
    return True


def other_bytes(copy: Copy, name: str) -> ShareError:
    """The error for an object that never changes, and of which there are two."""
    return ShareError(
        f"{name}: the share {copy.url} has other bytes under this name than {copy.names.path(name)}"
        ", and neither may be replaced; find out which is right, and move the other away"
    )


def _publish_again(
    copy: Copy, table: Table, found: dict[str, Found], entries: dict[str, Entry]
) -> None:
    """Have the next `publish` bring back what the share has lost, as after a restore of its own."""
    lost = [
        name
        for name in entries
        if name not in found and copy.names.has(table, name) and copy.names.path(name).exists()
    ]
    if lost:
        log.warning(
            "the share %s has lost %d %s files that are here (%s): they are published again",
            *(copy.url, len(lost), table.name, ", ".join(sorted(lost)[:3])),
        )
        copy.index.drop(lost)
