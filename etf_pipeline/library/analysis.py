"""What the provider computes, as functions of prices and estimates. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.schemas import BENCHMARK_METRICS, OWN_METRICS
from etf_pipeline.portfolio.answer import Answer
from etf_pipeline.portfolio.curve import frontier_of
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.risk.annual import Span
from etf_pipeline.risk.conversion import OWN_CURRENCY, Conversion
from etf_pipeline.risk.correlation import listwise, pairwise_of_prices
from etf_pipeline.risk.estimates import Estimates
from etf_pipeline.risk.metrics import cagr, volatility
from etf_pipeline.risk.prices import PriceSeries, window_start
from etf_pipeline.risk.risk_free import RiskFree
from etf_pipeline.risk.tables import metrics_row
from etf_pipeline.risk.together import (
    Period,
    Regular,
    all_prices,
    common_gaps,
    period_for,
    prices_by,
    week_ends,
)

_METRIC_KEYS = (
    *OWN_METRICS,
    *BENCHMARK_METRICS,
    "n_obs",
    "n_months",
    "start",
    "end",
    "periods_per_year",
    "n_excluded",
    "risk_free",
    "risk_free_rate",
    "currency",
    "benchmark",
    "reason",
    "source",
)


def risk_metrics(
    series: PriceSeries,
    lookback_years: int | None,
    risk_free_rate: RiskFree | float,
    benchmark: PriceSeries | None = None,
    conversion: Conversion = OWN_CURRENCY,
    periods_per_year: float | None = None,
) -> dict[str, Any]:
    """One ticker's metrics as the risk table has them, for any window.

    Also `fx`: the rates that the benchmark was converted with, None when none were.
    """
    row = metrics_row(
        series, lookback_years, risk_free_rate, benchmark, conversion, periods_per_year
    )
    fx = None if benchmark is None else conversion.used_between(benchmark, series)
    return {key: row.get(key) for key in _METRIC_KEYS} | {"fx": fx}


def correlation_matrix(
    series: list[PriceSeries],
    lookback_years: int | None,
    method: str,
    period: Period | None = None,
) -> pd.DataFrame:
    """Correlations of simple returns; see `ETFDataProvider.calculate_correlation_matrix`."""
    if method not in ("listwise", "pairwise"):
        raise ValueError(f"method {method!r}: must be listwise or pairwise")
    start = window_start(min(s.end for s in series), lookback_years)
    names, chosen = [s.ticker for s in series], period_for(series, period)
    if method == "listwise":
        # common prices first, so that every return spans the same days for every ticker
        found = listwise(Regular.of_frame(prices_by(chosen, series, start)).returns)
    else:
        every = all_prices(chosen, series, start)
        found = pairwise_of_prices(every.to_numpy(), every.index.to_numpy())
    frame = pd.DataFrame(found.matrix, index=names, columns=names)
    frame.attrs["n_obs"] = found.n_obs
    frame.attrs["least_eigenvalue"] = found.least_eigenvalue
    frame.attrs["period"] = chosen
    return frame


def recent(returns: pd.DataFrame, years: int | None) -> pd.DataFrame:
    """Returns of the last `years` up to the last one; None: all of them.

    The first begins at the last price on or before the anniversary. `attrs["start"]` is the date of
    that price, as it is of the returns that are given.
    """
    start = window_start(returns.index[-1].date(), years)
    if start is None:
        return returns
    before = returns.index[returns.index <= pd.Timestamp(start)]
    found = returns.loc[returns.index > pd.Timestamp(start)]
    if len(before):
        found.attrs["start"] = before[-1].date()
    gaps = common_gaps(returns.index.to_numpy())  # of all of it
    found.attrs["remarks"] = [r for r in returns.attrs.get("remarks", ()) if r not in gaps]
    return found


def comparison(
    returns: pd.DataFrame, periods_per_year: float | None = None
) -> dict[str, dict[str, Any]]:
    """Growth, risk and correlations of tickers side by side, by ticker.

    The growth a year is None for less than a year. Returns over holes of the common dates count
    for growth alone.

    Args:
        returns: simple returns on common dates, a column per ticker. `attrs["start"]` is the date
            of the first price (without it, the first return is taken to span what the others do
            on average), and `attrs["correlation_period"]` the period of the correlations.
        periods_per_year: A, fixed by convention; by default what there was.

    Raises:
        InsufficientDataError: fewer than three returns.
    """
    if len(returns) < 3:
        raise InsufficientDataError(f"{len(returns)} common returns are too few to compare")
    dates = returns.index.to_numpy().astype("datetime64[D]")
    days = np.r_[_first_price(returns, dates), dates]
    span = Span.of(days)
    annual = span.periods_per_year(periods_per_year) or 1.0
    names, values = list(returns.columns), returns.to_numpy(dtype="float64")
    wealth = np.vstack([np.ones(len(names)), (1.0 + values).cumprod(axis=0)])
    regular = Regular.of(wealth, days)
    risk = regular.periods_per_year if periods_per_year is None else periods_per_year
    used = regular
    if returns.attrs.get("correlation_period") == "weekly":
        at = np.r_[0, 1 + week_ends(dates)]
        used = Regular.of(wealth[at], days[at])
    matrix = listwise(used.returns).matrix
    return {
        name: {
            "growth_of_10000": float(wealth[-1, i]) * 10_000,
            "cagr": None if span.too_short else cagr(float(wealth[-1, i]), len(values), annual),
            "volatility": volatility(regular.returns[:, i], risk),
            "worst_return": float(regular.returns[:, i].min()),
            "correlation": dict(zip(names, matrix[:, i].tolist(), strict=True)),
        }
        for i, name in enumerate(names)
    }


def comparison_remarks(returns: pd.DataFrame) -> list[str]:
    """Why `comparison` has no growth a year, and what else its dates do not tell."""
    dates = returns.index.to_numpy().astype("datetime64[D]")
    dates = np.r_[_first_price(returns, dates), dates]
    short = Span.of(dates).too_short
    return [*([] if short is None else [short]), *common_gaps(dates)]


def _first_price(returns: pd.DataFrame, dates: npt.NDArray[np.datetime64]) -> np.datetime64:
    """Date of the price that the first return begins with."""
    known = returns.attrs.get("start")
    if known is not None:
        return np.datetime64(known, "D")
    average = (dates[-1] - dates[0]).astype("int64") / (len(dates) - 1)
    return np.datetime64(dates[0] - np.timedelta64(round(average), "D"))


def answer_dict(answer: Answer, found: Estimates) -> dict[str, Any]:
    """An answer by the names that the provider documents."""
    names = list(found.prices.columns)
    weights = answer.weights
    return {
        "optimal_weights": None
        if weights is None
        else {n: float(w) for n, w in zip(names, weights, strict=True)},
        "expected_return": answer.expected_return,
        "volatility": answer.volatility,
        "sharpe_ratio": answer.sharpe_ratio,
        "cvar": answer.cvar,
        "tracking_error": answer.tracking_error,
        "beta": answer.beta,
        "cash": answer.cash,
        "optimization_success": answer.success,
        "optimization_message": answer.message,
        "optimality_gap": answer.optimality_gap,
        "risk_budget_binding": answer.risk_budget_binding,
        "n_obs": found.n_obs,
        "start": found.prices.index[0].date(),
        "end": found.prices.index[-1].date(),
        "correlation_period": found.correlation_period,
    }


def frontier_table(problem: Problem, points: int) -> pd.DataFrame:
    """The efficient frontier, a row per point that is proven; `attrs` has `remarks` on the others.

    Raises:
        EtfError: there is none.
    """
    found = frontier_of(problem, points)
    rows: dict[int, dict[str, float | None]] = {}
    for number, a in found.points:
        assert a.weights is not None
        rows[number] = {
            "expected_return": a.expected_return,
            "volatility": a.volatility,
            "sharpe_ratio": a.sharpe_ratio,
            **dict(zip(problem.names, a.weights, strict=True)),
        }
        if not problem.invested:
            rows[number]["cash"] = a.cash
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("point")
    table.attrs["remarks"] = list(found.remarks)
    return table
