"""From estimates and limits by ticker to the optimiser's problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from etf_pipeline.model.objectives import Objective, needs_scenarios, strangers, weight_limits
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.portfolio.problem import GroupLimit, Problem
from etf_pipeline.risk.estimates import Estimates

Columns = Mapping[str, Mapping[str, Any]]


def problem_from(
    estimates: Estimates,
    tickers: Sequence[str],
    objective: Objective,
    risk_free_rate: float,
    *,
    min_weight: float = 0.0,
    max_weight: float = 1.0,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    holdings: Mapping[str, float] | None = None,
    **limits: Any,
) -> Problem:
    """A problem over estimates, with limits by ticker.

    Args:
        estimates: over the tickers, in their order.
        tickers: N of them.
        objective: what is asked for.
        risk_free_rate: annual effective rate.
        min_weight: least weight of every ticker that `bounds` does not name.
        max_weight: greatest weight of every ticker that `bounds` does not name.
        bounds: least and greatest weight, by ticker.
        holdings: current weights, by ticker; 0 for those that are not named.
        limits: the other limits of `Problem`, by name.

    Raises:
        ValueError: a limit names a ticker that was not asked for, or cannot be met.
    """
    for what, named in (("bounds", bounds), ("holdings", holdings)):
        if unknown := strangers(named or {}, tickers):
            raise ValueError(f"{what}: {', '.join(unknown)} was not asked for")
    ranges = np.array([weight_limits(t, bounds or {}, min_weight, max_weight) for t in tickers])
    held = np.array([holdings.get(t, 0.0) for t in tickers]) if holdings is not None else None
    return Problem(
        estimates.means,
        estimates.covariance,
        tuple(tickers),
        objective,
        lower=ranges[:, 0],
        upper=ranges[:, 1],
        risk_free_rate=risk_free_rate,
        holdings=held,
        **limits,
    )


def problem_of(
    spec: PortfolioSpec,
    estimates: Estimates,
    risk_free_rate: float,
    columns: Columns | None = None,
) -> Problem:
    """The problem that a specification and estimates make.

    Args:
        spec: the portfolio.
        estimates: over its tickers, in its order.
        risk_free_rate: annual effective rate.
        columns: universe columns by name, each a value per ticker, for the groups.

    Raises:
        ValueError: the specification asks for what cannot be.
    """
    scenarios = needs_scenarios(spec.objective, spec.cvar_budget)
    return problem_from(
        estimates,
        spec.tickers,
        spec.objective,
        risk_free_rate,
        min_weight=spec.min_weight,
        max_weight=spec.max_weight,
        bounds=spec.bounds,
        holdings=spec.holdings or None,
        risk_budget=spec.risk_budget,
        target_return=spec.target_return,
        groups=group_limits(spec, columns or {}),
        max_turnover=spec.max_turnover,
        cost_rate=spec.cost_rate,
        scenarios=estimates.returns if scenarios else None,
        cvar_level=spec.cvar_level,
        cvar_budget=spec.cvar_budget,
    )


def group_limits(spec: PortfolioSpec, columns: Columns) -> tuple[GroupLimit, ...]:
    """The limits of a specification's groups, by universe column and value.

    Raises:
        ValueError: none of the tickers has such a value.
    """
    limits = []
    for column, values in spec.groups.items():
        by_ticker = columns.get(column, {})
        for value, (low, high) in values.items():
            members = tuple(t for t in spec.tickers if by_ticker.get(t) == value)
            if not members:
                raise ValueError(f"groups: no ticker of {spec.name} has {column} {value!r}")
            limits.append(GroupLimit(f"{column} {value}", members, low, high))
    return tuple(limits)
