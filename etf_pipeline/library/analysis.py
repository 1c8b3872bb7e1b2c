"""What the provider computes, as functions of prices and estimates. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.schemas import BENCHMARK_METRICS, OWN_METRICS
from etf_pipeline.model.spacing import periods_per_year
from etf_pipeline.portfolio.answer import Answer
from etf_pipeline.portfolio.optimise import efficient_frontier
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.risk.conversion import OWN_CURRENCY, Conversion
from etf_pipeline.risk.correlation import listwise, pairwise
from etf_pipeline.risk.estimates import Estimates
from etf_pipeline.risk.metrics import cagr, volatility
from etf_pipeline.risk.prices import PriceSeries, window_start
from etf_pipeline.risk.returns import simple_returns
from etf_pipeline.risk.tables import metrics_row

_METRIC_KEYS = (
    *OWN_METRICS,
    *BENCHMARK_METRICS,
    "n_obs",
    "start",
    "end",
    "periods_per_year",
    "n_excluded",
    "risk_free_rate",
    "currency",
    "benchmark",
    "reason",
    "source",
)


def risk_metrics(
    series: PriceSeries,
    lookback_years: int | None,
    risk_free_rate: float,
    benchmark: PriceSeries | None = None,
    conversion: Conversion = OWN_CURRENCY,
) -> dict[str, Any]:
    """One ticker's metrics as the risk table has them, for any window.

    Also `fx`: the rates that the benchmark was converted with, None when none were.
    """
    row = metrics_row(series, lookback_years, risk_free_rate, benchmark, conversion)
    fx = None if benchmark is None else conversion.used_between(benchmark, series)
    return {key: row.get(key) for key in _METRIC_KEYS} | {"fx": fx}


def correlation_matrix(
    series: list[PriceSeries], lookback_years: int | None, method: str
) -> pd.DataFrame:
    """Correlations of simple returns; see `ETFDataProvider.calculate_correlation_matrix`."""
    if method not in ("listwise", "pairwise"):
        raise ValueError(f"method {method!r}: must be listwise or pairwise")
    end = min(s.end for s in series)
    start = window_start(end, lookback_years)
    names = [s.ticker for s in series]
    prices = pd.concat([s.since(start).prices.rename(s.ticker) for s in series], axis=1, sort=False)
    prices = prices.sort_index()
    if method == "listwise":
        # common prices first, so that every return spans the same days for every ticker
        found = listwise(simple_returns(prices.dropna().to_numpy(dtype="float64")))
    else:
        found = pairwise(_pair_returns(prices))
    frame = pd.DataFrame(found.matrix, index=names, columns=names)
    frame.attrs["n_obs"] = found.n_obs
    frame.attrs["least_eigenvalue"] = found.least_eigenvalue
    return frame


def _pair_returns(prices: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Each ticker's returns between its own consecutive prices, on the union of dates."""
    own = prices.apply(lambda column: simple_returns(column.dropna()))
    return own.to_numpy(dtype="float64")


def recent(returns: pd.DataFrame, years: int | None) -> pd.DataFrame:
    """Returns of the last `years` up to the last one; None: all of them."""
    start = window_start(returns.index[-1].date(), years)
    return returns if start is None else returns.loc[returns.index > pd.Timestamp(start)]


def comparison(returns: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Growth, risk and correlations of tickers side by side, by ticker.

    Args:
        returns: simple returns on common dates, a column per ticker.

    Raises:
        InsufficientDataError: too few returns to annualise.
    """
    annual = periods_per_year(returns.index.to_numpy().astype("datetime64[D]"))
    if annual is None:
        raise InsufficientDataError(f"{len(returns)} common returns are too few to annualise")
    names, values = list(returns.columns), returns.to_numpy(dtype="float64")
    growth, matrix = (1.0 + values).prod(axis=0), listwise(values).matrix
    return {
        name: {
            "growth_of_10000": float(growth[i]) * 10_000,
            "cagr": cagr(float(growth[i]), len(values), annual),
            "volatility": volatility(values[:, i], annual),
            "worst_return": float(values[:, i].min()),
            "correlation": dict(zip(names, matrix[:, i].tolist(), strict=True)),
        }
        for i, name in enumerate(names)
    }


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
        "optimization_success": answer.success,
        "optimization_message": answer.message,
        "optimality_gap": answer.optimality_gap,
        "risk_budget_binding": answer.risk_budget_binding,
        "n_obs": found.n_obs,
        "start": found.prices.index[0].date(),
        "end": found.prices.index[-1].date(),
    }


def frontier_table(problem: Problem, points: int) -> pd.DataFrame:
    """The efficient frontier, a row per point."""
    rows = [
        {
            "expected_return": a.expected_return,
            "volatility": a.volatility,
            "sharpe_ratio": a.sharpe_ratio,
            **dict(zip(problem.names, a.weights, strict=True)),
        }
        for a in efficient_frontier(problem, points)
        if a.weights is not None
    ]
    return pd.DataFrame(rows).rename_axis("point")
