"""Read models in SQLite: latest state, audit trail and query counts, each event counted once.

Rows and the positions they were read up to are committed together, and every event id is kept:
a worker may stop, crash or lose a partition at any moment, and an event may come twice. They are
of one store, and what other stores sent to the same topics is left out and counted.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from etf_pipeline.errors import EventError
from etf_pipeline.events.log.database import Database
from etf_pipeline.events.log.names import fact
from etf_pipeline.events.log.spans import SPANS, gaps_in, note_lost, note_numbers
from etf_pipeline.events.model.envelope import Event, source_of
from etf_pipeline.events.model.numbers import Gap
from etf_pipeline.events.model.positions import Key

log = logging.getLogger(__name__)
_TRAIL = """
CREATE TABLE IF NOT EXISTS audit_trail (
  id TEXT NOT NULL, type TEXT NOT NULL, version INTEGER NOT NULL, source TEXT NOT NULL,
  subject TEXT NOT NULL, time_us INTEGER NOT NULL, recorded_us INTEGER NOT NULL,
  data TEXT NOT NULL, channel TEXT NOT NULL, own INTEGER NOT NULL DEFAULT 0,
  UNIQUE (time_us, id)); -- an id says its time too; in this order the index grows at its end
"""
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS positions (
  channel TEXT, partition INTEGER, next INTEGER NOT NULL, last_id TEXT NOT NULL,
  PRIMARY KEY (channel, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logs (
  log TEXT PRIMARY KEY, next INTEGER NOT NULL, last_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS archive_files (name TEXT PRIMARY KEY);
{_TRAIL}
CREATE TABLE IF NOT EXISTS latest_state (
  type TEXT, subject TEXT, time_us INTEGER NOT NULL, id TEXT NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY (type, subject)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS query_counts (
  ticker TEXT PRIMARY KEY, queries INTEGER NOT NULL, last_us INTEGER NOT NULL) WITHOUT ROWID;
{SPANS}
CREATE TABLE IF NOT EXISTS others (source TEXT PRIMARY KEY, records INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (token TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_OWN = "ALTER TABLE audit_trail ADD COLUMN own INTEGER NOT NULL DEFAULT 0"
_INSERT = """
INSERT INTO audit_trail VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING
"""
# Of two copies of one event that of the local log counts, of others the one recorded first, as in
# a replay.
_COUNTS = """
UPDATE audit_trail SET version = ?, recorded_us = ?, data = ?, own = ?
WHERE (time_us, id) = (?, ?) AND (own, -recorded_us) < (?, ?)
"""
_SAID = "UPDATE latest_state SET data = ? WHERE (type, subject, time_us, id) = (?, ?, ?, ?)"
_LATEST = """
INSERT INTO latest_state VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET time_us = excluded.time_us, id = excluded.id, data = excluded.data
WHERE (excluded.time_us, excluded.id) > (time_us, id)
"""
_COUNT = """
INSERT INTO query_counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE
SET queries = queries + excluded.queries, last_us = max(last_us, excluded.last_us)
"""
_OTHERS = """
INSERT INTO others VALUES (?, ?) ON CONFLICT DO UPDATE SET records = records + excluded.records
"""
_ID, _STORE = "id", "store"


class Place(NamedTuple):
    """Where a partition, or a local log, was read up to.

    The next position, and the id that the record before it says its event has, empty when it says
    none.
    """

    next: int
    last_id: str


class Projections:
    """The read models of one file; several workers on one machine may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = Database(path, _SCHEMA, upgrade=_upgrade)
        self._store: str | None = None
        self._own: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """Id of these read models, made with the file."""
        with self._db.reading() as db:
            found = fact(db, _ID)
        return found or self.renew_id(None)

    def renew_id(self, known: str | None) -> str:
        """Another id in place of a `known` one, unless another worker was quicker."""
        with self._db.writing() as db:
            found = fact(db, _ID)
            if found is None or found == known:
                found = str(uuid.uuid4())
                db.execute("REPLACE INTO facts VALUES (?, ?)", (_ID, found))
        return found

    def bind(self, store: str) -> None:
        """Be of this store from now on: events of others are left out, and counted.

        Raises:
            EventError: they hold events of another store.
        """
        with self._db.writing() as db:
            db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (_STORE, store))
            found = fact(db, _STORE)
        if found != store:
            raise EventError(
                f"{self.path} has the read models of store {found}, and this is store {store}: "
                "name another file with --database"
            )
        self._store = source_of(store)

    def own(self, logs: frozenset[str]) -> None:
        """What these logs say of an event counts, whatever copies of others say."""
        self._own = logs

    def apply(
        self,
        events: Sequence[Event],
        file: str | None = None,
        places: Mapping[Key, Place] | None = None,
        local: tuple[str, Place] | None = None,
    ) -> int:
        """Take events in and remember how far was read, in one transaction.

        Args:
            events: in order within each partition.
            file: the archive file that they come from; then no partition moves.
            places: how far partitions were read, where records that are no events came too.
            local: id of the local log that they come from, and how far it was read; then no
                partition moves either.

        Returns:
            How many of them were new.
        """
        if places is None:
            moved = events if file is None and local is None else ()
            places = {(e.channel, e.partition): Place(e.position + 1, e.id) for e in moved}
        if self._store is not None:
            others = Counter(e.source for e in events if e.source != self._store)
            if others:
                events = [e for e in events if e.source == self._store]
        else:
            others = Counter()
        with self._db.writing() as db:
            fresh, better = _insert(db, events, self._own)
            db.executemany(_LATEST, _newest([*fresh, *better]))
            said = [(e.data, e.type, e.subject, e.time_us, e.id) for e in better if _is_json(e)]
            db.executemany(_SAID, said)
            db.executemany(_COUNT, _queries(fresh))
            note_numbers(db, events)
            note_lost(db, fresh)
            db.executemany(_OTHERS, list(others.items()))
            db.executemany(
                "REPLACE INTO positions VALUES (?, ?, ?, ?)",
                [(*key, *place) for key, place in places.items()],
            )
            if local is not None:
                db.execute("REPLACE INTO logs VALUES (?, ?, ?)", (local[0], *local[1]))
            if file is not None:
                db.execute("INSERT OR IGNORE INTO archive_files VALUES (?)", (file,))
        return len(fresh)

    def gaps(self, given: Mapping[tuple[str, str], int] | None = None) -> list[Gap]:
        """Numbers of this store's events that were never taken in.

        Args:
            given: numbers that are known to have been given, by log and channel.
        """
        with self._db.reading() as db:
            return gaps_in(db, given or {})

    def place(self, channel: str, partition: int) -> Place | None:
        """Where one partition was read up to, None when it never was."""
        return self.places().get((channel, partition))

    def places(self) -> dict[Key, Place]:
        """Where every partition was read up to."""
        with self._db.reading() as db:
            rows = db.execute("SELECT channel, partition, next, last_id FROM positions").fetchall()
        return {(c, p): Place(n, i) for c, p, n, i in rows}

    def read_again(self, keys: Iterable[Key]) -> None:
        """Forget how far partitions were read, so that they are read from their beginnings.

        Ids keep anything from counting twice.
        """
        with self._db.writing() as db:
            db.executemany(
                "DELETE FROM positions WHERE channel = ? AND partition = ?",
                list(keys),
            )

    def log_place(self, log: str) -> Place | None:
        """Where a local log was read up to, None when it never was."""
        with self._db.reading() as db:
            row = db.execute("SELECT next, last_id FROM logs WHERE log = ?", (log,)).fetchone()
        return None if row is None else Place(*row)

    def files(self) -> set[str]:
        """Archive files that were taken in."""
        with self._db.reading() as db:
            return {n for (n,) in db.execute("SELECT name FROM archive_files")}

    def others(self) -> dict[str, int]:
        """How many records of other stores were met and left out, by their source."""
        with self._db.reading() as db:
            return dict(db.execute("SELECT source, records FROM others ORDER BY source"))

    def claims(self) -> set[str]:
        """What these read models ever put on a consumer group to say that it is theirs."""
        with self._db.reading() as db:
            return {t for (t,) in db.execute("SELECT token FROM claims")}

    def new_claim(self) -> str:
        """Something to put on a consumer group that nobody else has."""
        token = str(uuid.uuid4())
        with self._db.writing() as db:
            db.execute("INSERT INTO claims VALUES (?)", (token,))
        return token

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


