"""The ways out: JSON, lines, wide tables, and errors on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import typer
from rich.console import Console
from rich.text import Text

_WIDEST = 100_000


class Verdict(Protocol):
    """One thing that was looked at or tried."""

    @property
    def name(self) -> str:
        """What was looked at."""

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""

    @property
    def detail(self) -> str:
        """What was found."""


def print_json(body: Any) -> None:
    """A value as JSON; what JSON has no word for, such as a date, as text."""
    typer.echo(json.dumps(body, indent=1, default=str))


def print_lines(lines: Iterable[str]) -> None:
    """A line each, as they come."""
    for line in lines:
        typer.echo(line)


def print_either(as_json: bool, body: Any, lines: Iterable[str]) -> None:
    """The body as JSON, or the lines for people."""
    if as_json:
        print_json(body)
    else:
        print_lines(lines)


def verdict_line(verdict: Verdict, good: str = "ok  ") -> str:
    """One line of a list of checks, beginning with how it went."""
    return f"{good if verdict.ok else 'FAIL'} {verdict.name}: {verdict.detail}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Values below names, the first column to the left; as wide as it must be, cut nowhere."""
    from etf_pipeline.cli.render.tables import compact_table
    from etf_pipeline.sql.output import cell

    table = compact_table(None, columns[:1], columns[1:])
    for row in rows:
        table.add_row(*(Text(cell(v)) for v in row))
    console = Console()
    needed = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    console.width = max(console.width, needed)  # a terminal wraps what it has no room for
    console.print(table)


def print_error(message: str) -> None:
    """One line on standard error."""
    _on_stderr(f"error: {message}")


def print_warning(message: str) -> None:
    """One line on standard error about what goes on all the same."""
    _on_stderr(f"warning: {message}")


def _on_stderr(line: str) -> None:
    # No emoji: what lies between two colons is part of a path or of what somebody typed.
    plain = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
    plain.print(line)


def print_place(console: Console, root: object) -> None:
    """Where the files are, so that it can be copied."""
    console.print(f"Files: {root}", soft_wrap=True, highlight=False, markup=False, emoji=False)
