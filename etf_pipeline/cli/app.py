"""The command `etf`: which commands there are, and what an error ends in."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from etf_pipeline._version import __version__
from etf_pipeline.cli import (
    analysis,
    events,
    exit_codes,
    maintain,
    portfolios,
    report,
    run,
    sql,
    store,
    uncertainty,
    worker,
)
from etf_pipeline.cli.render.output import print_error
from etf_pipeline.errors import EtfError, LackingPricesWarning, StaleCopyWarning
from etf_pipeline.settings.environment import traceback_wanted
from etf_pipeline.store.closed import cannot_open

app = typer.Typer(
    name="etf",
    help="ETF prices in; a trustworthy store, risk tables and optimised portfolios out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.add_typer(events.app, name="events")
for command in (  # in the order in which help lists them
    sql.sql,
    analysis.risk,
    analysis.compare,
    portfolios.optimise,
    portfolios.frontier,
    portfolios.portfolio_metrics,
    portfolios.backtest,
    uncertainty.uncertainty,
    uncertainty.validate,
    report.report,
    store.doctor,
    run.run,
    run.demo,
    worker.worker,
    store.status,
    maintain.maintain,
    store.selftest,
):
    app.command(command.__name__.replace("_", "-"))(command)


def main() -> None:
    """Console entry point: errors become one line and an exit code."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    warnings.showwarning = _show(warnings.showwarning)
    try:
        app(standalone_mode=True)
    except (Exception, KeyboardInterrupt) as error:
        if traceback_wanted():
            traceback.print_exc()
        print_error(_message(error))
        sys.exit(exit_codes.of_error(error))


def _show(otherwise: Callable[..., None]) -> Callable[..., None]:
    """How warnings are shown: those of a store in one line, without where they were found."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, StaleCopyWarning | LackingPricesWarning):
            typer.echo(f"warning: {message}", err=True)
        else:
            otherwise(message, category, *where, **more)

    return show


def _message(error: BaseException) -> str:
    if isinstance(error, EtfError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return run.WHOLE
    if isinstance(error, OSError) and error.filename is not None:
        closed = cannot_open(error.filename, error)
        if closed is not None:
            return str(closed)
    return f"unexpected {type(error).__name__}: {error}; ETF_TRACEBACK=1 shows where"


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
