"""The local log as an outbox: what Kafka confirmed, what still waits, and who sends it.

A broker that loses data loses the end of a partition, and may then fill the same offsets with other
events. So confirmations are noted by epoch, in which no loss can have gone unnoticed: of the notes
of one epoch, those that still hold are always the ones of lowest offset.

What goes again goes with everything after it, so that in Kafka the last occurrences of each key's
events are in order.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from etf_pipeline.events.log.database import Database
from etf_pipeline.events.log.links import head
from etf_pipeline.events.log.lookups import chunks, known_events
from etf_pipeline.events.log.names import PLACED, upgrade
from etf_pipeline.events.log.offsets import roughly_unconfirmed, unconfirmed
from etf_pipeline.events.log.parked import PARKED
from etf_pipeline.events.log.sqlite import SCHEMA, SqliteLog
from etf_pipeline.events.log.undeliverable import (
    UNDELIVERABLE,
    Undeliverable,
    first_aside,
    let_out,
    put_aside,
    read_aside,
)
from etf_pipeline.events.model.envelope import Event, now_micros
from etf_pipeline.events.model.positions import Delivery, Key, Range
from etf_pipeline.store.processes import is_gone

# An epoch is `era` in the file, and `checked_era` the newest of those that were checked.
_TABLES = """
CREATE TABLE IF NOT EXISTS deliveries (
  seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, partition INTEGER NOT NULL,
  position INTEGER NOT NULL, era INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS deliveries_by_place ON deliveries (channel, partition, position);
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, owner TEXT, until_us INTEGER);
"""
# What still has to go out.
_OPEN = (
    "NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.seq = e.seq) "
    "AND NOT EXISTS (SELECT 1 FROM undeliverable u WHERE u.seq = e.seq AND NOT u.again)"
)
# In which epoch, and the number up to which no event has to go out any more.
_SENT = ("sent_era", "sent_below")
# Epochs that were checked together count as one.
_SPAN = (
    "CASE WHEN d.era <= (SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM facts "
    "WHERE name = 'checked_era') THEN 0 ELSE d.era END"
)


ALL: frozenset[str] = frozenset()
_PAGE = 5_000


class Place(NamedTuple):
    """Notes whose truth one look can tell: of a partition, in an epoch."""

    channel: str
    partition: int
    span: int


class Outbox(SqliteLog):
    """The local log, and what became of each event on its way to Kafka."""

    def __init__(self, path: Path) -> None:
        # All tables at once: where nothing can be written, none can be added to be read.
        super().__init__(path, SCHEMA + _TABLES + UNDELIVERABLE + PARKED)
        # What is known of the broker may be learnt again, so it need not wait for the disk.
        self._notes = Database(path, self.schema, durable=False, upgrade=upgrade)
        # As these facts, of all channels but some.
        self._below: dict[frozenset[str], tuple[int, int]] = {}
        # Others' leases, and when they were first seen to be so, by this process's own clock.
        self._watched: dict[str, tuple[tuple[str, int], float]] = {}

    def _let_go(self, before: int, upto: int) -> None:
        super()._let_go(before, upto)
        with self._notes.writing() as db:
            db.execute("DELETE FROM deliveries WHERE seq <= ?", (upto,))
            db.execute("DELETE FROM undeliverable WHERE seq <= ?", (upto,))

    def _sent(self, db: sqlite3.Connection) -> dict[str, int]:
        """By channel, the last event that a broker confirmed."""
        return dict(db.execute("SELECT channel, max(seq) FROM deliveries GROUP BY channel"))

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._notes.close()

    def mark(self) -> tuple[int, int]:
        """Changes whenever there may be something to send; cheap to ask for."""
        with self._notes.reading() as db:
            return head(db)[0], _epoch(db)

    def pending(self, limit: int = 2_000, without: Collection[str] = ()) -> list[Event]:
        """The oldest events that have to go out, in order, but for some channels."""
        but = frozenset(without)
        marks = ",".join("?" * len(but))
        with self._notes.reading() as db:
            epoch, below = self._start(db, but)
            last = head(db)[0]
            rows = db.execute(
                f"SELECT {PLACED} FROM events e WHERE seq > ? "  # noqa: S608
                f"AND channel NOT IN ({marks}) AND {_OPEN} ORDER BY seq LIMIT ?",
                (below, *but, limit),
            ).fetchall()
            self._below[but] = (epoch, rows[0][10] - 1 if rows else max(below, last))
        return list(map(Event._make, rows))

    def count_pending(self) -> int:
        """How many events have to go out."""
        with self._notes.reading() as db:
            return int(
                db.execute(
                    f"SELECT count(*) FROM events e WHERE seq > ? AND {_OPEN}",  # noqa: S608
                    self._start(db)[1:],
                ).fetchone()[0]
            )

    def sent_up_to(self) -> int:
        """Number of the last event before which, itself included, a broker confirmed all."""
        waiting = self.pending(1)
        with self._notes.reading() as db:
            aside = db.execute("SELECT min(seq) FROM undeliverable").fetchone()[0]
            first = [n for n in (waiting[0].position if waiting else None, aside) if n is not None]
            return min(first) - 1 if first else head(db)[0]

    def _start(
        self, db: sqlite3.Connection, without: frozenset[str] = frozenset()
    ) -> tuple[int, int]:
        """This epoch, and the number up to which no event has to go out any more."""
        epoch = _epoch(db)
        known = [(epoch, _sent_below(db)), *(self._below.get(k, (-1, 0)) for k in (ALL, without))]
        return max(k for k in known if k[0] == epoch)

    def all_delivered(self, events: Sequence[Event]) -> bool:
        """Whether each of these events was confirmed by a broker, or set aside."""
        return self._all_in(("deliveries", "undeliverable"), events)

    def all_confirmed(self, events: Sequence[Event]) -> bool:
        """Whether each of these events was confirmed by a broker."""
        return self._all_in(("deliveries",), events)

    def _all_in(self, tables: Sequence[str], events: Sequence[Event]) -> bool:
        with self._notes.reading() as db:
            known = known_events(db, events)
            found = {
                s
                for chunk in chunks(list(known.values()))
                for table in tables
                for (s,) in db.execute(
                    f"SELECT seq FROM {table} WHERE seq IN ({','.join('?' * len(chunk))})",  # noqa: S608
                    chunk,
                )
            }
        return len(known) == len({e.id for e in events}) and found.issuperset(known.values())

    def numbers_of(self, events: Sequence[Event]) -> list[int]:
        """Numbers of events that are in this log."""
        with self._notes.reading() as db:
            return list(known_events(db, events).values())

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
            late = let_out(db)
            if late is not None:
                _begin_epoch(db, checked=False, sent_below=late - 1)
            elif self._below.get(ALL, (-1, 0))[0] == epoch:
                _keep_sent_below(db, *self._below[ALL])
        return True

    def set_aside(self, event: Event, refusal: Delivery) -> None:
        """Note an event as undeliverable: the broker refuses it, whatever the connection."""
        with self._notes.writing() as db:
            put_aside(db, event, refusal)

    def try_again(self) -> int:
        """Have what was set aside sent once more, as settings may be others; returns how many."""
        with self._notes.reading() as db:
            if first_aside(db) is None:
                return 0
        with self._notes.writing() as db:
            first = first_aside(db)
            if first is None:
                return 0
            n = db.execute("UPDATE undeliverable SET again = 1 WHERE NOT again").rowcount
            _begin_epoch(db, checked=False, sent_below=first - 1)
        return n

    def undeliverable(self, limit: int = 0) -> tuple[dict[str, int], list[Undeliverable]]:
        """How many events are set aside by reason code, and the newest of them, newest first."""
        with self._notes.reading() as db:
            return read_aside(db, limit)

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

    def confirmed_within(self, key: Key, span: Range) -> Iterator[list[int]]:
        """Numbers of the events that a broker confirmed in a span of offsets, in pages."""
        query = (
            "SELECT position, seq FROM deliveries WHERE channel = ? AND partition = ? "
            "AND (position, seq) > (?, ?) AND position < ? ORDER BY position, seq LIMIT ?"
        )
        after = (span[0], 0)
        while True:
            with self._notes.reading() as db:
                rows = db.execute(query, (*key, *after, span[1], _PAGE)).fetchall()
            if rows:
                after = rows[-1]
                yield [seq for _, seq in rows]
            if len(rows) < _PAGE:  # whoever sends meanwhile is not to be run after
                return

    def partitions(self) -> list[Key]:
        """Where brokers confirmed any event."""
        with self._notes.reading() as db:
            return db.execute("SELECT DISTINCT channel, partition FROM deliveries").fetchall()

    def ids_of(self, numbers: Sequence[int]) -> list[str]:
        """Ids of the events with these numbers that are in the log."""
        found: list[tuple[str]] = []
        with self._notes.reading() as db:
            for chunk in chunks(numbers):
                marks = ",".join("?" * len(chunk))
                found += db.execute(f"SELECT id FROM events WHERE seq IN ({marks})", chunk)  # noqa: S608
        return [name for (name,) in found]

    def newest(
        self, limit: int, channels: Sequence[str], subject: str | None, kind: str | None
    ) -> list[Event]:
        """The events that happened last (of a subject, of a type), the last first."""
        marks = ",".join("?" * len(channels))
        asked = {"subject": subject, "type": kind}
        only = {name: value for name, value in asked.items() if value is not None}
        query = (
            f"SELECT {PLACED} FROM events WHERE channel IN ({marks}) "  # noqa: S608
            + "".join(f"AND {name} = ? " for name in only)
            + "ORDER BY time_us DESC, id DESC LIMIT ?"
        )
        with self._db.reading() as db:
            rows = db.execute(query, (*channels, *only.values(), limit)).fetchall()
        return list(map(Event._make, rows))

    def unconfirmed(self, key: Key, span: Range, *, roughly: bool = False) -> list[Range]:
        """Parts of a span of offsets that are not those of events sent from here.

        With `roughly`, those in which some are not, which is quicker.
        """
        return (roughly_unconfirmed if roughly else unconfirmed)(self._notes, key, span)

    def forget_deliveries(self, place: Place, from_position: int) -> int:
        """Have events sent again that a broker confirmed and then lost; returns how many were lost.

        Everything of the channel after the first of them goes again too, in whatever partition it
        is: the topic may have been made anew with another number of them.
        """
        with self._notes.writing() as db:
            first, lost = db.execute(
                "SELECT min(seq), count(*) FROM deliveries d WHERE channel = ? AND partition = ? "  # noqa: S608
                f"AND {_SPAN} = ? AND position >= ?",
                (*place, from_position),
            ).fetchone()
            if lost:
                _send_again(db, {place.channel: first})
        return int(lost)

    def send_again(self, first: Mapping[str, int]) -> None:
        """Have everything of these channels sent again from a number on."""
        with self._notes.writing() as db:
            _send_again(db, first)

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


def _begin_epoch(db: sqlite3.Connection, checked: bool, sent_below: int | None = None) -> int:
    """The next epoch; what has to go out begins after `sent_below` at the latest."""
    epoch, below = _epoch(db), _sent_below(db)
    facts = {"era": str(epoch + 1)} | ({"checked_era": str(epoch)} if checked else {})
    db.executemany("REPLACE INTO facts VALUES (?, ?)", list(facts.items()))
    _keep_sent_below(db, epoch + 1, below if sent_below is None else min(below, sent_below))
    return epoch + 1


def _send_again(db: sqlite3.Connection, first: Mapping[str, int]) -> None:
    gone = 0
    for place in first.items():
        gone += db.execute("DELETE FROM deliveries WHERE channel = ? AND seq >= ?", place).rowcount
        # The topic may be another, which takes what the one before refused.
        again = "UPDATE undeliverable SET again = 1 WHERE channel = ? AND seq >= ? AND NOT again"
        gone += db.execute(again, place).rowcount
    if gone:  # other processes look from the beginning again too
        _begin_epoch(db, checked=False, sent_below=min(first.values()) - 1)


def _sent_below(db: sqlite3.Connection) -> int:
    """0 when another release began an epoch since, as it does not keep this fact."""
    facts = dict(
        db.execute("SELECT name, CAST(value AS INTEGER) FROM facts WHERE name IN (?, ?)", _SENT)
    )
    return int(facts[_SENT[1]]) if facts.get(_SENT[0]) == _epoch(db) else 0


def _keep_sent_below(db: sqlite3.Connection, epoch: int, below: int) -> None:
    values = zip(_SENT, (str(epoch), str(below)), strict=True)
    db.executemany("REPLACE INTO facts VALUES (?, ?)", list(values))
