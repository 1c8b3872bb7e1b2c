"""The commands that look at a store and its surroundings: `etf status`, `doctor`, `selftest`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from etf_pipeline.cli.exit_codes import ExitCode, of_checks
from etf_pipeline.cli.options import DataDir, Json
from etf_pipeline.cli.render.events import status_body, status_line
from etf_pipeline.cli.render.output import print_either, print_json, print_place, verdict_line
from etf_pipeline.errors import EtfError, InsufficientDataError, ReasonCode

if TYPE_CHECKING:
    from etf_pipeline.library.doctor import Finding


def status(
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """What the store holds, and how the last run of each ticker and stage went.

    Exit code 3 when one of them did not come out, or a file cannot be read.
    """
    from etf_pipeline.events.settings import load_event_settings
    from etf_pipeline.events.status import events_status
    from etf_pipeline.library.freshness import batches_of, refreshed
    from etf_pipeline.library.status import stage_status, store_status, unfit_status
    from etf_pipeline.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    fresh = refreshed(settings.data_dir, settings.store_url, settings.lock_timeout_seconds)
    rows = store_status(
        settings.data_dir, batches_of(settings, ask=fresh is None or fresh.away is None)
    )
    stages, files = stage_status(settings), unfit_status(settings.data_dir)
    events = events_status(settings.data_dir, load_event_settings())
    if as_json:
        found = [s.body for s in stages]
        shared = {} if fresh is None else {"share": fresh.as_json()}
        body = {"tickers": rows, "stages": found, "events": status_body(events)}
        body |= {"unfit_files": files}
        print_json(body | shared)
    else:
        from etf_pipeline.cli.render.store import show_stages, show_status

        console = Console()
        show_status(console, rows)
        show_stages(console, stages)
        for one in files:
            console.print(one["problem"], soft_wrap=True, highlight=False, markup=False)
        if line := status_line(events, dt.datetime.now(dt.UTC)):
            console.print(line, soft_wrap=True, highlight=False)
        if fresh is not None:
            told = fresh.warning(dt.datetime.now(dt.UTC)) or f"shared by {fresh.url}, pulled now"
            console.print(told, soft_wrap=True, highlight=False, markup=False)
        print_place(console, settings.data_dir.resolve())
    if not rows:
        raise InsufficientDataError(
            f"there is no history in {settings.data_dir} yet; run `etf run`",
            code=ReasonCode.NO_HISTORY,
        )
    if files or any(r["problem"] for r in rows) or not all(s.good for s in stages):
        raise typer.Exit(ExitCode.PARTIAL)


def doctor(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Look for what would go wrong: settings, files, disk, brokers. Exit code 1 if anything would.

    Example: etf doctor
    """
    from etf_pipeline.library.doctor import examine

    checks = [*examine(data_dir), *_records()]
    print_either(as_json, [vars(c) for c in checks], (verdict_line(c) for c in checks))
    raise typer.Exit(of_checks(all(c.ok for c in checks)))


def _records() -> Iterator[Finding]:
    """Where Dagster keeps its records; not looked for where there is no Dagster."""
    from etf_pipeline.library.doctor import Finding

    if find_spec("dagster") is None:
        return
    from etf_pipeline.orchestration import broker, instance

    for name, examined in (("records", instance.examined), ("broker of runs", broker.examined)):
        try:
            yield Finding(name, True, examined())
        except (EtfError, OSError) as error:
            yield Finding(name, False, str(error))


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
            typer.echo(verdict_line(step, good="pass"))
    if as_json:
        print_json([vars(s) for s in done])
    raise typer.Exit(of_checks(all(s.ok for s in done)))
