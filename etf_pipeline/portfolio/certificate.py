"""Proof that weights are optimal, whatever solver made them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from etf_pipeline.portfolio.problem import Floats, Problem

TOLERANCE = 1e-6
FEASIBLE = 1e-9
_ON_BOUND = 1e-7


def feasible(problem: Problem, weights: Floats) -> bool:
    """Whether weights are within their bounds and sum to 1, within 1e-9."""
    return bool(
        abs(weights.sum() - 1.0) <= FEASIBLE
        and np.all(weights >= problem.lower - FEASIBLE)
        and np.all(weights <= problem.upper + FEASIBLE)
    )


def best_linear(problem: Problem, gradient: Floats) -> Floats:
    """The feasible weights with the greatest `gradient`'x: fill the best assets first."""
    weights = problem.lower.copy()
    left = 1.0 - weights.sum()
    for i in np.argsort(-gradient, kind="stable"):
        step = min(problem.upper[i] - weights[i], left)
        weights[i] += step
        left -= step
        if left <= 0:
            break
    return weights


def gap_max_return(problem: Problem, weights: Floats, budget: float) -> float:
    """How much more return any feasible portfolio within `budget` could have, at most.

    For any η ≥ 0 and g = μ − ηΣw, weak duality bounds it by
    max g'x − g'w + (η/2)(b² − w'Σw); η comes from least squares of μ = γ + ηΣw on the assets
    between their bounds, or, where these are too few, is the best one.
    """
    marginal = problem.covariance @ weights
    slack = max(budget**2 - float(weights @ marginal), 0.0)

    def gap(eta: float) -> float:
        gradient = problem.means - eta * marginal
        best = best_linear(problem, gradient)
        return float(gradient @ (best - weights)) + eta / 2.0 * slack

    eta = _least_squares(problem, weights, marginal, problem.means)
    return gap(eta) if eta is not None else _least(gap, problem.means, marginal)


def gap_min_variance(problem: Problem, weights: Floats, floor_return: float | None = None) -> float:
    """How much lower the volatility could be, at most.

    For the variance f = w'Σw/2 and any multiplier ν ≥ 0 of the return floor, convexity gives
    f(w) − f(x) ≤ max (νμ − Σw)'x − (νμ − Σw)'w + ν(μ'w − floor) for every feasible x.
    """
    marginal = problem.covariance @ weights
    variance = float(weights @ marginal)
    if variance <= 0:
        return 0.0
    slack = 0.0
    if floor_return is not None:
        slack = max(float(problem.means @ weights) - floor_return, 0.0)

    def gap(nu: float) -> float:
        gradient = nu * problem.means - marginal
        best = best_linear(problem, gradient)
        return float((gradient @ (best - weights) + nu * slack) / np.sqrt(variance))

    if floor_return is None:
        return gap(0.0)
    nu = _least_squares(problem, weights, problem.means, marginal)
    return gap(nu) if nu is not None else _least(gap, marginal, problem.means)


def gap_max_sharpe(problem: Problem, weights: Floats) -> float:
    """How much more excess return any portfolio of the same risk could have, at most.

    With η = (μ − rf)'w / w'Σw, Cauchy-Schwarz gives (μ − rf)'x ≤ S σ_x + max g'x for
    g = (μ − rf) − ηΣw, where S is the Sharpe ratio of w.
    """
    excess = problem.means - problem.risk_free_rate
    marginal = problem.covariance @ weights
    eta = float(excess @ weights) / float(weights @ marginal)
    gradient = excess - eta * marginal
    return float(gradient @ (best_linear(problem, gradient) - weights))


def _least_squares(problem: Problem, weights: Floats, x: Floats, y: Floats) -> float | None:
    """Slope ≥ 0 of y = γ + slope·x over the assets strictly between their bounds."""
    inside = (weights > problem.lower + _ON_BOUND) & (weights < problem.upper - _ON_BOUND)
    if inside.sum() < 2:
        return None
    centred = x[inside] - x[inside].mean()
    spread = float(centred @ centred)
    if spread <= 1e-24 * max(1.0, float(x @ x)):
        return None
    return max(0.0, float(centred @ (y[inside] - y[inside].mean())) / spread)


def _least(gap: Callable[[float], float], numerator: Floats, denominator: Floats) -> float:
    """Least of a gap that is convex and piecewise linear in its multiplier.

    Its corners are where two assets change places, so a binary search over them finds it.
    """
    top = numerator[:, None] - numerator[None, :]
    bottom = denominator[:, None] - denominator[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (top / bottom).ravel()
    corners = np.unique(np.r_[0.0, ratios[np.isfinite(ratios) & (ratios > 0)]])
    low, high = 0, len(corners) - 1
    while low < high:
        middle = (low + high) // 2
        if gap(float(corners[middle])) <= gap(float(corners[middle + 1])):
            high = middle
        else:
            low = middle + 1
    return gap(float(corners[low]))
