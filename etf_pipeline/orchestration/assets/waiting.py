"""Assets over all histories, which wait while there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import dagster as dg

from etf_pipeline.orchestration.metadata import materialised
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.steps.derived import Histories
from etf_pipeline.steps.result import StepResult

Result = dg.MaterializeResult


def once_there_are_prices(
    context: dg.AssetExecutionContext, pipeline: Pipeline, step: Callable[[Histories], StepResult]
) -> Iterator[Result]:
    """What came of a step over all histories; nothing, which is no failure, before the first ETF.

    Exchange rates may be the first that a store has: they are prices of nothing. What follows in
    the same run is skipped too, and the next download of an ETF's prices makes everything.
    """
    histories = pipeline.histories()
    if histories.series or histories.damaged:
        yield materialised(step(histories))
    else:
        context.log.warning("waiting: no ETF of the universe has a price history yet")
