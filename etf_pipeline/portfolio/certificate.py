"""Proof that weights are optimal, whatever solver made them."""

from __future__ import annotations

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

    With η from least squares of μ = γ + ηΣw on the assets between their bounds and g = μ − ηΣw,
    weak duality bounds the return of every feasible x by g'x + η(w'Σw + b²)/2 − … ; the gap is
    max g'x − g'w + (η/2)(b² − w'Σw).
    """
    marginal = problem.covariance @ weights
    eta = _multiplier(problem, weights, marginal)
    gradient = problem.means - eta * marginal
    best = best_linear(problem, gradient)
    slack = budget**2 - float(weights @ marginal)
    return float(gradient @ (best - weights) + eta / 2.0 * max(slack, 0.0))


def gap_min_variance(problem: Problem, weights: Floats, floor_return: float | None = None) -> float:
    """How much lower the volatility could be, at most.

    For the variance f = w'Σw/2 and the multiplier ν of the return floor, convexity gives
    f(w) − f(x) ≤ max (νμ − Σw)'x − (νμ − Σw)'w + ν(μ'w − floor) for every feasible x.
    """
    marginal = problem.covariance @ weights
    nu, slack = 0.0, 0.0
    if floor_return is not None:
        eta = _multiplier(problem, weights, marginal)
        nu = 1.0 / eta if eta > 0 else 0.0
        slack = nu * max(float(problem.means @ weights) - floor_return, 0.0)
    gradient = nu * problem.means - marginal
    best = best_linear(problem, gradient)
    variance = float(weights @ marginal)
    if variance <= 0:
        return 0.0
    return float((gradient @ (best - weights) + slack) / np.sqrt(variance))


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


def _multiplier(problem: Problem, weights: Floats, marginal: Floats) -> float:
    """η ≥ 0 of μ = γ + ηΣw by least squares over the assets strictly between their bounds."""
    inside = (weights > problem.lower + _ON_BOUND) & (weights < problem.upper - _ON_BOUND)
    if inside.sum() < 2:
        return _vertex_multiplier(problem, marginal, weights)
    x = marginal[inside] - marginal[inside].mean()
    y = problem.means[inside] - problem.means[inside].mean()
    spread = float(x @ x)
    if spread <= 1e-24 * max(1.0, float(marginal @ marginal)):
        return _vertex_multiplier(problem, marginal, weights)
    return max(0.0, float(x @ y) / spread)


def _vertex_multiplier(problem: Problem, marginal: Floats, weights: Floats) -> float:
    """At a vertex any η in an interval may do; take the one with the smallest gap on a grid."""
    differences_m = problem.means[:, None] - problem.means[None, :]
    differences_s = marginal[:, None] - marginal[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = differences_m / differences_s
    candidates = np.unique(np.r_[0.0, ratios[np.isfinite(ratios) & (ratios > 0)]])
    gaps = []
    for eta in candidates:
        gradient = problem.means - eta * marginal
        gaps.append(float(gradient @ (best_linear(problem, gradient) - weights)))
    return float(candidates[int(np.argmin(gaps))])
