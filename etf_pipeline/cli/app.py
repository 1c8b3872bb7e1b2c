"""The command `etf`. Exit codes: 0 all good, 1 failed, 2 bad usage, 3 partial, 130 Ctrl-C."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from etf_pipeline._version import __version__
from etf_pipeline.cli import analysis, events, sql
from etf_pipeline.errors import (
    EtfError,
    EventsOffError,
    PortfolioFileError,
    QueryError,
    SettingsError,
    UniverseError,
    UnknownTickerError,
)
from etf_pipeline.settings.environment import traceback_wanted

if TYPE_CHECKING:
    from etf_pipeline.settings import Settings

FAILED, USAGE, PARTIAL, INTERRUPTED = 1, 2, 3, 130
_USAGE_ERRORS = (
    SettingsError,
    UniverseError,
    PortfolioFileError,
    UnknownTickerError,
    EventsOffError,
    QueryError,
)
_WHOLE = "interrupted; what was published is whole, and a new run goes on from there"
_DEMO_TICKERS = ("STW", "IOZ", "GOLD")

app = typer.Typer(
    name="etf",
    help="ETF prices in; a trustworthy store, risk tables and optimised portfolios out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.add_typer(events.app, name="events")
app.command(name="sql")(sql.sql)
analysis.register(app)
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Store to use (ETF_DATA_DIR).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Window = Annotated[str, typer.Option(help="Window of the risk table: 1y, 3y, 5y, 10y or max.")]


def main() -> None:
    """Console entry point: errors become one line and an exit code."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    try:
        app(standalone_mode=True)
    except _USAGE_ERRORS as error:
        _fail(str(error), USAGE)
    except EtfError as error:
        _fail(str(error), FAILED)
    except KeyboardInterrupt:
        _fail(_WHOLE, INTERRUPTED)
    except Exception as error:
        _fail(f"unexpected {type(error).__name__}: {error}; ETF_TRACEBACK=1 shows where", FAILED)


def _fail(message: str, code: int) -> NoReturn:
    if traceback_wanted():
        traceback.print_exc()
    _say(message)
    sys.exit(code)


def _say(message: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"error: {message}")


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


@app.command()
def run(
    source: Annotated[
        str | None, typer.Option(help="yahoo, files:DIR or simulated (ETF_SOURCE).")
    ] = None,
    tickers: Annotated[str | None, typer.Option(help="Only these, e.g. VAS,VGS.")] = None,
    partition: Annotated[str | None, typer.Option(help="Only this one, e.g. XASX.")] = None,
    data_dir: DataDir = None,
    full: Annotated[bool, typer.Option("--full", help="Ask for whole histories again.")] = False,
    window: Window = "3y",
    as_json: Json = False,
) -> None:
    """Download, update histories, risk tables and portfolios.

    Example: etf run --tickers VAS,VGS,VTS,VAF
    """
    from etf_pipeline.settings import load_settings

    settings = load_settings(data_dir=data_dir, source=source)
    names = [t.strip() for t in (tickers or "").split(",") if t.strip()]
    if tickers is not None and not names:
        raise SettingsError("--tickers names no ticker; give some, such as VAS,VGS")
    raise typer.Exit(_run(settings, names, partition, full, window, as_json))


@app.command()
def demo(data_dir: DataDir = None, window: Window = "3y", as_json: Json = False) -> None:
    """The whole pipeline on simulated prices: no network, a minute at most."""
    from etf_pipeline.orchestration.instance import default_text
    from etf_pipeline.settings import load_settings
    from etf_pipeline.store.writer import write_text

    root = data_dir or Path("data/demo")
    files: dict[str, Path] = {}
    # The files that ship with the package, so that a user's own edits cannot break the demo.
    for name in ("universe.csv", "portfolios.yaml"):
        files[name] = root / name
        write_text(files[name], default_text(name))
    settings = load_settings(
        data_dir=root,
        source="simulated",
        universe_file=files["universe.csv"],
        portfolios_file=files["portfolios.yaml"],
    )
    from etf_pipeline.model.portfolios import load_portfolios
    from etf_pipeline.model.universe import load_universe

    universe = load_universe(settings.universe_file)
    specs = load_portfolios(settings.portfolios_file, universe)
    chosen = sorted({t for s in specs for t in s.tickers} | set(_DEMO_TICKERS))
    if not as_json:
        Console().print("[bold yellow]Simulated prices[/]: nothing below is real market data.\n")
    code = _run(settings, chosen, None, False, window, as_json)
    if code == 0 and not as_json:
        Console().print(
            "\nNext: [bold]etf run[/] downloads real prices; [bold]make dev[/] opens the same "
            "graph in the Dagster UI."
        )
    raise typer.Exit(code)


