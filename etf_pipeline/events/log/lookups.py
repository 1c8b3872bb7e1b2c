"""What is looked up in the file of a local log by ids, some at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from etf_pipeline.events.model.envelope import Event

T = TypeVar("T")


def known_events(db: sqlite3.Connection, events: Iterable[Event]) -> dict[str, int]:
    """Sequence number by id of those that are in the log."""
    found: dict[str, int] = {}
    for chunk in chunks(list(events)):
        marks = ",".join(["(?,?)"] * len(chunk))
        query = f"SELECT id, seq FROM events WHERE (time_us, id) IN (VALUES {marks})"  # noqa: S608
        found.update(db.execute(query, [v for e in chunk for v in (e.time_us, e.id)]))
    return found


def last_alike(db: sqlite3.Connection, events: Sequence[Event]) -> dict[str, int]:
    """By channel, the last event of the log that is among these, under the number it has here."""
    numbers, found = {e.id: e.number for e in events}, dict[str, int]()
    for chunk in chunks(list(known_events(db, events).values())):
        query = "SELECT id, channel, seq, number FROM events WHERE seq IN "
        marks = f"({','.join('?' * len(chunk))})"
        for name, channel, seq, number in db.execute(query + marks, chunk):
            if numbers[name] == number:
                found[channel] = max(seq, found.get(channel, 0))
    return found


def chunks(values: Sequence[T], size: int = 500) -> Iterator[list[T]]:
    """Values in parts that fit the parameters of one statement."""
    for i in range(0, len(values), size):
        yield list(values[i : i + size])