def _insert(
    db: sqlite3.Connection, events: Sequence[Event], own: frozenset[str]
) -> tuple[list[Event], list[Event]]:
    """Insert events; those that were not there, and those that count in place of a copy."""
    before = db.total_changes
    db.execute("SAVEPOINT fresh")
    db.executemany(_INSERT, [(*e[:9], e[11] in own) for e in events])
    whole = db.total_changes - before == len(events)
    if not whole:
        db.execute("ROLLBACK TO fresh")
    db.execute("RELEASE fresh")
    if whole:
        return list(events), []
    fresh, better = [], []
    for event in events:
        mine = event.log in own
        if db.execute(_INSERT, (*event[:9], mine)).rowcount == 1:
            fresh.append(event)
            continue
        said = (event.version, event.recorded_us, event.data, mine, event.time_us, event.id)
        if db.execute(_COUNTS, (*said, mine, -event.recorded_us)).rowcount == 1:
            better.append(event)
    return fresh, better


def _newest(events: Sequence[Event]) -> list[tuple[str, str, int, str, str]]:
    """The newest event of each type and subject whose payload is JSON."""
    found: dict[tuple[str, str], Event] = {}
    for event in events:
        key = (event.type, event.subject)
        before = found.get(key)
        if before is None or (event.time_us, event.id) > (before.time_us, before.id):
            found[key] = event
    bad = {e.id for e in found.values() if not _is_json(e)}
    if bad:
        return _newest([e for e in events if e.id not in bad])
    return [(e.type, e.subject, e.time_us, e.id, e.data) for e in found.values()]


