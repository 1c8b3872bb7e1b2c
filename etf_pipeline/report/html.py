"""The reports: sections put together and rendered as one HTML file each."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.report import charts
from etf_pipeline.report.inputs import Inputs, Row
from etf_pipeline.report.parts import (
    Grid,
    Section,
    metric_section,
    number,
    percent,
    provenance_section,
    quality_section,
    simulated,
    year_section,
)
from etf_pipeline.risk.estimates import Estimates, estimate
from etf_pipeline.risk.prices import years_before
from etf_pipeline.risk.returns import drawdowns
from etf_pipeline.risk.series import rolling_volatility

_START = 10_000.0
_YEARS = 5
_WINDOW = 63
_MOST_LINES = 8


@cache
def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("etf_pipeline.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.j2")


def portfolio_report(inputs: Inputs, name: str) -> str:
    """One portfolio's report.

    Raises:
        InsufficientDataError: there is no such portfolio in the newest tables.
    """
    found = inputs.rows("summary", portfolio=name)
    if not found:
        known = ", ".join(r["portfolio"] for r in inputs.rows("summary"))
        raise InsufficientDataError(
            f"portfolio {name!r} is not in the newest tables (there are: {known or 'none'}); "
            "run `etf run`"
        )
    summary = found[0]
    spec = inputs.specs.get(name)
    weights = {r["ticker"]: r["weight"] for r in inputs.rows("weights", portfolio=name)}
    tickers = [t for t in (spec.tickers if spec else sorted(weights)) if t in inputs.series]
    warnings = [] if summary["success"] else [f"Not optimised: {summary['message']}"]
    currencies = sorted({inputs.series[t].currency or "?" for t in tickers})
    if len(currencies) > 1:
        warnings.append(
            f"These ETFs trade in {' and '.join(currencies)}; returns are in each one's own "
            "currency, not converted."
        )
    sections = _course_sections(inputs, name)
    if weights:
        sections += _weight_sections(inputs, spec, weights, tickers)
    sections += _risk_sections(inputs, name, summary, tickers)
    sections += [quality_section(inputs, tickers), provenance_section(inputs, tickers)]
    return _render(
        inputs,
        name,
        sections,
        warnings,
        simulated(inputs, tickers),
        subtitle=_subtitle(summary, spec),
        facts=_facts(summary),
    )


def _subtitle(summary: Row, spec: Any) -> str:
    asked = summary["objective"].replace("_", " ")
    if summary["risk_budget"] is not None:
        asked += f" with volatility at most {summary['risk_budget']:.2%}"
    span = f"; estimated on {summary['start']} to {summary['end']}, {summary['n_obs']} returns"
    described = f"{spec.description.rstrip('.')}. " if spec is not None and spec.description else ""
    return f"{described}Objective: {asked}{span if summary['n_obs'] else ''}."


def _facts(summary: Row) -> list[tuple[str, str]]:
    if not summary["success"]:
        return []
    gap = summary["optimality_gap"]
    return [
        ("expected return, a year", percent(summary["expected_return"])),
        ("volatility, a year", percent(summary["volatility"])),
        ("Sharpe ratio", number(summary["sharpe_ratio"])),
        ("risk-free rate", percent(summary["risk_free_rate"])),
        ("proven optimal within", "–" if gap is None else f"{max(gap, 1e-16):.0e}"),
    ]


def _course_sections(inputs: Inputs, name: str) -> list[Section]:
    rows = inputs.rows("backtests", portfolio=name)
    if len(rows) < 2:
        return [
            Section(
                "Growth",
                [
                    "There is no backtest of this portfolio: its ETFs have too "
                    "short a history in common."
                ],
            )
        ]
    index = pd.DatetimeIndex([r["date"] for r in rows])
    wealth = pd.Series([r["wealth"] for r in rows], index)
    courses = {name: wealth}
    if rows[0]["benchmark_wealth"] is not None:
        courses["benchmark"] = pd.Series([r["benchmark_wealth"] for r in rows], index)
    grown = {k: v * _START for k, v in courses.items()}
    final, worst = grown[name].iloc[-1], drawdowns(wealth).min()
    span = f"{index[0].date()} to {index[-1].date()}"
    return [
        Section(
            "Growth of 10,000",
            chart=charts.lines(
                grown, "growth", "Growth of 10,000", f"From {span}: 10,000 became {final:,.0f}."
            ),
            caption=f"Walk-forward backtest, {span}: each rebalance was decided on earlier prices "
            f"alone. 10,000 became {final:,.0f}. The past is no promise.",
        ),
        Section(
            "Drawdowns",
            chart=charts.lines(
                {k: drawdowns(v) for k, v in courses.items()},
                "drawdowns",
                "Drawdowns",
                f"The deepest fall from a peak was {worst:.1%}.",
                percent=True,
                fill=True,
            ),
            caption=f"Fall from the highest value so far; the deepest was {worst:.1%}.",
        ),
        Section(
            "Rolling volatility",
            chart=charts.lines(
                {k: rolling_volatility(v, _WINDOW, 252) for k, v in courses.items()},
                "volatility",
                "Rolling volatility",
                "Annualised volatility of the last 63 returns.",
                percent=True,
            ),
            caption=f"Annualised, over the last {_WINDOW} returns.",
        )
        if len(wealth) > _WINDOW + 1
        else Section("Rolling volatility", ["Too short a course."]),
        year_section(courses),
    ]


def _weight_sections(
    inputs: Inputs, spec: Any, weights: dict[str, float], tickers: list[str]
) -> list[Section]:
    chosen = [t for t in tickers if t in weights]
    found = _estimates(inputs, chosen, spec)
    held = np.array([weights[t] for t in chosen])
    groups = {"weight": dict(zip(chosen, held.tolist(), strict=True))}
    text = []
    if found is not None and len(found.covariance) == len(held):
        total = float(held @ found.covariance @ held)
        if total > 0:
            shares = held * (found.covariance @ held) / total
            groups["share of risk"] = dict(zip(chosen, shares.tolist(), strict=True))
    else:
        text = ["Risk contributions need common history that is not there."]
    rows = [[t, inputs.names.get(t, ""), *(percent(g[t]) for g in groups.values())] for t in chosen]
    return [
        Section(
            "Weights and risk contributions",
            text,
            charts.bars(
                groups,
                "weights",
                "Weights and shares of risk",
                "; ".join(f"{t} {w:.1%}" for t, w in weights.items() if w > 0),
            ),
            "Share of risk: w·(Σw)/w'Σw, which adds up to 100 %.",
            [Grid("Weights", ["ETF", "name", *groups], rows, range(2, 2 + len(groups)))],
        )
    ]


def _estimates(inputs: Inputs, tickers: list[str], spec: Any) -> Estimates | None:
    years = spec.lookback_years if spec is not None and spec.lookback_years else None
    estimator = spec.estimator if spec is not None else "sample"
    halflife = spec.halflife if spec is not None else 63.0
    try:
        return estimate(
            [inputs.series[t] for t in tickers], years or inputs.lookback_years, estimator, halflife
        )
    except InsufficientDataError:
        return None


def _risk_sections(inputs: Inputs, name: str, summary: Row, tickers: list[str]) -> list[Section]:
    sections = []
    points = [
        (r["volatility"], r["expected_return"]) for r in inputs.rows("frontier", portfolio=name)
    ]
    found = _estimates(inputs, tickers, inputs.specs.get(name)) if tickers else None
    if found is not None:
        risk = np.sqrt(np.diag(found.covariance))
        assets = {
            t: (float(v), float(m)) for t, v, m in zip(tickers, risk, found.means, strict=True)
        }
        chosen = (summary["volatility"], summary["expected_return"]) if summary["success"] else None
        sections.append(
            Section(
                "Efficient frontier",
                chart=charts.frontier(
                    points,
                    assets,
                    chosen,
                    "frontier",
                    "Efficient frontier",
                    f"{len(points)} efficient portfolios, {len(assets)} assets and "
                    "this portfolio by volatility and expected return.",
                ),
                caption="Every point of the line has the least volatility for its expected return, "
                "under this portfolio's limits.",
            )
        )
        if len(tickers) > 1:
            scale = np.sqrt(np.outer(np.diag(found.covariance), np.diag(found.covariance)))
            matrix = np.divide(found.covariance, scale, out=np.zeros_like(scale), where=scale > 0)
            sections.append(_correlation(matrix, tickers))
    rows = {
        r["ticker"]: r
        for r in inputs.rows("risk_metrics", window=f"{_YEARS}y")
        if r["ticker"] in tickers
    }
    if rows:
        sections.append(metric_section(rows, f"{_YEARS}y"))
    return sections


def _correlation(matrix: Any, tickers: list[str]) -> Section:
    return Section(
        "Correlations",
        chart=charts.heatmap(
            matrix,
            tickers,
            "correlations",
            "Correlations",
            f"Correlation matrix of {', '.join(tickers)}, similar ones together.",
        ),
        caption="Of simple returns on common dates; ordered so that similar ETFs are neighbours.",
    )


def universe_report(inputs: Inputs) -> str:
    """The report of every ETF there is.

    Raises:
        InsufficientDataError: there is no history.
    """
    as_of = inputs.as_of
    tickers = sorted(inputs.series)
    start = pd.Timestamp(years_before(as_of, _YEARS))
    recent = {t: inputs.series[t].prices.loc[start:] for t in tickers}
    recent = {t: p for t, p in recent.items() if len(p) > 1}
    latest = [
        [
            t,
            inputs.names.get(t, ""),
            str(s.end),
            number(float(s.prices.iloc[-1]), 3),
            s.currency or "–",
        ]
        for t, s in ((t, inputs.series[t]) for t in tickers)
    ]
    ranked = sorted(recent, key=lambda t: recent[t].iloc[-1] / recent[t].iloc[0], reverse=True)
    shown = ranked[:_MOST_LINES]
    more = "" if len(shown) == len(ranked) else f" The {_MOST_LINES} that grew most are drawn."
    grown = {t: recent[t] / recent[t].iloc[0] * _START for t in shown}
    sections = [
        Section(
            "ETFs",
            tables=[
                Grid(
                    "Newest session of each",
                    ["ETF", "name", "session", "adjusted close", "currency"],
                    latest,
                    [3],
                )
            ],
        ),
        Section(
            "Growth of 10,000",
            chart=charts.lines(
                grown,
                "growth",
                "Growth of 10,000",
                "; ".join(f"{t} {v.iloc[-1]:,.0f}" for t, v in grown.items()),
            ),
            caption=f"Distributions reinvested, from {start.date()} or the first session after."
            + more,
        ),
        Section(
            "Drawdowns",
            chart=charts.lines(
                {t: drawdowns(recent[t]) for t in shown},
                "drawdowns",
                "Drawdowns",
                "Fall from the highest value so far.",
                percent=True,
            ),
            caption="Fall from the highest value since then.",
        ),
        Section(
            "Rolling volatility",
            chart=charts.lines(
                {
                    t: rolling_volatility(recent[t], _WINDOW, inputs.series[t].periods_per_year)
                    for t in shown
                    if len(recent[t]) > _WINDOW + 1
                },
                "volatility",
                "Rolling volatility",
                "Annualised volatility of the last 63 returns.",
                percent=True,
            ),
            caption=f"Annualised, over the last {_WINDOW} returns.",
        ),
        year_section({t: recent[t] for t in shown}),
    ]
    sections += _universe_correlations(inputs, tickers)
    rows = {r["ticker"]: r for r in inputs.rows("risk_metrics", window=f"{_YEARS}y")}
    if rows:
        sections.append(metric_section(rows, f"{_YEARS}y"))
    sections += [quality_section(inputs, tickers), provenance_section(inputs, tickers)]
    return _render(
        inputs,
        "ETF universe",
        sections,
        [],
        simulated(inputs, tickers),
        subtitle=f"{len(tickers)} ETFs as of {as_of}.",
        facts=[],
    )


def _universe_correlations(inputs: Inputs, tickers: list[str]) -> list[Section]:
    for window in ("3y", "1y"):
        found = {
            (r["ticker"], r["other"]): r["correlation"]
            for r in inputs.rows("correlations", window=window)
        }
        held = [t for t in tickers if (t, t) in found or any(a == t for a, _ in found)]
        whole = [t for t in held if all(t == o or found.get((t, o)) is not None for o in held)]
        if len(whole) > 1:
            matrix = np.array([[1.0 if a == b else found[(a, b)] for b in whole] for a in whole])
            return [_correlation(matrix, whole)]
    return []


def _render(
    inputs: Inputs,
    title: str,
    sections: list[Section],
    warnings: list[str],
    invented: bool,
    subtitle: str,
    facts: list[tuple[str, str]],
) -> str:
    return _template().render(
        title=title,
        subtitle=subtitle,
        facts=facts,
        sections=sections,
        warnings=warnings,
        simulated=invented,
        footer=f"As of {inputs.as_of}. Information, not advice.",
    )
