"""What a worker does after a run: no run is left without an end, and no stage without its record.

Belongs here: what the process of a run could not say itself, as the database was lost meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from etf_pipeline.errors import RecordsError
from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.orchestration.database import outage
from etf_pipeline.orchestration.failures import StepFailure
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.stages import settled
from etf_pipeline.orchestration.tasks import MADE_BY, settled_by_the_store
from etf_pipeline.settings import load_settings
from etf_pipeline.store.stages import Before, records_before

_PARTITION_TAG = "dagster/partition"
_UNSAID = "its process ended without an outcome of the run"


@dataclass(frozen=True)
class Settling:
    """A run that this process executes, from before it is begun.

    Attributes:
        instance: of the run.
        run: as it was then.
        pipeline: whose store has the records of its stages.
        before: what was recorded of its stages then.
    """

    instance: dg.DagsterInstance
    run: dg.DagsterRun
    pipeline: Pipeline
    before: Before

    @classmethod
    def of(cls, instance: dg.DagsterInstance, run: dg.DagsterRun) -> Settling:
        """By the settings of this process, which are those that the run is executed with."""
        pipeline = Pipeline(load_settings(), load_event_settings())
        made = [key.to_user_string() for key in _made_by(run)]
        partition = run.tags.get(_PARTITION_TAG, "")
        before = records_before(pipeline.layout, made, partition, pipeline.clock())
        return cls(instance, run, pipeline, before)

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
            if (away := outage(error)) is not None:
                settled_by_the_store(*self._stages, self.before, lost or away)
            raise
        events = [e.dagster_event for e in logs if e.dagster_event is not None]
        failure = None if lost is None else StepFailure(lost.code, str(lost))
        settled(*self._stages, events, self.before, failure)

    @property
    def _stages(self) -> tuple[Pipeline, str, str, list[dg.AssetKey]]:
        """Of the run: the pipeline, the run's id, its partition and what it is to make."""
        run = self.run
        return self.pipeline, run.run_id, run.tags.get(_PARTITION_TAG, ""), _made_by(run)


def _made_by(run: dg.DagsterRun) -> list[dg.AssetKey]:
    """The assets that a run is to make."""
    made = run.asset_selection or map(dg.AssetKey, MADE_BY.get(run.job_name, ()))
    return sorted(made, key=dg.AssetKey.to_user_string)
