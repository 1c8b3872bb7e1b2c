"""Which numbers of each log and channel were taken in, as spans without a gap, in SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from etf_pipeline.errors import EventFormatError
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.numbered import Span, holes, joined
from etf_pipeline.events.model.numbers import Gap
from etf_pipeline.events.model.types import CHANNELS, EventsLost

SPANS = """
CREATE TABLE IF NOT EXISTS spans (
  log TEXT, channel TEXT, first INTEGER, last INTEGER NOT NULL,
  PRIMARY KEY (log, channel, first)) WITHOUT ROWID;
"""


def note_numbers(db: sqlite3.Connection, events: Iterable[Event]) -> None:
    """These events were taken in; those without a number say nothing."""
    groups: dict[tuple[str, str], list[int]] = {}
    for event in events:
        if event.number:
            groups.setdefault((event.log, event.channel), []).append(event.number)
    for key, numbers in groups.items():
        first, last = min(numbers), max(numbers)
        if last - first + 1 == len(numbers) == len(set(numbers)):
            _note(db, key, [(first, last)])
        else:
            _note(db, key, joined([(n, n) for n in sorted(numbers)]))


def note_lost(db: sqlite3.Connection, events: Iterable[Event]) -> None:
    """What these events declare lost for good is missed no more."""
    for event in events:
        if event.type == EventsLost.__name__:
            with contextlib.suppress(EventFormatError):  # of a newer release
                lost = cast(EventsLost, event.payload())
                if lost.partition is None:
                    _note(db, (lost.log, lost.channel), [(lost.first, lost.last)])


def _note(db: sqlite3.Connection, key: tuple[str, str], runs: Sequence[Span]) -> None:
    # The span that begins before the first number may reach into it.
    low = db.execute(
        "SELECT coalesce(max(first), 0) FROM spans WHERE log = ? AND channel = ? AND first <= ?",
        (*key, runs[0][0]),
    ).fetchone()[0]
    where = "log = ? AND channel = ? AND first BETWEEN ? AND ?"
    span = (*key, low, runs[-1][1] + 1)
    there = db.execute(
        f"SELECT first, last FROM spans WHERE {where} ORDER BY first",  # noqa: S608
        span,
    ).fetchall()
    after = joined(sorted([*there, *runs]))
    if after != there:
        db.execute(f"DELETE FROM spans WHERE {where}", span)  # noqa: S608
        db.executemany("INSERT INTO spans VALUES (?, ?, ?, ?)", [(*key, *s) for s in after])


def gaps_in(db: sqlite3.Connection, given: Mapping[tuple[str, str], int]) -> list[Gap]:
    """What is missing below the greatest number taken in, or known to have been given.

    Of channels that are taken in: what is declared lost may be of others too.
    """
    found: dict[tuple[str, str], list[Span]] = {key: [] for key in given}
    rows = db.execute("SELECT log, channel, first, last FROM spans ORDER BY log, channel, first")
    for log, channel, first, last in rows:
        if channel in CHANNELS:
            found.setdefault((log, channel), []).append((first, last))
    return [
        Gap(*key, *hole)
        for key, spans in sorted(found.items())
        for hole in holes(spans, given.get(key, 0))
    ]
