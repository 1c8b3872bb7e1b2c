"""`risk_metrics` and `correlations`: tables over every history."""

import dagster as dg

from etf_pipeline.model.schemas import CORRELATIONS, RISK_METRICS
from etf_pipeline.orchestration.assets.context import this_run
from etf_pipeline.orchestration.assets.declared import OWNERS, deps, table_metadata
from etf_pipeline.orchestration.automation import WHEN_INPUTS_CHANGE
from etf_pipeline.orchestration.metadata import materialised
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.steps import risk_tables
from etf_pipeline.steps.derived import Assumptions


@dg.asset(
    description=RISK_METRICS.description,
    deps=deps("risk_metrics"),
    group_name="risk",
    kinds={"parquet"},
    owners=OWNERS,
    automation_condition=WHEN_INPUTS_CHANGE,
    metadata=table_metadata("risk_metrics"),
)
def risk_metrics(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.MaterializeResult:
    """Compute and publish the metrics of every ticker that has a history."""
    run = this_run(context)
    assumptions = Assumptions.of(pipeline.settings)
    return materialised(
        risk_tables.risk_metrics(pipeline.store, run, pipeline.histories(), assumptions)
    )


@dg.asset(
    description=CORRELATIONS.description,
    deps=deps("correlations"),
    group_name="risk",
    kinds={"parquet"},
    owners=OWNERS,
    automation_condition=WHEN_INPUTS_CHANGE,
    metadata=table_metadata("correlations"),
)
def correlations(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.MaterializeResult:
    """Compute and publish the correlations of every window."""
    run = this_run(context)
    return materialised(risk_tables.correlations(pipeline.store, run, pipeline.histories()))
