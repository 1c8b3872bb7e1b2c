"""`optimised_portfolios` and `backtests`: every model portfolio, now and walked forward."""

from collections.abc import Iterator

import dagster as dg

from etf_pipeline.model import assets
from etf_pipeline.orchestration.assets.context import this_run
from etf_pipeline.orchestration.assets.declared import derived
from etf_pipeline.orchestration.assets.waiting import once_there_are_prices
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.stages import Made
from etf_pipeline.steps import backtests as walked
from etf_pipeline.steps import portfolios
from etf_pipeline.steps.derived import Assumptions
from etf_pipeline.steps.workers import workers_of

_WEIGHTS = "Optimal weights of every model portfolio, with a proof of how optimal they are."


@dg.asset(**derived(assets.OPTIMISED_PORTFOLIOS, "portfolios", _WEIGHTS))
def optimised_portfolios(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[Made]:
    """Optimise, publish four tables, and say which portfolios failed."""
    yield from once_there_are_prices(
        context,
        pipeline,
        lambda histories: portfolios.optimised_portfolios(
            pipeline.store,
            this_run(context, pipeline.clock()),
            histories,
            pipeline.portfolios(),
            pipeline.universe,
            Assumptions.of(pipeline.settings),
        ),
    )


@dg.asset(**derived(assets.BACKTESTS, "portfolios"))
def backtests(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[Made]:
    """Walk every model portfolio forward, and publish courses and weights."""
    yield from once_there_are_prices(
        context,
        pipeline,
        lambda histories: walked.backtests(
            pipeline.store,
            this_run(context, pipeline.clock()),
            histories,
            pipeline.portfolios(),
            pipeline.universe,
            Assumptions.of(pipeline.settings),
            workers_of(pipeline.settings.workers),
        ),
    )
