"""Problems that the portfolio tests share, and independent judges of their answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from etf_pipeline.portfolio import Problem

# Two uncorrelated assets: with weight x of the second, Σw = (0.01 (1 − x), 0.09 x).
TWO_MEANS, TWO = np.array([0.10, 0.20]), np.diag([0.01, 0.09])


def two(objective: str = "min_volatility", **changes: Any) -> Problem:
    """Two uncorrelated assets of volatility 0.1 and 0.3, means 0.1 and 0.2."""
    return Problem(TWO_MEANS, TWO, ("a", "b"), objective, **changes)  # type: ignore[arg-type]


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
    return Problem(means * unit, covariance * unit**2, names, lower=lower, upper=upper)


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
