"""A bound of every portfolio of few holdings, whatever solver made its multipliers.

By weak duality: limits and net exposure are given multipliers, of the variance w'Sw the part of
S − diag(d) is above its tangent, as that matrix is positive semidefinite, and what is left is a sum
of one function for each asset. Which assets are held, and how much of each, is then found exactly,
asset by asset: each saves something or nothing against not being held, and those that save most
are held. Poor multipliers make the bound smaller, never wrong. At the best ones it is that of the
perspective relaxation.

Source: Frangioni & Gentile, "Perspective cuts for a class of convex 0–1 mixed integer programs"
(2006), on the relaxation; Boyd & Vandenberghe, "Convex Optimization" (2004), section 5.1.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etf_pipeline.portfolio.certificate import tail_at
from etf_pipeline.portfolio.choices import OPEN, OUT, Few
from etf_pipeline.portfolio.functions import Floats, Kink
from etf_pipeline.portfolio.lifted import Lifted
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Duals

_GRID, _ZOOMS = 24, 9  # prices of weight tried at once, and how often between the best of them
_ROUNDING = 1e-14  # of all that is added up


@dataclass(frozen=True, eq=False)
class Bound:
    """No portfolio has a lower goal than `value`, and none with one more choice than these.

    `held[i]` is for those that hold asset i, `without[i]` for those that do not; shape (N,).
    """

    value: float
    held: Floats
    without: Floats


def proven_bound(
    problem: Problem,
    few: Few,
    goal: Lifted,
    rows: Sequence[Lifted],
    duals: Duals,
    around: Floats,
    own: Floats,
) -> Bound:
    """The bound with these multipliers, and tangents at the weights `around` (N,).

    Args:
        problem: whose box and net exposure hold.
        few: what is decided.
        goal: what is made least.
        rows: the limits.
        duals: any multipliers ≥ 0 of the rows, and any probabilities of the scenarios.
        around: any weights.
        own: d, not negative, with S − diag(d) positive semidefinite among what is not left out.
    """
    around = np.where(few.choices == OUT, 0.0, around)
    total, curvature = goal.measure, goal.curvature
    for row, y in zip(rows, duals.rows, strict=True):
        if y > 0:
            total = total.plus(row.measure.beyond(row.greatest), float(y))
            curvature += float(y) * row.curvature
    total = total.linear(problem.scenarios, tail_at(problem.scenarios, around, duals))
    rest = problem.covariance @ around - own * around
    bent = curvature * float(around @ rest)
    parts = _Parts(problem, few, total.slope + 2.0 * curvature * rest, curvature * own, total.kinks)
    found = parts.bound(parts.best_price())
    size = abs(total.constant) + abs(bent) + float(np.abs(parts.slope).max(initial=0.0))
    lost = total.constant - bent - _ROUNDING * size
    return Bound(found.value + lost, found.held + lost, found.without + lost)


class _Parts:
    """A function of each asset's weight, their sum to be made least at a price of weight.

    slope·w + curved·w² + kinks for what is held, the kinks at 0 for what is not.
    """

    def __init__(
        self, problem: Problem, few: Few, slope: Floats, curved: Floats, kinks: Sequence[Kink]
    ) -> None:
        self.left, self.total, self.n = few.left, problem.net_exposure, len(slope)
        self.at = np.flatnonzero(few.choices != OUT)
        self.low, self.high = (x[self.at] for x in few.interval(problem))
        self.slope, self.curved = slope[self.at], curved[self.at]
        self.kinks = [Kink(k.rate, k.centre[self.at]) for k in kinks if k.rate]
        idle = sum((k.rate * np.abs(k.centre) for k in kinks), np.zeros(self.n))
        self.idle, self.all_idle = idle[self.at], float(idle.sum())
        self.open = few.choices[self.at] == OPEN

    def _saved(self, prices: Floats) -> Floats:
        """What holding each asset adds at each price (G,), at its best weight: shape (G, N)."""
        slope = self.slope - prices[:, None]
        shape = slope.shape
        ends = [self.low, self.high, *(np.clip(k.centre, self.low, self.high) for k in self.kinks)]
        points = [np.broadcast_to(x, shape) for x in ends]
        curved = np.where(self.curved > 0, self.curved, np.inf)
        for signs in itertools.product((-1.0, 1.0), repeat=len(self.kinks)):
            steep = slope + sum(s * k.rate for s, k in zip(signs, self.kinks, strict=True))
            points.append(np.clip(-steep / (2.0 * curved), self.low, self.high))
        found = np.full(shape, np.inf)
        for at in points:
            value = (slope + self.curved * at) * at
            for kink in self.kinks:
                value = value + kink.rate * np.abs(at - kink.centre)
            found = np.minimum(found, value)
        return found - self.idle

    def _values(self, prices: Floats) -> Floats:
        """The least sum at each price of weight (G,), with what weight is paid for."""
        saved = self._saved(prices)
        found = saved[:, ~self.open].sum(axis=1) + self.all_idle
        ordered = np.sort(np.minimum(saved[:, self.open], 0.0), axis=1)
        least, most = self.total
        paid = np.where(prices >= 0, prices * least, prices * most)
        return found + ordered[:, : self.left].sum(axis=1) + paid

    def best_price(self) -> float:
        """The price of weight with the greatest sum, which is concave in it."""
        if not len(self.at):
            return 0.0
        rates = sum(k.rate for k in self.kinks)
        low = min(float((self.slope + 2.0 * self.curved * self.low).min()) - rates, 0.0)
        high = max(float((self.slope + 2.0 * self.curved * self.high).max()) + rates, 0.0)
        # what has to weigh something if it is held may be worth no holding at any price within
        low, high = low - (high - low), high + (high - low)
        best = 0.0
        for _ in range(_ZOOMS):
            prices = np.linspace(low, high, _GRID)
            top = int(np.argmax(self._values(prices)))
            best = float(prices[top])
            low, high = float(prices[max(top - 1, 0)]), float(prices[min(top + 1, _GRID - 1)])
        return best

    def bound(self, price: float) -> Bound:
        """The least sum at a price of weight, and what it is with one more choice."""
        prices = np.array([price])
        value = float(self._values(prices)[0])
        saved, mine = self._saved(prices)[0][self.open], self.at[self.open]
        order = np.argsort(saved, kind="stable")
        taken = order[: self.left]
        taken = taken[saved[taken] < 0]
        rest = order[len(taken) :]
        full = len(taken) == self.left
        held, without = np.full(self.n, value), np.full(self.n, value)
        held[mine[rest]] += saved[rest] - (saved[taken[-1]] if full and len(taken) else 0.0)
        following = min(saved[rest[0]], 0.0) if full and len(rest) else 0.0
        without[mine[taken]] += following - saved[taken]
        return Bound(value, held, without)
