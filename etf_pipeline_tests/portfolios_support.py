"""Problems that the portfolio tests share, and independent judges of their answers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, Problem, stated

# Two uncorrelated assets: with weight x of the second, Σw = (0.01 (1 − x), 0.09 x).
TWO_MEANS, TWO = np.array([0.10, 0.20]), np.diag([0.01, 0.09])

# Five assets with a year of returns, of which all have something in common.
_RNG = np.random.default_rng(11)
FIVE_RETURNS = _RNG.normal(0.0004, 0.01, (260, 5)) + _RNG.normal(0, 0.006, (260, 1))
FIVE_MEANS = FIVE_RETURNS.mean(0) * 252
FIVE = np.cov(FIVE_RETURNS, rowvar=False) * 252
FIVE_NAMES = ("A", "B", "C", "D", "E")


# Three uncorrelated assets, every portfolio of them by steps of a twentieth, and limits on them.
THREE_MEANS, THREE = np.array([0.1, 0.2, 0.3]), np.diag([0.01, 0.04, 0.09])
THREE_NAMES = ("a", "b", "c")
GRID = [np.array(w) / 20 for w in itertools.product(range(21), repeat=3) if sum(w) == 20]
HELD = np.array([0.5, 0.3, 0.2])
LIMITED = {
    "nothing": {},
    "a group at most": {"groups": (GroupLimit("g", ("b", "c"), 0.0, 0.4),)},
    "a group at least": {"groups": (GroupLimit("g", ("a",), 0.6, 1.0),)},
    "turnover": {"holdings": HELD, "max_turnover": 0.15},
    "no turnover": {"holdings": HELD, "max_turnover": 0.0},
    "costs": {"holdings": HELD, "cost_rate": 0.05},
    "all": {
        "lower": [0.0, 0.1, 0.0],
        "upper": [0.8, 1.0, 0.25],
        "groups": (GroupLimit("g", ("a", "c"), 0.2, 0.9),),
        "holdings": HELD,
        "max_turnover": 0.3,
        "cost_rate": 0.01,
    },
}


def two(objective: str = "min_volatility", **changes: Any) -> Problem:
    """Two uncorrelated assets of volatility 0.1 and 0.3, means 0.1 and 0.2."""
    return stated(TWO_MEANS, TWO, ("a", "b"), objective, **changes)  # type: ignore[arg-type]


def three(objective: str = "min_volatility", **changes: Any) -> Problem:
    """Three uncorrelated assets of volatilities and means 0.1, 0.2 and 0.3."""
    return stated(THREE_MEANS, THREE, THREE_NAMES, objective, **changes)  # type: ignore[arg-type]


def meets(changes: dict[str, Any], w: Any) -> bool:
    """Whether weights of the three meet limits, which are written down without matrices."""
    ok = abs(w.sum() - 1) < 1e-9
    ok &= all(w >= np.array(changes.get("lower", [0, 0, 0])) - 1e-9)
    ok &= all(w <= np.array(changes.get("upper", [1, 1, 1])) + 1e-9)
    for group in changes.get("groups", ()):
        total = sum(w[THREE_NAMES.index(m)] for m in group.members)
        ok &= group.lower - 1e-9 <= total <= group.upper + 1e-9
    if "max_turnover" in changes:
        ok &= np.abs(w - HELD).sum() / 2 <= changes["max_turnover"] + 1e-9
    return bool(ok)


def five(objective: str = "min_volatility", **changes: Any) -> Problem:
    """Five assets that have something in common."""
    return stated(FIVE_MEANS, FIVE, FIVE_NAMES, objective, **changes)  # type: ignore[arg-type]


@st.composite
def boxes(draw: Any, most: int = 8, units: tuple[float, ...] = (1e-6, 1.0, 1e3)) -> Problem:
    """Well-conditioned problems with bounds alone, of 1 to `most` assets, in various units."""
    n = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    unit = draw(st.sampled_from(units))
    returns = rng.normal(0.0, 0.01, (3 * n + 5, n)) * rng.uniform(0.3, 3.0, n)
    means = rng.normal(0.05, 0.1, n)
    lower = np.where(rng.random(n) < 0.3, rng.uniform(0, 0.9 / n, n), 0.0)
    upper = np.where(rng.random(n) < 0.4, rng.uniform(min(1.1 / n, 1.0), 1.0, n), 1.0)
    upper = np.maximum(upper, lower)
    covariance = np.atleast_2d(np.cov(returns, rowvar=False)) * 252
    names = tuple(f"T{i}" for i in range(n))
    return stated(means * unit, covariance * unit**2, names, lower=lower, upper=upper)


@st.composite
def limited(
    draw: Any, objective: str = "max_return", units: tuple[float, ...] = (1e-6, 1.0, 1e3)
) -> tuple[Problem, Any]:
    """Problems under every kind of limit at once, and weights (N,) that meet them all.

    The weights are drawn first, and every limit leaves them a little room.
    """
    n = draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    unit = draw(st.sampled_from(units))
    short = draw(st.booleans())
    t = 40
    returns = (rng.normal(0.001, 0.01, (t, n)) + rng.normal(0, 0.007, (t, 1))) * unit
    means, covariance = returns.mean(0), np.cov(returns, rowvar=False)
    held = rng.dirichlet(np.ones(n))
    benchmark = rng.dirichlet(np.ones(n))
    inside = 0.6 * held + 0.4 * benchmark
    if short:
        away = rng.normal(0, 0.1, n)
        inside = inside + away - away.mean()
    names = tuple(f"T{i}" for i in range(n))
    some = tuple(names[i] for i in np.flatnonzero(rng.random(n) < 0.5)) or names[:1]
    total = float(sum(inside[names.index(m)] for m in some))
    active = inside - benchmark
    beta = float(inside @ covariance @ benchmark) / float(benchmark @ covariance @ benchmark)
    losses = np.sort(-returns @ inside)[::-1]
    cvar = float((losses[0] + losses[1]) / 2)
    cost = 0.01 * float(np.ptp(means))
    net = float(means @ inside) - cost * float(np.abs(inside - held).sum())

    def room(value: float, size: float = 1.0) -> float:
        return value + rng.uniform(0.005, 0.3) * size

    problem = stated(
        means,
        covariance,
        names,
        objective,  # type: ignore[arg-type]
        lower=np.minimum(inside, 0.0) - (0.1 if short else 0.0),
        upper=np.maximum(inside, 0.0) + 0.5,
        groups=(GroupLimit("g", some, total - rng.uniform(0.005, 0.2), room(total)),),
        holdings=held,
        max_turnover=room(float(np.abs(inside - held).sum()) / 2),
        cost_rate=cost,
        benchmark=benchmark,
        max_active_weight=room(float(np.abs(active).max())),
        max_tracking_error=room(
            float(np.sqrt(active @ covariance @ active)), float(np.sqrt(covariance[0, 0]))
        ),
        beta=(beta - rng.uniform(0.005, 0.3), room(beta)),
        gross_exposure=room(float(np.abs(inside).sum())),
        scenarios=returns,
        cvar_budget=None if objective == "min_cvar" else room(cvar, abs(cvar)),
        risk_free_rate=net - 0.3 * float(np.ptp(means)),
        risk_budget=room(float(np.sqrt(inside @ covariance @ inside)), 0.01 * unit)
        if objective != "min_volatility"
        else None,
        target_return=net - 0.2 * float(np.ptp(means))
        if objective not in ("min_volatility", "max_return")
        else None,
        risk_aversion=3.0 / unit if objective == "max_utility" else None,
    )
    return problem, inside


def stationary(problem: Problem, weights: Any, multiplier: float, tolerance: float = 1e-6) -> bool:
    """Whether weights minimise w'Σw/2 − λμ'w within the bounds: the conditions of Kuhn & Tucker.

    The gradient Σw − λμ must be the same for every asset between its bounds, no lower for one at
    its lower bound and no higher for one at its upper bound. Relative to the size of its terms.
    """
    pull, push = problem.covariance @ weights, multiplier * problem.means
    gradient = pull - push
    near = 1e-9
    free_to_rise = weights < problem.upper - near
    free_to_fall = weights > problem.lower + near
    if not free_to_rise.any() or not free_to_fall.any():
        return True
    size = float(np.abs(pull).max() + np.abs(push).max())
    # moving weight from an asset that may fall to one that may rise must not pay
    return bool(gradient[free_to_fall].max() - gradient[free_to_rise].min() <= tolerance * size)


def invested(problem: Problem, weights: Any) -> bool:
    """Whether weights sum to 1 within the bounds."""
    return bool(
        abs(weights.sum() - 1) < 1e-9
        and np.all(weights >= problem.lower - 1e-12)
        and np.all(weights <= problem.upper + 1e-12)
    )


def tracking_all(covariance, **few):
    """Least tracking error to all assets alike, by a few of them."""
    n = len(covariance)
    names = tuple(f"A{i:02d}" for i in range(n))
    benchmark = np.full(n, 1 / n)
    return stated(np.zeros(n), covariance, names, "min_tracking_error", benchmark=benchmark, **few)
