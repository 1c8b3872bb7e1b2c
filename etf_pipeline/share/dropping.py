"""Current files that go: what a machine drops leaves a mark, and what goes without one was lost.

A history is dropped when its ticker was renamed, or when all of its batches are void. A mark says
so of a name for as long as there is no object of it, whatever version a copy has: one that missed a
night has an older one. Who makes the object again removes its marks, and so does the next machine
that pulls it, where that one was killed in between. A mark names the version that was dropped, so
that of two machines neither replaces the other's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

from etf_pipeline.share.copy import Copy, digest_of, read_whole
from etf_pipeline.share.index import Entry
from etf_pipeline.share.names import CURRENT
from etf_pipeline.share.place import Found, TakenError

log = logging.getLogger(__name__)
_DROPPED = ".dropped"


def remove_dropped(copy: Copy, names: Iterable[str]) -> None:
    """Remove objects whose local files a step has removed, unless another machine made new ones.

    Raises:
        ShareAwayError: the share does not answer.
    """
    entries = copy.index.entries()
    gone = [
        n for n in names if n in entries and entries[n].taken and not copy.names.path(n).exists()
    ]
    tables = {n: t for n in gone if (t := copy.names.table_of(n)) is not None}
    folders = {copy.names.folder(t) for t in tables.values()}
    there = {name: one for f in sorted(folders) for name, one in copy.place.list(f).items()}
    for name in gone:
        if name in there and there[name].etag == entries[name].found.etag:
            if tables.get(name) in CURRENT:
                with suppress(TakenError):  # that version was dropped before
                    copy.place.create(_mark(name, entries[name].digest), b"")
            copy.place.remove(name)
    copy.index.drop(gone)


def without(copy: Copy, gone: Mapping[str, Entry], listed: Iterable[str], *, writer: bool) -> None:
    """Do without current objects that were there when they were pulled or published.

    The local file of one that was dropped is moved out of the readers' way. Of one that was lost it
    stays, and the next run of a machine that writes it publishes it.

    Args:
        copy: the working copy.
        gone: what is known of them.
        listed: the names of all objects of their folder.
        writer: whether this machine is about to write them.
    """
    dropped, lost = marked(listed).keys(), set[str]()
    for name, entry in gone.items():
        path = copy.names.path(name)
        with copy.held(name):
            data = read_whole(path)
            if data is None or digest_of(data) != entry.digest:
                continue
            if name in dropped:
                aside = copy.layout.set_aside(path, "dropped")
                path.replace(aside)
                log.warning("another machine has dropped %s: set aside as %s", name, aside.name)
            else:
                lost.add(name)
    if lost:
        log.warning(
            "the share %s has lost %d files that no machine has dropped (%s): %s",
            copy.url,
            len(lost),
            ", ".join(sorted(lost)[:3]),
            "they are published again" if writer else "the copies here stay",
        )
    copy.index.drop([name for name in gone if writer or name not in lost])


def marked(listed: Iterable[str]) -> dict[str, set[str]]:
    """The names that marks speak of, and the versions (SHA-256, hex) that they say were dropped."""
    found: dict[str, set[str]] = {}
    for mark in listed:
        name, _, digest = mark.removesuffix(_DROPPED).rpartition(".")
        if mark.endswith(_DROPPED) and name:
            found.setdefault(name, set()).add(digest)
    return found


def forget_dropped(copy: Copy, names: Iterable[str]) -> None:
    """Remove the marks of names whose objects were made again just now.

    Raises:
        ShareAwayError: the share does not answer.
    """
    made = set(names)
    for table in CURRENT:
        if not any(copy.names.has(table, name) for name in made):
            continue
        listed = copy.place.list(copy.names.folder(table))
        for name, digests in marked(listed).items():
            for digest in digests if name in made and name in listed else ():
                copy.place.remove(_mark(name, digest))


def forget_left(copy: Copy, there: Mapping[str, Found], listed: Iterable[str]) -> None:
    """Remove marks of objects that are there, but of a version that is being dropped just now.

    Args:
        copy: the working copy.
        there: the objects, by name.
        listed: the names of all objects of their folder.
    """
    dropped = {n: d for n, d in marked(listed).items() if n in there}
    entries = copy.index.entries() if dropped else {}
    for name, digests in dropped.items():
        entry = entries.get(name)
        if entry is not None and entry.found.etag == there[name].etag:
            for digest in digests - {entry.digest}:
                copy.place.remove(_mark(name, digest))


def _mark(name: str, digest: str) -> str:
    """The name of an object that says of one version that it was dropped on purpose."""
    return f"{name}.{digest}{_DROPPED}"
