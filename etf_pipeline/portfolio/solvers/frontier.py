"""Reading single portfolios off the exact frontier.

Between two neighbouring corner portfolios every efficient portfolio is their mixture (Markowitz,
1956), so each of these is closed form on one segment. Weights have shape (N,), means (N,), the
covariance (N, N); returns and volatilities are in the unit of the means and of √(w'Σw).
"""

from __future__ import annotations

import math

import numpy as np

from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.solvers.critical_line import Corners


def at_volatility(corners: Corners, covariance: Floats, budget: float) -> tuple[Floats, float]:
    """The frontier portfolio with this volatility, between its ends, (N,), and its λ."""
    weights = corners.weights
    vols = np.sqrt(np.maximum(((weights @ covariance) * weights).sum(axis=1), 0.0))
    if len(vols) == 1:
        return corners.weights[0], float(corners.multipliers[0])
    # Volatility falls along the corners; the segment is the last one that starts above budget.
    k = int(np.searchsorted(-vols, -budget, side="right")) - 1
    k = min(max(k, 0), len(vols) - 2)
    a, step = corners.weights[k], corners.weights[k + 1] - corners.weights[k]
    quadratic = float(step @ covariance @ step)
    linear = float(a @ covariance @ step)
    constant = float(a @ covariance @ a) - budget**2
    if quadratic <= 0:
        return _mixed(corners, k, 0.0)
    root = math.sqrt(max(linear**2 - quadratic * constant, 0.0))
    # linear < 0: the smaller root, written without cancellation
    t = constant / (-linear + root) if -linear + root > 0 else 0.0
    return _mixed(corners, k, t)


def at_return(corners: Corners, means: Floats, target: float) -> tuple[Floats, float]:
    """The frontier portfolio with this expected return, between its ends, (N,), and its λ."""
    returns = corners.weights @ means
    if len(returns) == 1:
        return corners.weights[0], float(corners.multipliers[0])
    k = int(np.searchsorted(-returns, -target, side="right")) - 1
    k = min(max(k, 0), len(returns) - 2)
    fall = returns[k] - returns[k + 1]
    return _mixed(corners, k, (returns[k] - target) / fall if fall > 0 else 0.0)


def at_multiplier(corners: Corners, multiplier: float) -> Floats:
    """The portfolio of least w'Σw/2 − λμ'w for one λ ≥ 0, shape (N,)."""
    at = corners.multipliers
    if multiplier >= at[0] or len(at) == 1:
        return corners.weights[0]
    k = min(int(np.searchsorted(-at, -multiplier, side="right")) - 1, len(at) - 2)
    fall = at[k] - at[k + 1]
    return _mixed(corners, k, (at[k] - multiplier) / fall if fall > 0 else 0.0)[0]


def _mixed(corners: Corners, k: int, t: float) -> tuple[Floats, float]:
    """Between corner k and the next, `t` of the way, and its λ."""
    t = min(max(t, 0.0), 1.0)
    weights = corners.weights[k] + t * (corners.weights[k + 1] - corners.weights[k])
    first, second = corners.multipliers[k], corners.multipliers[k + 1]
    return weights, float(first + t * (second - first)) if np.isfinite(first) else float(second)


def best_sharpe(corners: Corners, means: Floats, covariance: Floats, rate: float) -> Floats:
    """The frontier portfolio with the greatest (μ − rf)'w/σ, in closed form on each segment.

    On w = a + t·s the ratio is stationary at t = (p·a'Σs − q·a'Σa)/(q·a'Σs − p·s'Σs), where p and q
    are the excess returns of a and s (Sharpe, 1994, for the ratio). `rate` is in the unit of μ.
    """
    variances = ((corners.weights @ covariance) * corners.weights).sum(axis=1)
    excess = corners.weights @ (means - rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(variances > 0, excess / np.sqrt(np.maximum(variances, 0.0)), -math.inf)

    def ratio(w: Floats) -> float:
        variance = float(w @ covariance @ w)
        return float((means - rate) @ w) / math.sqrt(variance) if variance > 0 else -math.inf

    k = int(np.argmax(ratios))
    best, best_ratio = corners.weights[k], float(ratios[k])
    for i in (k - 1, k):
        if not 0 <= i < len(ratios) - 1:
            continue
        a, step = corners.weights[i], corners.weights[i + 1] - corners.weights[i]
        p, q = float((means - rate) @ a), float((means - rate) @ step)
        aa, ab, bb = (float(x @ covariance @ y) for x, y in ((a, a), (a, step), (step, step)))
        bottom = q * ab - p * bb
        if bottom != 0 and 0 < (t := (p * ab - q * aa) / bottom) < 1:
            w = a + t * step
            if (found := ratio(w)) > best_ratio:
                best, best_ratio = w, found
    return best
