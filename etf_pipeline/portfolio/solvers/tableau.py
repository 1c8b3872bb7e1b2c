"""The critical line traced on a tableau: one rank-one update and one product per corner.

Exchanging the roles of weight and gradient of an asset (a principal pivot) is what happens when it
enters or leaves the free set, so the whole state is one matrix, symmetric up to signs. Fast, and
exact where the covariance is well conditioned; `critical_line` is the careful variant.

Source: Cottle, Pang & Stone, "The Linear Complementarity Problem" (1992), section 2.3 (principal
pivot transforms); Markowitz (1956) for the critical line.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.knapsack import filled
from etf_pipeline.portfolio.problem import Problem

_SAME = 1e-13
_RIDGE = 1e-10
_SMALL_PIVOT = 1e-9
Flags = npt.NDArray[np.bool_]


def trace(problem: Problem, means: Floats) -> tuple[Floats, Floats] | None:
    """Corner weights (K, N) and their λ (K,), descending to 0; None when a pivot is too small.

    Args:
        problem: with bounds alone.
        means: without ties, any unit.
    """
    scale = float(np.mean(np.diag(problem.covariance))) or 1.0
    spread = float(np.ptp(means)) or 1.0
    mu = (means - means.mean()) / spread
    start = filled(*problem.box, mu)
    first = first_free(problem.box[0], start, mu)
    state = _State(problem, problem.covariance / scale, mu, start)
    if not (state.exchange(first) and state.exchange(len(mu))):
        return None
    state.free[first] = True
    corners, multipliers = _follow(state)
    if corners is None:
        return None
    return _summing(problem, corners), np.array(multipliers) * scale / spread


class _State:
    """The tableau T with (weights or gradients) = T · (bounds, multipliers), and its inputs."""

    def __init__(self, problem: Problem, sigma: Floats, mu: Floats, start: Floats) -> None:
        n = len(mu)
        self.mu, self.lower, self.upper = mu, *problem.box
        self.table = np.zeros((n + 1, n + 1))
        self._update = np.empty((n + 1, n + 1))
        self.table[:n, :n] = sigma
        self.table[np.arange(n), np.arange(n)] += _RIDGE
        self.table[n, :n] = self.table[:n, n] = 1.0
        # inputs as constant and λ parts: weights of bound assets; for exchanged rows λμ and the sum
        self.inputs = np.zeros((n + 1, 2))
        self.inputs[:n, 0] = start
        self.free: Flags = np.zeros(n, dtype=np.bool_)
        self.movable: Flags = self.upper > self.lower
        self.at_upper: Flags = (start >= self.upper - _SAME) & self.movable

    def exchange(self, k: int) -> bool:
        """Swap input and output of row `k`; False when its pivot is too small to trust."""
        table, n = self.table, len(self.mu)
        pivot = float(table[k, k])
        if abs(pivot) < _SMALL_PIVOT:
            return False
        column, row = table[:, k].copy(), table[k].copy()
        np.multiply.outer(column / pivot, row, out=self._update)
        table -= self._update
        table[k] = row / -pivot
        table[:, k] = column / pivot
        table[k, k] = 1.0 / pivot
        if k == n:
            self.inputs[k] = (1.0, 0.0)
        else:
            self.inputs[k] = (0.0, self.mu[k])
        return True

    def fix(self, k: int, bound: float) -> bool:
        """Return asset `k` from the free set to a bound."""
        if not self.exchange(k):
            return False
        self.inputs[k] = (bound, 0.0)
        self.free[k] = False
        self.at_upper[k] = bound == self.upper[k]
        return True


def first_free(lower: Floats, weights: Floats, mu: Floats) -> int:
    """The asset that the fill stopped at: the least attractive one above its lower bound."""
    filled = np.flatnonzero(weights > lower + _SAME)
    return int(filled[np.argmin(mu[filled])]) if len(filled) else int(np.argmax(mu))


def _follow(state: _State) -> tuple[Floats | None, list[float]]:
    """Corners from λ = ∞ down to 0."""
    n = len(state.mu)
    corners: list[Floats] = []
    multipliers: list[float] = []
    current, moved = math.inf, -1
    for _ in range(50 * n + 100):
        out = state.table @ state.inputs
        constant, slope = out[:n, 0], out[:n, 1]
        slope = np.where(state.free, slope, slope - state.mu)
        event, asset = _next(state, constant, slope, current, moved)
        step = min(max(event, 0.0), current)
        weights = state.inputs[:n, 0].copy()
        if math.isfinite(step):
            weights = np.where(state.free, constant + step * slope, weights)
        else:
            weights = np.where(state.free, constant, weights)
        if math.isinf(current) or step == 0 or current - step > _SAME * max(1.0, current):
            corners.append(weights)
            multipliers.append(step)
        if event <= 0:
            return np.array(corners), multipliers
        if state.free[asset]:
            low, high, here = state.lower[asset], state.upper[asset], weights[asset]
            if not state.fix(asset, high if high - here < here - low else low):
                return None, []
        elif state.exchange(asset):
            state.free[asset] = True
        else:
            return None, []
        current, moved = step, asset
    return None, []


def _next(
    state: _State, constant: Floats, slope: Floats, current: float, moved: int
) -> tuple[float, int]:
    """The largest λ not above `current` at which an asset enters or leaves, and which one."""
    free = state.free
    rising = slope > _SAME
    falling = slope < -_SAME
    turns = np.where(free, rising | falling, np.where(state.at_upper, falling, rising))
    turns &= state.movable
    goal = np.where(free, np.where(rising, state.lower, state.upper), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.where(turns, (goal - constant) / slope, -math.inf)
    if math.isfinite(current):
        np.minimum(at, current, out=at)
        if moved >= 0 and at[moved] >= current * (1 - 1e-10) - _SAME:
            at[moved] = -math.inf
    k = int(at.argmax())
    return float(at[k]), k


def _summing(problem: Problem, corners: Floats) -> Floats:
    """Corners within their bounds, without the rounding that a huge λ leaves in their sums."""
    lower, upper = problem.box
    inside = (corners > lower) & (corners < upper)
    corners = np.clip(corners, lower, upper)
    off = (1.0 - corners.sum(axis=1)) / np.maximum(inside.sum(axis=1), 1)
    return np.where(inside, corners + off[:, None], corners)
