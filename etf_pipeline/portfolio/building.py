"""From what is asked, in whichever way, to the optimiser's problem: `stated` makes every one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from etf_pipeline.model.objectives import Objective, needs_scenarios, strangers, weight_limits
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.risk_budgets import wrong_budgets
from etf_pipeline.portfolio.asked import Asked, check_asked
from etf_pipeline.portfolio.benchmarks import benchmark_of
from etf_pipeline.portfolio.functions import Floats, Scenarios
from etf_pipeline.portfolio.limits import (
    ActiveWeights,
    BetaRange,
    CvarCeiling,
    FewHoldings,
    GrossExposure,
    GroupLimit,
    LeastPosition,
    ReturnFloor,
    TrackingErrorCeiling,
    TurnoverCeiling,
    VolatilityCeiling,
)
from etf_pipeline.portfolio.problem import Benchmark, Limit, Problem
from etf_pipeline.risk.estimates import Estimates

Columns = Mapping[str, Mapping[str, Any]]
_STILL = 1e-12  # of the variance of what is held, were it perfectly correlated


def stated(
    means: npt.ArrayLike,
    covariance: npt.ArrayLike,
    names: Sequence[str],
    objective: Objective = "min_volatility",
    **asked: Unpack[Asked],
) -> Problem:
    """A problem of N assets, its limits made and checked.

    Args:
        means: expected returns, shape (N,), any unit of time.
        covariance: shape (N, N), the same unit.
        names: N distinct names.
        objective: `min_volatility`, `max_sharpe`, `max_return`, `target_return` (least volatility
            that reaches it), `max_utility`, `min_cvar`, `min_tracking_error`, `risk_parity` or
            `hrp` (hierarchical risk parity).
        asked: see `Asked`.

    Raises:
        ValueError: what is asked contradicts itself, or has a shape or value that cannot be.
    """
    names, n = tuple(names), len(names)
    check_asked(objective, asked, names)
    mu, sigma = _array(means), _array(covariance)
    tail = needs_scenarios(objective, asked.get("cvar_budget"))
    level = asked.get("cvar_level", 0.95)
    benchmark = _benchmark(asked.get("benchmark"), mu, sigma, n)
    if asked.get("beta") is not None and benchmark is not None and _still(benchmark, sigma):
        raise ValueError(
            "beta: the benchmark has no variance, so that nothing has a beta to it; leave beta "
            "out, or measure against a benchmark that moves"
        )
    return Problem(
        mu,
        sigma,
        names,
        objective,
        tuple(_limits(asked)),
        _bounds(asked.get("lower"), 0.0, n),
        _bounds(asked.get("upper"), 1.0, n),
        _finite("net_exposure", asked.get("net_exposure", (1.0, 1.0))),
        float(asked.get("risk_free_rate", 0.0)),
        asked.get("risk_aversion"),
        _per_asset("holdings", asked.get("holdings"), n),
        float(asked.get("cost_rate", 0.0)),
        _scenarios(asked.get("scenarios"), level, n) if tail else None,
        benchmark,
        _per_asset("risk_budgets", asked.get("risk_budgets"), n),
        asked.get("max_holdings"),
        asked.get("min_position"),
        asked.get("search_limit", 2_000),
    )


def _limits(asked: Asked) -> list[Limit]:
    """The limit objects of what is asked; the hard ones last, in the order of their messages."""
    makers: list[tuple[float | None, Callable[[float], Limit]]] = [
        (asked.get("max_active_weight"), ActiveWeights),
        (asked.get("gross_exposure"), GrossExposure),
        (asked.get("max_turnover"), TurnoverCeiling),
        (asked.get("target_return"), ReturnFloor),
        (asked.get("risk_budget"), VolatilityCeiling),
        (asked.get("max_tracking_error"), TrackingErrorCeiling),
        (asked.get("cvar_budget"), CvarCeiling),
    ]
    limits: list[Limit] = list(asked.get("groups") or ())
    beta = asked.get("beta")
    if beta is not None:
        limits.append(BetaRange(*_range("beta", beta)))
    most, least = asked.get("max_holdings"), asked.get("min_position")
    if most is not None:
        limits.append(FewHoldings(int(most)))
    if least:
        limits.append(LeastPosition(float(least)))
    return [*limits, *(make(float(x)) for x, make in makers if x is not None)]


def _array(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype="float64")


def _bounds(given: npt.ArrayLike | None, otherwise: float, n: int) -> Floats:
    found = _array(otherwise if given is None else given)
    return np.full(n, float(found)) if found.ndim == 0 else found


def _per_asset(what: str, given: npt.ArrayLike | None, n: int) -> Floats | None:
    if given is None:
        return None
    found = _array(given)
    if found.shape != (n,) or not np.all(np.isfinite(found)):
        raise ValueError(f"{what} need shape ({n},) and finite values")
    return found


def _range(what: str, given: tuple[float, float]) -> tuple[float, float]:
    low, high = (float(x) for x in given)
    if not low <= high or not (np.isfinite(low) or np.isfinite(high)):
        raise ValueError(f"{what}: {low:g} to {high:g} is no range")
    return low, high


def _finite(what: str, given: tuple[float, float]) -> tuple[float, float]:
    low, high = _range(what, given)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{what}: {low:g} to {high:g} must be finite")
    return low, high


def _benchmark(
    given: npt.ArrayLike | Benchmark | None, means: Floats, covariance: Floats, n: int
) -> Benchmark | None:
    if given is None or isinstance(given, Benchmark):
        return given
    weights = _per_asset("benchmark weights", given, n)
    assert weights is not None
    if means.shape != (n,) or covariance.shape != (n, n):
        return None  # told by the problem itself
    return Benchmark.of_weights(weights, means, covariance)


def _still(benchmark: Benchmark, covariance: Floats) -> bool:
    """Whether a benchmark of the assets has no variance but rounding's, beside what it holds."""
    if benchmark.weights is None:
        return False  # refused by itself
    held = np.abs(benchmark.weights) @ np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return bool(benchmark.variance <= _STILL * held**2)


