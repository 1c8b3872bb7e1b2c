"""The command `etf sql`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etf_pipeline.cli.extras import pipeline_imports
from etf_pipeline.cli.options import DataDir
from etf_pipeline.cli.render.answers import write, write_parquet
from etf_pipeline.errors import SettingsError
from etf_pipeline.settings import environment
from etf_pipeline.sql.limits import Limits

if TYPE_CHECKING:
    from etf_pipeline.store.layout import Layout


def sql(
    statement: Annotated[
        str | None, typer.Argument(help="One statement; `-` reads it from standard input.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read it from a file.")] = None,
    kind: Annotated[
        str, typer.Option("--format", help="table, csv, json, markdown or parquet.")
    ] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file.")] = None,
    data_dir: DataDir = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=86_400.0, help="Seconds a query may take.")
    ] = Limits.seconds,
    memory: Annotated[str, typer.Option(help="Memory a query may take.")] = Limits.memory,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows a query may give.")] = Limits.rows,
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
) -> None:
    """Ask the store in SQL: one statement, a file, or a prompt when there is neither.

    Only reading is possible: no file, network, extension or setting can be reached.

    Example: etf sql "SELECT ticker, volatility FROM risk_metrics WHERE window = '3y' ORDER BY 2"
    """
    from etf_pipeline.library.freshness import refresh_for_reading

    with pipeline_imports():
        from etf_pipeline.sql.output import FORMATS
        from etf_pipeline.sql.safe import limit_process_memory
        from etf_pipeline.steps.catalogue import open_catalogue
        from etf_pipeline.store.store import Store
    kind = "json" if as_json else kind
    if kind not in FORMATS:
        raise SettingsError(f"--format {kind!r}: must be one of {', '.join(FORMATS)}")
    text = _statement(statement, file)
    limits = Limits(timeout, memory, max_rows)
    store = Store.at(data_dir or environment.data_dir(), environment.LOCK_TIMEOUT_SECONDS)
    refresh_for_reading(store.layout.root)
    universe_file = environment.universe_file()
    with open_catalogue(store, universe_file, limits, _copy_log) as connection:
        if text is None:
            from etf_pipeline.sql.prompt import interact

            interact(connection, Path.home() / ".local" / "state" / "etf" / "sql_history")
            return
        limit_process_memory(limits)  # it is ours alone on the command line
        if kind == "parquet":
            write_parquet(connection.arrow(text), output)
            return
        answer = connection.query(text)
    write(answer, kind, output)
    if answer.cut:
        typer.echo(f"only the first {max_rows} rows; raise --max-rows for more", err=True)


def _copy_log(layout: Layout) -> None:
    """Bring the copy of the event log up to date; what that takes is imported only then."""
    from etf_pipeline.events.log.copy import copy_log

    copy_log(layout)


def _statement(statement: str | None, file: Path | None) -> str | None:
    if statement is not None and file is not None:
        raise SettingsError("give a statement or --file, not both")
    if file is not None:
        try:
            return file.read_text()
        except OSError as error:
            raise SettingsError(f"--file {file}: {error.strerror}") from None
    if statement == "-" or (statement is None and not sys.stdin.isatty()):
        return sys.stdin.read()
    return statement
