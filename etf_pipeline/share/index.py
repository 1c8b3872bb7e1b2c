"""What this machine's working copy has of the share, and which version of each object that was.

Losing it costs time and no data: files are then compared by their content.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from etf_pipeline.share.place import Found
from etf_pipeline.store.forks import unforked

log = logging.getLogger(__name__)
Stamp = tuple[int, int, int]
# Of an object that no local file is: it is damaged, or not what its name says, and was not taken.
NOT_TAKEN: Stamp = (0, 0, 0)
_WAIT_SECONDS = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    name TEXT PRIMARY KEY, etag TEXT NOT NULL, size INTEGER NOT NULL, version TEXT,
    digest TEXT NOT NULL, mtime INTEGER NOT NULL, inode INTEGER NOT NULL, bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Entry:
    """One object as it was when this machine pulled or published it.

    Attributes:
        found: its version in the share.
        digest: SHA-256 (hex) of its bytes.
        stamp: of the local file that held them, or `NOT_TAKEN`.
    """

    found: Found
    digest: str
    stamp: Stamp

    @property
    def taken(self) -> bool:
        """Whether the object was good."""
        return self.stamp != NOT_TAKEN


def stamp_of(path: Path) -> Stamp | None:
    """What changes when a local file is replaced or written to; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


class Index:
    """A small SQLite file. It is opened for each call, so nothing of it crosses a fork."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self) -> dict[str, Entry]:
        """Every object that was pulled or published, by name."""
        with self._open() as db:
            rows = db.execute(
                "SELECT name, etag, size, version, digest, mtime, inode, bytes FROM objects"
            ).fetchall()
        return {r[0]: Entry(Found(r[1], r[2], r[3]), r[4], (r[5], r[6], r[7])) for r in rows}

    def put(self, entries: Mapping[str, Entry]) -> None:
        """Keep what is known of some objects."""
        rows = [
            (name, e.found.etag, e.found.size, e.found.version, e.digest, *e.stamp)
            for name, e in entries.items()
        ]
        if rows:
            with self._open() as db:
                db.executemany("INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?,?,?,?)", rows)

    def drop(self, names: Iterable[str]) -> None:
        """Forget some objects."""
        rows = [(name,) for name in names]
        if rows:
            with self._open() as db:
                db.executemany("DELETE FROM objects WHERE name = ?", rows)

    def fact(self, name: str) -> str | None:
        """A text that was kept under a name."""
        with self._open() as db:
            row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def keep(self, name: str, value: str) -> None:
        """Keep a text under a name."""
        with self._open() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database, in one transaction; one that cannot be read is begun anew."""
        with unforked():
            try:
                db = self._connect()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                log.warning("%s is damaged (%s): begun anew", self._path, error)
                self._path.unlink(missing_ok=True)
                db = self._connect()
            with contextlib.closing(db), db:
                yield db

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=_WAIT_SECONDS)
        try:
            db.executescript(_SCHEMA)
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db
