"""OpenLineage run events of what the orchestrator did, for Marquez, DataHub and their like.

Spec: OpenLineage 2-0-2. A Dagster run is the parent of a run per asset it materialised.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.facet_v2 import error_message_run, nominal_time_run, parent_run
from openlineage.client.serde import Serde

from etf_pipeline._version import __version__
from etf_pipeline.events.datasets import Datasets
from etf_pipeline.events.failed import stages_of
from etf_pipeline.events.model.envelope import Event, lineage_event, micros
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.model.sayable import sayable
from etf_pipeline.store.layout import Layout

if TYPE_CHECKING:
    from etf_pipeline.events.orchestrator import FailedStage, LogRecord

PRODUCER = f"urn:etf_pipeline:{__version__}"
_NAMESPACE = uuid.UUID("5f6d8a3e-3a57-5d6b-9c53-6b1c7f0d9e11")
_STATES = {
    "start": RunState.START,
    "success": RunState.COMPLETE,
    "failure": RunState.FAIL,
    "canceled": RunState.ABORT,
}


def lineage_events(
    layout: Layout,
    record: LogRecord,
    namespace: str,
    store: str,
    files: Mapping[str, Path] | None = None,
) -> list[Event]:
    """Run events of one log record of a store, ready to be recorded.

    Args:
        layout: paths of the store.
        record: what the orchestrator recorded.
        namespace: that of the jobs.
        store: id of the store.
        files: files that people edit, by their names in `model.lineage`.
    """
    made = _Made(record, namespace, Datasets(layout, files or {}))
    told = made.of_asset() if record.kind == "materialisation" else made.of_run()
    return [
        lineage_event(
            (record.run_id, asset, record.partition, str(e.eventType)),
            e.job.name,
            micros(dt.datetime.fromisoformat(e.eventTime)),
            json.dumps(json.loads(Serde.to_json(e)), separators=(",", ":")),
            store,
        )
        for asset, e in told
    ]


class _Made:
    """Run events of one record, each with the asset that it is of; empty for the run itself."""

    def __init__(self, record: LogRecord, namespace: str, datasets: Datasets) -> None:
        self._record = record
        self._namespace = namespace
        self._datasets = datasets

    def of_run(self) -> list[tuple[str, RunEvent]]:
        """How a run stands and, of one that failed, its stages, which have no other record."""
        record = self._record
        facets: dict[str, Any] = _nominal(record)
        if record.kind == "failure":
            facets |= _error(record.error or "the run failed")
        run, job = Run(_uuid(record.run_id), facets), Job(self._namespace, record.job)
        found = [("", self._event(_STATES[record.kind], record.time, run, job))]
        if record.kind in ("failure", "canceled"):
            for stage in stages_of(record):
                if stage.stage in LINEAGE:
                    found += self._failed(stage)
        return found

    def of_asset(self) -> list[tuple[str, RunEvent]]:
        """A run of its own for an asset that was made, below Dagster's run."""
        record, asset = self._record, self._record.asset or ""
        if asset not in LINEAGE:
            return []
        rows = record.metadata.get("dagster/row_count", record.metadata.get("rows_added"))
        run, job = self._run_of(asset), self._job_of(asset)
        done = self._event(
            RunState.COMPLETE,
            record.time,
            run,
            job,
            inputs=self._datasets.inputs(record, asset),
            outputs=self._datasets.outputs(asset, int(rows) if rows is not None else None),
        )
        return [(asset, self._begun(record.run_started, record.time, run, job)), (asset, done)]

    def _failed(self, stage: FailedStage) -> list[tuple[str, RunEvent]]:
        asset, run = stage.stage, self._run_of(stage.stage)
        state = RunState.ABORT if self._record.kind == "canceled" else RunState.FAIL
        failed = self._event(
            state,
            stage.ended,
            Run(run.runId, {**(run.facets or {}), **_error(stage.reason)}),
            self._job_of(asset),
            inputs=self._datasets.inputs(self._record, asset),
            outputs=self._datasets.outputs(asset),
        )
        begun = self._begun(stage.started, stage.ended, run, self._job_of(asset))
        return [(asset, begun), (asset, failed)]

    def _run_of(self, asset: str) -> Run:
        record = self._record
        parent = parent_run.ParentRunFacet(
            run=parent_run.Run(_uuid(record.run_id)),
            job=parent_run.Job(self._namespace, record.job),
        )
        run_id = str(uuid.uuid5(_NAMESPACE, f"{record.run_id}|{asset}|{record.partition}"))
        return Run(run_id, {"parent": parent, **_nominal(record)})

    def _job_of(self, asset: str) -> Job:
        return Job(self._namespace, f"etf_pipeline.{asset}")

    def _begun(self, at: dt.datetime | None, ended: dt.datetime, run: Run, job: Job) -> RunEvent:
        return self._event(RunState.START, min(at or ended, ended), run, job)

    @staticmethod
    def _event(state: RunState, at: dt.datetime, run: Run, job: Job, **datasets: Any) -> RunEvent:
        return RunEvent(
            eventTime=at.isoformat(),
            producer=PRODUCER,
            eventType=state,
            run=run,
            job=job,
            **datasets,
        )


def _error(message: str) -> dict[str, Any]:
    facet = error_message_run.ErrorMessageRunFacet(
        message=sayable(message), programmingLanguage="python"
    )
    return {"errorMessage": facet}


def _nominal(record: LogRecord) -> dict[str, Any]:
    if record.nominal is None:
        return {}
    return {"nominalTime": nominal_time_run.NominalTimeRunFacet(nominalStartTime=record.nominal)}


def _uuid(run_id: str) -> str:
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, run_id))
