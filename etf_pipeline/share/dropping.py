"""Current files that go: what a machine drops leaves a mark, and what goes without one was lost.

A history is dropped when its ticker was renamed, or when all of its batches are void. The mark
names the version, so that it means nothing any more once there is another.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

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
    marks, lost = frozenset(listed), set[str]()
    for name, entry in gone.items():
        path = copy.names.path(name)
        with copy.held(name):
            data = read_whole(path)
            if data is None or digest_of(data) != entry.digest:
                continue
            if _mark(name, entry.digest) in marks:
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


def _mark(name: str, digest: str) -> str:
    """The name of an object that says of one version that it was dropped on purpose."""
    return f"{name}.{digest}.dropped"
