"""A program around one portfolio, in steps as small as the limits on its risk allow.

Where a limit on a norm is at the least that can be had, or just above it, all that is allowed is
within about √(greatest² − least²) of one portfolio. Seen from afar that has no inside, and solvers
lose their digits. With w = base + scale · d, expanded around the base exactly, it has one like any
other program, whatever the base; the d are of the size of 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.functions import (
    Floats,
    Kink,
    Measure,
    NearNorm,
    Norm,
    Row,
    Scenarios,
)
from etf_pipeline.portfolio.goals import BestRatio, Goal, Least, LeastNorm, Utility
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Duals, Program
from etf_pipeline.portfolio.solvers import interior

_LEAST = 1e-11  # of the norm: room where the limit is below it by rounding
_FAR = (1e2, 1e4)  # steps from the base, in turn
_REACHED = 0.99
_ROUNDS = 3  # of a ratio, each with the price of risk of the last
_DEAR = 1e-3  # of the norm's slope: what costs that much is not left at all
_SAME = 1e-12


@dataclass(frozen=True, eq=False)
class Base:
    """Weights (N,) near the least of the norm of row `tight`, and what it costs to leave them.

    `duals` are the multipliers of the other rows at that least.
    """

    weights: Floats
    tight: int
    duals: Floats


def near(
    problem: Problem, goal: Goal, rows: Sequence[Row], base: Base
) -> Iterator[tuple[Floats, Duals]]:
    """Weights (N,) of a goal around a base.

    Args:
        problem: whose bounds and net exposure hold.
        goal: what is made least.
        rows: all limits.
        base: around what.
    """
    function = rows[base.tight].function
    assert isinstance(function, Norm)
    value = function.value(base.weights)
    greatest = max(rows[base.tight].greatest, value * (1.0 + _LEAST))
    rows = [replace(r, greatest=greatest) if j == base.tight else r for j, r in enumerate(rows)]
    scale = min(math.sqrt(greatest**2 - value**2) / problem.risk_unit, 1.0)
    if not scale > 0:
        return
    for pins in (_Pins.none(problem, rows), _Pins.of(problem, rows, base)):
        yield from _steps(problem, goal, rows, base, scale, pins)


def _steps(
    problem: Problem, goal: Goal, rows: Sequence[Row], base: Base, scale: float, pins: _Pins
) -> Iterator[tuple[Floats, Duals]]:
    """The best around the base, from as far as it takes."""
    for far in _FAR:
        at, d = base.weights, np.zeros(0)
        for _ in range(_ROUNDS if isinstance(goal, BestRatio) else 1):
            nearly = _at_a_price(goal, at)
            step = interior.solve(_around(problem, nearly, rows, base, scale, far, pins))
            if step is None:
                break
            d, duals = step
            at = base.weights + scale * d
            yield at, pins.unpinned(rows, duals, base, at)
        if len(d) and np.abs(d).max() < _REACHED * far:
            return


def _at_a_price(goal: Goal, weights: Floats) -> Least | LeastNorm | Utility:
    """A ratio as the utility that has the same slope at weights (N,); other goals as they are."""
    if not isinstance(goal, BestRatio):
        assert isinstance(goal, Least | LeastNorm | Utility)
        return goal
    risk = goal.norm.value(weights)
    aversion = max(goal.ratio(weights), 0.0) / risk if risk > 0 else 0.0
    return Utility(goal.measure, goal.norm, aversion, goal.unit)


@dataclass(frozen=True, eq=False)
class _Pins:
    """What stays as it is at the base, as leaving it would use up the room of the tight norm.

    `weights` (N,) and `rows` (M,) say which; `idle` are rows that then say nothing more. What
    leaving costs is `slope` (N,), which on the others is rounding, in place of that of the norm:
    it has the slopes of the rows added, times the `multipliers` (M,).
    """

    weights: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.bool_]
    idle: npt.NDArray[np.bool_]
    multipliers: Floats
    slope: Floats | None = None
    total: bool = False  # and whether the sum of the weights stays

    @classmethod
    def none(cls, problem: Problem, rows: Sequence[Row]) -> _Pins:
        """Nothing is."""
        nothing = np.zeros(len(rows), dtype=bool)
        still = np.zeros(len(problem.names), dtype=bool)
        return cls(still, nothing, nothing, np.zeros(len(rows)))

    @classmethod
    def of(cls, problem: Problem, rows: Sequence[Row], base: Base) -> _Pins:
        """By the multipliers of the least norm."""
        norm = rows[base.tight].function
        assert isinstance(norm, Norm)
        slope = norm.tangent(base.weights).slope
        size = float(np.ptp(slope)) or 1.0
        pinned, multipliers = np.zeros(len(rows), dtype=bool), np.zeros(len(rows))
        for j, (row, y) in enumerate(zip(rows, base.duals, strict=True)):
            function = row.function
            if not _straight(function):
                continue
            multipliers[j] = y
            slope = slope + y * function.slope
            pinned[j] = y * float(np.ptp(function.slope)) > _DEAR * size
        low, high = problem.box
        inside = (base.weights > low) & (base.weights < high)
        total = False
        if inside.any() and _at_a_limit(problem, base.weights):
            alike = float(np.median(slope[inside]))
            total = abs(alike) > _DEAR * float(np.abs(slope).max())
            slope = slope - alike if total else slope
        still = ~inside & (np.abs(slope) > _DEAR * size)
        least, most = problem.net_exposure
        kept, idle = _independent(rows, ~still, pinned, total or least == most)
        return cls(still, kept, idle, multipliers, slope, total)

    def unpinned(self, rows: Sequence[Row], duals: Duals, base: Base, weights: Floats) -> Duals:
        """Multipliers of the rows from those of the program around the base."""
        found = duals.rows[: len(rows)].copy()
        if self.slope is None:
            return Duals(found, duals.tail)
        norm = rows[base.tight].function
        assert isinstance(norm, Norm)
        price = found[base.tight] * norm.value(base.weights) / (norm.value(weights) or 1.0)
        found[self.rows] -= duals.rows[len(rows) :]  # those of the opposite rows
        return Duals(np.maximum(found + price * self.multipliers, 0.0), duals.tail)


def _straight(function: Measure | Norm) -> TypeGuard[Measure]:
    return isinstance(function, Measure) and not function.tail and not function.kinks


def _at_a_limit(problem: Problem, weights: Floats) -> bool:
    """Whether the sum of weights (N,) is all that it may be, or no more than it must."""
    least, most = problem.net_exposure
    total = float(weights.sum())
    return least == most or total <= least + _SAME or total >= most - _SAME


def _independent(
    rows: Sequence[Row],
    free: npt.NDArray[np.bool_],
    pinned: npt.NDArray[np.bool_],
    total: bool,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Of the rows that are pinned those that say something new, and all others that do not."""
    known = np.zeros((0, int(free.sum())))
    if total and free.any():
        known = np.full((1, int(free.sum())), 1.0 / math.sqrt(free.sum()))
    kept, idle = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    for j in sorted(range(len(rows)), key=lambda j: not pinned[j]):
        function = rows[j].function
        if not _straight(function):
            continue
        new = function.slope[free]
        left = new - known.T @ (known @ new)
        if float(np.abs(left).max(initial=0.0)) <= _SAME * float(np.abs(function.slope).max()):
            idle[j] = True
        elif pinned[j]:
            kept[j] = True
            known = np.vstack([known, left / np.linalg.norm(left)])
    return kept, idle


