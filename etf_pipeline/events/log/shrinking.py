"""Giving what a file no longer needs back to the disk, while others read and record.

New files are made so that this goes in small steps. One by an earlier release has to be rewritten
once, during which nobody records; one so large that this takes long keeps its size, and what is
free in it is used again.
"""

from __future__ import annotations

import logging
import sqlite3
import time

from etf_pipeline.errors import EventError
from etf_pipeline.events.log.database import Database

log = logging.getLogger(__name__)
_INCREMENTAL = 2
_PAGES = 250
# What a file by an earlier release may hold, and for how long calls may wait, to be rewritten.
MAX_REWRITTEN = 256 * 2**20
_REWRITE_SECONDS = 10.0
_BY_HAND = "let SQLite VACUUM it by hand, with auto_vacuum = 2, while nothing is recorded"
_OPERATIONS = 10_000  # of SQLite, between two looks at the clock


def shrink(database: Database) -> None:
    """Give the free pages of a file back. Where that fails the file keeps its size, and it is said.

    A reader that is under way goes on, and keeps the file's size until it ends.
    """
    try:
        with database.turn() as db:
            if _ask(db, "auto_vacuum") != _INCREMENTAL:
                _rewrite(db)
        left = 2**62
        while left:
            with database.turn() as db:
                before, left = left, _ask(db, "freelist_count")
                if left >= before:
                    return  # others free more than we give back
                _give_back(db)
        with database.turn() as db:
            _write_back(db)
    except EventError as error:
        log.warning("%s keeps its size, of which a part is free: %s", database.path, error)


def _give_back(db: sqlite3.Connection) -> None:
    try:
        # `execute` would free one page of a statement that frees many.
        db.executescript(f"BEGIN IMMEDIATE; PRAGMA incremental_vacuum({_PAGES}); COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _rewrite(db: sqlite3.Connection) -> None:
    used = (_ask(db, "page_count") - _ask(db, "freelist_count")) * _ask(db, "page_size")
    if used > MAX_REWRITTEN:
        raise EventError(f"{used / 2**20:.0f} MiB are to be rewritten once; {_BY_HAND}")
    deadline = time.monotonic() + _REWRITE_SECONDS
    db.set_progress_handler(lambda: time.monotonic() > deadline, _OPERATIONS)
    try:
        db.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
        db.execute("VACUUM")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        raise EventError(f"to rewrite it once took {_REWRITE_SECONDS:g} s; {_BY_HAND}") from None
    finally:
        db.set_progress_handler(None, 0)


def _write_back(db: sqlite3.Connection) -> None:
    """Move what is in the write-ahead log to the file, which only then becomes smaller."""
    patience = _ask(db, "busy_timeout")
    db.execute("PRAGMA busy_timeout = 0")  # nobody records while this waits for readers
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        db.execute(f"PRAGMA busy_timeout = {patience}")


def _ask(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])
