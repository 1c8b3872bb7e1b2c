"""Run manifests: what a run did, a row per ticker or portfolio."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.model.sayable import sayable
from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.writer import publish

_ENUMS = {"outcome": OutcomeKind, "failure_kind": FailureKind, "reason_code": ReasonCode}


def write_manifest(
    layout: Layout,
    asset: str,
    run_id: str,
    partition: str,
    outcomes: Iterable[Outcome],
    recorded_at: dt.datetime,
    source: str,
    corrections: str | None = None,
) -> Path:
    """Publish the manifest of one asset of one run; a step run again replaces its own.

    `source` is that of outcomes which name none, `corrections` the version that counted.
    """
    path = layout.of(MANIFEST, asset, run_id, partition)
    publish_manifest(path, asset, run_id, partition, outcomes, recorded_at, source, {}, corrections)
    return path


def publish_manifest(
    path: Path,
    asset: str,
    run_id: str,
    partition: str,
    outcomes: Iterable[Outcome],
    recorded_at: dt.datetime,
    source: str,
    extra: Mapping[str, object],
    corrections: str | None = None,
) -> None:
    """The same in a file of the caller's choice, with more in its footer."""
    rows = sorted(outcomes, key=lambda o: o.subject)
    columns: dict[str, list[object]] = {
        name: [getattr(o, name) for o in rows]
        for name in MANIFEST.names
        if name in Outcome.__dataclass_fields__ and name not in ("source", "reason")
    }
    columns |= {
        "run_id": [run_id] * len(rows),
        "asset": [asset] * len(rows),
        "partition": [partition] * len(rows),
        "corrections": [corrections] * len(rows),
        # An error may quote the bytes of a name or of an answer, which no table can hold.
        "reason": [None if o.reason is None else sayable(o.reason) for o in rows],
        "source": [o.source or source for o in rows],
        "recorded_at": [recorded_at] * len(rows),
    }
    table = pa.table({n: columns[n] for n in MANIFEST.names}, schema=MANIFEST.arrow)
    # A manifest without rows has no other place for the time.
    said = {"asset": asset, "run_id": run_id, "partition": partition}
    said["recorded_at"] = recorded_at.isoformat()
    publish(path, MANIFEST, table, said | dict(extra))


def read_manifest(path: Path) -> list[Outcome]:
    """Outcomes of one manifest file."""
    return [outcome_of(row) for row in read_table(path).to_pylist()]


def outcome_of(row: Mapping[str, Any]) -> Outcome:
    """An outcome of its values by name; others are passed over."""
    fields = Outcome.__dataclass_fields__
    return Outcome(**{k: _typed(k, v) for k, v in row.items() if k in fields})


def _typed(name: str, value: Any) -> Any:
    """A column's value as `Outcome` has it; a code of a later release is kept as unexpected."""
    kind = _ENUMS.get(name)
    if kind is None or value is None:
        return value
    try:
        return kind(value)
    except ValueError:
        return ReasonCode.UNEXPECTED if kind is ReasonCode else value


def recent_manifests(layout: Layout, asset: str, limit: int = 50) -> list[Path]:
    """Manifest files of an asset, newest first."""
    files = layout.manifest_files(asset)
    return sorted(files, key=lambda p: p.stat().st_mtime_ns, reverse=True)[:limit]