def _around(
    problem: Problem,
    goal: Least | LeastNorm | Utility,
    rows: Sequence[Row],
    base: Base,
    scale: float,
    far: float,
    pins: _Pins,
) -> Program:
    """The program of a goal in the steps d (N,), none of them beyond `far`."""
    w = base.weights
    low, high = problem.box
    low = np.where(pins.weights, 0.0, np.maximum((low - w) / scale, -far))
    high = np.where(pins.weights, 0.0, np.minimum((high - w) / scale, far))
    view = _View(w, scale, np.minimum(low, 0.0), np.maximum(high, 0.0))
    total = float(w.sum())
    least, most = (0.0, 0.0) if pins.total else ((x - total) / scale for x in problem.net_exposure)
    around = [view.row(r, pins.slope if j == base.tight else None) for j, r in enumerate(rows)]
    opposite = []
    for j in np.flatnonzero(pins.idle):
        around[j] = replace(around[j], function=Measure(np.zeros(len(w))), greatest=1.0)
    for j in np.flatnonzero(pins.rows):
        function = around[j].function
        assert isinstance(function, Measure)
        at = function.constant  # its value where every step is 0
        around[j] = replace(around[j], greatest=at)
        opposite.append(Row(Measure(-function.slope, -at), -at, around[j].label))
    norm = None if isinstance(goal, Least) else view.norm(goal.norm)
    nothing = Measure(np.zeros(len(w)))
    return Program(
        low,
        high,
        (least, most),
        nothing if isinstance(goal, LeastNorm) else view.measure(goal.measure),
        (*around, *opposite),
        problem.changed(scenarios=view.scenarios(problem.scenarios)),
        norm,
        goal.aversion if isinstance(goal, Utility) else 1.0,
        isinstance(goal, LeastNorm),
    )


class _View:
    """Functions of the weights as functions of the steps."""

    def __init__(self, base: Floats, scale: float, low: Floats, high: Floats) -> None:
        self.base, self.scale, self.low, self.high = base, scale, low, high

    def row(self, row: Row, slope: Floats | None = None) -> Row:
        """A limit; `slope` (N,) is that of a norm at the base, less what cancels."""
        if isinstance(row.function, Measure):
            return replace(row, function=self.measure(row.function))
        norm = self.norm(row.function)
        left = row.greatest**2 - norm.constant
        if slope is not None:
            norm = replace(norm, linear=-self.scale * slope * row.function.value(self.base))
        return replace(
            row,
            function=NearNorm(norm.matrix, norm.centre, norm.linear, norm.constant, left),
        )

    def measure(self, measure: Measure) -> Measure:
        """Its CVaR is of `scenarios`."""
        constant = measure.constant + float(measure.slope @ self.base)
        kinks = []
        for kink in measure.kinks:
            # those far away have one side only, and need not be as far
            away = (kink.centre - self.base) / self.scale
            centre = np.clip(away, self.low, self.high)
            constant += kink.rate * self.scale * float((np.abs(away) - np.abs(centre)).sum())
            kinks.append(Kink(kink.rate * self.scale, centre))
        return Measure(self.scale * measure.slope, constant, tuple(kinks), measure.tail)

    def norm(self, norm: Norm) -> Norm:
        """Around the base."""
        return Norm(
            self.scale**2 * norm.matrix,
            np.zeros(len(self.base)),
            -self.scale * norm.gradient_of_half_square(self.base),
            norm.squared(self.base),
        )

    def scenarios(self, scenarios: Scenarios | None) -> Scenarios | None:
        """With what the base earns in them."""
        if scenarios is None:
            return None
        returns = self.scale * scenarios.returns
        return Scenarios(returns, scenarios.level, scenarios.earned(self.base))
