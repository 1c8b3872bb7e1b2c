"""Assets over all histories, which wait while there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import dagster as dg

from etf_pipeline.orchestration.checks.tables import results_of, unjudged_of
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.sharing import derived
from etf_pipeline.orchestration.stages import Made, carried_out
from etf_pipeline.steps.derived import Histories
from etf_pipeline.steps.result import StepResult


def once_there_are_prices(
    context: dg.AssetExecutionContext, pipeline: Pipeline, step: Callable[[Histories], StepResult]
) -> Iterator[Made]:
    """What came of a step over all histories; nothing, which is no failure, before the first ETF.

    Exchange rates may be the first that a store has: they are prices of nothing. What follows in
    the same run is skipped too, and the next download of an ETF's prices makes everything.
    """

    def made() -> StepResult | None:
        histories = pipeline.histories()
        if histories.series or histories.damaged:
            return step(histories)
        context.log.warning("waiting: no ETF of the universe has a price history yet")
        return None

    def checks(result: StepResult) -> list[dg.AssetCheckResult]:
        return results_of(result.asset, pipeline)

    asset = context.asset_key.to_user_string()
    shared = partial(derived, pipeline, asset, made)
    found = list(carried_out(context, pipeline, shared, checks))
    # the outputs of checks may not be left out
    yield from found or unjudged_of(asset)