def _run(
    settings: Settings,
    tickers: Sequence[str],
    partition: str | None,
    full: bool,
    window: str,
    as_json: bool,
) -> int:
    _need_pipeline()
    console = Console(stderr=as_json, quiet=as_json)
    from etf_pipeline.risk.tables import WINDOWS

    if window not in WINDOWS:
        raise SettingsError(f"--window {window!r}: must be one of {', '.join(WINDOWS)}")
    from etf_pipeline.orchestration.resources import Pipeline

    # What can be wrong with the request is told before Dagster is imported, which takes seconds.
    pipeline = Pipeline(settings)
    partitions = pipeline.universe.partitions()
    if partition is not None and partition not in partitions:
        raise SettingsError(f"--partition {partition!r}: must be one of {', '.join(partitions)}")
    pipeline.portfolios()
    chosen = [pipeline.universe.get(t).ticker for t in tickers]
    wanted = [partition] if partition else partitions
    total = sum(len(pipeline.universe.in_partition(p, chosen or None)) for p in wanted)
    if total == 0:
        raise SettingsError(f"no ticker of {', '.join(chosen)} is in partition {partition}")
    with console.status("starting"):
        pipeline.open_source(None)
        from etf_pipeline.cli.console import progress_display
        from etf_pipeline.orchestration.instance import open_instance
        from etf_pipeline.orchestration.runner import relayed, run_graph
        from etf_pipeline.orchestration.slots import slots_kept_free

        instance = open_instance()
    try:
        with (
            instance,
            slots_kept_free(instance),
            relayed(pipeline, instance),
            progress_display(console, total) as show,
        ):
            pipeline.progress = show
            report = run_graph(
                pipeline, instance, tickers=chosen, partitions=wanted, full_refresh=full
            )
    except KeyboardInterrupt:
        _say(_WHOLE)
        # Everything is closed; only threads are left that wait for an answer of the source.
        os._exit(INTERRUPTED)
    code = int(report.exit_code(bool(tickers)))
    if as_json:
        body = {
            "exit_code": code,
            "tickers": {t: vars(o) for t, o in report.tickers.items()},
            "portfolios": {p: vars(o) for p, o in report.portfolios.items()},
            "errors": report.errors,
            "files": str(pipeline.layout.root.resolve()),
        }
        typer.echo(json.dumps(body, indent=1, default=str))
        return code
    _show(console, pipeline, report, window)
    for error in dict.fromkeys(report.errors):
        Console(stderr=True, soft_wrap=True, markup=False).print(f"error: {error}")
    return code


def _show(console: Console, pipeline: Any, report: Any, window: str) -> None:
    from etf_pipeline.cli.console import show_outcomes, show_portfolios, show_risk
    from etf_pipeline.model.schemas import RISK_METRICS, SUMMARY, WEIGHTS
    from etf_pipeline.store.reader import read_table

    if report.tickers:
        show_outcomes(console, report.tickers.values())
    newest: dict[str, list[dict[str, Any]]] = {}
    for table in (RISK_METRICS, SUMMARY, WEIGHTS):
        path = pipeline.layout.newest(table)
        newest[table.name] = read_table(path).to_pylist() if path is not None else []
    if newest["risk_metrics"]:
        show_risk(console, newest["risk_metrics"], window)
    if newest["summary"]:
        show_portfolios(console, newest["summary"], newest["weights"])
    console.print(f"Files: {pipeline.layout.root.resolve()}", soft_wrap=True, highlight=False)


@app.command()
def status(
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """What the store holds, and how the last run of each ticker went."""
    from etf_pipeline.events.status import events_line, events_status
    from etf_pipeline.library.status import store_status
    from etf_pipeline.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    rows = store_status(settings)
    events = events_status(settings.data_dir)
    if as_json:
        typer.echo(json.dumps({"tickers": rows, "events": events}, indent=1, default=str))
    else:
        from etf_pipeline.library.status import show_status

        show_status(Console(), rows)
        if line := events_line(events, dt.datetime.now(dt.UTC)):
            Console().print(line, soft_wrap=True, highlight=False)
        root = settings.data_dir.resolve()
        Console().print(f"Files: {root}", soft_wrap=True, highlight=False)
    if not rows:
        raise EtfError(f"there is no history in {settings.data_dir} yet; run `etf run`")
    if any(r["problem"] for r in rows):
        raise typer.Exit(PARTIAL)


@app.command()
def selftest(
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Try everything the library does on this store; a line for each, exit code 1 on a failure."""
    from etf_pipeline.library.selftest import selftest as steps
    from etf_pipeline.library.system import get_etf_system

    done = []
    for step in steps(lambda: get_etf_system(data_dir)):
        done.append(step)
        if not as_json:
            typer.echo(f"{'pass' if step.ok else 'FAIL'} {step.name}: {step.detail}")
    if as_json:
        typer.echo(json.dumps([vars(s) for s in done], indent=1))
    if not all(s.ok for s in done):
        raise typer.Exit(FAILED)


def _need_pipeline() -> None:
    missing = [m for m in ("dagster", "yfinance") if find_spec(m) is None]
    if missing:
        raise SettingsError(
            f"this command needs {' and '.join(missing)}: pip install 'etf_pipeline[pipeline]'"
        )
