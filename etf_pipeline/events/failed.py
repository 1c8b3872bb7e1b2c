"""Events of runs that failed or were stopped: which stage, why, and whom it concerns."""

from __future__ import annotations

import contextlib

from etf_pipeline.errors import CorruptFileError, ReasonCode
from etf_pipeline.events.model.envelope import Event, make_event
from etf_pipeline.events.model.types import ETFDataCollectionFailed, PipelineStageFailed
from etf_pipeline.events.orchestrator import FailedStage, LogRecord
from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import GOOD, FailureKind
from etf_pipeline.model.sayable import sayable
from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table

WHOLE_RUN = "run"
# Whose subjects a stage would have had, where it came to no outcomes of its own.
_BEFORE = {assets.PRICE_HISTORY: assets.RAW_PRICES}


def whole_run_failed(record: LogRecord, instance: str) -> Event:
    """The download of a whole partition failed: no ticker's outcome is known."""
    subject = record.partition or "ALL"
    data = ETFDataCollectionFailed(
        ticker=subject,
        run_id=record.run_id,
        partition=record.partition,
        source="",
        asset=assets.RAW_PRICES,
        failure_kind=FailureKind.TRANSIENT,
        whole_run=True,
        reason=sayable(record.error or f"the run was {record.kind}"),
        reason_code=stages_of(record)[0].code,
    )
    identity = (record.run_id, "run", record.kind)
    return make_event(data, subject, identity, record.time, instance)


def stages_failed(layout: Layout, record: LogRecord, instance: str) -> list[Event]:
    """An event for each stage of a run that failed, or for the run where none had begun."""
    return [_stage_failed(layout, record, stage, instance) for stage in stages_of(record)]


def stages_of(record: LogRecord) -> tuple[FailedStage, ...]:
    """The stages that failed; the whole run as one where none had begun."""
    if record.stages:
        return record.stages
    canceled = record.kind == "canceled"
    code = ReasonCode.INTERRUPTED if canceled else ReasonCode.UNEXPECTED
    reason = record.error or ("somebody stopped the run" if canceled else "the run failed")
    return (FailedStage(WHOLE_RUN, code, reason, record.time, record.run_started),)


def _stage_failed(layout: Layout, record: LogRecord, stage: FailedStage, instance: str) -> Event:
    where = f"{stage.stage}/{record.partition}" if record.partition else stage.stage
    data = PipelineStageFailed(
        run_id=record.run_id,
        job=record.job,
        stage=stage.stage,
        partition=record.partition,
        canceled=record.kind == "canceled",
        reason_code=stage.code,
        reason=sayable(stage.reason),
        subjects=_subjects(layout, record, stage.stage),
    )
    return make_event(data, where, (record.run_id, stage.stage), stage.ended, instance)


def _subjects(layout: Layout, record: LogRecord, stage: str) -> list[str]:
    """Tickers or portfolios that did not come out, as far as manifests of the run say."""
    for asset, all_of in ((stage, False), (_BEFORE.get(stage), True)):
        if asset is None:
            continue
        path = layout.of(MANIFEST, asset, record.run_id, record.partition)
        with contextlib.suppress(FileNotFoundError, CorruptFileError):
            rows = read_table(path, ["subject", "outcome"]).to_pylist()
            return sorted(r["subject"] for r in rows if all_of or r["outcome"] not in GOOD)
    return []
