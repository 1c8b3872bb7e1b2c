"""The job of upkeep: what its schedule starts, and the UI.

Dagster reads the types of its arguments, so annotations stay evaluated here.
"""

from pathlib import Path

import dagster as dg

from etf_pipeline.errors import ReasonCode
from etf_pipeline.orchestration.failures import retried_only_if_it_may_pass, step_failure
from etf_pipeline.orchestration.jobs import MAINTAIN, store_tags
from etf_pipeline.orchestration.maintenance import maintain
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.steps.maintain import in_words


def maintain_job(root: Path) -> dg.JobDefinition:
    """Upkeep as a job, for the schedule and for the UI."""

    @dg.op(name="let_go_what_is_old", description="What `etf maintain` does.")
    def let_go_what_is_old(
        context: dg.OpExecutionContext, pipeline: dg.ResourceParam[Pipeline]
    ) -> None:
        with retried_only_if_it_may_pass():
            done = maintain(pipeline, context.instance, context.run_id)
        for line in done.lines:
            context.log.info(in_words(line))
        if done.problems:
            raise step_failure("; ".join(done.problems), ReasonCode.STORE_UNUSABLE)

    @dg.job(
        name=MAINTAIN,
        description="Let old dailies, manifests and Dagster's own records go.",
        tags=store_tags(root),
    )
    def maintain_store() -> None:
        let_go_what_is_old()

    return maintain_store
