"""Dagster's SQLite files, kept open while a run is executed.

Dagster opens a connection for every record and closes it again. The last one to close has SQLite
copy its log into the database, wait for the disk, and remove the log, which the next one makes
anew. An idle connection beside them is never the last, so that this is done once, at its end.

It holds no transaction: others read, write, check-point and vacuum as before, and the log is copied
every thousand pages. A killed process leaves the log behind, as one that is killed while Dagster
writes does, and whoever opens the file next goes on with it.

The file of a single run is not among them: Dagster's UI shows events as they come by watching that
database for changes, of which there would be none before the run's end.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from etf_pipeline.store.forks import tell_of_forks, unforked

log = logging.getLogger(__name__)
_BUSY_SECONDS = 1.0


@contextmanager
def kept_open(instance: dg.DagsterInstance) -> Iterator[None]:
    """Keep the files of an instance open for the block; blocks may be nested.

    Nothing happens where Dagster's records are in another database. A file that cannot be opened is
    left out: what is wrong with it, whoever writes says.
    """
    idle = _Idle()
    try:
        with unforked():
            tell_of_forks(idle)
            idle.open(sqlite_files(instance))
        yield
    finally:
        idle.close()


def sqlite_files(instance: dg.DagsterInstance) -> list[Path]:
    """The SQLite files in which all runs are; none where an instance has its records elsewhere."""
    path_for_shard = getattr(instance.event_log_storage, "path_for_shard", None)
    if path_for_shard is None:
        return []
    index = Path(path_for_shard("index"))
    history = index.parent.parent
    named = [index, history / "runs.db", history.parent / "schedules" / "schedules.db"]
    return [path for path in named if path.is_file()]


class _Idle:
    """Connections that do nothing, one to each file. A fork closes them, for good."""

    def __init__(self) -> None:
        self._open: list[sqlite3.Connection] = []

    def open(self, paths: Iterable[Path]) -> None:
        """Have the log of each file open."""
        for path in paths:
            try:
                self._open.append(_opened(path))
            except sqlite3.Error as error:
                log.debug("%s is not kept open: %s", path, error)

    def close(self) -> None:
        """Close all of them; what the last one cannot copy, as on a full disk, stays in the log."""
        while self._open:
            with contextlib.suppress(sqlite3.Error):
                self._open.pop().close()

    def before_fork(self) -> None:
        """A connection must not cross a fork, and the rest of the run goes well without."""
        self.close()

    def after_fork_in_child(self) -> None:
        """What crossed nevertheless is never closed here, as its locks are the parent's."""
        _LEFT_BEHIND.extend(self._open)
        self._open = []


_LEFT_BEHIND: list[sqlite3.Connection] = []


def _opened(path: Path) -> sqlite3.Connection:
    """A connection that has the log of a file open; the file is not made."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(
        uri, _BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
    )
    try:
        db.execute("PRAGMA schema_version").fetchall()
    except sqlite3.Error:
        db.close()
        raise
    return db
