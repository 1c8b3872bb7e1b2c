"""`risk_metrics` and `correlations`: tables over every history."""

import dagster as dg

from etf_pipeline.model import assets
from etf_pipeline.orchestration.assets.context import this_run
from etf_pipeline.orchestration.assets.declared import derived
from etf_pipeline.orchestration.metadata import materialised
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.steps import risk_tables
from etf_pipeline.steps.derived import Assumptions


@dg.asset(**derived(assets.RISK_METRICS, "risk"))
def risk_metrics(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.MaterializeResult:
    """Compute and publish the metrics of every ticker that has a history."""
    result = risk_tables.risk_metrics(
        pipeline.store,
        this_run(context),
        pipeline.histories(),
        pipeline.universe,
        Assumptions.of(pipeline.settings),
    )
    return materialised(result)


@dg.asset(**derived(assets.CORRELATIONS, "risk"))
def correlations(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.MaterializeResult:
    """Compute and publish the correlations of every window."""
    result = risk_tables.correlations(
        pipeline.store,
        this_run(context),
        pipeline.histories(),
        pipeline.universe,
        Assumptions.of(pipeline.settings),
    )
    return materialised(result)
