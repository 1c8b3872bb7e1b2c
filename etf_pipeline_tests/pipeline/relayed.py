"""Materialisations on a Dagster instance without runs, and what became of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import dagster as dg

from etf_pipeline.events.orchestrator import LogRecord
from etf_pipeline.events.protocol import Events
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline_tests.events_support import T0


def materialise(instance: dg.DagsterInstance, layout: Layout, n: int, first: int = 0) -> list[str]:
    """`n` runs of the download step, as Dagster records them; returns the tickers, in order."""
    tickers = []
    for i in range(first, first + n):
        tickers.append(download(layout, i))
        record(instance, layout, i)
    return tickers


def download(layout: Layout, i: int, run_id: str = "", at: dt.datetime = T0) -> str:
    """What the download step of a run at `at` leaves in the store; returns its ticker."""
    run_id = run_id or f"run{i:05d}"
    ticker = f"T{i:05d}"
    outcome = Outcome(ticker, OutcomeKind.COLLECTED, batch_id=f"batch{i}", batch_hash="ab" * 32)
    write_manifest(layout, "raw_prices", run_id, "XASX", [outcome], at, "yahoo")
    return ticker


def record(instance: dg.DagsterInstance, layout: Layout, i: int) -> None:
    """What Dagster records of it."""
    path = layout.of(MANIFEST, "raw_prices", f"run{i:05d}", "XASX").resolve()
    metadata = {"run_id": f"run{i:05d}", "manifest": dg.MetadataValue.path(str(path))}
    instance.report_runless_asset_event(
        dg.AssetMaterialization("raw_prices", partition="XASX", metadata=metadata)
    )


class RunlessLog(DagsterLog):
    """Runless events have no run of their own: these carry it in their metadata."""

    def _record(self, kind: Any, record: Any) -> LogRecord:
        found = super()._record(kind, record)
        run_id = str(found.metadata.get("run_id", found.run_id))
        return LogRecord(**(vars(found) | {"run_id": run_id}))


def relayed_tickers(recorder: Events) -> list[str]:
    """Tickers of the downloads that were told, in order of telling."""
    return [e.subject for b in recorder.log.read() for e in b if e.type == "ETFDataCollected"]
