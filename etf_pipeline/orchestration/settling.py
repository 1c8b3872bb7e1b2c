"""What a worker does after a run: no run is left without an end, and no stage without its record.

Belongs here: what the process of a run could not say itself, as the database was lost meanwhile.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from etf_pipeline.errors import RecordsError
from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.orchestration.database import outage
from etf_pipeline.orchestration.failures import StepFailure
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.stages import settled
from etf_pipeline.orchestration.tasks import MADE_BY
from etf_pipeline.settings import load_settings
from etf_pipeline.store.stages import read_stage

_PARTITION_TAG = "dagster/partition"
_UNSAID = "its process ended without an outcome of the run"


@dataclass(frozen=True)
class Settling:
    """A run that this process executes, from before it is begun.

    Attributes:
        instance: of the run.
        run: as it was then.
        pipeline: whose store has the records of its stages.
        begun_at: when, by the pipeline's clock.
    """

    instance: dg.DagsterInstance
    run: dg.DagsterRun
    pipeline: Pipeline
    begun_at: dt.datetime

    @classmethod
    def of(cls, instance: dg.DagsterInstance, run: dg.DagsterRun) -> Settling:
        """By the settings of this process, which are those that the run is executed with."""
        pipeline = Pipeline(load_settings(), load_event_settings())
        return cls(instance, run, pipeline, pipeline.clock())

    def settle(self, lost: RecordsError | None) -> None:
        """Fail the run if its process left it unfinished, free what it held, record its stages.

        Args:
            lost: what ended its process, where the database was lost.

        Raises:
            Exception: the database is away still; what is known without it is recorded.
        """
        run_id = self.run.run_id
        try:
            run = self.instance.get_run_by_id(run_id)
            self.instance.event_log_storage.free_concurrency_slots_for_run(run_id)
            if run is not None and not run.is_finished:
                self.instance.report_run_failed(run, str(lost or _UNSAID))
                run = self.instance.get_run_by_id(run_id)
            if run is None or run.status is not dg.DagsterRunStatus.FAILURE:
                return
            logs = self.instance.all_logs(run_id)
        except Exception as error:
            away = outage(error)
            if away is not None:
                self._record([], lost or away)
            raise
        self._record([e.dagster_event for e in logs if e.dagster_event is not None], lost)

    def _record(self, events: Sequence[dg.DagsterEvent], lost: RecordsError | None) -> None:
        """How each stage went, as far as Dagster's records tell, if there are any to be read."""
        failure = None if lost is None else StepFailure(lost.code, str(lost))
        partition = self.run.tags.get(_PARTITION_TAG, "")
        made = self.run.asset_selection or map(dg.AssetKey, MADE_BY.get(self.run.job_name, ()))
        planned = [key for key in made if not self._known(key, partition, bool(events))]
        settled(self.pipeline, self.run.run_id, partition, planned, events, failure)

    def _known(self, key: dg.AssetKey, partition: str, readable: bool) -> bool:
        """Whether a stage's record is to stay: of a later run, or good where nothing denies it."""
        known = read_stage(self.pipeline.layout, key.to_user_string(), partition)
        if known is None:
            return False
        if known.run_id == self.run.run_id:
            return not readable and known.good
        return known.recorded_at >= self.begun_at
