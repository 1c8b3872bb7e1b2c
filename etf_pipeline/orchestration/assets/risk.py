"""`risk_metrics` and `correlations`: tables over every history."""

from collections.abc import Iterator

import dagster as dg

from etf_pipeline.model import assets
from etf_pipeline.orchestration.assets.context import this_run
from etf_pipeline.orchestration.assets.declared import derived
from etf_pipeline.orchestration.assets.waiting import once_there_are_prices
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.stages import Made
from etf_pipeline.steps import risk_tables
from etf_pipeline.steps.derived import Assumptions
from etf_pipeline.steps.workers import workers_of


@dg.asset(**derived(assets.RISK_METRICS, "risk"))
def risk_metrics(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[Made]:
    """Compute and publish the metrics of every ticker that has a history."""
    yield from once_there_are_prices(
        context,
        pipeline,
        lambda histories: risk_tables.risk_metrics(
            pipeline.store,
            this_run(context, pipeline.clock()),
            histories,
            pipeline.universe,
            Assumptions.of(pipeline.settings),
            workers_of(pipeline.settings.workers),
        ),
    )


@dg.asset(**derived(assets.CORRELATIONS, "risk"))
def correlations(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[Made]:
    """Compute and publish the correlations of every window."""
    yield from once_there_are_prices(
        context,
        pipeline,
        lambda histories: risk_tables.correlations(
            pipeline.store,
            this_run(context, pipeline.clock()),
            histories,
            pipeline.portfolios(),
            pipeline.universe,
            Assumptions.of(pipeline.settings),
        ),
    )
