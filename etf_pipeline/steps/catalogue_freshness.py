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
)
from etf_pipeline.sql.views import MACROS, VIEWS
from etf_pipeline.store.layout import Layout

# Raise when the catalogue is filled in another way, so that each is made anew.
VERSION = 7
_AT = Layout(Path())
# By view: the files it reads, as globs below the store.
FILES: dict[str, tuple[str, ...]] = {
    "prices": (_AT.pattern(HISTORY),),
    "currencies": (_AT.pattern(HISTORY),),
    "histories": (_AT.pattern(HISTORY),),
    "risk_metrics_history": (_AT.pattern(RISK_METRICS),),
    "correlations_history": (_AT.pattern(CORRELATIONS),),
    "weights_history": (_AT.pattern(WEIGHTS),),
    "portfolios_history": (_AT.pattern(SUMMARY),),
    "frontier_history": (_AT.pattern(FRONTIER),),
    "uncertainty_history": (_AT.pattern(UNCERTAINTY),),
    "backtests_history": (_AT.pattern(BACKTESTS),),
    "backtest_weights_history": (_AT.pattern(BACKTEST_WEIGHTS),),
    "backtest_events_history": (_AT.pattern(BACKTEST_EVENTS),),
    "quality": (_AT.pattern(QUARANTINE),),
    "corrections": (_AT.pattern(CORRECTIONS),),
    "runs": (_AT.pattern(MANIFEST),),
    "events": (_AT.pattern(EVENTS), _AT.event_log_pattern),
    "raw_answers": (_AT.pattern(RAW),),
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
    return [p for p in FILES[view] if next(layout.root.glob(p), None) is not None]


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of the last change of a file; −1 and −1 without one."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _same_user_files(db: duckdb.DuckDBPyConnection, layout: Layout) -> bool:
    """Whether users' own files, whose rows are in the catalogue, are as they were."""
    known = db.execute("SELECT name, size, modified FROM user_files").fetchall()
    folder = layout.folder(HISTORY)
    return all(stamp(folder / name) == (size, modified) for name, size, modified in known)


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
    if signature_of(db) == signature(layout, universe_file) and _same_user_files(db, layout):
        return db
    db.close()
    return None
