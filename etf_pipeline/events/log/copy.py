"""The local event log as Parquet, `events/log/`, because DuckDB cannot read SQLite by itself.

A file holds the events of a range of sequence numbers. Only the newest is ever written again, so
that bringing the copy up to date costs what is new and at most one file, however long the log is;
and files are small, as every question in SQL may find some events more.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.table import to_table
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.model.schemas import EVENTS
from etf_pipeline.store.event_marks import copied, logged
from etf_pipeline.store.forks import unforked
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.writer import publish, write_text

EVENTS_PER_FILE = 5_000


def copy_log(layout: Layout, per_file: int = EVENTS_PER_FILE) -> None:
    """Bring the copy up to date, if it is not; the caller holds the catalogue's lock."""
    newest, before = logged(layout), copied(layout)
    if newest == before:
        return
    done = _still_there(layout.event_log, before) if newest else 0
    if done == 0:  # none, or another log than the one that was copied
        _remove(layout.event_log_parts())
    if newest:
        _copy(layout, done, per_file)
    # As of before the events were read: at worst the newest file is written once more.
    write_text(layout.event_log_copied, newest)


def _copy(layout: Layout, done: int, per_file: int) -> None:
    log = SqliteLog(layout.event_log)
    try:
        first = done + 1 - (done + 1) % per_file
        held: list[Event] = []
        for batch in log.read(start=dict.fromkeys(((c, 0) for c in CHANNELS), first)):
            for event in batch:
                if held and held[0].position // per_file != event.position // per_file:
                    _publish(layout, held, per_file)
                    held = []
                held.append(event)
        if held:
            _publish(layout, held, per_file)
        pruned = log.anchor()[0]
    finally:
        log.close()
    # What was pruned is in the archive, which the view reads too.
    _remove(p for p in layout.event_log_parts() if int(p.stem) <= pruned and _last(p) <= pruned)


def _publish(layout: Layout, events: list[Event], per_file: int) -> None:
    first = events[0].position // per_file * per_file
    publish(layout.event_log_part(first), EVENTS, to_table(events))


def _last(path: Path) -> int:
    """The greatest number in a file; earlier releases had more in each."""
    footer = pq.read_metadata(path)
    column = footer.schema.to_arrow_schema().get_field_index("position")
    groups = (footer.row_group(i).column(column).statistics for i in range(footer.num_row_groups))
    return max((int(g.max) for g in groups), default=0)


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        path.unlink(missing_ok=True)


def _still_there(log: Path, mark: str) -> int:
    """Sequence number of the event that was copied last, 0 when this log does not hold it."""
    seq, _, digest = mark.partition(" ")
    if not seq.isdigit():
        return 0
    with unforked(), contextlib.closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as db:
        row = db.execute("SELECT hex(hash) FROM events WHERE seq = ?", (int(seq),)).fetchone()
    return int(seq) if row is not None and row[0] == digest else 0
