"""The solver of risk budgets within limits: an interior-point method whose barrier stays.

In x, of any sum s = 1'x: least x'Σx/2 − Σ b_i ln x_i (Spinu, 2013, "An Algorithm for Computing
Risk Parity Weights") where limits are in proportion to s (Richard & Roncalli, 2019, "Constrained
Risk Budgeting Portfolios"). Its conditions are those of a quadratic program's central path,
x_i π_i = b_i with multipliers π, at a barrier that is not let go to 0; slacks of limits have theirs
go there. So this is a primal-dual path-following method with targets (Wright, 1997, "Primal-Dual
Interior-Point Methods", chapters 5 and 6); nothing in it depends on the units of an asset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etf_pipeline.portfolio.functions import Floats

_STEPS = 200
_TO_BOUNDARY = 0.99
_DONE = 1e-11
_SMALL = 1e-6
_LEAST_BARRIER = 1e-16
_FIRST_BARRIER = 1.0
_NEAR_TARGET = 10.0  # times it, or a part of it
_LONG = 0.5
_SHRINK = 0.1
_CENTRAL = 1e-3
_BACK = 0.7


@dataclass(frozen=True)
class Cone:
    """Limits in proportion to the sum s of N values, which has an inner point.

    Attributes:
        lower: values are at least lower · s, shape (N,).
        upper: and at most upper · s, shape (N,).
        rows: rows · x ≥ 0 of other limits, shape (R, N).
        equal: equal · x = 0, shape (K, N), independent.
    """

    lower: Floats
    upper: Floats
    rows: Floats
    equal: Floats


@dataclass
class _Point:
    """Where the method is: values, and per limit its slack and multiplier.

    `near` says whether the last step was long, and led to products near their targets.
    """

    x: Floats
    slack: Floats
    multiplier: Floats
    barrier: float
    near: bool = False


class _Limits:
    """All limits as one matrix G with Gx > 0, used without ever being formed."""

    def __init__(self, cone: Cone, budgets: Floats, rest: float) -> None:
        n = len(budgets)
        self.low = np.flatnonzero(cone.lower > 0)
        self.high = np.flatnonzero(cone.upper < 1)
        self.least, self.most = cone.lower[self.low], cone.upper[self.high]
        # Fixed assets have their share of the logarithms through the sum of the others.
        self.rows = np.vstack([cone.rows, np.ones((1, n))]) if rest > 0 else cone.rows
        self.cuts = np.cumsum([n, len(self.low), len(self.high)])
        self.targets = np.zeros(self.cuts[-1] + len(self.rows))
        self.targets[:n] = budgets
        if rest > 0:
            self.targets[-1] = rest
        positive = self.targets[self.targets > 0]
        vanishing = len(positive) < len(self.targets)
        self.last_barrier = _LEAST_BARRIER if vanishing else float(positive.min())

    def slack(self, x: Floats) -> Floats:
        """Gx."""
        s = float(x.sum())
        return np.concatenate(
            [x, x[self.low] - self.least * s, self.most * s - x[self.high], self.rows @ x]
        )

    def back(self, values: Floats) -> Floats:
        """G' times a value per limit, shape (N,)."""
        own, low, high, rows = np.split(values, self.cuts)
        found = own + self.rows.T @ rows
        found[self.low] += low
        found[self.high] -= high
        return found + float(self.most @ high - self.least @ low)

    def squared(self, weights: Floats) -> Floats:
        """G' diag(weights) G, shape (N, N)."""
        own, low, high, rows = np.split(weights, self.cuts)
        diagonal, edge = own.copy(), np.zeros_like(own)
        diagonal[self.low] += low
        diagonal[self.high] += high
        edge[self.low] += low * self.least
        edge[self.high] += high * self.most
        corner = float(low @ self.least**2 + high @ self.most**2)
        found = (self.rows.T * rows) @ self.rows + (corner - edge[:, None] - edge[None, :])
        found[np.diag_indices_from(found)] += diagonal
        return found


