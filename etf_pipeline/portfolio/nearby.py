"""A program around one portfolio, in steps as small as the limits on its risk allow.

Where a limit on a norm is at the least that can be had, or just above it, all that is allowed is
within about √(greatest² − least²) of one portfolio. Seen from afar that has no inside, and solvers
lose their digits. With w = base + scale · d, expanded around the base exactly, it has one like any
other program, whatever the base; the d are of the size of 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

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
from etf_pipeline.portfolio.pins import Base, Pins
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Duals, Program
from etf_pipeline.portfolio.solvers import interior

_LEAST = 1e-11  # of the norm: room where the limit is below it by rounding
_FAR = (1e2, 1e4)  # steps from the base, in turn
_REACHED = 0.99
_ROUNDS = 8  # of a ratio, each with the price of risk of the last


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
    has_tail = bool(goal.tangent(base.weights).tail)
    for pins in (Pins.of(problem, rows, base, not has_tail), Pins.none(problem, rows)):
        yield from _steps(problem, goal, rows, base, scale, pins)


def _steps(
    problem: Problem, goal: Goal, rows: Sequence[Row], base: Base, scale: float, pins: Pins
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


def _around(
    problem: Problem,
    goal: Least | LeastNorm | Utility,
    rows: Sequence[Row],
    base: Base,
    scale: float,
    far: float,
    pins: Pins,
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
    for j in np.flatnonzero(pins.idle | pins.rows):
        around[j] = Row(Measure(np.zeros(len(w))), 1.0, around[j].label)
    stays = pins.equations(scale)
    opposite = [replace(r, function=_opposite(r.function)) for r in stays]
    norm = None if isinstance(goal, Least) else view.norm(goal.norm)
    nothing = Measure(np.zeros(len(w)))
    return Program(
        low,
        high,
        (least, most),
        nothing if isinstance(goal, LeastNorm) else view.measure(goal.measure),
        (*around, *stays, *opposite),
        problem.changed(scenarios=view.scenarios(problem.scenarios)),
        norm,
        goal.aversion if isinstance(goal, Utility) else 1.0,
        isinstance(goal, LeastNorm),
    )


def _opposite(function: Measure | Norm) -> Measure:
    assert isinstance(function, Measure)
    return Measure(-function.slope)


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
