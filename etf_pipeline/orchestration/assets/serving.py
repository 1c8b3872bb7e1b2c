"""`sql_catalog` and `reports`: what people open."""

from collections.abc import Iterator

import dagster as dg

from etf_pipeline.events.log.copy import copy_log
from etf_pipeline.model import assets
from etf_pipeline.orchestration.assets.declared import followed
from etf_pipeline.orchestration.metadata import markdown_table
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.sharing import refreshed
from etf_pipeline.orchestration.stages import Made, carried_out
from etf_pipeline.steps import catalogue
from etf_pipeline.steps.derived import Assumptions
from etf_pipeline.steps.report_inputs import report_inputs
from etf_pipeline.steps.result import StepResult

_VIEWS = catalogue.described_views()


@dg.asset(
    **followed(assets.SQL_CATALOG, "serving", "duckdb"),
    description="`etf.duckdb`: views over every table, for `etf sql` and any DuckDB client.",
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(name, "view", what) for name, what in _VIEWS.items()]
        )
    },
)
def sql_catalog(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[Made]:
    """Make the views anew where they have to be."""
    views = markdown_table([{"view": name, "what": what} for name, what in _VIEWS.items()])
    yield from carried_out(
        context,
        pipeline,
        lambda: _catalogued(pipeline),
        more={"views": views},
    )


@dg.asset(
    **followed(assets.REPORTS, "serving", "html"),
    description="One self-contained HTML file per portfolio, and one for the universe.",
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn("file", "html", "a report: no request leaves the page")]
        )
    },
)
def reports(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[Made]:
    """Draw and write every report."""
    yield from carried_out(context, pipeline, lambda: _drawn(pipeline))


def _catalogued(pipeline: Pipeline) -> StepResult:
    refreshed(pipeline)
    return catalogue.sql_catalogue(pipeline.store, pipeline.settings.universe_file, copy_log)


def _drawn(pipeline: Pipeline) -> StepResult:
    from etf_pipeline.steps import reports as pages  # with matplotlib, slow to import

    refreshed(pipeline)
    inputs = report_inputs(
        pipeline.store,
        pipeline.histories(),
        pipeline.portfolios(),
        pipeline.universe,
        Assumptions.of(pipeline.settings),
        pipeline.clock(),
    )
    return pages.reports(pipeline.store, inputs)
