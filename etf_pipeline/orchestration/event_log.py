"""Dagster's event log, read for the tailer."""

from __future__ import annotations

import datetime as dt
import sys
import uuid
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster import DagsterEventType, EventLogRecord

from etf_pipeline.errors import ReasonCode
from etf_pipeline.events.orchestrator import FailedStage, Kind, LogRecord, Open
from etf_pipeline.model import assets
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.orchestration.failures import run_failure, step_failure_of
from etf_pipeline.orchestration.jobs import INGEST, STORE_ID_TAG, STORE_TAG
from etf_pipeline.orchestration.slots import died

_RUN_KINDS: dict[DagsterEventType, Kind] = {
    DagsterEventType.RUN_START: "start",
    DagsterEventType.RUN_SUCCESS: "success",
    DagsterEventType.RUN_FAILURE: "failure",
    DagsterEventType.RUN_CANCELED: "canceled",
}
# A run may end twice: who was taken for dead, or was cancelled, finds out later, and says so too.
_BAD_ENDS = {DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}
_STEP_KINDS = {
    DagsterEventType.STEP_START,
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_SKIPPED,
    DagsterEventType.STEP_UP_FOR_RETRY,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELED,
}
# Metadata that names files of the store.
_PLACES = ("dagster/uri", "manifest")
_IDENTITY = "etf_pipeline/instance"
_SCHEDULED = ".dagster/scheduled_execution_time"
_PAGE = 500
# A transaction has this lock before it is given an id, and until its records are there to be read.
_WRITERS = sa.text(
    "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE mode = 'RowExclusiveLock' AND granted "
    "AND relation = 'event_logs'::regclass AND database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database())"
)


