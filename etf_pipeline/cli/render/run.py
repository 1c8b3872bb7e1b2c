"""What `etf run` and `etf demo` show: progress, then outcomes, risk and portfolios."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from etf_pipeline.cli.render.tables import compact_table, marked, number, percent, show_notes
from etf_pipeline.model.outcomes import Outcome, OutcomeKind, cells

if TYPE_CHECKING:
    from collections.abc import Callable

_COLOURS = {
    OutcomeKind.COLLECTED: "green",
    OutcomeKind.UPDATED: "green",
    OutcomeKind.UNCHANGED: "dim",
    OutcomeKind.REMOVED: "dim",
    OutcomeKind.REJECTED: "red",
    OutcomeKind.FAILED: "red",
}
_STAGES = {"raw_prices": "downloading", "price_history": "updating histories"}
# What `--json` tells of an outcome; the rest is for the store.
_TOLD = (
    "subject",
    "outcome",
    "reason",
    "failure_kind",
    "rows_added",
    "rows_revised",
    "rows_quarantined",
    "first_date",
    "last_date",
    "content_hash",
    "batch_id",
    "batch_hash",
    "rules_version",
    "source",
)


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
            progress.update(tasks[asset], advance=1, ticker=escape(outcome.subject))

        yield report


def outcome_body(outcome: Outcome) -> dict[str, Any]:
    """An outcome for JSON."""
    return {name: getattr(outcome, name) for name in _TOLD}


def show_outcomes(console: Console, outcomes: Iterable[Outcome]) -> None:
    """Per ticker: what happened."""
    rows = sorted(outcomes, key=lambda o: o.subject)
    shown = [cells(o) for o in rows]
    names = list(shown[0]) if shown else []
    table = compact_table("Tickers", names[:2], names[2:])
    for outcome, row in zip(rows, shown, strict=True):
        styles = {"outcome": _COLOURS[outcome.outcome]}
        table.add_row(*(Text(cell, style=styles.get(name, "")) for name, cell in row.items()))
    console.print(table)
    show_notes(console, {o.subject: o.reason for o in rows})


def show_risk(console: Console, rows: Iterable[Mapping[str, Any]], window: str) -> None:
    """Per ticker: the metrics of one window, in per cent where a rate."""
    chosen = [r for r in rows if r["window"] == window]
    sources = sorted({r["source"] for r in chosen})
    numbers = ("to", "days", "return", "CAGR", "volatility", "Sharpe", "max fall", "VaR 95")
    own = len({r.get("currency") for r in chosen}) > 1
    title = f"Risk, window {window}, per cent a year ({', '.join(sources)} prices)"
    if own:
        title += ", each in its own currency"
    table = compact_table(title, ("ticker", "in") if own else ("ticker",), numbers)
    for r in chosen:
        table.add_row(
            escape(r["ticker"]),
            *([r.get("currency") or "?"] if own else []),
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
        if w["weight"] != 0:
            held.setdefault(w["portfolio"], []).append(f"{w['ticker']} {percent(w['weight'])} %")
    numbers = ("return", "volatility", "Sharpe", "days")
    rows = list(summary)
    own = len({s.get("base_currency") for s in rows}) > 1
    left = ("portfolio", "objective", *(["in"] if own else []))
    table = compact_table("Portfolios, per cent a year", left, numbers)
    for s in rows:
        table.add_row(
            marked(s["portfolio"], problem=not s["success"]),
            s["objective"],
            *([s.get("base_currency") or "?"] if own else []),
            percent(s["expected_return"]),
            percent(s["volatility"]),
            number(s["sharpe_ratio"]),
            str(s["n_obs"] or ""),
        )
    console.print(table)
    show_notes(
        console,
        {
            s["portfolio"]: _holdings(s, held.get(s["portfolio"], []))
            if s["success"]
            else s["message"]
            for s in rows
        },
    )


def show_not_backtested(console: Console, backtests: Iterable[Outcome]) -> None:
    """Which portfolios have no backtest, and why; nothing where all have one."""
    show_notes(console, {f"no backtest of {o.subject}": o.reason for o in backtests if not o.good})


def _holdings(summary: Mapping[str, Any], held: list[str]) -> str:
    """What a portfolio holds, cash too, and whether weekly returns stand behind it."""
    if cash := summary.get("cash"):
        held = [*held, f"cash {percent(cash)} %"]
    weekly = summary.get("correlation_period") == "weekly"
    return ", ".join(held) + ("; correlations of weekly returns" if weekly else "")
