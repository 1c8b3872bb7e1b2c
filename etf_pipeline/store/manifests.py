"""Run manifests: what a run did, a row per ticker or portfolio."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.writer import publish

GOOD = frozenset({"collected", "updated", "unchanged"})


@dataclass(frozen=True)
class Outcome:
    """What happened to one ticker (or portfolio) in one asset of one run."""

    subject: str
    outcome: str
    reason: str | None = None
    failure_kind: str | None = None
    rows_added: int = 0
    rows_revised: int = 0
    rows_quarantined: int = 0
    first_date: dt.date | None = None
    last_date: dt.date | None = None
    content_hash: str | None = None
    batch_id: str | None = None
    batch_hash: str | None = None
    rules_version: int | None = None
    source: str = ""

    @property
    def good(self) -> bool:
        """Whether the subject is in the state that was asked for."""
        return self.outcome in GOOD


def write_manifest(
    layout: Layout,
    asset: str,
    run_id: str,
    partition: str,
    outcomes: Iterable[Outcome],
    recorded_at: dt.datetime,
    source: str,
) -> Path:
    """Publish the manifest of one asset of one run; a step run again replaces its own."""
    rows = sorted(outcomes, key=lambda o: o.subject)
    columns: dict[str, list[object]] = {
        name: [getattr(o, name) for o in rows]
        for name in MANIFEST.names
        if name not in ("run_id", "asset", "partition", "source", "recorded_at")
    }
    columns |= {
        "run_id": [run_id] * len(rows),
        "asset": [asset] * len(rows),
        "partition": [partition] * len(rows),
        "source": [o.source or source for o in rows],
        "recorded_at": [recorded_at] * len(rows),
    }
    table = pa.table({n: columns[n] for n in MANIFEST.names}, schema=MANIFEST.arrow)
    path = layout.manifest(asset, run_id, partition)
    publish(path, MANIFEST, table, {"asset": asset, "run_id": run_id, "partition": partition})
    return path


def read_manifest(path: Path) -> list[Outcome]:
    """Outcomes of one manifest file."""
    rows = read_table(path).to_pylist()
    fields = Outcome.__dataclass_fields__
    return [Outcome(**{k: v for k, v in row.items() if k in fields}) for row in rows]


def recent_manifests(layout: Layout, asset: str, limit: int = 50) -> list[Path]:
    """Manifest files of an asset, newest first."""
    folder = layout.root / "manifests" / asset
    return sorted(folder.glob("*.parquet"), key=lambda p: p.stat().st_mtime_ns, reverse=True)[
        :limit
    ]
