"""How the command line has runs executed: here, one after the other, or side by side.

Belongs here: what a name of the setting `ETF_EXECUTOR` stands for, to `etf run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.executors import MULTIPROCESS
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.side_by_side import side_by_side
from etf_pipeline.orchestration.tasks import Done, Task, execute
from etf_pipeline.steps.workers import usable_cores

# What came of each run, in their order, as they end.
Execute = Callable[[Sequence[Task]], Iterable[Done]]


def runs_side_by_side(pipeline: Pipeline) -> bool:
    """Whether the settings ask for it, and there is more than one core to do so."""
    return pipeline.settings.executor == MULTIPROCESS and usable_cores() > 1


@contextmanager
def executing(pipeline: Pipeline, instance: dg.DagsterInstance) -> Iterator[Execute]:
    """What executes runs as the settings ask, for the block."""
    if runs_side_by_side(pipeline):
        with side_by_side(pipeline, instance, usable_cores()) as execute_all:
            yield execute_all
        return
    defs = build_definitions(pipeline.settings, pipeline.event_settings, pipeline)
    repository = defs.get_repository_def()

    def one_by_one(tasks: Sequence[Task]) -> Iterator[Done]:
        for task in tasks:
            yield execute(task, pipeline, repository, instance)

    yield one_by_one
