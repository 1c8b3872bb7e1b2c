"""Is the catalogue what it should be? Told without pandas or Arrow, whose import takes a second."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from pathlib import Path

import duckdb

from etf_pipeline.model.schemas import (
    BACKTESTS,
    CORRELATIONS,
    EVENTS,
    FRONTIER,
    HISTORY,
    MANIFEST,
    QUARANTINE,
    RAW,
    RISK_METRICS,
    SUMMARY,
    WEIGHTS,
)
from etf_pipeline.settings import environment
from etf_pipeline.sql.safe import Limits, SafeConnection
from etf_pipeline.store.layout import Layout

VERSION = 2
_AT = Layout(Path())
# By view: the files it reads, as globs below the store.
FILES: dict[str, tuple[str, ...]] = {
    "prices": (_AT.pattern(HISTORY),),
    "risk_metrics_history": (_AT.pattern(RISK_METRICS),),
    "correlations_history": (_AT.pattern(CORRELATIONS),),
    "weights_history": (_AT.pattern(WEIGHTS),),
    "portfolios_history": (_AT.pattern(SUMMARY),),
    "frontier_history": (_AT.pattern(FRONTIER),),
    "backtests_history": (_AT.pattern(BACKTESTS),),
    "quality": (_AT.pattern(QUARANTINE),),
    "runs": (_AT.pattern(MANIFEST),),
    "events": (_AT.pattern(EVENTS), f"{_AT.relative(_AT.event_log_copy)}/*.parquet"),
    "raw_answers": (_AT.pattern(RAW),),
}


def signature(root: Path, universe_file: Path) -> str:
    """What the views depend on besides the content of the files."""
    digest = (
        hashlib.sha256(universe_file.read_bytes()).hexdigest() if universe_file.is_file() else ""
    )
    names = "\n".join(sorted(p.name for p in Layout(root).files(HISTORY)))
    return json.dumps(
        {
            "version": VERSION,
            "duckdb": duckdb.__version__,
            "root": str(root.resolve()),
            "filled": {v: filled(root, v) for v in FILES},
            "tickers": hashlib.sha256(names.encode()).hexdigest(),
            "universe": digest,
        },
        sort_keys=True,
    )


def filled(root: Path, view: str) -> list[str]:
    """Those globs of a view that match anything."""
    return [pattern for pattern in FILES[view] if next(root.glob(pattern), None) is not None]


def signature_of(db: duckdb.DuckDBPyConnection) -> str | None:
    """The signature that a catalogue was made with, None when it is not one of ours."""
    try:
        row = db.execute("SELECT signature FROM catalogue_info").fetchone()
    except duckdb.Error:
        return None
    return None if row is None else str(row[0])


def logged(root: Path) -> str:
    """Number and hash of the newest event in the local log, empty without one."""
    path = Layout(root).event_log
    if not path.exists():
        return ""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            newest = "SELECT seq || ' ' || hex(hash) FROM events ORDER BY seq DESC LIMIT 1"
            row = db.execute(newest).fetchone()
        except sqlite3.Error:
            return ""
    return str(row[0]) if row else ""


def copied(root: Path) -> str:
    """The same of the newest event that is copied to `events/log/`."""
    try:
        return Layout(root).event_log_copied.read_text()
    except OSError:
        return ""


def open_fresh(root: Path, universe_file: Path) -> duckdb.DuckDBPyConnection | None:
    """The catalogue, opened for reading, if it may be used as it is."""
    path = Layout(root).catalogue
    if not path.exists() or logged(root) != copied(root):
        return None
    try:
        db = duckdb.connect(str(path), read_only=True)
    except duckdb.Error:
        return None
    if signature_of(db) == signature(root, universe_file):
        return db
    db.close()
    return None


def open_catalogue(root: Path, universe_file: Path, limits: Limits | None = None) -> SafeConnection:
    """A safe connection to the store's catalogue, made or mended first where it has to be.

    Raises:
        StoreError: there is no store, or its folder cannot be written.
    """
    db = open_fresh(root, universe_file)
    if db is None:
        from etf_pipeline.steps.catalogue import ensure_catalogue

        db = duckdb.connect(str(ensure_catalogue(root, universe_file)), read_only=True)
    return SafeConnection(db, root, limits)


def places(data_dir: Path | None) -> tuple[Path, Path]:
    """Store and universe file, as the settings have them."""
    return data_dir or environment.data_dir(), environment.universe_file()
