"""`sql_catalog` and `reports`: what people open."""

import dagster as dg

from etf_pipeline.events.log.copy import copy_log
from etf_pipeline.model import assets
from etf_pipeline.orchestration.assets.declared import followed
from etf_pipeline.orchestration.metadata import markdown_table, materialised
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.steps import catalogue
from etf_pipeline.steps.derived import Assumptions
from etf_pipeline.steps.report_inputs import report_inputs

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
def sql_catalog(pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """Make the views anew where they have to be."""
    universe_file = pipeline.settings.universe_file
    result = catalogue.sql_catalogue(pipeline.store, universe_file, copy_log)
    views = markdown_table([{"view": name, "what": what} for name, what in _VIEWS.items()])
    return materialised(result, more={"views": views})


@dg.asset(
    **followed(assets.REPORTS, "serving", "html"),
    description="One self-contained HTML file per portfolio, and one for the universe.",
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn("file", "html", "a report: no request leaves the page")]
        )
    },
)
def reports(pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """Draw and write every report."""
    from etf_pipeline.steps import reports as pages  # with matplotlib, slow to import

    inputs = report_inputs(
        pipeline.store,
        pipeline.histories(),
        pipeline.portfolios(),
        pipeline.universe,
        Assumptions.of(pipeline.settings),
        pipeline.clock(),
    )
    return materialised(pages.reports(pipeline.store, inputs))
