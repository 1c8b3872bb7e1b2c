"""Proof that weights are optimal, whatever solver made them.

Each gap is an upper bound, by weak duality, of what any allowed portfolio could still gain; it
needs one maximum of a linear function over the allowed portfolios, and a multiplier, which may be
any non-negative number: a poor one makes the bound larger, never wrong.

Weights w have shape (N,) and are allowed; μ and Σ are the problem's, in any unit of time. A gap may
come out slightly below 0, by rounding.

Source: Boyd & Vandenberghe, "Convex Optimization" (2004), section 5.1 (the dual function bounds the
optimum) and 3.1.3 (a convex function is above its tangents).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from etf_pipeline.portfolio.polyhedron import Row, allowed, maximise, polyhedron
from etf_pipeline.portfolio.problem import Floats, Problem

TOLERANCE = 1e-6
FEASIBLE = 1e-9
_ON_BOUND = 1e-7
_GOOD = 1e-8


def feasible(problem: Problem, weights: Floats) -> bool:
    """Whether weights meet every limit and sum to 1, within 1e-9."""
    return allowed(problem, weights, FEASIBLE)


def best_linear(problem: Problem, gradient: Floats, cost_weight: float = 1.0) -> Floats:
    """Allowed weights with the greatest gradient'x − cost_weight · cost of trading, shape (N,).

    With bounds alone, the best assets are filled first; otherwise a linear program is solved.

    Args:
        problem: whose limits hold.
        gradient: what a unit of each asset is worth, shape (N,).
        cost_weight: what a unit of trading cost is worth, in the unit of `gradient`.

    Raises:
        ValueError: no weights are allowed.
    """
    if not problem.simple:
        found = maximise(problem, gradient, cost_weight)
        if found is None:
            raise ValueError("no portfolio meets all limits at once")
        return found
    return filled(problem.lower, problem.upper, gradient)


def filled(lower: Floats, upper: Floats, gradient: Floats) -> Floats:
    """Full investment within bounds that gives the best assets as much as they may have.

    The maximum of gradient'x over bounds and Σ x = 1 (Dantzig, 1957, "Discrete-variable extremum
    problems", on the continuous knapsack). All of shape (N,); equal gradients go by position.
    """
    weights = lower.copy()
    left = 1.0 - weights.sum()
    for i in np.argsort(-gradient, kind="stable"):
        step = min(upper[i] - weights[i], left)
        weights[i] += step
        left -= step
        if left <= 0:
            break
    return weights


def _regret(problem: Problem, weights: Floats, gradient: Floats, cost_weight: float) -> float:
    """How much better than `weights` the best allowed portfolio does on a linear function."""
    best = best_linear(problem, gradient, cost_weight)
    cost = cost_weight * problem.cost_rate
    trades = problem.trades(best) - problem.trades(weights)
    return float(gradient @ (best - weights)) - cost * trades


def gap_max_return(problem: Problem, weights: Floats, budget: float) -> float:
    """How much more net return any allowed portfolio within `budget` could have, at most.

    `budget` is a ceiling b on volatility; the gap is in the unit of μ. For any η ≥ 0 and
    g = μ − ηΣw it is max g'x − g'w + (η/2)(b² − w'Σw), trading costs included.
    """
    marginal = problem.covariance @ weights
    slack = max(budget**2 - float(weights @ marginal), 0.0)

    def gap(eta: float) -> float:
        regret = _regret(problem, weights, problem.means - eta * marginal, 1.0)
        return regret + eta / 2.0 * slack

    return _smallest(gap, problem, weights, marginal, problem.means, 1.0)


def gap_min_variance(problem: Problem, weights: Floats, floor_return: float | None = None) -> float:
    """How much lower the volatility could be, at most, in the unit of √(w'Σw).

    `floor_return` is the least net return asked for, None for none. For the variance f = w'Σw/2
    and any multiplier ν ≥ 0 of the return floor, convexity gives
    f(w) − f(x) ≤ max (νμ − Σw)'x − (νμ − Σw)'w + ν(net return of w − floor), costs included.
    """
    marginal = problem.covariance @ weights
    variance = float(weights @ marginal)
    if variance <= 0:
        return 0.0
    slack = 0.0
    if floor_return is not None:
        slack = max(problem.net_return(weights) - floor_return, 0.0)

    def gap(nu: float) -> float:
        regret = _regret(problem, weights, nu * problem.means - marginal, nu)
        return (regret + nu * slack) / float(np.sqrt(variance))

    if floor_return is None:
        return gap(0.0)
    return _smallest(gap, problem, weights, problem.means, marginal, -1.0)


def gap_max_sharpe(problem: Problem, weights: Floats) -> float:
    """How much more net excess return any portfolio of the same risk could have, at most.

    In the unit of μ; infinite for weights without variance. With η = (net return − rf) / w'Σw,
    Cauchy-Schwarz gives net excess(x) ≤ S σ_x + max g'x for
    g = (μ − rf) − ηΣw, where S is the Sharpe ratio of w.
    """
    marginal = problem.covariance @ weights
    variance = float(weights @ marginal)
    if variance <= 0:
        return float("inf")
    eta = (problem.net_return(weights) - problem.risk_free_rate) / variance
    gradient = problem.means - problem.risk_free_rate - eta * marginal
    return _regret(problem, weights, gradient, 1.0)


def _smallest(
    gap: Callable[[float], float],
    problem: Problem,
    weights: Floats,
    x: Floats,
    y: Floats,
    cost_sign: float,
) -> float:
    """The gap at the multiplier that the optimality conditions suggest, or at a better one.

    Args:
        gap: the bound as a function of the multiplier; convex.
        problem: whose limits hold.
        weights: the answer, shape (N,).
        x: what the multiplier multiplies in the optimality condition, shape (N,).
        y: what it has to explain, shape (N,).
        cost_sign: 1 when trading costs belong to `y`, −1 when to `x`.
    """
    guess = _least_squares(problem, weights, x, y, cost_sign)
    found = gap(guess) if guess is not None else np.inf
    if found <= _GOOD:
        return float(found)
    if problem.simple:
        return min(float(found), _least_at_corners(gap, y, x))
    return min(float(found), _least_by_search(gap, guess))


def _least_squares(
    problem: Problem, weights: Floats, x: Floats, y: Floats, cost_sign: float
) -> float | None:
    """Slope ≥ 0 of y = γ + slope·x (+ active limits) over assets strictly between their bounds.

    With trading costs the return side also pays or saves `cost_rate`, by the direction of trade.
    """
    inside = (weights > problem.lower + _ON_BOUND) & (weights < problem.upper - _ON_BOUND)
    columns = [np.ones(len(weights)), x]
    if not problem.simple:
        direction = np.zeros(len(weights))
        if problem.holdings is not None:
            moved = weights - problem.holdings
            inside &= np.abs(moved) > _ON_BOUND
            direction = np.sign(moved)
            if cost_sign > 0:
                y = y - problem.cost_rate * direction
            else:
                columns[1] = x - problem.cost_rate * direction
            if problem.max_turnover is not None:
                columns.append(direction)
        space = polyhedron(problem)
        for row, limit, kind in zip(space.matrix, space.limits, space.kinds, strict=True):
            if kind is Row.GROUP and row[: space.n] @ weights >= limit - _ON_BOUND:
                columns.append(row[: space.n])
    design = np.column_stack(columns)[inside]
    if len(design) < 2 or float(np.ptp(columns[1][inside])) <= 1e-14 * float(np.abs(x).max() or 1):
        return None
    solved = np.linalg.lstsq(design, y[inside], rcond=None)[0]
    return max(0.0, float(solved[1]))


def _least_at_corners(
    gap: Callable[[float], float], numerator: Floats, denominator: Floats
) -> float:
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


def _least_by_search(gap: Callable[[float], float], guess: float | None) -> float:
    """Least of a convex gap by a bracketing search on a logarithmic scale."""
    from scipy.optimize import minimize_scalar

    centre = np.log(guess) if guess else 0.0
    grid = np.r_[centre + np.linspace(-12, 12, 25)]
    values = [gap(float(np.exp(g))) for g in grid]
    k = int(np.argmin(values))
    low, high = grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)]
    found = minimize_scalar(
        lambda g: gap(float(np.exp(g))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-12, "maxiter": 80},
    )
    return min(float(found.fun), min(values), gap(0.0))
