"""From what a run left behind (manifests, tables) to events: twice gives the same ids."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import Any

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.events.model.envelope import Event, make_event
from etf_pipeline.events.model.types import (
    DATA,
    ETFDataCollected,
    ETFDataCollectionFailed,
    ETFDataRejected,
    ETFDataUpdated,
    EventData,
    PortfolioOptimized,
    RiskMetricsCalculated,
    rates_used,
)
from etf_pipeline.events.orchestrator import LogRecord
from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import GOOD, FailureKind, OutcomeKind
from etf_pipeline.model.schemas import MANIFEST, RISK_METRICS, SUMMARY, WEIGHTS, Table
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import file_info, read_table

log = logging.getLogger(__name__)
ASSETS = (assets.RAW_PRICES, assets.PRICE_HISTORY, assets.RISK_METRICS, assets.OPTIMISED_PORTFOLIOS)
_INGEST = (assets.RAW_PRICES, assets.PRICE_HISTORY)
_ASKED = ("objective", "risk_budget", "risk_free_rate")
_CHANGED = (OutcomeKind.COLLECTED, OutcomeKind.UPDATED)
# How many of the newest files are looked through for a manifest that names none.
_SEARCHED = 5
_LABELS = frozenset({"ticker", "window", "source", "benchmark", "risk_free"})
Row = dict[str, Any]


def events_of_record(layout: Layout, record: LogRecord, instance: str) -> list[Event]:
    """Events of one log record: of a materialisation, or of a run that failed."""
    if record.kind == "materialisation":
        if record.asset not in ASSETS:
            return []
        path = layout.of(MANIFEST, record.asset, record.run_id, record.partition)
        if not path.exists():
            log.error("%s: manifest %s is gone; its events cannot be told", record.asset, path)
            return []
        return events_of_manifest(layout, path, instance)
    if record.kind in ("failure", "canceled"):
        return _failed_run(layout, record, instance)
    return []


def _failed_run(layout: Layout, record: LogRecord, instance: str) -> list[Event]:
    """What the run had come to before it failed, and that it failed."""
    events: list[Event] = []
    for asset in ASSETS:
        for path in layout.manifests_of(asset, record.run_id):
            events += events_of_manifest(layout, path, instance)
    told = any(e.channel == DATA for e in events)
    if record.ingests and not told:
        subject = record.partition or "ALL"
        data = ETFDataCollectionFailed(
            ticker=subject,
            run_id=record.run_id,
            partition=record.partition,
            source="",
            asset=assets.RAW_PRICES,
            failure_kind=FailureKind.TRANSIENT,
            whole_run=True,
            reason=record.error or f"the run was {record.kind}",
        )
        identity = (record.run_id, "run", record.kind)
        events.append(make_event(data, subject, identity, record.time, instance))
    return events


def events_of_manifest(layout: Layout, path: Path, instance: str) -> list[Event]:
    """Events of one manifest; outcomes that changed nothing are none."""
    rows: list[Row] = read_table(path).to_pylist()
    if not rows:
        return []
    asset = rows[0]["asset"]
    if asset in _INGEST:
        payloads = {r["subject"]: _ingest(r) for r in rows}
    elif asset == assets.RISK_METRICS:
        payloads = _risk(layout, rows)
    else:
        payloads = _portfolios(layout, rows)
    events = []
    for row in rows:
        data = payloads.get(row["subject"])
        if data is not None:
            content = row["content_hash"] or row["batch_id"] or row["reason"] or ""
            identity = (row["run_id"], asset, row["partition"], row["outcome"], content)
            events.append(make_event(data, row["subject"], identity, row["recorded_at"], instance))
    return events


def _ingest(row: Row) -> EventData | None:
    common = {"ticker": row["subject"], **{k: row[k] for k in ("run_id", "partition", "source")}}
    why = {"asset": row["asset"], "reason": row["reason"] or row["outcome"]}
    if row["outcome"] == OutcomeKind.REJECTED:
        return ETFDataRejected(**common, **why)
    if row["outcome"] == OutcomeKind.FAILED:
        return ETFDataCollectionFailed(**common, **why, failure_kind=row["failure_kind"])
    # A batch without new rows may hold what the source says besides, and a history that is as it
    # was may be of a run that was killed before its event: whatever names a batch is told.
    if row["outcome"] not in GOOD or row["batch_id"] is None:
        return None
    span = {
        k: row[k]
        for k in ("rows_added", "rows_revised", "first_date", "last_date", "reason", "batch_id")
    } | {"currency": row.get("currency")}
    if row["asset"] == assets.RAW_PRICES:
        return ETFDataCollected(**common, **span, batch_hash=row.get("batch_hash"))
    return ETFDataUpdated(
        **common,
        **span,
        content_hash=row["content_hash"],
        rules_version=row.get("rules_version"),
        rows_quarantined=row["rows_quarantined"],
    )


def _risk(layout: Layout, rows: list[Row]) -> dict[str, EventData | None]:
    path = _published(layout, RISK_METRICS, rows)
    metrics: dict[str, dict[str, dict[str, Any]]] = {}
    parameters: dict[str, Any] = {}
    currencies: dict[str, str | None] = {}
    for r in read_table(path).to_pylist() if path is not None else ():
        currencies[r["ticker"]] = r.get("currency")
        values = {k: _plain(v) for k, v in r.items() if k not in _LABELS}
        metrics.setdefault(r["ticker"], {})[r["window"]] = values
        free = r.get("risk_free") or r["risk_free_rate"]
        parameters = {"risk_free_rate": free, "benchmark": r["benchmark"]}
    return {
        r["subject"]: RiskMetricsCalculated(
            ticker=r["subject"],
            origin="pipeline",
            run_id=r["run_id"],
            as_of=r["last_date"],
            content_hash=r["content_hash"],
            parameters=parameters,
            metrics=metrics.get(r["subject"]),
            **_money(r, currencies.get(r["subject"])),
        )
        for r in rows
        if r["outcome"] in _CHANGED
    }


def _portfolios(layout: Layout, rows: list[Row]) -> dict[str, EventData | None]:
    path = _published(layout, WEIGHTS, rows)
    held: dict[str, dict[str, float]] = {}
    for r in read_table(path).to_pylist() if path is not None else ():
        held.setdefault(r["portfolio"], {})[r["ticker"]] = r["weight"]
    summary = {} if path is None else _summary(layout, layout.as_of(path))
    found: dict[str, EventData | None] = {}
    for r in rows:
        if r["outcome"] == OutcomeKind.UNCHANGED:
            continue
        told = summary.get(r["subject"], {})
        found[r["subject"]] = PortfolioOptimized(
            portfolio=r["subject"],
            origin="pipeline",
            run_id=r["run_id"],
            as_of=r["last_date"],
            content_hash=r["content_hash"],
            parameters={k: told[k] for k in _ASKED if k in told},
            success=r["outcome"] != OutcomeKind.FAILED,
            message=r["reason"] or "",
            weights=held.get(r["subject"]),
            **_money(r),
            **{
                k: told.get(k)
                for k in ("expected_return", "volatility", "sharpe_ratio", "optimality_gap")
            },
        )
    return found


def _money(row: Row, otherwise: str | None = None) -> dict[str, Any]:
    """The currency of a manifest's row, and its exchange rates by pair; earlier ones have none."""
    return {"currency": row.get("currency") or otherwise, "fx": rates_used(row.get("fx"))}


def _published(layout: Layout, table: Table, rows: list[Row]) -> Path | None:
    """The file that a manifest says was published; None once it holds something else."""
    row = next((r for r in rows if r["content_hash"] is not None), None)
    if row is None:
        return None
    named = row.get("path")
    paths = _newest(layout, table) if named is None else [layout.absolute(named)]
    for path in paths:
        try:
            if file_info(path).content_hash == row["content_hash"]:
                return path
        except (FileNotFoundError, CorruptFileError):
            continue
    return None


def _newest(layout: Layout, table: Table) -> list[Path]:
    """Where to look for what a manifest tells of that an earlier release wrote, without a path."""
    return sorted(layout.files(table), reverse=True)[:_SEARCHED]


def _summary(layout: Layout, as_of: dt.date) -> dict[str, Row]:
    """The summary that was published with the weights of a day, by portfolio."""
    try:
        table = read_table(layout.of(SUMMARY, as_of))
    except (FileNotFoundError, CorruptFileError):
        return {}
    return {r["portfolio"]: r for r in table.to_pylist()}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.date) else value
