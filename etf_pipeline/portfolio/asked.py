"""What may be asked of a portfolio, by name, and what is refused before it becomes a problem."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from etf_pipeline.model.instruments import repeated
from etf_pipeline.model.objectives import (
    FROM_RISK_ALONE,
    NEEDS_HOLDINGS,
    NEEDS_TARGET,
    Objective,
    against_rule,
    lacking,
    lacks_holdings,
    misplaced,
)
from etf_pipeline.model.risk_budgets import wrong_shares
from etf_pipeline.portfolio.limits import GroupLimit
from etf_pipeline.portfolio.problem import Benchmark


class Asked(TypedDict, total=False):
    """Limits and inputs of a problem of N assets; what is not named is not asked for.

    Attributes:
        lower: least weights, one or (N,); 0 by default.
        upper: greatest weights, one or (N,); 1 by default.
        risk_free_rate: in the unit of the means; 0 by default.
        risk_aversion: λ of `max_utility`: net return − λ/2 · variance.
        target_return: floor on the net expected return.
        risk_budget: ceiling on volatility.
        cvar_budget: ceiling on the scenarios' CVaR, a loss per period; negative asks for a gain.
        cvar_level: of the CVaR; 0.95 by default.
        scenarios: returns of shape (T, N), for CVaR.
        groups: limits on total weights of groups.
        holdings: current weights, shape (N,), for `max_turnover` and `cost_rate`.
        max_turnover: ceiling on Σ|w − holdings|/2, the part of the portfolio that changes hands.
        cost_rate: cost of trading one unit of weight; expected returns are net of
            cost_rate · Σ|w − holdings|.
        benchmark: weights (N,), or a `Benchmark` that holds other assets.
        max_tracking_error: ceiling on the volatility of the difference to the benchmark.
        max_active_weight: ceiling on every |w_i − benchmark_i|.
        beta: least and greatest beta to the benchmark.
        net_exposure: least and greatest Σ w, (1, 1) by default; the rest earns the risk-free rate.
        gross_exposure: ceiling on Σ|w|; 1.6 is 130/30.
        max_holdings: how many weights may differ from 0.
        min_position: least weight of an asset that is held.
        risk_budgets: shares of the risk, shape (N,), of sum 1, for `risk_parity`; equal by default.
        search_limit: how many choices a search for few holdings may look at; 2,000 by default.
    """

    lower: npt.ArrayLike | None
    upper: npt.ArrayLike | None
    risk_free_rate: float
    risk_aversion: float | None
    target_return: float | None
    risk_budget: float | None
    cvar_budget: float | None
    cvar_level: float
    scenarios: npt.ArrayLike | None
    groups: Sequence[GroupLimit]
    holdings: npt.ArrayLike | None
    max_turnover: float | None
    cost_rate: float
    benchmark: npt.ArrayLike | Benchmark | None
    max_tracking_error: float | None
    max_active_weight: float | None
    beta: tuple[float, float] | None
    net_exposure: tuple[float, float]
    gross_exposure: float | None
    max_holdings: int | None
    min_position: float | None
    risk_budgets: npt.ArrayLike | None
    search_limit: int


_POSITIVE = (
    "risk_aversion",
    "risk_budget",
    "max_tracking_error",
    "gross_exposure",
    "max_holdings",
    "search_limit",
)
_NOT_NEGATIVE = ("max_turnover", "cost_rate", "max_active_weight", "min_position")
_ANY = ("risk_free_rate", "target_return", "cvar_budget", "cvar_level")
_OF_BENCHMARK = ("max_tracking_error", "max_active_weight", "beta")
_NOT_BY_RULE = (
    "max_turnover",
    "max_tracking_error",
    "max_active_weight",
    "beta",
    "gross_exposure",
    "max_holdings",
    "min_position",
)


def check_asked(objective: Objective, asked: Mapping[str, Any], names: Sequence[str]) -> None:
    """That what is asked makes sense together.

    Raises:
        ValueError: naming the limit, and what it needs or what it may be.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    for name in given:
        if name not in Asked.__annotations__:
            near = difflib.get_close_matches(name, list(Asked.__annotations__), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"no limit is called {name!r}{hint}")
    _check_numbers(given)
    if found := misplaced(objective, given):
        raise ValueError(f"{found[0]} goes with the objective {' or '.join(found[1])}")
    if lacks := lacking(objective, given, "benchmark" in given):
        raise ValueError(f"the objective {objective} needs {NEEDS_TARGET[lacks]}")
    whole = tuple(given.get("net_exposure", (1.0, 1.0))) == (1.0, 1.0)
    others = bool(given.get("cost_rate") or set(_NOT_BY_RULE) & set(given) or not whole)
    if why := against_rule(objective, bool(given.get("groups")), others):
        raise ValueError(why)
    if "risk_budgets" in given and (why := wrong_shares(names, list(given["risk_budgets"]))):
        raise ValueError(why)
    _check_benchmark(given)
    _check_few(given)
    if objective in FROM_RISK_ALONE and _short(given):
        raise ValueError(f"{objective} is for portfolios without short positions")
    if lacks_holdings(given.get("max_turnover"), given.get("cost_rate", 0.0), "holdings" in given):
        raise ValueError(NEEDS_HOLDINGS)
    _check_groups(given.get("groups", ()), names)


def _check_numbers(given: Mapping[str, Any]) -> None:
    for name in (*_POSITIVE, *_NOT_NEGATIVE, *_ANY):
        if name not in given:
            continue
        value = given[name]
        if not _finite(value):
            raise ValueError(f"{name} must be a finite number, not {value}")
        if name in _POSITIVE and value <= 0:
            raise ValueError(f"{name} must be above 0, not {value:g}")
        if name in _NOT_NEGATIVE and value < 0:
            raise ValueError(f"{name} must not be negative, but is {value:g}")
    if not 0 < given.get("cvar_level", 0.95) < 1:
        raise ValueError(f"cvar_level must be between 0 and 1, not {given['cvar_level']:g}")


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _check_benchmark(given: Mapping[str, Any]) -> None:
    needing = [name for name in _OF_BENCHMARK if name in given]
    if needing and "benchmark" not in given:
        raise ValueError(f"{', '.join(needing)} needs a benchmark")
    benchmark = given.get("benchmark")
    outside = isinstance(benchmark, Benchmark) and benchmark.weights is None
    if outside and "max_active_weight" in given:
        raise ValueError(
            "max_active_weight needs a benchmark of the portfolio's own assets, by weight"
        )


def _short(given: Mapping[str, Any]) -> bool:
    return bool(np.any(np.asarray(given.get("lower", 0.0), dtype="float64") < 0))


def _check_few(given: Mapping[str, Any]) -> None:
    few = [name for name in ("max_holdings", "min_position") if name in given]
    if few and _short(given):
        raise ValueError(f"{', '.join(few)} is for portfolios without short positions")
    count = given.get("max_holdings", 1)
    if int(count) != count:
        raise ValueError(f"max_holdings must be a whole number, not {count:g}")


def _check_groups(groups: Sequence[GroupLimit], names: Sequence[str]) -> None:
    known = set(names)
    for group in groups:
        unknown = [m for m in group.members if m not in known]
        if unknown:
            raise ValueError(f"group {group.name}: {', '.join(unknown)} is not in the names")
        if twice := repeated(group.members):
            raise ValueError(f"group {group.name}: {', '.join(twice)} is in it twice")
        if not group.members or not -np.inf < group.lower <= group.upper < np.inf:
            raise ValueError(f"group {group.name}: needs members and lower ≤ upper")
