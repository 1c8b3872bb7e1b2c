"""The local log as an outbox: what Kafka confirmed, what still waits, and who sends it.

A broker that loses data loses the end of a partition, and may then fill the same offsets with other
events. So confirmations are noted by epoch, in which no loss can have gone unnoticed: of the notes
of one epoch, those that still hold are always the ones of lowest offset.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from etf_pipeline.events.log.database import Database
from etf_pipeline.events.log.sqlite import (
    PLACED,
    SCHEMA,
    SqliteLog,
    chunks,
    known_events,
    upgrade,
)
from etf_pipeline.events.model.envelope import Event, now_micros
from etf_pipeline.events.model.positions import Delivery
from etf_pipeline.store.processes import is_gone

# An epoch is `era` in the file, and `checked_era` the newest of those that were checked.
_TABLES = """
CREATE TABLE IF NOT EXISTS deliveries (
  seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, partition INTEGER NOT NULL,
  position INTEGER NOT NULL, era INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, owner TEXT, until_us INTEGER);
"""
# Epochs that were checked together count as one.
_SPAN = (
    "CASE WHEN d.era <= (SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM facts "
    "WHERE name = 'checked_era') THEN 0 ELSE d.era END"
)


class Place(NamedTuple):
    """Notes whose truth one look can tell: of a partition, in an epoch."""

    channel: str
    partition: int
    span: int


class Outbox(SqliteLog):
    """The local log, and what became of each event on its way to Kafka."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        # What is known of the broker may be learnt again, so it need not wait for the disk.
        self._notes = Database(path, SCHEMA + _TABLES, durable=False, upgrade=upgrade)
        self._sent_below = (0, 0)  # in which epoch, and the number
        # Others' leases, and when they were first seen to be so, by this process's own clock.
        self._watched: dict[str, tuple[tuple[str, int], float]] = {}

    def _let_go(self, before: int, upto: int) -> None:
        super()._let_go(before, upto)
        with self._notes.writing() as db:
            db.execute("DELETE FROM deliveries WHERE seq <= ?", (upto,))

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._notes.close()

    def pending(self, limit: int = 2_000) -> list[Event]:
        """The oldest events that no broker has confirmed, in order."""
        with self._notes.reading() as db:
            epoch, below = self._start(db)
            rows = db.execute(
                f"SELECT {PLACED} FROM events e WHERE seq > ? AND NOT EXISTS "  # noqa: S608
                "(SELECT 1 FROM deliveries d WHERE d.seq = e.seq) ORDER BY seq LIMIT ?",
                (below, limit),
            ).fetchall()
            if rows:
                self._sent_below = (epoch, rows[0][10] - 1)
        return list(map(Event._make, rows))

    def count_pending(self) -> int:
        """How many events no broker has confirmed."""
        with self._notes.reading() as db:
            return int(
                db.execute(
                    "SELECT count(*) FROM events e WHERE seq > ? AND NOT EXISTS "
                    "(SELECT 1 FROM deliveries d WHERE d.seq = e.seq)",
                    self._start(db)[1:],
                ).fetchone()[0]
            )

    def _start(self, db: sqlite3.Connection) -> tuple[int, int]:
        """This epoch, and the number up to which every event was confirmed in it."""
        epoch = _epoch(db)
        return self._sent_below if self._sent_below[0] == epoch else (epoch, 0)

    def all_delivered(self, events: Sequence[Event]) -> bool:
        """Whether a broker has confirmed every one of these events."""
        with self._notes.reading() as db:
            known = known_events(db, events)
            found = {
                s
                for chunk in chunks(list(known.values()))
                for (s,) in db.execute(
                    f"SELECT seq FROM deliveries WHERE seq IN ({','.join('?' * len(chunk))})",  # noqa: S608
                    chunk,
                )
            }
        return len(known) == len({e.id for e in events}) and found.issuperset(known.values())

    def epoch(self) -> int:
        """The newest epoch."""
        with self._notes.reading() as db:
            return _epoch(db)

    def begin_epoch(self, *, checked: bool = False) -> int:
        """A new epoch; with `checked`, all notes up to now are known to be true."""
        with self._notes.writing() as db:
            return _begin_epoch(db, checked)

    def delivered(
        self, events: Sequence[Event], deliveries: Sequence[Delivery], epoch: int
    ) -> bool:
        """Note which events the broker confirmed, and where.

        False, and nothing is noted, when another process has begun an epoch since.
        """
        rows = [
            (e.position, e.channel, d.partition, d.position, epoch)
            for e, d in zip(events, deliveries, strict=True)
            if d.ok
        ]
        with self._notes.writing() as db:
            if _epoch(db) != epoch:
                return False
            db.executemany("REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?)", rows)
        return True

    def tails(self) -> dict[Place, tuple[int, str]]:
        """Offset and id of the newest event that a broker confirmed in each place."""
        with self._notes.reading() as db:
            rows = db.execute(
                f"SELECT d.channel, partition, {_SPAN}, max(position), id FROM deliveries d "  # noqa: S608
                "JOIN events USING (seq) GROUP BY 1, 2, 3"
            )
            return {Place(*r[:3]): (r[3], r[4]) for r in rows}

    def confirmed(self, place: Place) -> list[tuple[int, str]]:
        """Offset and id of every event that a broker confirmed in a place, lowest first."""
        with self._notes.reading() as db:
            return db.execute(
                "SELECT position, id FROM deliveries d JOIN events USING (seq) "  # noqa: S608
                f"WHERE d.channel = ? AND partition = ? AND {_SPAN} = ? ORDER BY position",
                place,
            ).fetchall()

    def confirmed_by_place(self, channels: Sequence[str]) -> list[tuple[str, int, int, str]]:
        """Channel, partition, offset and id of every event that a broker confirmed."""
        with self._notes.reading() as db:
            return db.execute(
                "SELECT d.channel, partition, position, id FROM deliveries d "  # noqa: S608
                f"JOIN events USING (seq) WHERE d.channel IN ({','.join('?' * len(channels))})",
                channels,
            ).fetchall()

    def forget_deliveries(self, place: Place, from_position: int) -> int:
        """Have events sent again that a broker confirmed and then lost; returns how many.

        Later events of the partition go again too, so that in the end each key's are in order.
        """
        with self._notes.writing() as db:
            first, lost = db.execute(
                "SELECT min(seq), count(*) FROM deliveries d WHERE channel = ? AND partition = ? "  # noqa: S608
                f"AND {_SPAN} = ? AND position >= ?",
                (*place, from_position),
            ).fetchone()
            db.execute(
                "DELETE FROM deliveries WHERE channel = ? AND partition = ? AND seq >= ?",
                (place.channel, place.partition, first),
            )
            _begin_epoch(db, checked=False)  # other processes look from the beginning again too
        return int(lost)

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take or keep a role that one process has at a time; False while another has it.

        `owner` begins with host and process number, so that a dead one of this host is told.
        Whatever clocks do, nobody is waited for longer than `seconds` after the last sign of life.
        """
        now = now_micros()
        with self._notes.writing() as db:
            row = db.execute(
                "SELECT owner, until_us FROM leases WHERE name = ?", (name,)
            ).fetchone()
            if row is not None and row[0] != owner and not self._is_over(name, row, now, seconds):
                return False
            until = now + int(seconds * 1e6)
            if row is not None and until == row[1]:
                until += 1  # whoever watches sees that somebody lives
            db.execute("REPLACE INTO leases VALUES (?, ?, ?)", (name, owner, until))
        self._watched.pop(name, None)
        return True

    def _is_over(self, name: str, row: tuple[str, int], now: int, seconds: float) -> bool:
        """Whether another's lease has ended: by the clock, by its death, or as nothing moves.

        A clock that was set back may have left an end in a far future.
        """
        if row[1] <= now or is_gone(row[0]):
            return True
        seen, since = self._watched.get(name, (None, 0.0))
        if seen != row:
            self._watched[name] = (row, time.monotonic())
            return False
        return time.monotonic() - since >= seconds

    def release(self, name: str, owner: str) -> None:
        """Give the role up."""
        with self._notes.writing() as db:
            db.execute("DELETE FROM leases WHERE name = ? AND owner = ?", (name, owner))


def _epoch(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT value FROM facts WHERE name = 'era'").fetchone()
    return int(row[0]) if row else 0


def _begin_epoch(db: sqlite3.Connection, checked: bool) -> int:
    epoch = _epoch(db)
    facts = {"era": str(epoch + 1)} | ({"checked_era": str(epoch)} if checked else {})
    db.executemany("REPLACE INTO facts VALUES (?, ?)", list(facts.items()))
    return epoch + 1
