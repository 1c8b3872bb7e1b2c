"""From weights to whole units for a given amount of cash."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.functions import Floats


@dataclass(frozen=True)
class Allocation:
    """Whole units to buy, shape (N,), and the cash left over."""

    units: npt.NDArray[np.int64]
    left: float


def allocate(weights: Floats, prices: Floats, cash: float) -> Allocation:
    """Whole units whose amounts are nearest to weight × cash in total, without overspending.

    Minimises Σ |w_i·cash − n_i·p_i| + left over whole n_i ≥ 0 with Σ n_i·p_i ≤ cash, as a
    mixed-integer program (HiGHS).

    Args:
        weights: not negative, summing to at most 1.
        prices: positive, shape (N,).
        cash: amount to invest, in the currency of `prices`.

    Raises:
        ValueError: a weight, price or amount that cannot be; a solver that found nothing.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    weights, prices = np.asarray(weights, "float64"), np.asarray(prices, "float64")
    if weights.shape != prices.shape or np.any(weights < -1e-9) or weights.sum() > 1 + 1e-9:
        raise ValueError("weights must be as many as prices, not negative, and sum to at most 1")
    if np.any(~np.isfinite(prices) | (prices <= 0)) or not cash >= 0:
        raise ValueError("prices must be positive and cash must not be negative")
    n, target = len(weights), np.clip(weights, 0.0, None) * cash
    eye = np.eye(n)
    # variables: units n, then deviations d ≥ |target − n·p|
    held = np.hstack([eye * prices, -eye])
    less = np.hstack([-eye * prices, -eye])
    budget = np.r_[prices, np.zeros(n)][None, :]
    solution = milp(
        # "left" is cash − Σ n·p; its constant part does not matter to the solver
        np.r_[-prices, np.ones(n)],
        constraints=[
            LinearConstraint(held, -np.inf, target),
            LinearConstraint(less, -np.inf, -target),
            LinearConstraint(budget, 0.0, cash * (1 + 1e-12)),
        ],
        integrality=np.r_[np.ones(n), np.zeros(n)],
        bounds=Bounds(np.zeros(2 * n), np.r_[np.floor(cash / prices + 1e-9), np.full(n, np.inf)]),
        options={"mip_rel_gap": 0.0},  # its default stops a ten-thousandth early
    )
    if solution.x is None:
        raise ValueError(f"no allocation was found: {solution.message}")
    units = np.round(solution.x[:n]).astype("int64")
    return Allocation(units, max(0.0, float(cash - units @ prices)))
