"""Sections along time that both kinds of report have: growth, drawdowns, volatility, years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from etf_pipeline.report import charts
from etf_pipeline.report.cells import DASH, percent
from etf_pipeline.report.parts import Grid, Section
from etf_pipeline.risk.annual import Span
from etf_pipeline.risk.returns import drawdowns
from etf_pipeline.risk.series import drawdown_table, rolling_volatility

START = 10_000.0  # what growth is drawn from
ROLLING = 63  # returns behind each point of rolling volatility


def growth_section(grown: Mapping[str, pd.Series], description: str, caption: str) -> Section:
    """What 10,000 became; the lines are amounts."""
    title = "Growth of 10,000"
    return Section(title, chart=charts.lines(grown, "growth", title, description), caption=caption)


def drawdown_section(
    courses: Mapping[str, pd.Series],
    description: str,
    caption: str,
    *,
    fill: bool = False,
    tables: Sequence[Grid] = (),
) -> Section:
    """Fall of each course from its highest value so far; the first line filled on request."""
    title = "Drawdowns"
    falls = {name: drawdowns(values) for name, values in courses.items()}
    chart = charts.lines(falls, "drawdowns", title, description, percent=True, fill=fill)
    return Section(title, chart=chart, caption=caption, tables=tables)


def worst_falls(values: pd.Series, count: int = 5) -> Grid:
    """The deepest falls of a course, with the dates of peak, trough and recovery."""
    rows = [
        [
            str(fall["peak"].date()),
            str(fall["trough"].date()),
            DASH if pd.isna(fall["recovery"]) else str(fall["recovery"].date()),
            percent(fall["drawdown"], 1),
            str(fall["length"]),
        ]
        for fall in drawdown_table(values, count).to_dict("records")
    ]
    columns = ["peak", "trough", "recovered", "fall", "sessions"]
    return Grid(
        "The deepest falls; a dash where not recovered yet", columns, rows, (3, 4), dates=(0, 1, 2)
    )


def volatility_section(courses: Mapping[str, pd.Series], fixed: float | None = None) -> Section:
    """Annualised volatility of the last `ROLLING` returns, on every date.

    By the returns a year that each course has, or by those that are `fixed`.
    """
    rolled = {}
    for name, values in courses.items():
        span = Span.of(values.index.to_numpy().astype("datetime64[D]"))
        annual = span.periods_per_year(fixed)
        if annual is not None and len(values) > ROLLING + 1:
            rolled[name] = rolling_volatility(values, ROLLING, annual)
    title = "Rolling volatility"
    if not rolled:
        return Section(title, ["Too short a course."])
    description = f"Annualised volatility of the last {ROLLING} returns."
    chart = charts.lines(rolled, "volatility", title, description, percent=True)
    return Section(title, chart=chart, caption=f"Annualised, over the last {ROLLING} returns.")


def year_section(courses: Mapping[str, pd.Series]) -> Section:
    """Return of every calendar year that a course touches."""
    found = {name: calendar_years(values) for name, values in courses.items()}
    years = sorted({y for f in found.values() for y in f})
    rows = [[str(y), *(percent(f.get(y)) for f in found.values())] for y in years]
    return Section(
        "Calendar years",
        ["The first and the last year may be parts of one."],
        tables=[Grid("Total return", ["year", *found], rows, range(1, len(found) + 1))],
    )


def calendar_years(values: pd.Series) -> dict[int, float]:
    """Return of each calendar year: from the last value of the year before, or the first of all."""
    index = pd.DatetimeIndex(values.index)
    last = values.groupby(index.year).last()
    before = np.r_[values.iloc[0], last.to_numpy()[:-1]]
    return {int(y): float(v / b - 1.0) for y, v, b in zip(last.index, last, before, strict=True)}
