"""`risk_metrics` and `correlations`: tables over every history."""

import datetime as dt
from typing import Any

import dagster as dg
import pyarrow as pa

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.model.schemas import CORRELATIONS, RISK_METRICS, Table
from etf_pipeline.orchestration.assets.declared import OWNERS, deps, table_metadata
from etf_pipeline.orchestration.automation import WHEN_INPUTS_CHANGE
from etf_pipeline.orchestration.metadata import (
    bar_chart,
    data_version,
)
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.tables import correlation_table, risk_table
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.prices import load_prices
from etf_pipeline.store.writer import publish


def newest_date(series: dict[str, PriceSeries]) -> dt.date:
    """The as-of date of a derived table: the newest session that any ticker has.

    Raises:
        InsufficientDataError: there is no history at all.
    """
    if not series:
        raise InsufficientDataError("there is no price history yet; run `etf run` first")
    return max(s.end for s in series.values())


def publish_table(
    pipeline: Pipeline, table: Table, data: pa.Table, as_of: dt.date, sources: set[str]
) -> dict[str, Any]:
    """Publish one `as_of` partition of a table; returns the metadata that says so."""
    path = pipeline.layout.of(table, as_of)
    changed = publish(path, table, data, {"source": ",".join(sorted(sources))})
    return {
        "dagster/row_count": data.num_rows,
        "dagster/uri": path.resolve().as_uri(),
        "as_of": str(as_of),
        "changed": changed,
        "source": ",".join(sorted(sources)),
    }


def publish_by_ticker(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    table: Table,
    data: pa.Table,
    series: dict[str, PriceSeries],
    errors: dict[str, str],
) -> tuple[dict[str, Any], str]:
    """Publish a table over all tickers with its manifest; returns metadata and content hash.

    `errors` are the tickers whose files could not be read: failures of theirs alone.
    """
    as_of = newest_date(series)
    sources = {s.source for s in series.values()}
    metadata = publish_table(pipeline, table, data, as_of, sources)
    digest = content_hash(data)
    good = OutcomeKind.UPDATED if metadata["changed"] else OutcomeKind.UNCHANGED
    outcomes = [Outcome(s, good, content_hash=digest, last_date=as_of) for s in sorted(series)] + [
        Outcome(s, OutcomeKind.FAILED, reason=r, failure_kind=FailureKind.TRANSIENT)
        for s, r in errors.items()
    ]
    write_manifest(
        pipeline.layout,
        table.name,
        context.run_id,
        "",
        outcomes,
        dt.datetime.now(dt.UTC),
        metadata["source"],
    )
    return metadata | {"damaged": dg.MetadataValue.json(errors)}, digest


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
    series, errors = pipeline.load_series()
    settings = pipeline.settings
    benchmark = load_prices(pipeline.layout, settings.benchmark) if settings.benchmark else None
    table = risk_table(series.values(), settings.risk_free_rate, benchmark)
    metadata, digest = publish_by_ticker(context, pipeline, RISK_METRICS, table, series, errors)
    year = {
        r["ticker"]: r["volatility"]
        for r in table.to_pylist()
        if r["window"] == "1y" and r["volatility"] is not None
    }
    metadata["volatility_1y"] = bar_chart(year, "volatility, last year")
    return dg.MaterializeResult(metadata=metadata, data_version=data_version([digest]))


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
    series, errors = pipeline.load_series()
    table = correlation_table(series.values(), newest_date(series))
    metadata, digest = publish_by_ticker(context, pipeline, CORRELATIONS, table, series, errors)
    return dg.MaterializeResult(metadata=metadata, data_version=data_version([digest]))
