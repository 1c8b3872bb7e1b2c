"""How far the local event log goes, and how far it is copied to `events/log/`.

Told without pandas or Arrow, whose import takes a second.
"""

from __future__ import annotations

import contextlib
import sqlite3

from etf_pipeline.store.closed import is_there
from etf_pipeline.store.forks import unforked
from etf_pipeline.store.layout import Layout


def logged(layout: Layout) -> str:
    """Number and hash of the newest event in the local log, empty without one."""
    path = layout.event_log
    if not is_there(path):
        return ""
    with unforked(), contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            newest = "SELECT seq || ' ' || hex(hash) FROM events ORDER BY seq DESC LIMIT 1"
            row = db.execute(newest).fetchone()
        except sqlite3.Error:
            return ""
    return str(row[0]) if row else ""


def copied(layout: Layout) -> str:
    """The same of the newest event that is copied."""
    try:
        return layout.event_log_copied.read_text()
    except OSError:
        return ""
