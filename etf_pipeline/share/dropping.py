"""Current files that go: what a machine drops leaves a mark, and what goes without one was lost.

A history is dropped when its ticker was renamed, or when all of its batches are void. The mark says
which version that was, so that it means nothing any more once there is another.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from io import BytesIO

from etf_pipeline.share.copy import Copy, digest_of, read_whole
from etf_pipeline.share.index import Entry
from etf_pipeline.share.names import CURRENT
from etf_pipeline.share.place import TakenError

log = logging.getLogger(__name__)


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
                _mark(copy, name, entries[name].digest)
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
    marks, lost = frozenset(listed), list[str]()
    for name, entry in gone.items():
        dropped = _mark_of(name) in marks and _read(copy, _mark_of(name)) == entry.digest
        path = copy.names.path(name)
        with copy.held(name):
            data = read_whole(path)
            if data is None or digest_of(data) != entry.digest:
                copy.index.drop([name])
            elif dropped:
                aside = copy.layout.set_aside(path, "dropped")
                path.replace(aside)
                copy.index.drop([name])
                log.warning("another machine has dropped %s: set aside as %s", name, aside.name)
            else:
                lost.append(name)
    if lost:
        log.warning(
            "the share %s has lost %d files that no machine has dropped (%s): %s",
            copy.url,
            len(lost),
            ", ".join(sorted(lost)[:3]),
            "they are published again" if writer else "the copies here stay",
        )
        if writer:
            copy.index.drop(lost)


def _mark_of(name: str) -> str:
    return f"{name}.dropped"


def _mark(copy: Copy, name: str, digest: str) -> None:
    """Say of a version that it was dropped on purpose."""
    mark, data = _mark_of(name), digest.encode()
    while True:
        try:
            copy.place.create(mark, data)
            return
        except TakenError:
            if _read(copy, mark) == digest:
                return
            copy.place.remove(mark)


def _read(copy: Copy, name: str) -> str | None:
    buffer = BytesIO()
    try:
        copy.place.fetch(name, buffer)
    except FileNotFoundError:
        return None
    return buffer.getvalue().decode(errors="replace")
