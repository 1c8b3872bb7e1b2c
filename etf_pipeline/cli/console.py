"""What the command line shows: progress and summary tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from etf_pipeline.model.outcomes import Outcome

_COLOURS = {
    "collected": "green",
    "updated": "green",
    "unchanged": "dim",
    "rejected": "red",
    "failed": "red",
}
_STAGES = {"raw_prices": "downloading", "price_history": "updating histories"}


@contextmanager
def progress_display(console: Console, total: int) -> Iterator[Callable[[str, Outcome], None]]:
    """A bar per stage; yields the callback that moves them."""
    with Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[ticker]}"),
        console=console,
    ) as progress:
        tasks: dict[str, Any] = {}

        def report(asset: str, outcome: Outcome) -> None:
            if asset not in tasks:
                name = _STAGES.get(asset, asset)
                tasks[asset] = progress.add_task(name, total=total, ticker="")
            progress.update(tasks[asset], advance=1, ticker=outcome.subject)

        yield report


def compact_table(title: str | None, left: Iterable[str], right: Iterable[str] = ()) -> RichTable:
    """A table that fits 80 columns: text columns first, then numbers."""
    table = RichTable(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def show_notes(console: Console, notes: Mapping[str, str | None]) -> None:
    """Remarks that would not fit in a table, a line each."""
    for subject, note in notes.items():
        if note:
            console.print(f"  [bold]{escape(subject)}[/]: {escape(note)}", highlight=False)


def show_outcomes(console: Console, outcomes: Iterable[Outcome]) -> None:
    """Per ticker: what happened."""
    rows = sorted(outcomes, key=lambda o: o.subject)
    numbers = ("added", "revised", "held back", "first", "last")
    table = compact_table("Tickers", ("ticker", "outcome"), numbers)
    for o in rows:
        colour = _COLOURS.get(o.outcome, "")
        what = f"{o.outcome} ({o.failure_kind})" if o.failure_kind else o.outcome
        table.add_row(
            o.subject,
            f"[{colour}]{what}[/]" if colour else what,
            str(o.rows_added),
            str(o.rows_revised),
            str(o.rows_quarantined),
            str(o.first_date or ""),
            str(o.last_date or ""),
        )
    console.print(table)
    show_notes(console, {o.subject: o.reason for o in rows})


def show_risk(console: Console, rows: Iterable[Mapping[str, Any]], window: str) -> None:
    """Per ticker: the metrics of one window, in per cent where a rate."""
    chosen = [r for r in rows if r["window"] == window]
    sources = sorted({r["source"] for r in chosen})
    numbers = ("to", "days", "return", "CAGR", "volatility", "Sharpe", "max fall", "VaR 95")
    title = f"Risk, window {window}, per cent a year ({', '.join(sources)} prices)"
    table = compact_table(title, ("ticker",), numbers)
    for r in chosen:
        table.add_row(
            r["ticker"],
            str(r["end"] or ""),
            str(r["n_obs"] or ""),
            percent(r["mean_return"]),
            percent(r["cagr"]),
            percent(r["volatility"]),
            number(r["sharpe_ratio"]),
            percent(r["max_drawdown"]),
            percent(r["var_95"]),
        )
    console.print(table)
    show_notes(console, {r["ticker"]: r["reason"] for r in chosen})


def show_portfolios(
    console: Console, summary: Iterable[Mapping[str, Any]], weights: Iterable[Mapping[str, Any]]
) -> None:
    """Per portfolio: objective, result and weights."""
    held: dict[str, list[str]] = {}
    for w in sorted(weights, key=lambda w: -w["weight"]):
        if w["weight"] > 0:
            held.setdefault(w["portfolio"], []).append(f"{w['ticker']} {percent(w['weight'])} %")
    numbers = ("return", "volatility", "Sharpe", "days")
    table = compact_table("Portfolios, per cent a year", ("portfolio", "objective"), numbers)
    rows = list(summary)
    for s in rows:
        table.add_row(
            f"{'' if s['success'] else '[red]'}{s['portfolio']}",
            s["objective"],
            percent(s["expected_return"]),
            percent(s["volatility"]),
            number(s["sharpe_ratio"]),
            str(s["n_obs"] or ""),
        )
    console.print(table)
    show_notes(
        console,
        {
            s["portfolio"]: ", ".join(held.get(s["portfolio"], []))
            if s["success"]
            else s["message"]
            for s in rows
        },
    )


def percent(value: float | None) -> str:
    """A fraction in per cent with two decimals; a dash for None."""
    return "–" if value is None else f"{value * 100:.2f}"


def number(value: float | None) -> str:
    """Two decimals; a dash for None."""
    return "–" if value is None else f"{value:.2f}"
