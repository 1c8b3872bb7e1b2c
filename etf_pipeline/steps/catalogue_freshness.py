"""Is the catalogue what it should be? Told without pandas or Arrow, whose import takes a second."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import duckdb

from etf_pipeline.model.schemas import (
    BACKTEST_EVENTS,
    BACKTEST_WEIGHTS,
    BACKTESTS,
    CORRECTIONS,
    CORRELATIONS,
    EVENTS,
    FRONTIER,
    HISTORY,
    MANIFEST,
    QUARANTINE,
    RAW,
    RISK_METRICS,
    SUMMARY,
    UNCERTAINTY,
    WEIGHTS,
    Table,
)
from etf_pipeline.sql.views import MACROS, VIEWS
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.listing import any_matching

# Raise when the catalogue is filled in another way, so that each is made anew.
VERSION = 9
_AT = Layout(Path())
_DAYS = {
    "risk_metrics": RISK_METRICS,
    "correlations": CORRELATIONS,
    "weights": WEIGHTS,
    "portfolios": SUMMARY,
    "frontier": FRONTIER,
    "uncertainty": UNCERTAINTY,
    "backtests": BACKTESTS,
    "backtest_weights": BACKTEST_WEIGHTS,
    "backtest_events": BACKTEST_EVENTS,
}
# By view: the table whose files it reads.
TABLE_OF: dict[str, Table] = {
    "prices": HISTORY,
    "currencies": HISTORY,
    "histories": HISTORY,
    "quality": QUARANTINE,
    "corrections": CORRECTIONS,
    "runs": MANIFEST,
    "events": EVENTS,
    "raw_answers": RAW,
    **_DAYS,
    **{f"{name}_history": table for name, table in _DAYS.items()},
}
# By view: those files, as globs below the store.
FILES: dict[str, tuple[str, ...]] = {
    view: (_AT.pattern(table), *([_AT.event_log_pattern] if table is EVENTS else []))
    for view, table in TABLE_OF.items()
}


def signature(layout: Layout, universe_file: Path) -> str:
    """What the catalogue depends on besides the content of the store's files."""
    universe = universe_file.read_bytes() if universe_file.is_file() else b""
    names = "\n".join(p.name for p in layout.files(HISTORY))
    return json.dumps(
        {
            "version": VERSION,
            "duckdb": duckdb.__version__,
            "root": str(layout.root.resolve()),
            "filled": {v: filled(layout, v) for v in FILES},
            "tickers": _digest(names.encode()),
            "universe": _digest(universe) if universe else "",
            # another release may have other views, or other columns in them
            "views": _digest(repr((VIEWS, MACROS)).encode()),
        },
        sort_keys=True,
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def filled(layout: Layout, view: str) -> list[str]:
    """Those globs of a view that match anything."""
    return [p for p in FILES[view] if any_matching(layout.root, p)]


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of the last change of a file; −1 and −1 without one."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _same_files(db: duckdb.DuckDBPyConnection, layout: Layout) -> bool:
    """Whether files that were read or refused when the catalogue was made are as they were."""
    for folder, table in ((layout.folder(HISTORY), "user_files"), (layout.root, "unfit_files")):
        known = db.execute(f"SELECT name, size, modified FROM {table}").fetchall()
        if any(stamp(folder / name) != (size, modified) for name, size, modified in known):
            return False
    return True


def signature_of(db: duckdb.DuckDBPyConnection) -> str | None:
    """The signature that a catalogue was made with, None when it is not one of ours."""
    try:
        row = db.execute("SELECT signature FROM catalogue_info").fetchone()
    except duckdb.Error:
        return None
    return None if row is None else str(row[0])


def open_fresh(layout: Layout, universe_file: Path) -> duckdb.DuckDBPyConnection | None:
    """The catalogue, opened for reading, if it may be used as it is."""
    if not layout.catalogue.exists():
        return None
    try:
        db = duckdb.connect(str(layout.catalogue), read_only=True)
    except duckdb.Error:
        return None
    if signature_of(db) == signature(layout, universe_file) and _same_files(db, layout):
        return db
    db.close()
    return None
