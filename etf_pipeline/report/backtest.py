"""Sections of a portfolio's backtest: its course beside others, its decisions, its members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from etf_pipeline.model.backtesting import EventKind
from etf_pipeline.model.benchmark_portfolios import benchmark_portfolio
from etf_pipeline.model.exposures import lent
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.report.cells import DASH, percent
from etf_pipeline.report.courses import (
    START,
    drawdown_section,
    growth_section,
    volatility_section,
    worst_falls,
    year_section,
)
from etf_pipeline.report.inputs import Inputs, Row
from etf_pipeline.report.parts import Grid, Section
from etf_pipeline.risk.returns import drawdowns, from_paid_in

_MOST_ROWS = 24  # of decisions, the newest
_IN_WORDS = {
    EventKind.TRADED: "traded",
    EventKind.NEAREST: "the nearest that could be had was traded",
    EventKind.WITHIN_BAND: "within the band, not traded",
    EventKind.SKIPPED: "skipped, what was held was kept",
    EventKind.ENTERED: "entered",
    EventKind.LEFT: "left",
}
_NOT_AS_ASKED = (EventKind.SKIPPED, EventKind.NEAREST)
_MEMBERS = (EventKind.ENTERED, EventKind.LEFT)


def backtest_sections(inputs: Inputs, name: str, spec: PortfolioSpec | None) -> list[Section]:
    """The course of a portfolio and what happened on it, or why there is none."""
    rows = inputs.rows("backtests", portfolio=name)
    if len(rows) < 2:
        why = inputs.not_backtested.get(name, "none has been made").rstrip(".")
        return [Section("Growth", [f"There is no backtest of this portfolio: {why}."])]
    wealth = _course(rows, "wealth")
    courses = {name: from_paid_in(wealth, wealth)}
    others = {"benchmark": "benchmark_wealth", _compared(spec): "comparison_wealth"}
    for label, column in others.items():
        if len(found := _course(rows, column)) > 1:
            label = f"{label} (compared)" if label in courses else label
            courses[label] = from_paid_in(found, wealth)
    courses |= _measured_against(inputs, name, wealth)
    return [
        *_courses(courses, name, inputs.periods_per_year, _walked(spec)),
        *_decisions(inputs.rows("backtest_events", portfolio=name), rows),
    ]


def _measured_against(inputs: Inputs, name: str, wealth: pd.Series) -> dict[str, pd.Series]:
    """The course of the portfolio that one is measured against, by its name, from the same start.

    None where it is no portfolio, has no course then, or one in another currency.
    """
    asked = inputs.specs.get(name)
    other = None if asked is None else benchmark_portfolio(asked, inputs.specs)
    if other is None:
        return {}
    money = [inputs.rows("summary", portfolio=n) for n in (name, other.name)]
    if len({row.get("base_currency") for rows in money for row in rows}) != 1:
        return {}
    own = _course(inputs.rows("backtests", portfolio=other.name), "wealth")
    if own.empty:
        return {}
    found = from_paid_in(own, own)
    found = found.loc[found.index.intersection(wealth.index)]
    if len(found) < 2:
        return {}
    late = found.index[0] > wealth.index[0]
    begins = float(wealth.loc[found.index[0]]) if late else 1.0
    return {other.name: found / found.iloc[0] * begins}


def _course(rows: Sequence[Row], column: str) -> pd.Series:
    """The values of a column by date, those that there are: older tables may lack it."""
    found = {r["date"]: r[column] for r in rows if r.get(column) is not None}
    return pd.Series(list(found.values()), pd.DatetimeIndex(list(found)), dtype="float64")


def _compared(spec: PortfolioSpec | None) -> str:
    """What the course is compared with, in words."""
    asked = {} if spec is None else spec.comparison
    if len(asked) == 1:
        return next(iter(asked))
    return ", ".join(f"{t} {w:.0%}" for t, w in asked.items()) or "comparison"


def _walked(spec: PortfolioSpec | None) -> str:
    """What decisions knew, and what the course does not count."""
    known = None if spec is None else spec.expected_returns.hindsight
    knew = "earlier prices alone" if known is None else f"earlier prices with {known}"
    left_out = None if spec is None else lent(spec.net_exposure, spec.gross_exposure)
    free = "" if left_out is None else f" {left_out[0].upper()}{left_out[1:]}."
    return f"each rebalance was decided on {knew}.{free}"


def _courses(
    courses: dict[str, pd.Series], name: str, fixed: float | None, walked: str
) -> list[Section]:
    wealth = courses[name]
    grown = {k: v * START for k, v in courses.items()}
    final, worst = grown[name].iloc[-1], drawdowns(wealth).min()
    span = f"{wealth.index[0].date()} to {wealth.index[-1].date()}"
    return [
        growth_section(
            grown,
            f"From {span}: 10,000 became {final:,.0f}.",
            f"Walk-forward backtest, {span}: {walked} "
            f"10,000 became {final:,.0f}. The past is no promise.",
        ),
        drawdown_section(
            courses,
            f"The deepest fall from a peak was {worst:.1%}.",
            f"Fall from the highest value so far; the deepest was {worst:.1%}.",
            fill=True,
            tables=[worst_falls(wealth)],
        ),
        volatility_section(courses, fixed),
        year_section(courses),
    ]


def _decisions(events: Sequence[Row], rows: Sequence[Row]) -> list[Section]:
    """How many decisions were traded, which were not as asked, and who came and went."""
    if not events:
        return []
    by_kind = Counter(EventKind(e["event"]) for e in events)
    said = [
        f"{by_kind[kind]} {_IN_WORDS[kind]}"
        for kind in EventKind
        if by_kind[kind] and kind not in _MEMBERS
    ]
    texts = [f"Decisions: {'; '.join(said)}."] if said else []
    most = max((r.get("cash") or 0.0 for r in rows), default=0.0)
    if most > 1e-9:
        texts.append(f"At most {percent(most)} of the wealth was in cash.")
    tables = []
    if odd := [e for e in events if EventKind(e["event"]) in _NOT_AS_ASKED]:
        caption = "Decisions that were not traded as asked"
        if len(odd) > _MOST_ROWS:
            caption += f"; the newest {_MOST_ROWS} of {len(odd)}"
        tables.append(
            Grid(
                caption,
                ["decided", "traded", "what was done", "why"],
                [
                    [
                        str(e["date"]),
                        DASH if e["traded_on"] is None else str(e["traded_on"]),
                        _IN_WORDS[EventKind(e["event"])],
                        e["reason"] or DASH,
                    ]
                    for e in odd[-_MOST_ROWS:]
                ],
                dates=(0, 1),
            )
        )
    if moved := [e for e in events if EventKind(e["event"]) in _MEMBERS]:
        cells = [
            [str(e["date"]), e["subject"], _IN_WORDS[EventKind(e["event"])], e["reason"] or DASH]
            for e in moved
        ]
        columns = ["date", "ETF", "what happened", "why"]
        tables.append(Grid("Entries and exits", columns, cells, dates=(0,)))
    return [Section("Decisions and members", texts, tables=tables)]
