"""The command `etf report`."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from etf_pipeline.cli.extras import pipeline_imports
from etf_pipeline.cli.options import DataDir, Json
from etf_pipeline.cli.render.output import print_either


def report(
    portfolio: Annotated[
        str | None, typer.Argument(help="Only this portfolio; all and the universe by default.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write reports: one self-contained HTML file per portfolio, and one for the universe.

    Example: etf report balanced
    """
    from etf_pipeline.library.freshness import refresh_by_settings
    from etf_pipeline.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    refresh_by_settings(settings)
    with pipeline_imports():
        from etf_pipeline.steps.report_inputs import inputs_of
        from etf_pipeline.steps.reports import pages_of, reports
        from etf_pipeline.store.store import Store
    store, inputs = (
        Store.at(settings.data_dir, settings.lock_timeout_seconds),
        inputs_of(settings, dt.datetime.now(dt.UTC)),
    )
    result = reports(store, inputs, None if portfolio is None else [portfolio])
    body = {name: str(path) for name, path in pages_of(store, result).items()}
    print_either(as_json, body, body.values())
