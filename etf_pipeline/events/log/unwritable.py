"""Reading a database in a folder that may not be written, such as an auditor's copy.

SQLite needs files beside a database in WAL mode, and cannot make them there. Where nothing is in
them, all that was committed is in the database itself, which is then read as it is.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from etf_pipeline.errors import EventError
from etf_pipeline.events.log.open_files import beside, identity, waiting


def unwritable(database: Path) -> bool:
    """Whether a database is there, whole, and what SQLite needs beside it cannot be made."""
    return (
        not os.access(database.parent, os.W_OK)
        and os.access(database, os.R_OK)
        and identity(beside(database, "-shm")) is None
        and waiting(database) == 0
    )


def open_unwritten(database: Path) -> sqlite3.Connection:
    """A connection that reads a database as it is, without locks."""
    where = f"{database.absolute().as_uri()}?immutable=1"
    return sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False)


class Unwritten:
    """A database that nobody wrote to since it was opened so, as somebody else may."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._then = self._state()

    def _state(self) -> tuple[int, int, int]:
        found = self._database.stat()
        return found.st_size, found.st_mtime_ns, waiting(self._database)

    @property
    def over(self) -> bool:
        """Whether somebody did."""
        return self._state() != self._then

    def check(self) -> None:
        """Show that what was read is so.

        Raises:
            EventError: it may be neither as it was nor as it is.
        """
        if self.over:
            raise EventError(f"{self._database} was written to while it was read: try again")
