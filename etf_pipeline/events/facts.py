"""From what a run left behind (manifests, tables) to events: twice gives the same ids."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from etf_pipeline.errors import CorruptFileError, EtfError, ReasonCode
from etf_pipeline.events.failed import stages_failed, whole_run_failed
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
from etf_pipeline.model.outcomes import GOOD, OutcomeKind
from etf_pipeline.model.sayable import sayable
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


class Unreadable(NamedTuple):
    """A manifest whose events cannot be told now."""

    manifest: Path
    code: ReasonCode
    why: str


class Told(NamedTuple):
    """What can be told of a record, and what cannot."""

    events: list[Event]
    unreadable: list[Unreadable]


def told_of_record(layout: Layout, record: LogRecord, instance: str) -> Told:
    """Events of one log record: of a materialisation, or of a run that failed."""
    if record.kind == "materialisation":
        if record.asset not in ASSETS:
            return Told([], [])
        path = layout.of(MANIFEST, record.asset, record.run_id, record.partition)
        return told_of_manifest(layout, path, instance)
    if record.kind in ("failure", "canceled"):
        return _failed_run(layout, record, instance)
    return Told([], [])


def _failed_run(layout: Layout, record: LogRecord, instance: str) -> Told:
    """What the run had come to before it failed, and that it failed."""
    found = Told([], [])
    for asset in ASSETS:
        for path in layout.manifests_of(asset, record.run_id):
            events, unreadable = told_of_manifest(layout, path, instance)
            found.events.extend(events)
            found.unreadable.extend(unreadable)
    told = any(e.channel == DATA for e in found.events)
    if record.ingests and not told and not found.unreadable:
        found.events.append(whole_run_failed(record, instance))
    found.events.extend(stages_failed(layout, record, instance))
    return found


def told_of_manifest(layout: Layout, path: Path, instance: str) -> Told:
    """Events of one manifest, or why there are none now; never an error for what it holds."""
    try:
        return Told(events_of_manifest(layout, path, instance), [])
    except FileNotFoundError:
        return Told([], [Unreadable(path, ReasonCode.RECORD_GONE, f"{path} is gone")])
    except EtfError as error:
        return Told([], [Unreadable(path, error.code, str(error))])
    except Exception as error:  # a manifest may hold anything, and no other waits for it
        log.exception("%s: its events cannot be told", path)
        why = f"{path}: {type(error).__name__}: {error}"
        return Told([], [Unreadable(path, ReasonCode.UNREADABLE_RECORD, why)])


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


def run_of_manifest(path: Path) -> str:
    """The run that a manifest is of; empty for a manifest without rows.

    Raises:
        CorruptFileError: it cannot be read.
    """
    runs = read_table(path, ["run_id"]).column("run_id")
    return str(runs[0]) if len(runs) else ""


def _ingest(row: Row) -> EventData | None:
    common = {
        "ticker": row["subject"],
        **{k: row[k] for k in ("run_id", "partition", "source")},
        # what earlier releases did not record
        **{k: row.get(k) for k in ("currency", "corrections")},
    }
    why = {
        "asset": row["asset"],
        "reason": sayable(row["reason"] or row["outcome"]),
        "reason_code": row.get("reason_code"),
    }
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
    }
    span["reason"] = None if span["reason"] is None else sayable(span["reason"])
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
    found = _published(layout, RISK_METRICS, rows)
    metrics: dict[str, dict[str, dict[str, Any]]] = {}
    parameters: dict[str, Any] = {}
    currencies: dict[str, str | None] = {}
    for r in found.rows:
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
            gone=found.gone,
            **_money(r, currencies.get(r["subject"])),
        )
        for r in rows
        if r["outcome"] in _CHANGED
    }


def _portfolios(layout: Layout, rows: list[Row]) -> dict[str, EventData | None]:
    weights = _published(layout, WEIGHTS, rows)
    held: dict[str, dict[str, float]] = {}
    for r in weights.rows:
        held.setdefault(r["portfolio"], {})[r["ticker"]] = r["weight"]
    summary = {} if weights.path is None else _summary(layout, layout.as_of(weights.path))
    found: dict[str, EventData | None] = {}
    for r in rows:
        if r["outcome"] == OutcomeKind.UNCHANGED:
            continue
        told = summary.get(r["subject"], {})
        success = r["outcome"] != OutcomeKind.FAILED
        found[r["subject"]] = PortfolioOptimized(
            portfolio=r["subject"],
            origin="pipeline",
            run_id=r["run_id"],
            as_of=r["last_date"],
            content_hash=r["content_hash"],
            parameters={k: told[k] for k in _ASKED if k in told},
            success=success,
            message=sayable(r["reason"] or ""),
            weights=held.get(r["subject"]),
            gone=weights.gone if success else None,
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


class _Found(NamedTuple):
    """The file that a manifest says was published, or why its values are not there any more."""

    path: Path | None = None
    rows: Sequence[Row] = ()
    gone: str | None = None


def _published(layout: Layout, table: Table, rows: list[Row]) -> _Found:
    """The file that a manifest says was published; none once it holds something else.

    Raises:
        CorruptFileError: the file cannot be read, so that it may still be that one.
    """
    row = next((r for r in rows if r["content_hash"] is not None), None)
    if row is None:
        return _Found()
    named, wanted = row.get("path"), row["content_hash"]
    if named is None:
        for path in _newest(layout, table):
            with contextlib.suppress(FileNotFoundError, CorruptFileError):
                if (held := _holding(path, wanted)) is not None:
                    return _Found(path, held)
        return _Found(gone="no file of the newest days holds what was published")
    path = layout.absolute(named)
    try:
        held = _holding(path, wanted)
    except FileNotFoundError:
        return _Found(gone=f"{named} was removed before this was recorded")
    if held is None:
        return _Found(gone=f"{named} was replaced before this was recorded")
    return _Found(path, held)


def _holding(path: Path, wanted: str) -> list[Row] | None:
    """The rows of a file with this content; None where it has another, or has it no longer."""
    if file_info(path).content_hash != wanted:
        return None
    rows: list[Row] = read_table(path).to_pylist()
    # a file may be replaced while it is read
    return rows if file_info(path).content_hash == wanted else None


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