def solved(quadratic: Floats, budgets: Floats, rest: float, cone: Cone, inside: Floats) -> Floats:
    """Weights (N,) of sum 1: least ½ ln(w'Σw) − Σ b_i ln w_i, as near as rounding allows.

    Args:
        quadratic: Σ, shape (N, N), any unit, without a portfolio of no risk in the cone.
        budgets: b, shape (N,), not negative.
        rest: budget of assets that are a fixed part of the whole; with `budgets` a sum of 1.
        cone: the limits.
        inside: weights that meet each limit strictly, shape (N,).
    """
    quadratic = quadratic / float(inside @ np.sqrt(np.diag(quadratic))) ** 2
    limits = _Limits(cone, budgets, rest)
    slack = limits.slack(inside)
    point = _Point(inside.copy(), slack, np.zeros_like(slack), _FIRST_BARRIER / len(slack))
    point.multiplier = np.maximum(limits.targets, point.barrier) / slack
    before = np.inf
    for _ in range(_STEPS):
        try:
            moved = _step(quadratic, cone.equal, limits, point)
        except np.linalg.LinAlgError:
            break  # values beyond what rounding can tell apart: the caller's proof says how good
        # At the end each step squares the one before; where one does not, rounding is all it is.
        done = moved < _DONE or before / 2 < moved < _SMALL
        if done and point.barrier <= limits.last_barrier:
            break
        before = moved
        if point.near:
            point.barrier = max(_SHRINK * point.barrier, limits.last_barrier)
    return point.x / point.x.sum()


def _step(quadratic: Floats, equal: Floats, limits: _Limits, point: _Point) -> float:
    """Move to where Newton's method leads; how far that was, relative to the values."""
    x, slack, multiplier = point.x, point.slack, point.multiplier
    targets = np.maximum(limits.targets, point.barrier)
    matrix = quadratic + limits.squared(multiplier / slack)
    dx = _newton(matrix, limits.back(targets / slack) - quadratic @ x, equal)
    change = limits.slack(dx)
    pressed = targets / slack - multiplier - multiplier * change / slack
    step = min(1.0, _TO_BOUNDARY * min(_room(slack, change), _room(multiplier, pressed)))
    # Products far below their targets would make the steps after this one short.
    nearest = min(_CENTRAL, 0.5 * float(np.min(slack * multiplier / targets)))
    while np.min((slack + step * change) * (multiplier + step * pressed) / targets) < nearest:
        step *= _BACK
    point.x = x + step * dx
    # Not of the new values: a slack below their rounding would be 0.
    point.slack = slack + step * change
    point.multiplier = multiplier + step * pressed
    ratios = point.slack * point.multiplier / targets
    point.near = step > _LONG and bool(
        np.all((ratios > 1 / _NEAR_TARGET) & (ratios < _NEAR_TARGET))
    )
    return float(np.max(np.abs(dx / x)))


def _newton(matrix: Floats, right: Floats, equal: Floats) -> Floats:
    """The step d of Md + E'ν = r, Ed = 0."""
    from scipy.linalg import cho_factor, cho_solve

    scale = 1.0 / np.sqrt(np.diag(matrix))
    scaled = matrix * scale[:, None] * scale[None, :]
    factor = cho_factor(scaled, overwrite_a=True, check_finite=False)

    def solve(values: Floats) -> Floats:
        wide = scale[:, None] if values.ndim == 2 else scale
        return np.asarray(wide * cho_solve(factor, wide * values, check_finite=False))

    step = solve(right)
    if not len(equal):
        return step
    columns = solve(equal.T)
    return step - columns @ np.linalg.solve(equal @ columns, equal @ step)


def _room(values: Floats, change: Floats) -> float:
    """How much of a change keeps values positive; infinite where all of them grow."""
    falling = change < 0
    return float(np.min(-values[falling] / change[falling], initial=np.inf))
