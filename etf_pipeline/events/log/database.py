"""SQLite files that survive forks, threads and several processes."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from etf_pipeline.errors import EventError
from etf_pipeline.events.log.fair_lock import FairLock
from etf_pipeline.events.log.open_files import (
    FilesBeside,
    Identity,
    check_before_opening,
    identity,
    keep_open,
)
from etf_pipeline.events.log.turns import Turns
from etf_pipeline.events.log.unwritable import Unwritten, open_unwritten, unwritable
from etf_pipeline.store.closed import cannot_open
from etf_pipeline.store.forks import tell_of_forks, unforked

BUSY_SECONDS = 30.0
# Bytes that the write-ahead log keeps on the disk after it was larger for once.
_MAX_WAL = 16 * 2**20
_HELD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_FOLDER = (
    "make the folder writable, or set ETF_DATA_DIR to one that is, such as a copy of all files"
)
_REMEDIES = {
    sqlite3.SQLITE_FULL: "free some space and try again",
    sqlite3.SQLITE_IOERR: "see whether its disk is full or failing; free some space and try again",
    **dict.fromkeys(_HELD, "another process is holding it; wait for it to end"),
    sqlite3.SQLITE_READONLY: _FOLDER,
    sqlite3.SQLITE_CANTOPEN: _FOLDER,
}


class _Shared:
    """A connection that the threads of a process share, and the lock of whoever uses it."""

    def __init__(self) -> None:
        self.lock = FairLock()
        self.begin()

    def begin(self) -> None:
        """Without a connection."""
        self.connection: sqlite3.Connection | None = None
        self.beside: FilesBeside | None = None
        self.unwritten: Unwritten | None = None
        self.only_reads = False

    def close(self) -> None:
        if self.connection is not None:
            if self.beside is not None and self.beside.taken_over:
                keep_open(self.connection)
            else:
                self.connection.close()
        self.begin()

    def leave_behind(self) -> None:
        """Forget a connection that is the parent's: it must not be used here, nor closed."""
        if self.connection is not None:
            keep_open(self.connection)
        self.begin()
        self.lock = FairLock()


class Database:
    """One file, in WAL mode. Safe under threads and forks.

    A process has a connection to read and one to write, so that who records waits for no reader.
    Writers of all threads and processes of the host have their turns in the order they came.

    Args:
        path: the file; made with its folder when it is not there.
        schema: statements that make the tables, each harmless when run again.
        durable: whether a commit waits for the disk.
        upgrade: brings a file by an earlier release up to date, harmless when run again.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        durable: bool = True,
        upgrade: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self.path = path
        self._schema = schema
        self._durable = durable
        self._upgrade = upgrade
        self._reader, self._writer = _Shared(), _Shared()
        self._turns = Turns(path)
        self._opened: Identity | None = None
        tell_of_forks(self)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection, for statements that read."""
        # Inside of its own transaction a thread reads what it has written.
        shared = self._writer if self._writer.lock.owned() else self._reader
        with unforked(), shared.lock, _explained(self.path):
            yield self._open(shared)
            if shared.unwritten is not None:
                shared.unwritten.check()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a transaction, committed when the block ends well.

        Keep it short: who does much does it in several, between which others have their turn.
        """
        with self.turn() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                if self._writer.connection is not connection:
                    raise EventError(f"{self.path}: forked in the middle of a transaction")
                self._check_files()
                connection.execute("COMMIT")
            except BaseException:
                if self._writer.connection is connection and connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def turn(self) -> Iterator[sqlite3.Connection]:
        """A connection outside a transaction, when all who came before have had a turn."""
        # Behind itself a thread would wait for ever.
        turn = nullcontext() if self._writer.lock.owned() else self._turns.turn()
        with turn, unforked(), self._writer.lock, _explained(self.path):
            yield self._open(self._writer)

    def close(self) -> None:
        """Close the connections; the next use opens others."""
        for shared in (self._reader, self._writer):
            with unforked(), shared.lock:
                shared.close()
        self._opened = None

    def before_fork(self) -> None:
        """Close the connections; nobody is using them."""
        self._reader.close()
        self._writer.close()

    def after_fork_in_child(self) -> None:
        """Forget the parent's threads, and what they were doing."""
        self._reader.leave_behind()
        self._writer.leave_behind()

    def _check_files(self) -> None:
        """Show that the path still leads to the files that were opened.

        Nor is another file in the database's place opened: what is known of the first is not true
        of it.

        Raises:
            EventError: it does not.
        """
        if self._opened is None:
            return
        now = identity(self.path)
        if now != self._opened:
            became = "removed" if now is None else "replaced by another file"
            raise EventError(
                f"{self.path} was {became} while this process had it open, which would write to a "
                "file that is gone. Put back the one that is to go on, and start the process again"
            )
        for beside in (self._reader.beside, self._writer.beside):
            if beside is not None:
                beside.check()

    def _open(self, shared: _Shared) -> sqlite3.Connection:
        self._check_files()
        over = shared.unwritten is not None and shared.unwritten.over
        if over or (shared.only_reads and os.access(self.path, os.W_OK)):
            shared.close()
        if shared.connection is None:
            shared.connection = self._connected(shared)
            self._opened = identity(self.path)
            shared.beside = FilesBeside(self.path)
        return shared.connection

    def _connected(self, shared: _Shared) -> sqlite3.Connection:
        reads = shared is self._reader
        if reads and unwritable(self.path):
            shared.unwritten = Unwritten(self.path)
            connection = open_unwritten(self.path)
            self._prepare(connection, journal=False)
            return connection
        self.path.parent.mkdir(parents=True, exist_ok=True)
        check_before_opening(self.path)
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
        connection.execute(f"PRAGMA journal_size_limit = {_MAX_WAL}")
        self._prepare(connection)
        # What SQLite may not write it opens for reading, and the connection stays so.
        shared.only_reads = not os.access(self.path, os.W_OK)
        if reads:  # who writes waits for a turn
            connection.execute("PRAGMA query_only = 1")
        return connection

    def _prepare(self, connection: sqlite3.Connection, *, journal: bool = True) -> None:
        """Switch to WAL and make the tables; SQLite does not wait by itself for the former."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                if journal:
                    _switch(connection)
                connection.executescript(self._schema)
                if self._upgrade is not None:
                    self._upgrade(connection)
                return
            except sqlite3.OperationalError as error:
                if _code(error) not in _HELD or time.monotonic() > deadline:
                    connection.close()
                    raise
                time.sleep(0.01)


def _switch(connection: sqlite3.Connection) -> None:
    """To WAL mode, in which a new file can give free pages back in steps."""
    # Asked of any other file it would wait for whoever writes, and change nothing.
    if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode=WAL")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        hint = _REMEDIES.get(_code(error), "nothing was changed")
        if _code(error) == sqlite3.SQLITE_CANTOPEN and _closed(path):
            hint = "make it readable; it may be whole"
        raise EventError(f"{path}: {error}; {hint}") from error
    except (sqlite3.DatabaseError, OSError) as error:
        if isinstance(error, sqlite3.IntegrityError):
            raise
        if (closed := cannot_open(path, error)) is not None:
            raise EventError(str(closed)) from error
        raise EventError(
            f"{path} cannot be used ({error}): restore it from a backup, or move it away"
        ) from error


def _closed(path: Path) -> bool:
    return path.exists() and not os.access(path, os.R_OK)


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code, the low byte of the extended one; none of these without one."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF
