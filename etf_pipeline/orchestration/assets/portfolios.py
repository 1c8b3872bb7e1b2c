"""`optimised_portfolios` and `backtests`: every model portfolio, now and walked forward."""

import datetime as dt

import dagster as dg

from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.model.schemas import BACKTEST_WEIGHTS, BACKTESTS, FRONTIER, SUMMARY, WEIGHTS
from etf_pipeline.orchestration.assets.declared import OWNERS, deps, table_metadata
from etf_pipeline.orchestration.assets.risk import newest_date, publish_table
from etf_pipeline.orchestration.automation import WHEN_INPUTS_CHANGE
from etf_pipeline.orchestration.metadata import (
    bar_chart,
    data_version,
)
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.portfolio.backtest_tables import backtest_tables
from etf_pipeline.portfolio.tables import portfolio_tables
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.manifests import write_manifest


@dg.asset(
    description="Optimal weights of every model portfolio, with a proof of how optimal they are.",
    deps=deps("optimised_portfolios"),
    group_name="portfolios",
    kinds={"parquet"},
    owners=OWNERS,
    automation_condition=WHEN_INPUTS_CHANGE,
    metadata=table_metadata("optimised_portfolios"),
)
def optimised_portfolios(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.MaterializeResult:
    """Optimise, publish three tables, and say which portfolios failed."""
    series, _ = pipeline.load_series()
    as_of, settings = newest_date(series), pipeline.settings
    tables = portfolio_tables(
        pipeline.portfolios(),
        series,
        settings.lookback_years,
        settings.risk_free_rate,
        pipeline.universe.columns(),
    )
    sources = {s.source for s in series.values()}
    summary = publish_table(pipeline, SUMMARY, tables.summary, as_of, sources)
    publish_table(pipeline, FRONTIER, tables.frontier, as_of, sources)
    metadata = publish_table(pipeline, WEIGHTS, tables.weights, as_of, sources)
    rows = tables.summary.to_pylist()
    digest = content_hash(tables.weights)
    changed = summary["changed"] or metadata["changed"]
    outcomes = [
        Outcome(
            r["portfolio"],
            (OutcomeKind.UPDATED if changed else OutcomeKind.UNCHANGED)
            if r["success"]
            else OutcomeKind.FAILED,
            reason=r["message"],
            failure_kind=None if r["success"] else FailureKind.PERMANENT,
            content_hash=digest,
            first_date=r["start"],
            last_date=r["end"],
            source=r["source"],
        )
        for r in rows
    ]
    write_manifest(
        pipeline.layout,
        "optimised_portfolios",
        context.run_id,
        "",
        outcomes,
        dt.datetime.now(dt.UTC),
        metadata["source"],
    )
    for name in sorted({r["portfolio"] for r in tables.weights.to_pylist()}):
        held = {
            r["ticker"]: r["weight"]
            for r in tables.weights.to_pylist()
            if r["portfolio"] == name and r["weight"] > 0
        }
        metadata[f"weights_{name}"] = bar_chart(held, name)
    metadata["portfolios_ok"] = sum(r["success"] for r in rows)
    metadata["portfolios_not_ok"] = dg.MetadataValue.json(
        {r["portfolio"]: r["message"] for r in rows if not r["success"]}
    )
    return dg.MaterializeResult(
        metadata=metadata, data_version=data_version([digest, content_hash(tables.summary)])
    )


@dg.asset(
    description=BACKTESTS.description,
    deps=deps("backtests"),
    group_name="portfolios",
    kinds={"parquet"},
    owners=OWNERS,
    automation_condition=WHEN_INPUTS_CHANGE,
    metadata=table_metadata("backtests"),
)
def backtests(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.MaterializeResult:
    """Walk every model portfolio forward, and publish courses and weights."""
    series, _ = pipeline.load_series()
    as_of, settings = newest_date(series), pipeline.settings
    specs = pipeline.portfolios()
    tables = backtest_tables(
        specs,
        series,
        settings.lookback_years,
        settings.risk_free_rate,
        pipeline.universe.columns(),
        series.get(settings.benchmark or ""),
    )
    sources = {s.source for s in series.values()}
    publish_table(pipeline, BACKTEST_WEIGHTS, tables.weights, as_of, sources)
    metadata = publish_table(pipeline, BACKTESTS, tables.courses, as_of, sources)
    digest = content_hash(tables.courses)
    done = OutcomeKind.UPDATED if metadata["changed"] else OutcomeKind.UNCHANGED
    outcomes = [
        Outcome(s.name, OutcomeKind.FAILED, tables.failures[s.name].message, FailureKind.PERMANENT)
        if s.name in tables.failures
        else Outcome(s.name, done, content_hash=digest, last_date=as_of)
        for s in specs
    ]
    write_manifest(
        pipeline.layout,
        "backtests",
        context.run_id,
        "",
        outcomes,
        dt.datetime.now(dt.UTC),
        metadata["source"],
    )
    final = {r["portfolio"]: r["wealth"] - 1.0 for r in tables.courses.to_pylist()}
    metadata["total_return"] = bar_chart(final, "total return")
    metadata["not_backtested"] = dg.MetadataValue.json(
        {k: v.message for k, v in tables.failures.items()}
    )
    return dg.MaterializeResult(metadata=metadata, data_version=data_version([digest]))
