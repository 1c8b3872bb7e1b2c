"""The whole efficient frontier in one pass: Markowitz's critical line algorithm.

Minimises w'Σw/2 − λμ'w over full investment and box bounds for every λ ≥ 0 at once. Between two
corner portfolios the weights are linear in λ, so least volatility, every risk budget, every
target return and the best Sharpe ratio can be read off exactly.

Source: Markowitz, "The optimization of a quadratic function subject to linear constraints"
(1956); Niedermayer & Niedermayer, "Applying Markowitz's Critical Line Algorithm" (2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.knapsack import filled
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.solvers.tableau import first_free, trace

_TIE_BREAK = 1e-9  # of the spread of the means: equal means need an order
_RIDGE = 1e-10  # of the mean variance: singular covariances need a unique answer
_REFACTOR = 40  # steps between fresh inverses
_REFINEMENTS = 3
_SAME = 1e-13
_FRAGILE = 1e-5  # pivots, of a mean variance of 1, below which inverses are refined
_LARGE = 200  # assets: above, inverses of the free set alone are smaller than the tableau


@dataclass(frozen=True)
class Corners:
    """Corner portfolios from greatest return to least volatility.

    `weights` has shape (K, N); `multipliers` are their λ, descending to 0, shape (K,).
    """

    weights: Floats
    multipliers: Floats


def corner_portfolios(problem: Problem, careful: bool = False) -> Corners | None:
    """Trace the frontier; None when rounding defeats it.

    The fast trace is tried unless `careful`; its answers are proven or refused by the caller, who
    may then ask for the careful one.
    """
    if not careful and len(problem.names) <= _LARGE:
        found = trace(problem, means_with_order(problem))
        if found is not None:
            return Corners(*found)
    try:
        return _Trace(problem).run()
    except (np.linalg.LinAlgError, FloatingPointError):
        return None


def means_with_order(problem: Problem) -> Floats:
    """Means with ties broken by name, so that the order of the request does not matter."""
    spread = problem.return_unit
    rank = np.empty(len(problem.names))
    rank[np.argsort(np.array(problem.names))] = np.arange(len(problem.names))
    return problem.means - _TIE_BREAK * spread * rank / max(len(rank), 1)


class _Trace:
    """State of one pass: which assets are free, and the inverse of their covariance."""

    def __init__(self, problem: Problem) -> None:
        self.lower, self.upper = problem.box
        scale = float(np.mean(np.diag(problem.covariance))) or 1.0
        n = len(problem.names)
        self.sigma = problem.covariance / scale + _RIDGE * np.eye(n)
        means = means_with_order(problem)
        self.mean_scale = float(np.ptp(means)) or 1.0
        self.means = (means - means.mean()) / self.mean_scale
        self.scale = scale
        self.weights = filled(self.lower, self.upper, self.means)
        self.free = [first_free(self.lower, self.weights, self.means)]
        self.inverse = np.array([[1.0 / self.sigma[self.free[0], self.free[0]]]])
        self.is_free = np.zeros(n, dtype=np.bool_)
        self.is_free[self.free] = True
        self.steps = 0
        self.fragile = False

    def run(self) -> Corners:
        """Corners until λ = 0."""
        current = math.inf
        corners: list[Floats] = []
        multipliers: list[float] = []
        last_moved = -1
        limit = 50 * len(self.lower) + 100
        while True:
            alpha, beta, base, slope = self._line()
            event, asset, enters = self._next(alpha, beta, base, slope, current, last_moved)
            step = min(max(event, 0.0), current)
            weights = self.weights.copy()
            if math.isfinite(step):
                weights[self.free] = self._summing(weights, alpha + step * beta)
            if math.isinf(current) or current - step > _SAME * max(1.0, current) or step == 0:
                corners.append(np.clip(weights, self.lower, self.upper))
                multipliers.append(step)
            self.weights = weights
            if event <= 0:
                break
            if enters:
                self._enter(asset)
            else:
                self._leave(asset)
            current, last_moved = step, asset
            self.steps += 1
            if self.steps > limit:
                raise FloatingPointError("the critical line does not end")
        unit = self.scale / self.mean_scale
        return Corners(np.array(corners), np.array(multipliers) * unit)

    def _line(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Free weights α + λβ, and gradients base + λ·slope of every asset."""
        free = self.free
        fixed = np.where(self.is_free, 0.0, self.weights)
        some = np.flatnonzero(fixed)  # often none: at a lower bound of 0
        pull = fixed[some] @ self.sigma[some]
        right = np.column_stack([np.ones(len(free)), self.means[free], pull[free]])
        ones, by_mean, by_pull = self._solve(right).T
        total = float(ones.sum())
        budget = 1.0 - float(fixed.sum())
        # w_F = A(λμ_F − pull_F − γ1), with γ from the sum of weights.
        gamma_base = (-float(by_pull.sum()) - budget) / total
        gamma_slope = float(by_mean.sum()) / total
        alpha = -by_pull - gamma_base * ones
        beta = by_mean - gamma_slope * ones
        rows = self.sigma[free]  # symmetric, and rows are gathered faster than columns
        both = np.vstack([alpha, beta]) @ rows
        base = pull + both[0] + gamma_base
        slope = both[1] - self.means + gamma_slope
        return alpha, beta, base, slope

    def _summing(self, weights: Floats, free: Floats) -> Floats:
        """Free weights without the rounding that a huge λ leaves in their sum."""
        rest = float(weights.sum() - weights[self.free].sum())
        free = np.clip(free, self.lower[self.free], self.upper[self.free])
        inside = (free > self.lower[self.free]) & (free < self.upper[self.free])
        off = 1.0 - rest - float(free.sum())
        return np.where(inside, free + off / max(int(inside.sum()), 1), free)

    def _solve(self, right: Floats) -> Floats:
        """Σ_FF⁻¹ times `right`, refined until the updates of the inverse leave no trace."""
        solved: Floats = self.inverse @ right
        if not self.fragile:
            return solved
        matrix = self.sigma[np.ix_(self.free, self.free)]
        for _ in range(_REFINEMENTS):
            residual = right - matrix @ solved
            if np.abs(residual).max() <= _SAME * max(1.0, float(np.abs(right).max())):
                break
            solved = solved + self.inverse @ residual
        else:
            self._refactor()
            solved = np.asarray(np.linalg.solve(matrix, right), dtype="float64")
        return solved

    def _next(
        self,
        alpha: Floats,
        beta: Floats,
        base: Floats,
        slope: Floats,
        current: float,
        last_moved: int,
    ) -> tuple[float, int, bool]:
        """The largest λ not above `current` at which the free set changes: λ, asset, enters."""
        best, asset, enters = -math.inf, -1, False
        free = np.array(self.free)
        if len(free) > 1:
            bound = np.where(beta > 0, self.lower[free], self.upper[free])
            moving = np.abs(beta) > _SAME
            at = np.full(len(free), -math.inf)
            at[moving] = (bound[moving] - alpha[moving]) / beta[moving]
            at = self._capped(at, free, current, last_moved)
            k = int(np.argmax(at))
            best, asset = float(at[k]), int(free[k])
        bound_assets = np.flatnonzero(~self.is_free & (self.upper > self.lower))
        if len(bound_assets):
            b, q = base[bound_assets], slope[bound_assets]
            at_upper = self.weights[bound_assets] >= self.upper[bound_assets] - _SAME
            at_lower = ~at_upper | (self.weights[bound_assets] <= self.lower[bound_assets] + _SAME)
            turns = (at_lower & (q > _SAME)) | (at_upper & (q < -_SAME))
            at = np.full(len(bound_assets), -math.inf)
            at[turns] = -b[turns] / q[turns]
            at = self._capped(at, bound_assets, current, last_moved)
            k = int(np.argmax(at))
            if float(at[k]) > best:
                best, asset, enters = float(at[k]), int(bound_assets[k]), True
        return best, asset, enters

    @staticmethod
    def _capped(
        at: Floats, assets: npt.NDArray[np.intp], current: float, last_moved: int
    ) -> Floats:
        """Events above `current` are due now; the asset that has just moved may not move back."""
        if math.isinf(current):
            return at
        at = np.where(at > current, current, at)
        back = (assets == last_moved) & (at >= current * (1 - 1e-10) - _SAME)
        return np.where(back, -math.inf, at)

    def _enter(self, asset: int) -> None:
        """Add an asset to the free set: the inverse grows by a border."""
        free = self.free
        column = self.sigma[free, asset]
        solved = self.inverse @ column
        pivot = float(self.sigma[asset, asset] - column @ solved)
        self.free = [*free, asset]
        self.is_free[asset] = True
        self.fragile = self.fragile or pivot < _FRAGILE
        if pivot <= _SAME or self.steps % _REFACTOR == _REFACTOR - 1:
            self._refactor()
            return
        n = len(free)
        grown = np.empty((n + 1, n + 1))
        grown[:n, :n] = self.inverse + np.outer(solved, solved) / pivot
        grown[:n, n] = grown[n, :n] = -solved / pivot
        grown[n, n] = 1.0 / pivot
        self.inverse = grown

    def _leave(self, asset: int) -> None:
        """Fix an asset at the bound it has reached: the inverse loses a row and a column."""
        k = self.free.index(asset)
        near_upper = (
            self.upper[asset] - self.weights[asset] < self.weights[asset] - self.lower[asset]
        )
        self.weights[asset] = self.upper[asset] if near_upper else self.lower[asset]
        keep = [i for i in range(len(self.free)) if i != k]
        self.free = [self.free[i] for i in keep]
        self.is_free[asset] = False
        corner = self.inverse[k, k]
        border = self.inverse[keep, k]
        self.inverse = self.inverse[np.ix_(keep, keep)] - np.outer(border, border) / corner
        if self.steps % _REFACTOR == _REFACTOR - 1:
            self._refactor()

    def _refactor(self) -> None:
        self.inverse = np.linalg.inv(self.sigma[np.ix_(self.free, self.free)])
