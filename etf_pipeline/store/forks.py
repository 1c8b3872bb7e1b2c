"""What must not cross a fork: SQLite's connections, and locks that belong to one process.

SQLite remembers in the process which locks it holds. A child that inherits an open connection
believes that they are its own, and shares memory with a file that others may have made anew. So a
fork waits for the blocks that use SQLite, has every connection closed, and both sides open again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

log = logging.getLogger(__name__)
# Longer than SQLite waits for a lock, so that every block ends by itself before.
_PATIENCE_SECONDS = 35.0


class Forked(Protocol):
    """What has to be told of forks. Compared by identity, held weakly."""

    def before_fork(self) -> None:
        """Give up what must not cross; nobody is using it."""

    def after_fork_in_child(self) -> None:
        """Begin anew without what is the parent's, which may be in any state."""


class _Gate:
    def __init__(self) -> None:
        self.begin()
        self.told: weakref.WeakSet[Forked] = weakref.WeakSet()

    def begin(self) -> None:
        self.changed = threading.Condition()
        self.inside: dict[int, int] = {}  # how deep, by thread
        self.forking: set[int] = set()  # threads that are about to fork

    def before(self) -> None:
        # Held until the fork is over, so that nobody holds it in the child.
        self.changed.acquire()
        self.forking.add(threading.get_ident())
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.inside.keys() - self.forking and time.monotonic() < deadline:
            self.changed.wait(deadline - time.monotonic())
        if self.inside:
            log.warning("forked while SQLite was in use: record nothing in the child")
            return
        for one in self.told:
            one.before_fork()

    def after_in_parent(self) -> None:
        self.forking.discard(threading.get_ident())
        self.changed.notify_all()
        self.changed.release()

    def after_in_child(self) -> None:
        me = threading.get_ident()
        depth = self.inside.get(me)
        self.begin()
        if depth is not None:
            self.inside[me] = depth
        for one in self.told:
            one.after_fork_in_child()


_gate = _Gate()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_gate.before,
        after_in_parent=_gate.after_in_parent,
        after_in_child=_gate.after_in_child,
    )


def tell_of_forks(one: Forked) -> None:
    """Tell it of every fork of this process from now on, as long as it lives."""
    with _gate.changed:
        _gate.told.add(one)


@contextmanager
def unforked() -> Iterator[None]:
    """A block during which this process does not fork. Short, and it may be nested."""
    me = threading.get_ident()
    with _gate.changed:
        while me not in _gate.inside and _gate.forking:
            _gate.changed.wait()
        _gate.inside[me] = _gate.inside.get(me, 0) + 1
    try:
        yield
    finally:
        with _gate.changed:
            _gate.inside[me] -= 1
            if not _gate.inside[me]:
                del _gate.inside[me]
                _gate.changed.notify_all()
