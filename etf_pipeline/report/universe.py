"""The report of every ETF there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from etf_pipeline.errors import CurrencyError
from etf_pipeline.report.cells import DASH, number
from etf_pipeline.report.courses import (
    START,
    drawdown_section,
    growth_section,
    volatility_section,
    year_section,
)
from etf_pipeline.report.html import rendered
from etf_pipeline.report.inputs import CORRELATION_WINDOWS, FEW, Inputs, Row
from etf_pipeline.report.many import (
    findings_section,
    list_section,
    origin_section,
    overview,
    pair_sections,
    ranking_section,
    spread_section,
)
from etf_pipeline.report.parts import (
    YEARS,
    Grid,
    Section,
    correlation_section,
    metric_section,
    provenance_section,
    quality_section,
    simulated,
)
from etf_pipeline.risk.prices import PriceSeries, years_before

_MOST_LINES = 8
_MOST_ABSENT = 20  # tickers that are named


def universe_report(inputs: Inputs) -> str:
    """The report of every ETF there is: each with all its numbers, or of many what stands out.

    Raises:
        InsufficientDataError: there is no history.
    """
    tickers = sorted(inputs.origins)
    rates = sorted(inputs.conversion.rates.series)
    made = _of_few if len(tickers) <= FEW else _of_many
    sections, warnings = made(inputs, tickers, rates)
    return rendered(
        inputs,
        "ETF universe",
        sections,
        [*inputs.failed, *_absent(inputs), *warnings, *inputs.outdated],
        simulated(inputs, tickers, rates),
        subtitle=f"{len(tickers):,} ETFs as of {inputs.as_of}.",
        facts=[],
    )


def _absent(inputs: Inputs) -> list[str]:
    """What to say of ETFs of the universe that are on no list of this page."""
    if not inputs.absent:
        return []
    n = len(inputs.absent)
    more = f" and {n - _MOST_ABSENT:,} more" if n > _MOST_ABSENT else ""
    named = ", ".join(inputs.absent[:_MOST_ABSENT])
    return [
        f"{n:,} of the universe {'has' if n == 1 else 'have'} no price here, and so no number on "
        f"this page: {named}{more}. `etf status` says why."
    ]


def _of_few(
    inputs: Inputs, tickers: list[str], rates: list[str]
) -> tuple[list[Section], list[str]]:
    inputs, unread = inputs.reading(tickers)
    courses, warnings = _courses(inputs, list(inputs.series))
    sections = [_latest(inputs, list(inputs.series)), *_course_sections(inputs, courses)]
    sections += _correlations(inputs, tickers)
    window = f"{YEARS}y"
    rows = {r["ticker"]: r for r in inputs.rows("risk_metrics", window=window)}
    if rows:
        sections.append(metric_section(rows, window))
    return [
        *sections,
        quality_section(inputs, tickers),
        provenance_section(inputs, tickers, rates),
    ], [*unread, *warnings]


def _of_many(
    inputs: Inputs, tickers: list[str], rates: list[str]
) -> tuple[list[Section], list[str]]:
    found = overview(inputs, tickers)
    sections = [list_section(inputs, found), ranking_section(inputs, found)]
    sections.append(spread_section(inputs, found))
    warnings: list[str] = []
    if found.window is not None:
        best = found.ranked("total_return")[::-1][:_MOST_LINES]
        drawn, unread = inputs.reading(tickers[i] for i in best)
        courses, warnings = _courses(drawn, list(drawn.series))
        warnings = [*unread, *warnings]
        how = f"The {len(best)} of the highest total return over {found.window} are drawn."
        sections += _course_sections(inputs, courses, how) if courses else []
    sections += pair_sections(inputs, tickers)
    sections += _of_a_portfolio(inputs)
    return [
        *sections,
        findings_section(inputs, tickers),
        origin_section(inputs, tickers, rates),
    ], warnings


def _of_a_portfolio(inputs: Inputs) -> list[Section]:
    """Correlations within the largest portfolio; of ETFs beside each other not all are kept."""
    sizes = {s.name: len(s.tickers) for s in inputs.specs.values() if len(s.tickers) <= FEW}
    if not sizes:
        return []
    name = max(sorted(sizes), key=lambda n: sizes[n])
    members = sorted(t for t in inputs.specs[name].tickers if t in inputs.origins)
    said = f"Of the members of {name}; each portfolio's own report has those of its members."
    return [
        replace(section, texts=[said, *section.texts]) for section in _correlations(inputs, members)
    ]


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


def _course_sections(
    inputs: Inputs, series: list[PriceSeries], which: str | None = None
) -> list[Section]:
    """The last years of those that grew most, or of those that `which` tells."""
    start = years_before(inputs.as_of, YEARS)
    recent = {s.ticker: s.since(start).prices for s in series}
    recent = {t: p for t, p in recent.items() if len(p) > 1}
    ranked = sorted(recent, key=lambda t: recent[t].iloc[-1] / recent[t].iloc[0], reverse=True)
    shown = {t: recent[t] for t in ranked[:_MOST_LINES]}
    most = None if len(shown) == len(ranked) else f"The {_MOST_LINES} that grew most are drawn."
    said = which or most
    grown = {t: values / values.iloc[0] * START for t, values in shown.items()}
    return [
        growth_section(
            grown,
            "; ".join(f"{t} {v.iloc[-1]:,.0f}" for t, v in grown.items()),
            f"Distributions reinvested, from the last session up to {start}, or the first."
            + (f" {said}" if said else ""),
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
    """Heat maps of those that have a correlation with each other, and why others are in none."""
    wanted = set(tickers)
    for window in CORRELATION_WINDOWS:
        rows = [
            r
            for r in inputs.rows("correlations", window=window)
            if r["ticker"] in wanted and r["other"] in wanted
        ]
        known = [r for r in rows if r["correlation"] is not None]
        found = {(r["ticker"], r["other"]): r["correlation"] for r in known}
        blocks = _blocks(tickers, found)
        if blocks:
            periods = {r["ticker"]: r.get("period") for r in known}
            sections = [
                correlation_section(
                    np.array([[1.0 if a == b else found[(a, b)] for b in block] for a in block]),
                    block,
                    periods[block[0]],
                    place,
                )
                for place, block in enumerate(blocks)
            ]
            left = sorted(wanted.difference(*blocks))
            return [replace(sections[0], texts=_left_out(left, rows)), *sections[1:]]
    return []


def _blocks(tickers: list[str], found: Mapping[tuple[str, str], float]) -> list[list[str]]:
    """Sets of two and more that all have a correlation with each other, the largest first.

    There are several where there are several currencies: each has a matrix of its own.
    """
    blocks: list[list[str]] = []
    for ticker in tickers:
        for block in blocks:
            if all((ticker, o) in found and (o, ticker) in found for o in block):
                block.append(ticker)
                break
        else:
            blocks.append([ticker])
    return sorted((b for b in blocks if len(b) > 1), key=len, reverse=True)


def _left_out(left: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Of each ticker that is in no heat map, why."""
    own = {r["ticker"]: r.get("reason") for r in rows if r["ticker"] == r["other"]}
    said = [f"Not compared: {reason}." for t in left if (reason := own.get(t))]
    alone = [t for t in left if t in own and not own[t]]
    without = [t for t in left if t not in own]
    if alone:
        said.append(f"With no other in its currency: {', '.join(alone)}.")
    if without:
        said.append(
            "Not compared, as their histories do not cover the window or have ended: "
            f"{', '.join(without)}."
        )
    return said
