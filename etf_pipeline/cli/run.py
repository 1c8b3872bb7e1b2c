"""The commands that run the pipeline: `etf run` and `etf demo`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from etf_pipeline.cli.exit_codes import ExitCode, of_run
from etf_pipeline.cli.extras import need_pipeline
from etf_pipeline.cli.options import DataDir, Json, Window, split_names
from etf_pipeline.cli.render.output import print_error, print_json, print_place
from etf_pipeline.cli.warned import warnings_told
from etf_pipeline.errors import EtfError, ReasonCode, RecordsError, SettingsError

if TYPE_CHECKING:
    from etf_pipeline.orchestration.report import RunReport
    from etf_pipeline.orchestration.resources import Pipeline
    from etf_pipeline.settings import Settings

WHOLE = "interrupted; what was published is whole, and a new run goes on from there"
_DEMO_TICKERS = ("STW", "IOZ", "GOLD")


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
    names = split_names(tickers or "")
    if tickers is not None and not names:
        raise SettingsError("--tickers names no ticker; give some, such as VAS,VGS")
    raise typer.Exit(_run(settings, names, partition, full, window, as_json))


def demo(data_dir: DataDir = None, window: Window = "3y", as_json: Json = False) -> None:
    """The whole pipeline on simulated prices: no network, a minute at most."""
    settings = _demo_settings(data_dir or Path("data/demo"))
    from etf_pipeline.model.portfolio_file import load_portfolios
    from etf_pipeline.model.universe import load_universe

    universe = load_universe(settings.universe_file)
    specs = load_portfolios(settings.portfolios_file, universe)
    chosen = sorted({t for s in specs for t in (*s.tickers, *s.beside)} | set(_DEMO_TICKERS))
    if not as_json:
        Console().print("[bold yellow]Simulated prices[/]: nothing below is real market data.\n")
    code = _run(settings, chosen, None, False, window, as_json)
    if code == ExitCode.DONE and not as_json:
        Console().print(
            "\nNext: [bold]etf run[/] downloads real prices; [bold]make dev[/] opens the same "
            "graph in the Dagster UI."
        )
    raise typer.Exit(code)


def _demo_settings(root: Path) -> Settings:
    """The demo's own settings and files, so that a user's edits cannot break it."""
    from etf_pipeline.settings import load_settings
    from etf_pipeline.settings.defaults import default_text
    from etf_pipeline.store.writer import write_text

    files: dict[str, Path] = {}
    for name in ("universe.csv", "portfolios.yaml"):
        files[name] = root / name
        write_text(files[name], default_text(name))
    return load_settings(
        data_dir=root,
        source="simulated",
        universe_file=files["universe.csv"],
        corrections_file=root / "corrections.csv",
        portfolios_file=files["portfolios.yaml"],
    )


def _run(
    settings: Settings,
    tickers: Sequence[str],
    partition: str | None,
    full: bool,
    window: str,
    as_json: bool,
) -> ExitCode:
    need_pipeline("dagster", "yfinance")
    from etf_pipeline.orchestration.interrupts import handled, interrupt
    from etf_pipeline.orchestration.report import RunReport

    console, report = Console(stderr=as_json, quiet=as_json), RunReport()
    try:
        with handled(interrupt, signal.SIGTERM), warnings_told():
            pipeline, chosen, partitions = _request(settings, tickers, partition, window)
            _fill(report, console, pipeline, chosen, partitions, full, as_json)
    except RecordsError as error:
        if not as_json:
            raise
        report.ended = error
    except KeyboardInterrupt:
        report.ended = EtfError(WHOLE, code=ReasonCode.INTERRUPTED)
        print_error(WHOLE)
        if as_json:
            _print_json(report, ExitCode.INTERRUPTED, settings.data_dir)
        # Everything is closed; only threads are left that wait for an answer of the source.
        os._exit(ExitCode.INTERRUPTED)
    code = of_run(report, chosen=bool(tickers))
    if as_json:
        _print_json(report, code, settings.data_dir)
        return code
    _show(console, pipeline, report, window)
    for sentence in dict.fromkeys(report.errors):
        print_error(sentence)
    return code


def _fill(
    report: RunReport,
    console: Console,
    pipeline: Pipeline,
    chosen: Sequence[str],
    partitions: Sequence[str],
    full: bool,
    as_json: bool,
) -> None:
    """Run everything, with a display of how far it is; the report has what came of it.

    Raises:
        RecordsError: Dagster's database cannot be used from the start, or not any more.
        KeyboardInterrupt: it was stopped, here or in Dagster's UI.
    """
    with console.status("starting"):
        pipeline.open_source(None)
        from etf_pipeline.cli.render.run import progress_display
        from etf_pipeline.orchestration.database import outage_told
        from etf_pipeline.orchestration.instance import disk_told, open_instance
        from etf_pipeline.orchestration.runner import run_graph, tailed
        from etf_pipeline.orchestration.slots import end_dead_runs, free_dead_slots

        with disk_told():
            instance = open_instance()
    total = sum(len(pipeline.universe.in_partition(p, chosen or None)) for p in partitions)
    with (
        disk_told(),
        outage_told(),
        instance,
        tailed(pipeline, instance),
        progress_display(console, total) as show,
    ):
        free_dead_slots(instance)
        end_dead_runs(instance)
        pipeline.progress, pipeline.say = show, _saying(console, as_json)
        run_graph(
            pipeline,
            instance,
            tickers=chosen,
            partitions=partitions,
            full_refresh=full,
            report=report,
        )


def _print_json(report: RunReport, code: ExitCode, root: Path) -> None:
    from etf_pipeline.cli.render.run import outcome_body

    ended = report.ended
    print_json(
        {
            "exit_code": code,
            "state": code.name.lower(),
            "reason_code": None if ended is None else ended.code,
            "reason": None if ended is None else str(ended),
            "tickers": {t: outcome_body(o) for t, o in report.tickers.items()},
            "portfolios": {p: outcome_body(o) for p, o in report.portfolios.items()},
            "backtests": {p: outcome_body(o) for p, o in report.backtests.items()},
            "stages": [s.body for s in report.stages],
            "errors": report.errors,
            "files": str(root.resolve()),
        }
    )


def _saying(console: Console, as_json: bool) -> Callable[[str], None]:
    """What tells somebody who waits something: on standard error where JSON is asked for."""
    if as_json:
        return lambda text: typer.echo(text, err=True)
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)


def _request(
    settings: Settings, tickers: Sequence[str], partition: str | None, window: str
) -> tuple[Pipeline, list[str], list[str]]:
    """The pipeline, and the tickers and partitions that were asked for.

    What can be wrong with a request is told before Dagster is imported, which takes seconds.

    Raises:
        SettingsError: an option names what there is not.
    """
    from etf_pipeline.risk.tables import WINDOWS

    if window not in WINDOWS:
        raise SettingsError(f"--window {window!r}: must be one of {', '.join(WINDOWS)}")
    from etf_pipeline.events.settings import load_event_settings
    from etf_pipeline.model.currencies import pair_of
    from etf_pipeline.orchestration.resources import Pipeline

    pairs = tuple(p for p in map(pair_of, tickers) if p is not None)
    pipeline = Pipeline(settings, load_event_settings(), pairs=pairs)
    partitions = pipeline.universe.partitions()
    if partition is not None and partition not in partitions:
        raise SettingsError(f"--partition {partition!r}: must be one of {', '.join(partitions)}")
    pipeline.portfolios()
    pipeline.declared()
    chosen = [pipeline.universe.get(t).ticker for t in tickers]
    chosen += [t for t in pipeline.rates_for(chosen) if t not in chosen]
    wanted = [partition] if partition else partitions
    if not any(pipeline.universe.in_partition(p, chosen or None) for p in wanted):
        raise SettingsError(f"no ticker of {', '.join(chosen)} is in partition {partition}")
    return pipeline, chosen, wanted


def _show(console: Console, pipeline: Pipeline, report: RunReport, window: str) -> None:
    from etf_pipeline.cli.render.run import (
        show_not_backtested,
        show_outcomes,
        show_portfolios,
        show_risk,
    )
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
    show_not_backtested(console, report.backtests.values())
    print_place(console, pipeline.layout.root.resolve())