def _scenarios(given: npt.ArrayLike | None, level: float, n: int) -> Scenarios:
    if given is None:
        raise ValueError("CVaR needs scenarios: returns of shape (T, N)")
    returns = _array(given)
    if returns.ndim != 2 or returns.shape[1] != n or not len(returns):
        raise ValueError(f"scenarios need shape (T, {n})")
    if not np.all(np.isfinite(returns)):
        raise ValueError("scenarios must be finite")
    return Scenarios(returns, level)


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
    risk_budgets: Mapping[str, float] | None = None,
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
        risk_budgets: shares of the risk, by ticker, each of them; equal ones when None.
        limits: the others, by the names that `stated` has for them.

    Raises:
        ValueError: a limit names a ticker that was not asked for, or cannot be met.
    """
    for what, named in (("bounds", bounds), ("holdings", holdings)):
        if unknown := strangers(named or {}, tickers):
            raise ValueError(f"{what}: {', '.join(unknown)} was not asked for")
    if needs_scenarios(objective, limits.get("cvar_budget")):
        limits.setdefault("scenarios", estimates.returns)
    ranges = np.array([weight_limits(t, bounds or {}, min_weight, max_weight) for t in tickers])
    if why := wrong_budgets(risk_budgets, tickers):
        raise ValueError(why)
    held = np.array([holdings.get(t, 0.0) for t in tickers]) if holdings is not None else None
    return stated(
        estimates.means,
        estimates.covariance,
        tuple(tickers),
        objective,
        lower=ranges[:, 0],
        upper=ranges[:, 1],
        risk_free_rate=risk_free_rate,
        holdings=held,
        risk_budgets=None if risk_budgets is None else [risk_budgets[t] for t in tickers],
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
        estimates: over its tickers, in its order, with those of its benchmark beside them.
        risk_free_rate: annual effective rate.
        columns: universe columns by name, each a value per ticker, for the groups.

    Raises:
        ValueError: the specification asks for what cannot be.
    """
    return problem_from(
        estimates,
        spec.tickers,
        spec.objective,
        risk_free_rate,
        min_weight=spec.min_weight,
        max_weight=spec.max_weight,
        bounds=spec.bounds,
        holdings=spec.holdings or None,
        risk_budgets=spec.risk_budgets,
        risk_budget=spec.risk_budget,
        target_return=spec.target_return,
        groups=group_limits(spec, columns or {}),
        max_turnover=spec.max_turnover,
        cost_rate=spec.cost_rate,
        cvar_level=spec.cvar_level,
        cvar_budget=spec.cvar_budget,
        risk_aversion=spec.risk_aversion,
        benchmark=benchmark_of(spec.against, spec.tickers, estimates),
        max_tracking_error=spec.max_tracking_error,
        max_active_weight=spec.max_active_weight,
        beta=spec.beta,
        net_exposure=spec.net_exposure,
        gross_exposure=spec.gross_exposure,
        max_holdings=spec.max_holdings,
        min_position=spec.min_position,
        search_limit=spec.search_limit,
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
