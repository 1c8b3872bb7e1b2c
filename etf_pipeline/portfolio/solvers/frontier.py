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

_ALIKE = 1e-12  # ratios that differ by less, of their size, differ by rounding


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
    weights = corners.weights
    along = weights @ covariance
    variances = (along * weights).sum(axis=1)
    excess = weights @ (means - rate)
    # of every segment: p, q, a'Σa, a'Σs, s'Σs
    p, q = excess[:-1], np.diff(excess)
    aa, cross = variances[:-1], (along[:-1] * weights[1:]).sum(axis=1)
    ab, bb = cross - aa, variances[1:] - 2.0 * cross + aa
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (p * ab - q * aa) / (q * ab - p * bb)
    inside = (t > 0) & (t < 1)  # False for what is not finite
    steps = weights[1:][inside] - weights[:-1][inside]
    points = np.vstack([weights, weights[:-1][inside] + t[inside, None] * steps])
    risks = np.einsum("ij,ij->i", points @ covariance, points)
    gains = points @ (means - rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(risks > 0, gains / np.sqrt(np.maximum(risks, 0.0)), -math.inf)
    # beside what earns the rate without risk all on a line are alike: that with none of it
    alike = ratios >= ratios.max() - _ALIKE * abs(float(ratios.max()))
    return points[int(np.argmax(np.where(alike, risks, -math.inf)))]