def _is_json(event: Event) -> bool:
    try:
        json.loads(event.data)
    except ValueError as error:
        log.warning(
            "%s of %s (%s) cannot be read (%s): it is in audit_trail alone",
            event.type,
            event.subject,
            event.id,
            error,
        )
        return False
    return True


def _queries(events: Iterable[Event]) -> list[tuple[str, int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for event in events:
        if event.type == "PriceDataQueried":
            n, last = found.get(event.subject, (0, event.time_us))
            found[event.subject] = (n + 1, max(last, event.time_us))
    return [(subject, n, last) for subject, (n, last) in found.items()]


def _upgrade(db: sqlite3.Connection) -> None:
    """Bring the audit trail of an earlier release into the order of time, and note what is own.

    For that the local log and the archive are read again.
    """
    db.execute("PRAGMA cache_size = -32768")
    own = "SELECT count(*) FROM pragma_table_info('audit_trail') WHERE name = 'own'"
    by_id = "SELECT count(*) FROM pragma_table_info('audit_trail') WHERE name = 'id' AND pk = 1"
    if db.execute(own).fetchone()[0]:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if not db.execute(own).fetchone()[0]:  # nobody was quicker
            if db.execute(by_id).fetchone()[0]:
                db.execute("ALTER TABLE audit_trail RENAME TO audit_trail_1")
                db.execute(_TRAIL.split("--")[0].rstrip().removesuffix(";"))
                rows = "SELECT *, 0 FROM audit_trail_1 ORDER BY time_us, id"
                db.execute(f"INSERT INTO audit_trail {rows}")
                db.execute("DROP TABLE audit_trail_1")
            else:
                db.execute(_OWN)
            db.execute("DELETE FROM logs")
            db.execute("DELETE FROM archive_files")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
