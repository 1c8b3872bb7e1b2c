"""The local event log: SQLite, append-only by trigger, with a hash chain over all events.

Events are numbered within their channel too, from 1 on and without a gap, so that whoever has some
of them, in Kafka or in an archive, sees what is missing. With Kafka the same log is the outbox
(`outbox.py`): an event is in it before it is sent.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from etf_pipeline.events.log.database import Database
from etf_pipeline.events.log.large import fitting
from etf_pipeline.events.log.links import Link, anchor, ever, head, links
from etf_pipeline.events.log.lookups import known_events, last_alike
from etf_pipeline.events.log.names import BEFORE, FORMER, IS_OLD, PLACED, begin_anew, fact, upgrade
from etf_pipeline.events.log.shrinking import shrink
from etf_pipeline.events.model.chain import chain
from etf_pipeline.events.model.envelope import Event, now_micros
from etf_pipeline.events.model.positions import Batches, Delivery, Key, Range
from etf_pipeline.events.model.types import CHANNELS

_PAGE = 5_000
_PRUNED_AT_ONCE = 1_000
# As `Event._make`, in a third of the time.
_event = partial(tuple.__new__, Event)
# Fact: the last numbers of other machines' logs that were archived here, as JSON.
OTHERS = "archived_numbers"
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, type TEXT NOT NULL,
  version INTEGER NOT NULL, source TEXT NOT NULL, subject TEXT NOT NULL,
  time_us INTEGER NOT NULL, recorded_us INTEGER NOT NULL, data TEXT NOT NULL,
  channel TEXT NOT NULL, hash BLOB NOT NULL, number INTEGER NOT NULL DEFAULT 0,
  UNIQUE (time_us, id)); -- an id says its time too; in this order the index grows at its end
CREATE TABLE IF NOT EXISTS channels (channel TEXT PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS anchors (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, at_us INTEGER);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_never_go BEFORE DELETE ON events
WHEN OLD.seq > coalesce((SELECT max(seq) FROM anchors), 0)
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
"""


