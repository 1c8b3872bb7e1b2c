"""One run of a job, as the command line has it done: what is asked, and what came of it.

Both are plain values, so that a run may be executed here or in a process of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from etf_pipeline.errors import ReasonCode, RecordsError
from etf_pipeline.model import assets
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.orchestration.beats import alive, was_cancelled
from etf_pipeline.orchestration.database import outage
from etf_pipeline.orchestration.failures import StepFailure
from etf_pipeline.orchestration.jobs import DERIVE, INGEST, NEVER_AGAIN
from etf_pipeline.orchestration.records import clock_tags
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.slots import process_tags
from etf_pipeline.orchestration.stages import settled
from etf_pipeline.store.stages import Before, Stage, read_stage, records_before

# What each job makes, in order of the data's way.
MADE_BY = {
    INGEST: (assets.RAW_PRICES, assets.PRICE_HISTORY),
    DERIVE: (
        assets.RISK_METRICS,
        assets.CORRELATIONS,
        assets.OPTIMISED_PORTFOLIOS,
        assets.BACKTESTS,
        assets.SQL_CATALOG,
        assets.REPORTS,
    ),
}
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Task:
    """What a run is to do.

    Attributes:
        job: its name.
        partition: empty for a job without.
        assets: only these of the job's; all of them when empty.
        ops: configuration by asset.
        run_id: that the run is to have, so that it can be found whatever becomes of its process.
    """

    job: str
    partition: str = ""
    assets: tuple[str, ...] = ()
    ops: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def makes(self) -> tuple[str, ...]:
        """The assets that it is to make."""
        return self.assets or MADE_BY[self.job]

    def before(self, pipeline: Pipeline) -> Before:
        """What is recorded of its stages now."""
        return records_before(pipeline.layout, self.makes, self.partition, pipeline.clock())


@dataclass(frozen=True)
class Done:
    """What came of a run.

    Attributes:
        run_id: of the run.
        stages: how each of its stages went.
        lost: how Dagster's database was lost then; None where it was not.
        cancelled: whether somebody cancelled it in Dagster's UI, though it came out all the same.
    """

    run_id: str
    stages: tuple[Stage, ...]
    lost: RecordsError | None = None
    cancelled: bool = False

    @property
    def interrupted(self) -> bool:
        """Whether somebody stopped it."""
        stopped = (s.outcome.reason_code is ReasonCode.INTERRUPTED for s in self.stages)
        return self.cancelled or any(stopped)


def execute(
    task: Task,
    pipeline: Pipeline,
    repository: dg.RepositoryDefinition,
    instance: dg.DagsterInstance,
) -> Done:
    """Execute a run in this process."""
    chosen = [dg.AssetKey(name) for name in task.assets]
    before, partition = task.before(pipeline), task.partition
    planned = [dg.AssetKey(name) for name in task.makes]
    try:
        with alive(instance, task.run_id):
            result = repository.get_job(task.job).execute_in_process(
                run_config=_QUIET | ({"ops": dict(task.ops)} if task.ops else {}),
                instance=instance,
                partition_key=partition or None,
                raise_on_error=False,
                tags=process_tags() | clock_tags(pipeline.clock()) | NEVER_AGAIN,
                run_id=task.run_id,
                asset_selection=chosen or None,
            )
        cancelled = was_cancelled(instance, task.run_id)
    except Exception as error:
        if (lost := outage(error)) is None:
            raise
        stages = settled_by_the_store(pipeline, task.run_id, partition, planned, before, lost)
        return Done(task.run_id, tuple(stages), lost)
    stages = settled(pipeline, result.run_id, partition, planned, result.all_events, before)
    return Done(result.run_id, tuple(stages), cancelled=cancelled)


def settled_by_the_store(
    pipeline: Pipeline,
    run_id: str,
    partition: str,
    planned: Sequence[dg.AssetKey],
    before: Before,
    lost: RecordsError,
) -> list[Stage]:
    """How each stage of a run went, as far as is known without Dagster's database.

    Args:
        pipeline: whose store, and by whose clock it is recorded.
        run_id: of the run.
        partition: that it was about; empty for none.
        planned: the assets that it was to make.
        before: what was recorded of its stages when it began.
        lost: how the database was lost; why those did not come out that recorded nothing.
    """
    known = [read_stage(pipeline.layout, k.to_user_string(), partition) for k in planned]
    found = {s.asset: s for s in known if s is not None and s.run_id == run_id and s.good}
    rest = [key for key in planned if key.to_user_string() not in found]
    failure = StepFailure(lost.code, str(lost))
    others = settled(pipeline, run_id, partition, rest, (), before, failure)
    found |= {s.asset: s for s in others}
    return [found[name] for name in LINEAGE if name in found]
