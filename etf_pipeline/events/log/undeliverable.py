"""Events that a broker refuses, whatever the connection: set aside, so that nothing waits for them.

They stay in the local log, and so in every replay. They are tried again by the next process that
sends, and when their topic turns out to be another one.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from etf_pipeline.events.model.envelope import Event, now_micros
from etf_pipeline.events.model.positions import Delivery

# `again`: it is among what is to be sent, and stays here until it was.
UNDELIVERABLE = """
CREATE TABLE IF NOT EXISTS undeliverable (
  seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
  at_us INTEGER NOT NULL, again INTEGER NOT NULL);
"""


class Undeliverable(NamedTuple):
    """An event that was set aside: its number, id, type and subject; why, and when (µs UTC)."""

    number: int
    id: str
    type: str
    subject: str
    code: str
    reason: str
    at_us: int


def put_aside(db: sqlite3.Connection, event: Event, refusal: Delivery) -> None:
    """Note that a broker refused this event, and why."""
    row = (event.position, event.channel, refusal.code, refusal.error or "", now_micros())
    db.execute("REPLACE INTO undeliverable VALUES (?, ?, ?, ?, ?, 0)", row)


def first_aside(db: sqlite3.Connection) -> int | None:
    """Number of the first event that is set aside and not to be tried again."""
    found: int | None = db.execute("SELECT min(seq) FROM undeliverable WHERE NOT again").fetchone()[
        0
    ]
    return found


def let_out(db: sqlite3.Connection) -> int | None:
    """Strike off what was delivered after all, and have later events of its key sent again.

    Returns the number of the first one struck off, None for none.
    """
    found = db.execute(
        "SELECT seq, e.channel, e.subject FROM undeliverable JOIN deliveries USING (seq) "
        "JOIN events e USING (seq) ORDER BY seq"
    ).fetchall()
    for seq, channel, subject in found:
        db.execute("DELETE FROM undeliverable WHERE seq = ?", (seq,))
        db.execute(
            "DELETE FROM deliveries WHERE seq > ? AND channel = ? AND seq IN "
            "(SELECT seq FROM events WHERE seq > ? AND channel = ? AND subject = ?)",
            (seq, channel, seq, channel, subject),
        )
    return found[0][0] if found else None


def read_aside(db: sqlite3.Connection, limit: int) -> tuple[dict[str, int], list[Undeliverable]]:
    """How many events are set aside by reason code, and the newest `limit`, newest first."""
    counts = db.execute("SELECT code, count(*) FROM undeliverable GROUP BY code ORDER BY code")
    newest = db.execute(
        "SELECT seq, id, type, subject, code, reason, at_us FROM undeliverable "
        "JOIN events USING (seq) ORDER BY seq DESC LIMIT ?",
        (limit,),
    )
    return dict(counts.fetchall()), list(map(Undeliverable._make, newest))
