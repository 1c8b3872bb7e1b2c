"""The hash chain of a local log as its tables have it: its beginning, its end, its links."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from etf_pipeline.errors import TamperError
from etf_pipeline.events.log.database import Database
from etf_pipeline.events.model.chain import GENESIS, chain

Link = tuple[int, bytes]
COLUMNS = "id, type, version, source, subject, time_us, recorded_us, data, channel"
_PAGE = 5_000


def anchor(db: sqlite3.Connection) -> Link:
    """The last event that was let go, 0 for none, and the hash that the log builds on."""
    row = db.execute("SELECT seq, hash FROM anchors ORDER BY seq DESC LIMIT 1").fetchone()
    return (0, GENESIS) if row is None else (row[0], row[1])


def head(db: sqlite3.Connection) -> Link:
    """The last event, 0 for none, and the hash that vouches for all up to it."""
    row = db.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return anchor(db) if row is None else (row[0], row[1])


def ever(db: sqlite3.Connection) -> int:
    """Number of the last event that was ever recorded, 0 for none."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return max(0 if row is None else int(row[0]), head(db)[0])


def links(
    database: Database, after: Link | None = None, until: int | None = None
) -> Iterator[Link]:
    """Number and hash of every event, recomputed.

    Ends early where another process lets go of what comes next: that is in the archive then.

    Args:
        database: the log's.
        after: number and hash of an event to go on from; by default what was pruned.
        until: number of the last one wanted; by default all there were at the beginning.

    Raises:
        TamperError: naming the first event that is not what was written.
    """
    path = database.path
    with database.reading() as db:
        pruned = anchor(db)
        last = ever(db) if until is None else until
        below = db.execute("SELECT seq FROM events WHERE seq <= ? LIMIT 1", (pruned[0],)).fetchone()
    if below is not None:
        raise TamperError(f"{path}: event {below[0]} is there, and was let go")
    seq, value = pruned if after is None else after
    while seq < last:
        with database.reading() as db:
            rows = db.execute(
                f"SELECT {COLUMNS}, seq, hash FROM events WHERE seq > ? AND seq <= ? "  # noqa: S608
                f"ORDER BY seq LIMIT {_PAGE}",
                (seq, last),
            ).fetchall()
            let_go = anchor(db)[0] > seq
        if let_go and (not rows or rows[0][9] != seq + 1):
            return
        if not rows:
            raise TamperError(f"{path}: events {seq + 1} to {last} are missing at the end")
        for row in rows:
            if row[9] != seq + 1:
                raise TamperError(f"{path}: event {seq + 1} is missing")
            seq, value = row[9], chain(value, row)
            if value != row[10]:
                raise TamperError(f"{path}: event {seq} ({row[0]}) or one before it was changed")
            yield seq, value
