"""Records that could not be read: put aside with what is known of them, so that the rest goes on.

They lie in a table of their own beside the local log. Nothing is ever taken from a record that is
parked, and nothing else waits for it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from etf_pipeline.errors import ReasonCode
from etf_pipeline.events.log.database import Database
from etf_pipeline.events.model.envelope import from_micros, now_micros
from etf_pipeline.store.closed import is_there

# Kinds of places: a Kafka topic, an orchestrator's log, an archive file, the local log, and the
# manifest of a run, by its path below the store.
KAFKA, ORCHESTRATOR, ARCHIVE, LOG = "kafka", "orchestrator", "archive", "log"
MANIFEST = "manifest"
# Bytes that are kept of one record, and after how many records of a place no bytes are kept.
MAX_RAW = 64 * 1024
RAW_RECORDS = 1_000
_DETAIL = 2_000
_COLUMNS = "kind, name, partition, position, reason, detail, raw, size, digest, missing, at_us"
PARKED = """
CREATE TABLE IF NOT EXISTS parked (
  kind TEXT, name TEXT, partition INTEGER, position INTEGER, digest TEXT,
  reason TEXT NOT NULL, detail TEXT NOT NULL, raw BLOB NOT NULL, size INTEGER NOT NULL,
  missing INTEGER NOT NULL, at_us INTEGER NOT NULL,
  PRIMARY KEY (kind, name, partition, position, digest)) WITHOUT ROWID;
"""


class Spot(NamedTuple):
    """Where a record lies.

    `kind` is one of those above and `name` says which: a topic, the id of an orchestrator's
    instance, a file. `position` is the offset, the record's id or the number; `partition` is 0
    where there are none.
    """

    kind: str
    name: str
    partition: int
    position: int


class ParkedRecord(NamedTuple):
    """A record that could not be read.

    `missing` says whether an event of this store is missing because of it: nobody else has it.
    `size` and `digest` (SHA-256) are those of the whole record, of which `raw` is the beginning.
    """

    spot: Spot
    reason: str
    detail: str
    raw: bytes
    size: int
    digest: str
    missing: bool
    at_us: int

    @property
    def at(self) -> dt.datetime:
        """When it was put aside (UTC)."""
        return from_micros(self.at_us)


def parked_record(
    spot: Spot, reason: ReasonCode, detail: str, raw: bytes, *, missing: bool = False
) -> ParkedRecord:
    """What is kept of a record: why it could not be read, and its first 64 KiB."""
    digest = hashlib.sha256(raw).hexdigest()
    return ParkedRecord(
        spot, reason, detail[:_DETAIL], raw[:MAX_RAW], len(raw), digest, missing, now_micros()
    )


class Parked:
    """The table in `events.sqlite`. Opens no file before it has to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # What cannot be read can be found again, so it need not wait for the disk.
        self._db = Database(path, PARKED, durable=False)

    def add(self, records: Sequence[ParkedRecord]) -> int:
        """Park records; returns how many were not parked before.

        The same record in the same place is parked once, however often it is met.
        """
        if not records:
            return 0
        with self._db.writing() as db:
            held = dict(
                db.execute("SELECT kind || ' ' || name, count(*) FROM parked GROUP BY kind, name")
            )
            new = 0
            for record in records:
                where = f"{record.spot.kind} {record.spot.name}"
                n = _insert(db, record, held.get(where, 0) < RAW_RECORDS)
                held[where] = held.get(where, 0) + n
                new += n
        return new

    def release(self, spot: Spot) -> int:
        """What lay there could be read after all; returns how many records that were."""
        with self._db.writing() as db:
            return db.execute(
                "DELETE FROM parked WHERE (kind, name, partition, position) = (?, ?, ?, ?)", spot
            ).rowcount

    def counts(self) -> dict[str, int]:
        """How many records are parked, by reason."""
        return self._count("")

    def missing(self) -> dict[str, int]:
        """The same of those because of which an event of this store is missing."""
        return self._count("WHERE missing")

    def _count(self, where: str) -> dict[str, int]:
        if not is_there(self.path):
            return {}
        query = f"SELECT reason, count(*) FROM parked {where} GROUP BY 1 ORDER BY 1"  # noqa: S608
        with self._db.reading() as db:
            return dict(db.execute(query))

    def spots(self, kind: str) -> list[Spot]:
        """Where records of one kind of place are parked, each place once, in order."""
        if not is_there(self.path):
            return []
        with self._db.reading() as db:
            rows = db.execute(
                "SELECT DISTINCT kind, name, partition, position FROM parked WHERE kind = ? "
                "ORDER BY name, partition, position",
                (kind,),
            ).fetchall()
        return [Spot(*r) for r in rows]

    def newest(self, limit: int) -> list[ParkedRecord]:
        """The records that were parked last, the newest first."""
        if not is_there(self.path):
            return []
        with self._db.reading() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM parked ORDER BY at_us DESC, kind, name, partition, "  # noqa: S608
                "position DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [ParkedRecord._make((Spot(*r[:4]), *r[4:9], bool(r[9]), r[10])) for r in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _insert(db: sqlite3.Connection, record: ParkedRecord, with_bytes: bool) -> int:
    raw = record.raw if with_bytes else b""
    return db.execute(
        f"INSERT OR IGNORE INTO parked ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (*record.spot, record.reason, record.detail, raw, *record[4:]),
    ).rowcount
