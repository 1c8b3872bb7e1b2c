"""The executors: in how many processes the steps of a run are executed.

Belongs here: what a name of the setting `ETF_EXECUTOR` stands for, to Dagster. What the command
line makes of it is in `executing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import dagster as dg

from etf_pipeline.errors import ReasonCode, RecordsError
from etf_pipeline.orchestration.failures import step_failure_of

IN_PROCESS, MULTIPROCESS = "in_process", "multiprocess"
# One interpreter start a run, instead of one a step: seconds against half a minute.
_EXECUTORS = {
    IN_PROCESS: dg.in_process_executor,
    MULTIPROCESS: dg.multiprocess_executor,
}


def executor(name: str) -> dg.ExecutorDefinition:
    """The executor that a setting names, by which what ends a step from outside ends the run."""
    theirs = _EXECUTORS[name]
    make, schema = theirs.executor_creation_fn, cast("Any", theirs.config_schema)
    assert make is not None
    return dg.ExecutorDefinition(
        name=theirs.name,
        config_schema=schema,
        requirements=theirs.get_requirements,
        executor_creation_fn=lambda context: _OfRuns(make(context)),
        description=theirs.description,
    )


class _OfRuns(dg.Executor):
    """Another executor, whose run ends as a whole where a step was ended from outside.

    Where the database was lost, Dagster tries the run again, which it does not where one step
    failed: those have retries of their own, which are of no use without the database. Where
    somebody stopped it, a run that was cancelled or failed already is not said to fail once more.
    """

    def __init__(self, theirs: dg.Executor) -> None:
        self._theirs = theirs

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Every event of the other's.

        Raises:
            RecordsError: after the last event, of the first step that the database was lost by.
            DagsterExecutionInterruptedError: likewise, of one that was interrupted.
        """
        ended: RecordsError | dg.DagsterExecutionInterruptedError | None = None
        for event in self._theirs.execute(plan_context, execution_plan):
            if ended is None and event.is_step_failure:
                failure = step_failure_of(event)
                if failure.code is ReasonCode.RECORDS_UNUSABLE:
                    ended = RecordsError(failure.message)
                elif failure.code is ReasonCode.INTERRUPTED:
                    ended = dg.DagsterExecutionInterruptedError(failure.message)
            yield event
        if ended is not None:
            raise ended

    @property
    def retries(self) -> Any:
        """Of the other."""
        return self._theirs.retries

    @property
    def step_dependency_config(self) -> Any:
        """Of the other."""
        return self._theirs.step_dependency_config
