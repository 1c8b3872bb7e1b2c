"""The portfolio tables: weights, summary and frontier of every model portfolio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from etf_pipeline.errors import EtfError, InsufficientDataError
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import FRONTIER, SUMMARY, WEIGHTS
from etf_pipeline.portfolio.answer import Answer
from etf_pipeline.portfolio.optimise import efficient_frontier, optimise
from etf_pipeline.portfolio.problem import GroupLimit, Problem
from etf_pipeline.risk.estimates import Estimates, estimate
from etf_pipeline.risk.prices import PriceSeries


@dataclass(frozen=True)
class PortfolioTables:
    """The three tables, by portfolio."""

    weights: pa.Table
    summary: pa.Table
    frontier: pa.Table


def series_of(spec: PortfolioSpec, series: Mapping[str, PriceSeries]) -> list[PriceSeries]:
    """The prices of a portfolio's tickers, in its order.

    Raises:
        InsufficientDataError: naming those without a history.
    """
    absent = [t for t in spec.tickers if t not in series]
    if absent:
        raise InsufficientDataError(f"no history of {', '.join(absent)}; run `etf run`")
    return [series[t] for t in spec.tickers]


def problem_of(
    spec: PortfolioSpec,
    estimates: Estimates,
    risk_free_rate: float,
    columns: Mapping[str, Mapping[str, str]] | None = None,
) -> Problem:
    """The optimiser's problem that a specification and estimates make.

    Args:
        spec: the portfolio.
        estimates: over its tickers, in its order.
        risk_free_rate: annual effective rate.
        columns: universe columns by name, each a value per ticker, for the groups.

    Raises:
        ValueError: the specification asks for what cannot be.
    """
    limits = np.array([spec.limits(t) for t in spec.tickers])
    holdings = np.array([spec.holdings.get(t, 0.0) for t in spec.tickers])
    needs_scenarios = spec.objective == "min_cvar" or spec.cvar_budget is not None
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
        groups=group_limits(spec, columns or {}),
        holdings=holdings if spec.holdings else None,
        max_turnover=spec.max_turnover,
        cost_rate=spec.cost_rate,
        scenarios=estimates.returns if needs_scenarios else None,
        cvar_level=spec.cvar_level,
        cvar_budget=spec.cvar_budget,
    )


def group_limits(
    spec: PortfolioSpec, columns: Mapping[str, Mapping[str, str]]
) -> tuple[GroupLimit, ...]:
    """The limits of a specification's groups, by universe column and value."""
    limits = []
    for column, values in spec.groups.items():
        by_ticker = columns.get(column, {})
        for value, (low, high) in values.items():
            members = tuple(t for t in spec.tickers if by_ticker.get(t) == value)
            if not members:
                raise ValueError(f"groups: no ticker of {spec.name} has {column} {value!r}")
            limits.append(GroupLimit(f"{column} {value}", members, low, high))
    return tuple(limits)


def portfolio_tables(
    specs: Iterable[PortfolioSpec],
    series: Mapping[str, PriceSeries],
    lookback_years: int,
    risk_free_rate: float,
    columns: Mapping[str, Mapping[str, str]] | None = None,
) -> PortfolioTables:
    """Optimise every portfolio; one that cannot be is a summary row that says why.

    Args:
        specs: the portfolios.
        series: prices by ticker; a ticker without any makes its portfolios fail, by name.
        lookback_years: for specifications that name none.
        risk_free_rate: annual effective rate.
        columns: universe columns for the groups, each a value per ticker.
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
            held = series_of(spec, series)
            years = spec.lookback_years or lookback_years
            estimates = estimate(held, years, spec.estimator, spec.halflife)
            problem = problem_of(spec, estimates, risk_free_rate, columns)
            answer = optimise(problem)
            curve = efficient_frontier(problem) if answer.weights is not None else []
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
        "cvar": answer.cvar,
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
