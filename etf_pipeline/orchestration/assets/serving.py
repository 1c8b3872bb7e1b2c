"""`sql_catalog` and `reports`: what people open."""

import dagster as dg

from etf_pipeline.orchestration.assets.declared import OWNERS, deps
from etf_pipeline.orchestration.automation import WHEN_INPUTS_CHANGE
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.sql.views import VIEWS
from etf_pipeline.steps.catalogue import ensure_catalogue
from etf_pipeline.steps.report_inputs import Inputs
from etf_pipeline.steps.reports import publish_reports


@dg.asset(
    description="`etf.duckdb`: views over every table, for `etf sql` and any DuckDB client.",
    deps=deps("sql_catalog"),
    group_name="serving",
    kinds={"duckdb"},
    owners=OWNERS,
    automation_condition=WHEN_INPUTS_CHANGE,
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(v.name, "view", v.description) for v in VIEWS]
        )
    },
)
def sql_catalog(pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """Make the views anew where they have to be."""
    settings = pipeline.settings
    path = ensure_catalogue(
        settings.data_dir, settings.universe_file, settings.lock_timeout_seconds
    )
    views = "\n".join(
        ["| view | what |", "|---|---|", *(f"| {v.name} | {v.description} |" for v in VIEWS)]
    )
    return dg.MaterializeResult(
        metadata={
            "dagster/uri": path.resolve().as_uri(),
            "views": dg.MetadataValue.md(views),
            "try": 'etf sql "FROM latest_prices"',
        }
    )


@dg.asset(
    description="One self-contained HTML file per portfolio, and one for the universe.",
    deps=deps("reports"),
    group_name="serving",
    kinds={"html"},
    owners=OWNERS,
    automation_condition=WHEN_INPUTS_CHANGE,
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn("file", "html", "a report: no request leaves the page")]
        )
    },
)
def reports(pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """Draw and write every report."""
    inputs = report_inputs(pipeline)
    paths = publish_reports(inputs)
    links = {f"report_{n}": dg.MetadataValue.url(p.resolve().as_uri()) for n, p in paths.items()}
    folder = next(iter(paths.values())).parent.resolve().as_uri()
    return dg.MaterializeResult(
        metadata={"dagster/uri": folder, "as_of": str(inputs.as_of), **links}
    )


def report_inputs(pipeline: Pipeline) -> Inputs:
    """What the reports of this pipeline's store are made from."""
    series, _ = pipeline.load_series()
    return Inputs.of(
        pipeline.settings, pipeline.universe, series, pipeline.portfolios(), pipeline.clock()
    )