class DagsterLog:
    """`orchestrator.OrchestratorLog` over a Dagster instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._runs: dict[str, Any] = {}

    @cached_property
    def instance(self) -> str:
        """Id of the instance, an entry of our own in its own storage."""
        storage = self._instance.daemon_cursor_storage
        if found := storage.get_cursor_values({_IDENTITY}).get(_IDENTITY):
            return found
        storage.set_cursor_values({_IDENTITY: str(uuid.uuid4())})
        # read back: another process may have been quicker
        return storage.get_cursor_values({_IDENTITY})[_IDENTITY]

    @property
    def where(self) -> str:
        """Dagster's home; its databases may be elsewhere."""
        return self._instance.root_directory

    def going_on(self, run_id: str) -> bool:
        """Whether a run is unfinished, and its process not known to be gone."""
        run = self._instance.get_run_by_id(run_id)
        return run is not None and not run.is_finished and not died(run)

    def head(self) -> int:
        """The greatest id there is, 0 for an empty log."""
        return self._instance.event_log_storage.get_maximum_record_id() or 0

    def open(self) -> Open | None:
        """Which transactions may still add records; None where ids are visible in their order.

        The greatest id is asked for first: what has a smaller one was given it before.
        """
        upto = self.head()
        storage: Any = self._instance.event_log_storage
        with storage.index_connection() as connection:
            if connection.dialect.name != "postgresql":
                return None
            return Open(upto, frozenset(connection.scalars(_WRITERS)))

    def position_before(self, moment: dt.datetime) -> int:
        """The id before the first record at or after `moment`; the head if there is none."""
        # The filter excludes its bound.
        after = moment.timestamp() - 1e-6
        ids = [
            record.storage_id
            for kind in (*LINEAGE, *_RUN_KINDS)
            for record in self._fetch(kind, 1, timestamp=after)
        ]
        return min(ids) - 1 if ids else self.head()

    def records(self, after: int, limit: int) -> list[LogRecord]:
        """Records with greater ids, ascending, at most `limit` of each kind.

        When one kind has more than `limit`, the others are cut at its last id, so that nothing is
        passed over.
        """
        found: list[LogRecord] = []
        complete_to: int | None = None
        for kind in (*LINEAGE, *_RUN_KINDS):
            mine = self._fetch(kind, limit, after=after)
            if len(mine) == limit:
                complete_to = min(complete_to or mine[-1].storage_id, mine[-1].storage_id)
            found += [self._record(kind, r) for r in mine if not self._said_before(kind, r)]
        found.sort(key=lambda r: r.storage_id)
        self._runs.clear()
        return [r for r in found if complete_to is None or r.storage_id <= complete_to]

    def runs_after(self, after: int) -> frozenset[str]:
        """Runs with any record of these kinds of a greater id."""
        kinds = (*LINEAGE, *_RUN_KINDS)
        found = (self._fetch(kind, sys.maxsize, after=after) for kind in kinds)
        return frozenset(r.event_log_entry.run_id for records in found for r in records)

    def runs_of(self, ids: Iterable[int]) -> frozenset[str]:
        """Runs that records are of."""
        near = [(i, record) for i in ids for record in self.records(i - 1, 1)]
        return frozenset(record.run_id for i, record in near if record.storage_id == i)

    def _fetch(
        self,
        kind: str | DagsterEventType,
        limit: int,
        after: int | None = None,
        timestamp: float | None = None,
    ) -> list[EventLogRecord]:
        found: list[EventLogRecord] = []
        cursor: str | None = None
        while len(found) < limit:
            page = min(_PAGE, limit - len(found))
            if isinstance(kind, DagsterEventType):
                result = self._instance.fetch_run_status_changes(
                    dg.RunStatusChangeRecordsFilter(
                        kind,  # type: ignore[arg-type]
                        after_storage_id=after,
                        after_timestamp=timestamp,
                    ),
                    page,
                    cursor,
                    ascending=True,
                )
            else:
                result = self._instance.fetch_materializations(
                    dg.AssetRecordsFilter(
                        dg.AssetKey(kind), after_storage_id=after, after_timestamp=timestamp
                    ),
                    page,
                    cursor,
                    ascending=True,
                )
            found += result.records
            if not result.has_more or not result.records:
                break
            cursor = result.cursor
        return found

    def _said_before(self, kind: str | DagsterEventType, record: EventLogRecord) -> bool:
        """Whether a run that is said to have failed was said so before: it is told once."""
        if kind not in _BAD_ENDS:
            return False
        entry = record.event_log_entry
        # By their times, as ids are of the file that they were read from.
        ends = self._instance.get_records_for_run(entry.run_id, of_type=_BAD_ENDS, limit=1).records
        return bool(ends) and ends[0].event_log_entry.timestamp < entry.timestamp

    def _record(self, kind: str | DagsterEventType, record: EventLogRecord) -> LogRecord:
        """One record; one that makes no sense says so, and stops nothing."""
        try:
            return self._read(kind, record)
        except Exception as error:
            entry = record.event_log_entry
            return LogRecord(
                record.storage_id,
                "unreadable",
                entry.run_id,
                entry.job_name or "unknown",
                dt.datetime.fromtimestamp(entry.timestamp, dt.UTC),
                error=f"{type(error).__name__}: {error}",
            )

    def _read(self, kind: str | DagsterEventType, record: EventLogRecord) -> LogRecord:
        entry = record.event_log_entry
        run = self._run(entry.run_id)
        tags = run.dagster_run.tags if run else {}
        common: dict[str, Any] = {
            "storage_id": record.storage_id,
            "run_id": entry.run_id,
            "job": _job_name(run.dagster_run if run else None, entry.job_name),
            "time": dt.datetime.fromtimestamp(entry.timestamp, dt.UTC),
            "run_started": _moment(run.start_time) if run else None,
            "nominal": tags.get(_SCHEDULED),
            "store": tags.get(STORE_TAG),
            "store_id": tags.get(STORE_ID_TAG),
        }
        if isinstance(kind, DagsterEventType):
            failed = kind in _BAD_ENDS
            return LogRecord(
                kind=_RUN_KINDS[kind],
                partition=tags.get("dagster/partition", ""),
                error=run_failure(entry.dagster_event)
                if kind is DagsterEventType.RUN_FAILURE
                else None,
                ingests=_ingests(run.dagster_run if run else None),
                stages=self._stages(entry.run_id) if failed else (),
                **common,
            )
        made = entry.asset_materialization
        if made is None:
            raise ValueError("the record of a materialisation has none")
        metadata = {k: getattr(v, "value", None) for k, v in made.metadata.items()}
        return LogRecord(
            kind="materialisation",
            asset=kind,
            partition=made.partition or "",
            metadata=metadata,
            places=tuple(str(metadata[k]) for k in _PLACES if metadata.get(k) is not None),
            **common,
        )

    def _stages(self, run_id: str) -> tuple[FailedStage, ...]:
        """The steps of a run that failed, and those that were under way when it ended."""
        started: dict[str, float] = {}
        failures: dict[str, FailedStage] = {}
        last, cursor = 0.0, None
        while True:
            page = self._instance.get_records_for_run(run_id, cursor, _STEP_KINDS, _PAGE)
            for record in page.records:
                entry = record.event_log_entry
                event, key = entry.dagster_event, entry.step_key
                if event is None:
                    continue
                last = max(last, entry.timestamp)
                if key is None:
                    continue
                if event.event_type is DagsterEventType.STEP_START:
                    started.setdefault(key, entry.timestamp)
                elif event.event_type is DagsterEventType.STEP_FAILURE:
                    told = step_failure_of(event)
                    begun = _moment(started.pop(key, None))
                    ended = dt.datetime.fromtimestamp(entry.timestamp, dt.UTC)
                    failures[key] = FailedStage(key, told.code, told.message, ended, begun)
                elif event.event_type is not DagsterEventType.STEP_UP_FOR_RETRY:
                    started.pop(key, None)
            cursor = page.cursor
            if not page.has_more:
                break
        for key, moment in started.items():
            failures[key] = FailedStage(
                key,
                ReasonCode.INTERRUPTED,
                "it was under way when the run ended",
                dt.datetime.fromtimestamp(last, dt.UTC),
                _moment(moment),
            )
        return tuple(failures.values())

    def _run(self, run_id: str) -> Any:
        if run_id not in self._runs:
            found = self._instance.get_run_records(dg.RunsFilter(run_ids=[run_id]), limit=1)
            self._runs[run_id] = found[0] if found else None
        return self._runs[run_id]


def _moment(timestamp: float | None) -> dt.datetime | None:
    return None if timestamp is None else dt.datetime.fromtimestamp(timestamp, dt.UTC)


def _job_name(run: dg.DagsterRun | None, fallback: str | None) -> str:
    name = run.job_name if run is not None else fallback or "unknown"
    return "materialize" if name.startswith("__ASSET_JOB") else name


def _ingests(run: dg.DagsterRun | None) -> bool:
    """Whether the run was to download."""
    if run is None:
        return False
    chosen = run.asset_selection
    return run.job_name == INGEST or (
        chosen is not None and dg.AssetKey(assets.RAW_PRICES) in chosen
    )
