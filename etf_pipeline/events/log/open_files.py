"""The files of an open SQLite database, and whether its path still leads to them.

SQLite goes on with a file that was removed, and all that is written there is lost. That is as true
of the files beside a database, where commits wait (`-wal`) and readers find them (`-shm`): whoever
opens the database next makes others, knows nothing of what waits in the first, and both write over
each other.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import time
from pathlib import Path

from etf_pipeline.errors import EventError

Identity = tuple[int, int]  # device and inode
_BESIDE = ("-wal", "-shm")
# Where Linux tells who has locked what; SQLite locks these bytes of a database that it has open.
_LOCKS, _SHARED_BYTES = Path("/proc/locks"), 0x40000002
# One that makes the database has none of these files yet, and a busy disk may keep it for long.
PATIENCE_SECONDS = 15.0


def identity(path: Path) -> Identity | None:
    """Which file a path leads to; None for none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def beside(database: Path, suffix: str) -> Path:
    """A file that SQLite keeps beside a database."""
    return database.with_name(database.name + suffix)


def waiting(database: Path) -> int:
    """Bytes of commits that are beside a database, in it or not."""
    try:
        return beside(database, "-wal").stat().st_size
    except FileNotFoundError:
        return 0


class FilesBeside:
    """Those of one open connection; made once it has read something."""

    def __init__(self, database: Path) -> None:
        self._database = database
        paths = (beside(database, suffix) for suffix in _BESIDE)
        self._opened = {p: i for p in paths if (i := identity(p)) is not None}

    def check(self) -> None:
        """Show that they are still there.

        Raises:
            EventError: one is not.
        """
        for path, opened in self._opened.items():
            now = identity(path)
            if now != opened:
                became = "removed" if now is None else "replaced by another file"
                raise EventError(
                    f"{path} was {became} while this process had {self._database.name} open, and "
                    "what was recorded last may still wait in it: end all processes that have it "
                    "open, so that the last of them writes it down, and only then start them again"
                )

    @property
    def taken_over(self) -> bool:
        """Whether another process has written ahead without knowing of this connection.

        Closing it would then write over what that process has written, and remove its files.
        """
        found = {path: identity(path) for path in self._opened}
        others = any(now not in (None, self._opened[path]) for path, now in found.items())
        return others and waiting(self._database) > 0


def keep_open(connection: sqlite3.Connection) -> None:
    """Have a connection never be closed, nor when the interpreter ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def check_before_opening(database: Path) -> None:
    """Show that whoever has a database open has its files where they belong.

    Raises:
        EventError: somebody has, and they were removed, so that what waits there is not seen.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(identity(beside(database, s)) is None for s in _BESIDE) and (
        holders := _holders(database)
    ):
        if time.monotonic() > deadline:
            named = ", ".join(map(str, sorted(holders)))
            raise EventError(
                f"{database.name}-wal or -shm was removed from {database.parent} while the process "
                f"{named} has {database.name} open, and what was recorded last may still wait "
                "there: end it, so that it writes that down, and try again"
            )
        time.sleep(0.01)


def _holders(database: Path) -> set[int]:
    """Processes of this host that have a database open, where that can be known."""
    found = identity(database)
    try:
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return set()
    if found is None:
        return set()
    device, inode = found
    file = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    # Such as `1: POSIX ADVISORY READ 4711 fd:00:123 1073741826 1073742335`.
    locks = [fields for line in lines if len(fields := line.split()) == 8]
    return {
        int(fields[4]) for fields in locks if fields[5] == file and fields[6] == str(_SHARED_BYTES)
    }
