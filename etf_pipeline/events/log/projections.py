"""Read models in SQLite: latest state, audit trail and query counts, each event counted once.

Rows and the positions they were read up to are committed together, and every event id is kept:
a worker may stop, crash or lose a partition at any moment, and an event may come twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from etf_pipeline.events.log.archive import Archive, read_file
from etf_pipeline.events.log.database import Database
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.positions import Key
from etf_pipeline.events.model.types import CHANNELS

_SCHEMA = """
CREATE TABLE IF NOT EXISTS positions (
  channel TEXT, partition INTEGER, next INTEGER NOT NULL, last_id TEXT NOT NULL,
  PRIMARY KEY (channel, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS archive_files (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS audit_trail (
  id TEXT PRIMARY KEY, type TEXT NOT NULL, version INTEGER NOT NULL, source TEXT NOT NULL,
  subject TEXT NOT NULL, time_us INTEGER NOT NULL, recorded_us INTEGER NOT NULL,
  data TEXT NOT NULL, channel TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS audit_by_time ON audit_trail (time_us);
CREATE TABLE IF NOT EXISTS latest_state (
  type TEXT, subject TEXT, time_us INTEGER NOT NULL, id TEXT NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY (type, subject)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS query_counts (
  ticker TEXT PRIMARY KEY, queries INTEGER NOT NULL, last_us INTEGER NOT NULL) WITHOUT ROWID;
"""
_LATEST = """
INSERT INTO latest_state VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET time_us = excluded.time_us, id = excluded.id, data = excluded.data
WHERE (excluded.time_us, excluded.id) > (time_us, id)
"""
_COUNT = """
INSERT INTO query_counts VALUES (?, 1, ?) ON CONFLICT DO UPDATE
SET queries = queries + 1, last_us = max(last_us, excluded.last_us)
"""


class Place(NamedTuple):
    """Where a partition was read up to.

    The next position, and the id that the record before it says its event has, empty when it says
    none.
    """

    next: int
    last_id: str


class Projections:
    """The read models of one file; several workers on one machine may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = Database(path, _SCHEMA)

    def apply(
        self,
        events: Sequence[Event],
        file: str | None = None,
        places: Mapping[Key, Place] | None = None,
    ) -> int:
        """Take events in and remember how far their partitions were read, in one transaction.

        Args:
            events: in order within each partition.
            file: the archive file that they come from; then no partition moves.
            places: how far partitions were read, where records that are no events came too.

        Returns:
            How many of them were new.
        """
        if places is None:
            moved = events if file is None else ()
            places = {(e.channel, e.partition): Place(e.position + 1, e.id) for e in moved}
        with self._db.writing() as db:
            fresh = [e for e in events if _insert(db, e)]
            db.executemany(_LATEST, [(e.type, e.subject, e.time_us, e.id, e.data) for e in fresh])
            db.executemany(
                _COUNT, [(e.subject, e.time_us) for e in fresh if e.type == "PriceDataQueried"]
            )
            db.executemany(
                "REPLACE INTO positions VALUES (?, ?, ?, ?)",
                [(*key, *place) for key, place in places.items()],
            )
            if file is not None:
                db.execute("INSERT OR IGNORE INTO archive_files VALUES (?)", (file,))
        return len(fresh)

    def place(self, channel: str, partition: int) -> Place | None:
        """Where one partition was read up to, None when it never was."""
        with self._db.reading() as db:
            row = db.execute(
                "SELECT next, last_id FROM positions WHERE channel = ? AND partition = ?",
                (channel, partition),
            ).fetchone()
        return None if row is None else Place(*row)

    def places(self) -> dict[Key, Place]:
        """Where every partition was read up to."""
        with self._db.reading() as db:
            rows = db.execute("SELECT channel, partition, next, last_id FROM positions").fetchall()
        return {(c, p): Place(n, i) for c, p, n, i in rows}

    def files(self) -> set[str]:
        """Archive files that were taken in."""
        with self._db.reading() as db:
            return {n for (n,) in db.execute("SELECT name FROM archive_files")}

    def event_ids(self) -> set[str]:
        """Ids of every event taken in."""
        with self._db.reading() as db:
            return {i for (i,) in db.execute("SELECT id FROM audit_trail")}

    def query_counts(self) -> dict[str, int]:
        """How often each ticker's prices were handed out."""
        with self._db.reading() as db:
            return dict(db.execute("SELECT ticker, queries FROM query_counts ORDER BY ticker"))

    def latest(self, kind: str) -> dict[str, dict[str, object]]:
        """Newest payload of one event type by subject."""
        with self._db.reading() as db:
            rows = db.execute(
                "SELECT subject, data FROM latest_state WHERE type = ? ORDER BY subject", (kind,)
            ).fetchall()
        return {s: json.loads(d) for s, d in rows}

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _insert(db: sqlite3.Connection, event: Event) -> bool:
    done = db.execute("INSERT OR IGNORE INTO audit_trail VALUES (?,?,?,?,?,?,?,?,?)", event[:9])
    return done.rowcount == 1


def project_archive(projections: Projections, archive: Archive) -> int:
    """Take in the archive files not taken in before; returns how many events were new."""
    new = 0
    known = projections.files()
    for file in archive.files():
        name = file.path.relative_to(archive.root).as_posix()
        if name not in known and file.channel in CHANNELS:
            new += projections.apply(read_file(file.path), file=name)
    return new


def project_log(projections: Projections, batches: Iterable[list[Event]]) -> int:
    """Take in what a bounded read gives; returns how many events were new."""
    return sum(projections.apply(batch) for batch in batches)
