"""The report of every ETF there is."""

from __future__ import annotations

import numpy as np

from etf_pipeline.errors import CurrencyError
from etf_pipeline.report.courses import (
    START,
    drawdown_section,
    growth_section,
    volatility_section,
    year_section,
)
from etf_pipeline.report.html import rendered
from etf_pipeline.report.inputs import Inputs
from etf_pipeline.report.parts import (
    DASH,
    YEARS,
    Grid,
    Section,
    correlation_section,
    metric_section,
    number,
    provenance_section,
    quality_section,
    simulated,
)
from etf_pipeline.risk.prices import PriceSeries, years_before

_MOST_LINES = 8


def universe_report(inputs: Inputs) -> str:
    """The report of every ETF there is.

    Raises:
        InsufficientDataError: there is no history.
    """
    as_of = inputs.as_of
    tickers = sorted(inputs.series)
    courses, warnings = _courses(inputs, tickers)
    sections = [_latest(inputs, tickers), *_course_sections(inputs, courses)]
    sections += _correlations(inputs, tickers)
    window = f"{YEARS}y"
    rows = {r["ticker"]: r for r in inputs.rows("risk_metrics", window=window)}
    if rows:
        sections.append(metric_section(rows, window))
    rates = sorted(inputs.conversion.rates.series)
    sections += [quality_section(inputs, tickers), provenance_section(inputs, tickers, rates)]
    return rendered(
        inputs,
        "ETF universe",
        sections,
        [*warnings, *inputs.outdated],
        simulated(inputs, tickers, rates),
        subtitle=f"{len(tickers)} ETFs as of {as_of}.",
        facts=[],
    )


def _latest(inputs: Inputs, tickers: list[str]) -> Section:
    rows = [
        [
            t,
            inputs.names.get(t, ""),
            str(s.end),
            number(float(s.prices.iloc[-1]), 3),
            s.currency or DASH,
        ]
        for t, s in ((t, inputs.series[t]) for t in tickers)
    ]
    columns = ["ETF", "name", "session", "adjusted close", "currency"]
    return Section("ETFs", tables=[Grid("Newest session of each", columns, rows, [3])])


def _courses(inputs: Inputs, tickers: list[str]) -> tuple[list[PriceSeries], list[str]]:
    """The ETFs in one currency as far as that goes, and what to say of those that are not."""
    series = [inputs.series[t] for t in tickers]
    try:
        base = inputs.conversion.target(series)
    except CurrencyError as error:
        return series, [f"Courses are in each ETF's own currency, not converted: {error}"]
    if base is None:
        return series, []
    done, warnings = [], []
    for one in series:
        try:
            start = years_before(inputs.as_of, YEARS)
            done += inputs.conversion.together([one], base, start).series
        except CurrencyError as error:
            warnings.append(f"{one.ticker} is not among the courses: {error}")
    return done, warnings


def _course_sections(inputs: Inputs, series: list[PriceSeries]) -> list[Section]:
    """The last years of those that grew most."""
    start = years_before(inputs.as_of, YEARS)
    recent = {s.ticker: s.since(start).prices for s in series}
    recent = {t: p for t, p in recent.items() if len(p) > 1}
    ranked = sorted(recent, key=lambda t: recent[t].iloc[-1] / recent[t].iloc[0], reverse=True)
    shown = {t: recent[t] for t in ranked[:_MOST_LINES]}
    more = "" if len(shown) == len(ranked) else f" The {_MOST_LINES} that grew most are drawn."
    grown = {t: values / values.iloc[0] * START for t, values in shown.items()}
    return [
        growth_section(
            grown,
            "; ".join(f"{t} {v.iloc[-1]:,.0f}" for t, v in grown.items()),
            f"Distributions reinvested, from the last session up to {start}, or the first." + more,
        ),
        drawdown_section(
            shown,
            "Fall from the highest value so far.",
            "Fall from the highest value since then.",
        ),
        volatility_section(shown, inputs.periods_per_year),
        year_section(shown),
    ]


def _correlations(inputs: Inputs, tickers: list[str]) -> list[Section]:
    for window in ("3y", "1y"):
        rows = inputs.rows("correlations", window=window)
        found = {(r["ticker"], r["other"]): r["correlation"] for r in rows}
        held = [t for t in tickers if (t, t) in found or any(a == t for a, _ in found)]
        whole = [t for t in held if all(t == o or found.get((t, o)) is not None for o in held)]
        if len(whole) > 1:
            matrix = np.array([[1.0 if a == b else found[(a, b)] for b in whole] for a in whole])
            (one,) = inputs.rows("correlations", window=window, ticker=whole[0], other=whole[1])
            return [correlation_section(matrix, whole, one.get("period"))]
    return []
