"""Under which id and number events of a log's file are known: its own, or those it had before."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping

from etf_pipeline.events.log.links import COLUMNS, head

# Whether an event is from before the log had its id, and the id under which it was sent then.
IS_OLD = "seq <= (SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'unnumbered')"
_SENT_AS = (
    "(SELECT json_extract(s.value, '$[0]') FROM facts f, json_each(f.value) s "
    "WHERE f.name = 'sent_before' AND json_extract(s.value, '$[1]') = channel "
    "AND seq BETWEEN json_extract(s.value, '$[2]') AND json_extract(s.value, '$[3]'))"
)
_ID = "(SELECT value FROM facts WHERE name = 'log')"
# All of `Event`'s fields.
PLACED = (
    f"{COLUMNS}, 0, seq, iif({IS_OLD}, coalesce({_SENT_AS}, {_ID}), {_ID}), "
    f"iif({IS_OLD}, iif({_SENT_AS} IS NULL, 0, number), number)"
)
# Facts: which event of the file was the last before the log had its id, ids it had before (empty
# for that of an earlier release, which gave none), and which events were sent under these: id,
# channel, first and last of each, as JSON.
BEFORE, FORMER, SENT = "unnumbered", "former_logs", "sent_before"


def upgrade(db: sqlite3.Connection) -> None:
    """Give the log its id and, in a file by an earlier release, events their numbers from now on.

    What is there already may be in Kafka without a number, so it gets none here either.
    """
    if fact(db, "log") is not None:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if fact(db, "log") is None:
            if "number" not in {row[1] for row in db.execute("PRAGMA table_info(events)")}:
                db.execute("ALTER TABLE events ADD COLUMN number INTEGER NOT NULL DEFAULT 0")
            _begin(db)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _begin(db: sqlite3.Connection) -> None:
    """Give the log an id; what it holds already was of another, or of none."""
    facts = {"log": str(uuid.uuid4())}
    if last := head(db)[0]:
        before = [*json.loads(fact(db, FORMER) or "[]"), fact(db, "log") or ""]
        facts |= {BEFORE: str(last), FORMER: json.dumps(before)}
    db.executemany("REPLACE INTO facts VALUES (?, ?)", list(facts.items()))


def fact(db: sqlite3.Connection, name: str) -> str | None:
    """A small value kept in a table `facts`, None when there is none."""
    row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def begin_anew(db: sqlite3.Connection, sent: Mapping[str, int]) -> None:
    """Give the log another id, in a transaction.

    Args:
        db: the log.
        sent: by channel, the last event that is known elsewhere by its number: it and those before
            keep theirs.
    """
    first = int(fact(db, BEFORE) or 0) + 1
    spans = [[fact(db, "log"), c, first, n] for c, n in sent.items() if n >= first]
    told = json.loads(fact(db, SENT) or "[]") + spans
    _begin(db)
    db.execute("REPLACE INTO facts VALUES (?, ?)", (SENT, json.dumps(told)))
    db.execute("DELETE FROM channels")
