"""The portfolio tables: weights, summary and frontier of every model portfolio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from etf_pipeline.errors import EtfError, InsufficientDataError
from etf_pipeline.portfolio.optimise import Answer, efficient_frontier, optimise
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.specification import PortfolioSpec
from etf_pipeline.risk.prices import PriceSeries, common_prices, years_before
from etf_pipeline.schemas import FRONTIER, SUMMARY, WEIGHTS

_FEWEST_RETURNS = 60


@dataclass(frozen=True)
class PortfolioTables:
    """The three tables, by portfolio."""

    weights: pa.Table
    summary: pa.Table
    frontier: pa.Table


@dataclass(frozen=True)
class Estimates:
    """Annualised sample estimates of simple returns on common dates.

    `means` is A · mean(r), shape (N,); `covariance` is A · cov(r, ddof=1), shape (N, N)
    (Markowitz, 1952).
    """

    prices: pd.DataFrame
    means: np.ndarray[Any, np.dtype[np.float64]]
    covariance: np.ndarray[Any, np.dtype[np.float64]]

    @property
    def n_obs(self) -> int:
        """Number of common returns."""
        return len(self.prices) - 1


def estimate(series: list[PriceSeries], lookback_years: int) -> Estimates:
    """Sample means and covariance over the last `lookback_years` common to all `series`.

    The window ends at the last common date; a shorter common history is used as it is and shows
    in its `start`.

    Raises:
        InsufficientDataError: fewer than 60 common returns, or bars of different spacing.
    """
    periods = {s.periods_per_year for s in series}
    if len(periods) > 1:
        raise InsufficientDataError("the tickers' bars are spaced differently (daily, weekly …)")
    end = min(s.end for s in series)
    prices = common_prices(series, years_before(end, lookback_years))
    if len(prices) - 1 < _FEWEST_RETURNS:
        raise InsufficientDataError(
            f"{len(prices) - 1} common returns are fewer than {_FEWEST_RETURNS}"
        )
    values = prices.to_numpy()
    returns = values[1:] / values[:-1] - 1.0
    annual = periods.pop()
    covariance = np.atleast_2d(np.cov(returns, rowvar=False, ddof=1)) * annual
    return Estimates(prices, returns.mean(axis=0) * annual, covariance)


def problem_of(spec: PortfolioSpec, estimates: Estimates, risk_free_rate: float) -> Problem:
    """The optimiser's problem that a specification and estimates make."""
    limits = np.array([spec.limits(t) for t in spec.tickers])
    return Problem(
        estimates.means,
        estimates.covariance,
        tuple(spec.tickers),
        spec.objective,
        spec.risk_budget,
        spec.target_return,
        limits[:, 0],
        limits[:, 1],
        risk_free_rate,
    )


def portfolio_tables(
    specs: Iterable[PortfolioSpec],
    series: Mapping[str, PriceSeries],
    lookback_years: int,
    risk_free_rate: float,
) -> PortfolioTables:
    """Optimise every portfolio; one that cannot be is a summary row that says why.

    Args:
        specs: the portfolios.
        series: prices by ticker; a ticker without any makes its portfolios fail, by name.
        lookback_years: for specifications that name none.
        risk_free_rate: annual effective rate.
    """
    weights: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    frontier: list[dict[str, Any]] = []
    for spec in sorted(specs, key=lambda s: s.name):
        held = [series[t] for t in spec.tickers if t in series]
        source = ",".join(sorted({s.source for s in held})) or "none"
        base = {"portfolio": spec.name, "source": source}
        estimates: Estimates | None = None
        try:
            absent = [t for t in spec.tickers if t not in series]
            if absent:
                raise InsufficientDataError(f"no history of {', '.join(absent)}; run `etf run`")
            estimates = estimate(held, spec.lookback_years or lookback_years)
            problem = problem_of(spec, estimates, risk_free_rate)
            answer = optimise(problem)
            curve = efficient_frontier(problem)
        except (EtfError, ValueError) as error:
            answer, curve = Answer(False, str(error)), []
        summary.append(base | _summary(spec, answer, estimates, risk_free_rate))
        frontier += [base | _point(i, point) for i, point in enumerate(curve)]
        if answer.weights is not None and estimates is not None:
            deviations = np.sqrt(np.diag(estimates.covariance))
            weights += [
                base
                | {
                    "ticker": ticker,
                    "weight": float(answer.weights[i]),
                    "expected_return": float(estimates.means[i]),
                    "volatility": float(deviations[i]),
                }
                for i, ticker in enumerate(spec.tickers)
            ]
    weights.sort(key=lambda r: (r["portfolio"], r["ticker"]))
    return PortfolioTables(
        pa.Table.from_pylist(weights, schema=WEIGHTS.arrow),
        pa.Table.from_pylist(summary, schema=SUMMARY.arrow),
        pa.Table.from_pylist(frontier, schema=FRONTIER.arrow),
    )


def _summary(
    spec: PortfolioSpec, answer: Answer, estimates: Estimates | None, risk_free_rate: float
) -> dict[str, Any]:
    return {
        "objective": spec.objective,
        "success": answer.success,
        "message": answer.message,
        "expected_return": answer.expected_return,
        "volatility": answer.volatility,
        "sharpe_ratio": answer.sharpe_ratio,
        "optimality_gap": answer.optimality_gap,
        "risk_budget": spec.risk_budget,
        "risk_budget_binding": answer.risk_budget_binding,
        "risk_free_rate": risk_free_rate,
        "n_obs": estimates.n_obs if estimates else 0,
        "start": estimates.prices.index[0].date() if estimates else None,
        "end": estimates.prices.index[-1].date() if estimates else None,
    }


def _point(number: int, answer: Answer) -> dict[str, Any]:
    return {
        "point": number,
        "expected_return": answer.expected_return,
        "volatility": answer.volatility,
        "sharpe_ratio": answer.sharpe_ratio,
    }