class SqliteLog:
    """Append-only log in `events.sqlite`."""

    def __init__(self, path: Path, schema: str = SCHEMA) -> None:
        self.path = path
        self.schema = schema
        self._db = Database(path, schema, upgrade=upgrade)

    @property
    def id(self) -> str:
        """Id of this log: made with the file."""
        return self.fact("log") or ""

    @property
    def former_ids(self) -> list[str]:
        """Ids under which events before `begin_anew` are in archives, the newest last."""
        return list(json.loads(self.fact(FORMER) or "[]"))

    @property
    def own_ids(self) -> frozenset[str]:
        """Ids under which events are of this log."""
        return frozenset({self.id, *self.former_ids}) - {""}

    @property
    def begun_after(self) -> int:
        """Number of the last event from before the log had its id, 0 for none."""
        return int(self.fact(BEFORE) or 0)

    def names_before(self) -> list[str]:
        """Ids of the events in the file from before the log had its id."""
        with self._db.reading() as db:
            query = f"SELECT id FROM events WHERE {IS_OLD}"  # noqa: S608
            return [name for (name,) in db.execute(query)]

    def settle(self, name: str, value: str) -> str:
        """The fact of this name; `value` from now on when there is none yet."""
        found = self.fact(name)
        if found is None:
            with self._db.writing() as db:
                db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))
            found = self.fact(name)
            assert found is not None
        return found

    def verify_writable(self) -> None:
        """Show now, and not at the first event, that the log cannot be written.

        Raises:
            EventError: naming the file and the remedy.
        """
        self.append([], facts={"opened": str(now_micros())})

    def fact(self, name: str) -> str | None:
        """A small value kept beside the events."""
        with self._db.reading() as db:
            return fact(db, name)

    def facts(self, prefix: str) -> dict[str, str]:
        """Every such value whose name begins so, by the rest of its name."""
        with self._db.reading() as db:
            rows = db.execute(
                "SELECT substr(name, ?), value FROM facts WHERE substr(name, 1, ?) = ? ORDER BY 1",
                (len(prefix) + 1, len(prefix), prefix),
            )
            return dict(rows.fetchall())

    def lacks(self, events: Sequence[Event]) -> list[Event]:
        """Those of these events that are not in the log."""
        with self._db.reading() as db:
            known = known_events(db, events)
        return [e for e in events if e.id not in known]

    def first_number(self, channel: str) -> int:
        """Number of the first event of a channel that is in the log, and of its id."""
        with self._db.reading() as db:
            row = db.execute(
                "SELECT number FROM events WHERE channel = ? AND seq > ? ORDER BY seq LIMIT 1",
                (channel, int(fact(db, BEFORE) or 0)),
            ).fetchone()
        return self.numbers().get(channel, 0) + 1 if row is None else int(row[0])

    def append(
        self, events: Sequence[Event], timeout: float = 15.0, facts: dict[str, str] | None = None
    ) -> list[Delivery]:
        """Record events (and `facts`) in one transaction, on disk when this returns.

        An event whose id is there already is left as it is. One that is too large to be sent is
        shortened to its facts, and a file beside the log has the whole.
        """
        events = fitting(events, self.path)
        with self._db.writing() as db:
            found = _insert(db, {e.id: e for e in events}.values())
            if facts:
                db.executemany("REPLACE INTO facts VALUES (?, ?)", list(facts.items()))
        return [Delivery(0, found[e.id]) for e in events]

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[Key, int] | None = None,
        upto: int | None = None,
    ) -> Batches:
        """Events in order of recording, up to one number or the last there is now."""
        wanted = {c: (start or {}).get((c, 0), 0) for c in channels}
        position = min(wanted.values(), default=0) - 1
        with self._db.reading() as db:
            last = head(db)[0] if upto is None else min(upto, head(db)[0])
        marks = ",".join("?" * len(wanted))
        query = (
            f"SELECT {PLACED} FROM events WHERE seq > ? AND seq <= ? "  # noqa: S608
            f"AND channel IN ({marks}) ORDER BY seq LIMIT {_PAGE}"
        )
        while position < last:
            with self._db.reading() as db:
                rows = db.execute(query, (position, last, *wanted)).fetchall()
            if not rows:
                return
            position = rows[-1][10]
            page = list(map(_event, rows))
            yield [e for e in page if e.position >= wanted[e.channel]] if start else page

    def known(self, events: Sequence[Event]) -> set[str]:
        """Ids of those events that are in the log."""
        with self._db.reading() as db:
            return set(known_events(db, events))

    def numbers(self) -> dict[str, int]:
        """By channel, how many events were ever numbered: the last number there is."""
        with self._db.reading() as db:
            return dict(db.execute("SELECT channel, number FROM channels"))

    def placing(self) -> Iterator[list[tuple[int, str, int]]]:
        """Number, channel and number in the channel of every event, as they are in the file."""
        query = "SELECT seq, channel, number FROM events WHERE seq > ? AND seq <= ? ORDER BY seq"
        with self._db.reading() as db:
            seq, last = anchor(db)[0], head(db)[0]
        while seq < last:
            upto = min(seq + _PAGE, last)
            with self._db.reading() as db:
                rows = db.execute(query, (seq, upto)).fetchall()
            seq = upto
            yield rows

    def sources(self) -> list[str]:
        """What events say they are of."""
        with self._db.reading() as db:
            return [s for (s,) in db.execute("SELECT DISTINCT source FROM events")]

    def given(self) -> dict[tuple[str, str], int]:
        """By log and channel, the last number known to be given: here, or in what was archived."""
        told = json.loads(self.fact(OTHERS) or "[]")
        found = {(log, channel): int(number) for log, channel, number in told}
        return found | {(self.id, c): n for c, n in self.numbers().items()}

    def ranges(self, channels: Sequence[str] = CHANNELS) -> dict[Key, Range]:
        """Numbers of the first event there is and after the last; all channels share them."""
        with self._db.reading() as db:
            span = (anchor(db)[0] + 1, head(db)[0] + 1)
        return {(c, 0): span for c in channels}

    def links(self, after: Link | None = None, until: int | None = None) -> Iterator[Link]:
        """Number and hash of every event, recomputed; see `links.py`."""
        return links(self._db, after, until)

    def ever(self) -> int:
        """Number of the last event that was ever recorded, 0 for none."""
        with self._db.reading() as db:
            return ever(db)

    def anchors(self) -> dict[int, bytes]:
        """Every event that was the last one of a pruning, and its hash."""
        with self._db.reading() as db:
            return {n: bytes(h) for n, h in db.execute("SELECT seq, hash FROM anchors")}

    def anchor(self) -> tuple[int, bytes]:
        """The last event that was pruned, 0 for none, and the hash that the log builds on."""
        with self._db.reading() as db:
            return anchor(db)

    def head(self) -> tuple[int, bytes]:
        """The last event's number, 0 for none, and the hash that vouches for all up to it."""
        with self._db.reading() as db:
            return head(db)

    def last(self) -> int:
        """Number of the last event, 0 for none."""
        with self._db.reading() as db:
            return head(db)[0]

    def hash_at(self, seq: int) -> bytes | None:
        """Hash of an event, or of the anchor that stands for it; None when there is neither."""
        with self._db.reading() as db:
            if seq == anchor(db)[0]:
                return anchor(db)[1]
            row = db.execute("SELECT hash FROM events WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else bytes(row[0])

    def holds(self, seq: int, name: str) -> bool:
        """Whether the event of this number has this id; true of what was pruned."""
        with self._db.reading() as db:
            if seq <= anchor(db)[0]:
                return True
            row = db.execute("SELECT id FROM events WHERE seq = ?", (seq,)).fetchone()
        return row is not None and row[0] == name

    def last_alike(self, events: Sequence[Event]) -> dict[str, int]:
        """By channel, the last event of the file among these that has its number there too."""
        with self._db.reading() as db:
            return last_alike(db, events)

    def begin_anew(self, sent: Mapping[str, int] | None = None) -> None:
        """Have what is recorded from now on be of another log, with numbers from 1 on.

        For a log of which an older copy was put back: its next numbers were given already, and may
        have been to events of this file that were not sent. Those before one that was sent have
        theirs, by which they are missed where nothing else has them.

        Args:
            sent: by channel, the last event that is known elsewhere by its number, besides what is
                noted here.
        """
        with self._db.writing() as db:
            noted = self._sent(db)
            begin_anew(db, noted | {c: max(n, noted.get(c, 0)) for c, n in (sent or {}).items()})

    def _sent(self, db: sqlite3.Connection) -> dict[str, int]:
        """By channel, the last event that is known elsewhere by its number."""
        return {}

    def last_recorded_before(self, moment_us: int) -> int:
        """The last event of the log's beginning that was recorded before a time."""
        with self._db.reading() as db:
            row = db.execute(
                "SELECT min(seq) FROM events WHERE recorded_us >= ?", (moment_us,)
            ).fetchone()
            return head(db)[0] if row[0] is None else int(row[0]) - 1

    def prune(self, upto: int) -> int:
        """Let events up to `upto` go, keeping the hash that later ones build on.

        In steps, between which others record. Each is whole by itself: a kill leaves the rest to
        the next time. The file becomes smaller by as much.
        """
        if upto > self.last():
            return 0
        before = done = self.anchor()[0]
        while done < upto:
            done = min(upto, done + _PRUNED_AT_ONCE)
            self._let_go(before, done)
        if done > before:
            shrink(self._db)
        return done - before

    def _let_go(self, before: int, upto: int) -> None:
        with self._db.writing() as db:
            db.execute(
                "INSERT OR IGNORE INTO anchors SELECT seq, hash, ? FROM events WHERE seq = ?",
                (now_micros(), upto),
            )
            db.execute("DELETE FROM events WHERE seq <= ?", (upto,))
            # Those of the steps before.
            db.execute("DELETE FROM anchors WHERE seq > ? AND seq < ?", (before, upto))

    def counts(self) -> dict[str, int]:
        """Events by type."""
        with self._db.reading() as db:
            return dict(db.execute("SELECT type, count(*) FROM events GROUP BY type ORDER BY type"))

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


def _insert(db: sqlite3.Connection, events: Collection[Event]) -> dict[str, int]:
    """Insert events with different ids; the sequence number of each, old or new.

    Looking them up first would cost more than the insertion, and hardly any is ever there.
    """
    db.execute("SAVEPOINT fresh")
    try:
        found = _insert_new(db, events)
    except sqlite3.IntegrityError:
        db.execute("ROLLBACK TO fresh")
        known = known_events(db, events)
        found = known | _insert_new(db, [e for e in events if e.id not in known])
    db.execute("RELEASE fresh")
    return found


def _insert_new(db: sqlite3.Connection, events: Iterable[Event]) -> dict[str, int]:
    seq, value = head(db)
    numbers: dict[str, int] = dict(db.execute("SELECT channel, number FROM channels"))
    rows, found = [], {}
    for event in events:
        seq += 1
        value = chain(value, event)
        found[event.id] = seq
        number = numbers[event.channel] = numbers.get(event.channel, 0) + 1
        rows.append((seq, *event[:9], value, number))
    db.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", rows)
    db.executemany("REPLACE INTO channels VALUES (?, ?)", list(numbers.items()))
    return found
