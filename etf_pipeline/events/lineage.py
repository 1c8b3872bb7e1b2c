"""OpenLineage run events of what the orchestrator did, for Marquez, DataHub and their like.

Spec: OpenLineage 2-0-2. A Dagster run is the parent of a run per asset it materialised.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import TYPE_CHECKING, Any

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    dataset_version_dataset,
    datasource_dataset,
    error_message_run,
    nominal_time_run,
    output_statistics_output_dataset,
    parent_run,
    schema_dataset,
)
from openlineage.client.serde import Serde

from etf_pipeline._version import __version__
from etf_pipeline.errors import CorruptFileError
from etf_pipeline.events.model.envelope import Event, lineage_event, micros
from etf_pipeline.events.model.types import rates_used
from etf_pipeline.model import assets
from etf_pipeline.model.lineage import DATASETS
from etf_pipeline.model.schemas import HISTORY, MANIFEST
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table

if TYPE_CHECKING:
    from etf_pipeline.events.orchestrator import LogRecord

PRODUCER = f"urn:etf_pipeline:{__version__}"
_NAMESPACE = uuid.UUID("5f6d8a3e-3a57-5d6b-9c53-6b1c7f0d9e11")
_STATES = {
    "start": RunState.START,
    "success": RunState.COMPLETE,
    "failure": RunState.FAIL,
    "canceled": RunState.ABORT,
}


def lineage_events(layout: Layout, record: LogRecord, namespace: str, store: str) -> list[Event]:
    """Run events of one log record of a store; `namespace` is that of the jobs."""
    if record.kind == "materialisation":
        made = _asset_events(layout, record, namespace)
    else:
        made = _run(record, namespace)
    return [
        lineage_event(
            (record.run_id, record.asset or "", record.partition, str(e.eventType)),
            e.job.name,
            micros(dt.datetime.fromisoformat(e.eventTime)),
            json.dumps(json.loads(Serde.to_json(e)), separators=(",", ":")),
            store,
        )
        for e in made
    ]


def _run(record: LogRecord, namespace: str) -> list[RunEvent]:
    facets: dict[str, Any] = _nominal(record)
    if record.kind == "failure":
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            message=record.error or "the run failed", programmingLanguage="python"
        )
    return [
        RunEvent(
            eventTime=record.time.isoformat(),
            producer=PRODUCER,
            eventType=_STATES[record.kind],
            run=Run(_uuid(record.run_id), facets),
            job=Job(namespace, record.job),
        )
    ]


def _asset_events(layout: Layout, record: LogRecord, namespace: str) -> list[RunEvent]:
    asset = record.asset or ""
    if asset not in DATASETS:
        return []
    parent = parent_run.ParentRunFacet(
        run=parent_run.Run(_uuid(record.run_id)),
        job=parent_run.Job(namespace, record.job),
    )
    run_id = str(uuid.uuid5(_NAMESPACE, f"{record.run_id}|{asset}|{record.partition}"))
    run = Run(run_id, {"parent": parent, **_nominal(record)})
    job = Job(namespace, f"etf_pipeline.{asset}")
    inputs = [
        InputDataset("file", _name(layout, source), facets=_facets(layout, source))
        for source in DATASETS[asset].reads
    ] + _rates(layout, record, asset)
    rows = record.metadata.get("dagster/row_count", record.metadata.get("rows_added"))
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=int(rows) if rows is not None else None
    )
    output = OutputDataset(
        "file",
        _name(layout, asset),
        {"outputStatistics": statistics},
        facets=_facets(layout, asset) | _columns(layout, asset),
    )
    started = record.run_started or record.time
    return [
        RunEvent(
            eventTime=min(started, record.time).isoformat(),
            producer=PRODUCER,
            eventType=RunState.START,
            run=run,
            job=job,
        ),
        RunEvent(
            eventTime=record.time.isoformat(),
            producer=PRODUCER,
            eventType=RunState.COMPLETE,
            run=run,
            job=job,
            inputs=inputs,
            outputs=[output],
        ),
    ]


def _rates(layout: Layout, record: LogRecord, asset: str) -> list[InputDataset]:
    """Histories of the currency pairs that prices were converted with, each in its version."""
    try:
        rows = read_table(layout.of(MANIFEST, asset, record.run_id, record.partition))
    except (FileNotFoundError, CorruptFileError):
        return []
    named = rows.column("fx").to_pylist() if "fx" in rows.column_names else []
    used: dict[str, str | None] = {}
    for one in named:
        used |= rates_used(one) or {}
    return [
        InputDataset(
            "file",
            layout.of(HISTORY, pair).resolve().as_posix(),
            facets=_facets(layout, assets.PRICE_HISTORY)
            | (
                {"version": dataset_version_dataset.DatasetVersionDatasetFacet(digest)}
                if digest
                else {}
            ),
        )
        for pair, digest in sorted(used.items())
    ]


def _nominal(record: LogRecord) -> dict[str, Any]:
    if record.nominal is None:
        return {}
    return {"nominalTime": nominal_time_run.NominalTimeRunFacet(nominalStartTime=record.nominal)}


def _name(layout: Layout, asset: str) -> str:
    return layout.folder(DATASETS[asset].table).resolve().as_posix()


def _facets(layout: Layout, asset: str) -> dict[str, Any]:
    table = DATASETS[asset].table
    fields = [
        schema_dataset.SchemaDatasetFacetFields(c.name, str(c.type), c.description)
        for c in table.columns
    ]
    root = layout.root.resolve()
    return {
        "schema": schema_dataset.SchemaDatasetFacet(fields=fields),
        "dataSource": datasource_dataset.DatasourceDatasetFacet(root.name, root.as_uri()),
    }


def _columns(layout: Layout, asset: str) -> dict[str, Any]:
    """Which input columns each output column comes from."""
    fields = {
        column: column_lineage_dataset.Fields(
            [
                column_lineage_dataset.InputField("file", _name(layout, source), name)
                for source, name in origins
            ]
        )
        for column, origins in DATASETS[asset].columns.items()
    }
    if not fields:
        return {}
    return {"columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet(fields=fields)}


def _uuid(run_id: str) -> str:
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, run_id))
