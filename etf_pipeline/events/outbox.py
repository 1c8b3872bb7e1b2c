"""The local log as an outbox: what Kafka confirmed, what still waits, and who sends it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etf_pipeline.events.database import Database
from etf_pipeline.events.envelope import Event, now_micros
from etf_pipeline.events.sqlite import COLUMNS, SCHEMA, SqliteEventStore, chunks, known_events
from etf_pipeline.events.store import Delivery
from etf_pipeline.store.writer import HOST, process_alive

_TABLES = """
CREATE TABLE IF NOT EXISTS deliveries (
  seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, partition INTEGER NOT NULL,
  position INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, owner TEXT, until_us INTEGER);
"""


class Outbox(SqliteEventStore):
    """The embedded store, and what became of each event on its way to Kafka."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        # What is known of the broker may be learnt again, so it need not wait for the disk.
        self._notes = Database(path, SCHEMA + _TABLES, durable=False)
        self._sent_below = 0

    def prune(self, upto: int) -> int:
        """Let events up to `upto` go, and what was noted of them."""
        gone = super().prune(upto)
        with self._notes.writing() as db:
            db.execute("DELETE FROM deliveries WHERE seq <= ?", (upto,))
        return gone

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._notes.close()

    def pending(self, limit: int = 2_000) -> list[Event]:
        """The oldest events that no broker has confirmed, in order."""
        with self._notes.reading() as db:
            rows = db.execute(
                f"SELECT {COLUMNS}, 0, seq FROM events e WHERE seq > ? AND NOT EXISTS "  # noqa: S608
                "(SELECT 1 FROM deliveries d WHERE d.seq = e.seq) ORDER BY seq LIMIT ?",
                (self._sent_below, limit),
            ).fetchall()
            if rows:
                self._sent_below = rows[0][10] - 1
        return list(map(Event._make, rows))

    def count_pending(self) -> int:
        """How many events no broker has confirmed."""
        with self._notes.reading() as db:
            return int(
                db.execute(
                    "SELECT count(*) FROM events e WHERE seq > ? AND NOT EXISTS "
                    "(SELECT 1 FROM deliveries d WHERE d.seq = e.seq)", (self._sent_below,),
                ).fetchone()[0]
            )  # fmt: skip

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

    def delivered(self, events: Sequence[Event], deliveries: Sequence[Delivery]) -> None:
        """Note which events the broker confirmed, and where."""
        rows = [
            (e.position, e.channel, d.partition, d.position)
            for e, d in zip(events, deliveries, strict=True)
            if d.ok
        ]
        with self._notes.writing() as db:
            db.executemany("REPLACE INTO deliveries VALUES (?, ?, ?, ?)", rows)

    def tails(self) -> dict[tuple[str, int], tuple[int, str]]:
        """By channel and partition: offset and id of the newest event a broker confirmed."""
        with self._notes.reading() as db:
            rows = db.execute(
                "SELECT d.channel, partition, max(position), id FROM deliveries d "
                "JOIN events USING (seq) GROUP BY d.channel, partition"
            )
            return {(c, p): (position, key) for c, p, position, key in rows}

    def confirmed(self, channel: str, partition: int) -> list[tuple[int, str]]:
        """Offset and id of every event a broker confirmed in one partition, oldest first."""
        with self._notes.reading() as db:
            return db.execute(
                "SELECT position, id FROM deliveries d JOIN events USING (seq) "
                "WHERE d.channel = ? AND partition = ? ORDER BY position", (channel, partition),
            ).fetchall()  # fmt: skip

    def forget_deliveries(self, channel: str, partition: int, from_position: int) -> int:
        """Have events sent again that a broker confirmed and then lost."""
        with self._notes.writing() as db:
            gone = db.execute(
                "DELETE FROM deliveries WHERE channel = ? AND partition = ? AND position >= ?",
                (channel, partition, from_position),
            ).rowcount
        self._sent_below = 0
        return gone

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take or keep a role that one process has at a time; False while another has it.

        `owner` begins with host and process number, so that a dead one of this host is told.
        """
        now = now_micros()
        with self._notes.writing() as db:
            row = db.execute(
                "SELECT owner, until_us FROM leases WHERE name = ?", (name,)
            ).fetchone()
            if row is not None and row[0] != owner and row[1] > now and not _dead(row[0]):
                return False
            until = now + int(seconds * 1e6)
            db.execute("REPLACE INTO leases VALUES (?, ?, ?)", (name, owner, until))
        return True

    def release(self, name: str, owner: str) -> None:
        """Give the role up."""
        with self._notes.writing() as db:
            db.execute("DELETE FROM leases WHERE name = ? AND owner = ?", (name, owner))


def _dead(owner: str) -> bool:
    host, _, rest = owner.partition("-")
    pid = rest.partition("-")[0]
    return host == HOST and pid.isdigit() and not process_alive(int(pid))
