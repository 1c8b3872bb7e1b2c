"""What the files of a store say that must be told, and what its event log tells.

Read with pyarrow and sqlite3 alone.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

# A date, and these of a raw batch.
Row = tuple[Any, ...]
VALUES = ("close", "volume", "dividends")


@dataclass(frozen=True)
class Event:
    """An event of a local log."""

    id: str
    type: str
    subject: str
    data: dict[str, Any]


def events(store: Path) -> list[Event]:
    """In order of recording; empty without a log."""
    path = store / "events" / "events.sqlite"
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path, timeout=30.0)) as db:
        rows = db.execute("SELECT id, type, subject, data FROM events ORDER BY seq").fetchall()
    return [Event(i, t, s, json.loads(d)) for i, t, s, d in rows]


def collected(told: list[Event]) -> Counter[tuple[str, str]]:
    """How often it is told that a batch has rows of a ticker."""
    return Counter((e.data["batch_id"], e.subject) for e in told if e.type == "ETFDataCollected")


def published(told: list[Event], kind: str) -> Counter[tuple[str, str]]:
    """How often events of a kind tell of a subject and the hash of what was published."""
    return Counter((e.subject, e.data["content_hash"]) for e in told if e.type == kind)


def batches(store: Path) -> set[tuple[str, str]]:
    """Each raw batch and ticker that it has rows of."""
    found = set()
    for path in (store / "raw").glob("*/*.parquet"):
        tickers = pq.ParquetFile(path).read(["ticker"]).column("ticker").unique().to_pylist()
        found |= {(path.stem, ticker) for ticker in tickers}
    return found


def rows(store: Path) -> dict[str, list[Row]]:
    """Every row of a ticker that is in any raw batch, those of older batches first."""
    found: dict[str, list[Row]] = {}
    for path in sorted((store / "raw").glob("*/*.parquet"), key=lambda p: p.stem):
        for r in pq.ParquetFile(path).read(["ticker", "date", *VALUES]).to_pylist():
            found.setdefault(r["ticker"], []).append(_row(r["date"], [r[v] for v in VALUES]))
    return found


def said(frame: pd.DataFrame) -> set[Row]:
    """The rows that a source says."""
    values = frame[[v.capitalize() for v in VALUES]].to_numpy().tolist()
    return {_row(day.date(), row) for day, row in zip(frame.index, values, strict=True)}


def _row(day: dt.date, values: list[float]) -> Row:
    return (day, *map(float, values))


def content_hash(path: Path) -> str:
    """What a file of the store says that its content is."""
    meta = pq.ParquetFile(path).schema_arrow.metadata or {}
    return str(json.loads(meta[b"etf_pipeline"])["content_hash"])


def put_aside(store: Path) -> list[str]:
    """What of Dagster's record, and which manifests, could not be told."""
    path = store / "events" / "events.sqlite"
    with contextlib.closing(sqlite3.connect(path, timeout=30.0)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'parked'").fetchone():
            return []
        found = db.execute("SELECT name, position FROM parked WHERE kind <> 'kafka'").fetchall()
    return [f"{name} {position}" for name, position in found]
