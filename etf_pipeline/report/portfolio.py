"""The report of one portfolio."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etf_pipeline.errors import CurrencyError, InsufficientDataError
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.report import charts
from etf_pipeline.report.backtest import backtest_sections
from etf_pipeline.report.cells import DASH, number, percent
from etf_pipeline.report.html import rendered
from etf_pipeline.report.inputs import Inputs, Row
from etf_pipeline.report.parts import (
    YEARS,
    Section,
    correlation_section,
    metric_section,
    provenance_section,
    quality_section,
    simulated,
)
from etf_pipeline.report.weights import weight_section
from etf_pipeline.risk.covariance import correlation_of
from etf_pipeline.risk.estimates import Estimates, estimate, estimate_of
from etf_pipeline.risk.prices import window_start


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
    spec = inputs.spec(name)
    weights = {r["ticker"]: r["weight"] for r in inputs.rows("weights", portfolio=name)}
    beside = [] if spec is None else [*spec.tickers, *spec.beside, *spec.against]
    inputs, unread = inputs.reading([*beside, *weights])
    tickers = [t for t in (spec.tickers if spec else sorted(weights)) if t in inputs.series]
    warnings = [] if summary["success"] else [f"Not optimised: {summary['message']}"]
    warnings += [*inputs.failed, *unread, *inputs.outdated]
    sections = backtest_sections(inputs, name, spec)
    if weights:
        chosen = [t for t in tickers if t in weights]
        estimates = _estimates(inputs, chosen, spec)
        sections.append(weight_section(inputs, summary, {t: weights[t] for t in chosen}, estimates))
    sections += _risk_sections(inputs, name, summary, tickers)
    rates = [named.partition(":")[0] for named in (summary.get("fx") or "").split(",") if named]
    sections += [quality_section(inputs, tickers), provenance_section(inputs, tickers, rates)]
    return rendered(
        inputs,
        name,
        sections,
        warnings,
        simulated(inputs, tickers, rates),
        subtitle=_subtitle(summary, spec),
        facts=_facts(summary),
    )


def _subtitle(summary: Row, spec: PortfolioSpec | None) -> str:
    asked = summary["objective"].replace("_", " ")
    if summary["risk_budget"] is not None:
        asked += f" with volatility at most {summary['risk_budget']:.2%}"
    if summary.get("fx") is not None:
        asked += f", in {summary['base_currency']}"
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
        ("risk-free rate", _risk_free(summary)),
        ("currency", summary.get("base_currency") or DASH),
        *_beyond(summary),
        ("proven optimal within", "–" if gap is None else f"{max(gap, 1e-16):.0e}"),
    ]


def _beyond(summary: Row) -> list[tuple[str, str]]:
    """Active risk and cash, where they were asked for; older tables do not have them."""
    found = []
    if summary.get("tracking_error") is not None:
        found.append(("tracking error, a year", percent(summary["tracking_error"])))
    if summary.get("beta") is not None:
        found.append(("beta to the benchmark", number(summary["beta"])))
    if summary.get("cash"):
        found.append(("cash", percent(summary["cash"])))
    return found


def _estimates(inputs: Inputs, tickers: list[str], spec: PortfolioSpec | None) -> Estimates | None:
    """What the portfolio's numbers rest on; None without enough history in common.

    None too where its expected returns or a risk-free rate cannot be had, as the summary says then.
    """
    series = [inputs.series[t] for t in tickers]
    years = inputs.lookback_years if spec is None else spec.lookback(inputs.lookback_years)
    base = None if spec is None else spec.base_currency
    others = [] if spec is None else [inputs.series[t] for t in spec.beside if t in inputs.series]
    try:
        start = window_start(min(s.end for s in [*series, *others]), years)
        together, beside = inputs.conversion.beside(series, others, base, start)
        series = together.series
        if spec is None:
            return estimate(series, years, periods_per_year=inputs.periods_per_year)
        rate = inputs.rows("summary", portfolio=spec.name)[0]["risk_free_rate"]
        if rate is None:
            return None
        annual = inputs.periods_per_year
        return estimate_of(spec, series, years, rate, inputs.facts, annual, beside=beside)
    except (InsufficientDataError, CurrencyError, ValueError):
        return None


def _risk_sections(inputs: Inputs, name: str, summary: Row, tickers: list[str]) -> list[Section]:
    sections = []
    found = _estimates(inputs, tickers, inputs.spec(name)) if tickers else None
    if found is not None:
        sections.append(_frontier(inputs, name, summary, tickers, found))
        if len(tickers) > 1:
            matrix = correlation_of(found.covariance)
            sections.append(correlation_section(matrix, tickers, found.correlation_period))
    window = f"{YEARS}y"
    held = inputs.table("risk_metrics", window=window)
    if held.num_rows:
        held = held.filter(pc.is_in(held["ticker"], value_set=pa.array(tickers, pa.string())))
    rows = {r["ticker"]: r for r in held.to_pylist()}
    if rows:
        sections.append(metric_section(rows, window))
    return sections


def _frontier(
    inputs: Inputs, name: str, summary: Row, tickers: list[str], found: Estimates
) -> Section:
    points = [
        (r["volatility"], r["expected_return"]) for r in inputs.rows("frontier", portfolio=name)
    ]
    risk = np.sqrt(np.diag(found.covariance))
    assets = {t: (float(v), float(m)) for t, v, m in zip(tickers, risk, found.means, strict=True)}
    assets |= {
        r["ticker"]: (r["volatility"], r["expected_return"])
        for r in inputs.rows("weights", portfolio=name)
    }
    chosen = (summary["volatility"], summary["expected_return"]) if summary["success"] else None
    title = "Efficient frontier"
    return Section(
        title,
        chart=charts.frontier(
            points,
            assets,
            chosen,
            "frontier",
            title,
            f"{len(points)} efficient portfolios, {len(assets)} assets and "
            "this portfolio by volatility and expected return.",
        ),
        caption="Every point of the line has the least volatility for its expected return, "
        "under this portfolio's limits.",
    )


def _risk_free(summary: Row) -> str:
    """The rate, and whose it is where it is no constant."""
    rate, name = percent(summary["risk_free_rate"]), summary.get("risk_free")
    return rate if name is None else f"{rate}, of {name}"
