"""How tables, remarks and numbers look on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text


def compact_table(title: str | None, left: Iterable[str], right: Iterable[str] = ()) -> Table:
    """A table that fits 80 columns: text columns first, then numbers.

    Where there is no room texts go on below: a number that is cut is another number.
    """
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )
    for name in left:
        table.add_column(escape(name), overflow="fold")
    for name in right:
        table.add_column(escape(name), justify="right", no_wrap=True)
    return table


def show_notes(console: Console, notes: Mapping[str, str | None]) -> None:
    """Remarks that would not fit in a table, a line each."""
    for subject, note in notes.items():
        if note:
            console.print(f"  [bold]{escape(subject)}[/]: {escape(note)}", highlight=False)


def marked(text: str, problem: bool) -> Text:
    """A name as it is, brackets too, and in red where there is a problem with it."""
    return Text(text, style="red" if problem else "")


def percent(value: float | None) -> str:
    """A fraction in per cent with two decimals; a dash for None."""
    return "–" if value is None else f"{value * 100:z.2f}"


def number(value: float | None) -> str:
    """Two decimals; a dash for None."""
    return "–" if value is None else f"{value:z.2f}"
