"""A problem as `active_set` solves it: everything divided by its size, what is implied left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.functions import Floats, Measure, Norm, Row
from etf_pipeline.portfolio.goals import BestRatio, Calmest, Goal, Least, LeastNorm, Utility
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Duals

Curved = LeastNorm | Utility | BestRatio | Least


@dataclass(frozen=True, eq=False)
class Bend:
    """Second derivatives: `times` S less `less` · hh'; a gradient (N,) beside them."""

    gradient: Floats
    times: float
    along: Floats | None = None
    less: float = 0.0


@dataclass(frozen=True, eq=False)
class Straight:
    """Linear rows: slopes (L, N), limits (L,) and rates (L,) of Σ|w − centre|.

    `at` are their places among the caller's rows; rows beyond those are of the net exposure.
    """

    slopes: Floats
    limits: Floats
    rates: Floats
    at: list[int]


@dataclass(frozen=True, eq=False)
class Model:
    """A goal within limits.

    `matrix` is S (N, N), of all second derivatives. `low` and `high` (N,) are infinite where the
    others and full investment imply them; `pinned` (N,) are weights that have but one value.
    `balls` are norms, all of S, with their greatest square, `balls_at` their places among the
    caller's rows, and `sizes` those of all of these. `slope` and `rate` are of the goal's measure
    over its `scale`, `usual` is an aversion to risk to start a ratio with, over that too.
    """

    goal: Curved
    matrix: Floats
    total: float | None
    low: Floats
    high: Floats
    pinned: npt.NDArray[np.bool_]
    centre: Floats | None
    straight: Straight
    balls: list[tuple[Norm, float]]
    balls_at: list[int]
    sizes: Floats
    slope: Floats
    rate: float
    scale: float
    usual: float

    @classmethod
    def of(cls, problem: Problem, goal: Goal, rows: Sequence[Row]) -> Model | None:
        """None for a CVaR, several centres or matrices, and goals that are hardly curved."""
        if not isinstance(goal, Curved) or isinstance(goal, Calmest):
            return None
        matrix = _matrix(goal, rows)
        nothing = np.zeros(len(problem.names))
        measure = Measure(nothing) if isinstance(goal, LeastNorm) else goal.measure
        measures, balls, at, balls_at = [measure], [], [], []
        for k, row in enumerate(rows):
            if isinstance(row.function, Measure):
                measures.append(row.function)
                at.append(k)
            elif row.function.matrix is matrix and row.greatest > 0:
                balls.append((row.function, row.greatest**2))
                balls_at.append(k)
            else:
                return None
        centres = [k.centre for m in measures for k in m.kinks if k.rate]
        if (
            matrix is None
            or any(m.tail for m in measures)
            or any(np.any(c != centres[0]) for c in centres[1:])
        ):
            return None
        least, most = problem.net_exposure
        sizes = np.array([row.size for row in rows])
        scale = problem.risk_unit**2 if isinstance(goal, LeastNorm) else goal.unit
        low, high = problem.plain_box  # what rows say of single weights is left to the rows
        pinned = low >= high
        return cls(
            goal,
            matrix,
            least if least == most else None,
            np.where(pinned | (low + float(high.sum()) - high > least), low, -np.inf),
            np.where(pinned | (high + float(low.sum()) - low < most), high, np.inf),
            pinned,
            centres[0] if centres else None,
            _straight(measures[1:], [rows[k] for k in at], at, problem.net_exposure, len(low)),
            balls,
            balls_at,
            sizes,
            _centred(measure.slope[None, :])[0][0] / scale
            if least == most
            else measure.slope / scale,
            _rate(measure) / scale,
            scale,
            1.0 / problem.risk_unit**2,
        )

    def bend(self, w: Floats) -> Bend:
        """Of the goal without its kinks at weights (N,), over its scale."""
        goal = self.goal
        if isinstance(goal, Least):
            return Bend(self.slope, 0.0)
        square, half = goal.norm.square_and_half_gradient(w)
        if isinstance(goal, LeastNorm):
            return Bend(half / self.scale, 1.0 / self.scale)
        if isinstance(goal, Utility):
            times = goal.aversion / self.scale
            return Bend(self.slope + times * half, times)
        if square <= 0:
            return Bend(half, math.nan)
        times = max(-goal.measure.value(w), 0.0) / square / self.scale
        return Bend(self.slope + times * half, times, half, times / square)

    def with_aversion(self, w: Floats, times: float) -> Bend:
        """Of the utility of a ratio's excess return that has `times` S, over the goal's scale."""
        return Bend(self.slope + times * (self.matrix @ w), times)

    def duals(self, weights: Floats, y: Floats) -> Duals:
        """Those of the caller's rows in their units, from those of linear rows, then balls."""
        found = np.zeros(len(self.sizes))
        found[self.straight.at] = y[: len(self.straight.at)]
        found[self.balls_at] = y[len(self.straight.limits) :]
        unit = self.scale
        if isinstance(self.goal, LeastNorm):
            unit /= max(self.goal.norm.value(weights), 1e-300)
        return Duals(np.maximum(found, 0.0) * unit / self.sizes if len(found) else found)


def _matrix(goal: Curved, rows: Sequence[Row]) -> Floats | None:
    """S (N, N), of all second derivatives; None where nothing has any."""
    norms = [row.function for row in rows if isinstance(row.function, Norm)]
    if not isinstance(goal, Least):
        return goal.norm.matrix
    return norms[0].matrix if norms else None


def _rate(measure: Measure) -> float:
    return sum(k.rate for k in measure.kinks)


def _centred(slopes: Floats) -> tuple[Floats, Floats]:
    """Rows (L, N) less what all weights have alike, (L,): where Σ w is given it would cost digits.

    It says nothing there but for a constant.
    """
    middle = (slopes.min(axis=1) + slopes.max(axis=1)) / 2.0
    return slopes - middle[:, None], middle


def _straight(
    measures: Sequence[Measure],
    rows: Sequence[Row],
    at: list[int],
    total: tuple[float, float],
    n: int,
) -> Straight:
    """Divided by their sizes."""
    slopes = np.array([m.slope for m in measures]).reshape(len(rows), n)
    limits = np.array([r.greatest - m.constant for m, r in zip(measures, rows, strict=True)])
    rates = np.array([_rate(m) for m in measures])
    sizes = np.array([row.size for row in rows])
    least, most = total
    if least == most:
        slopes, middle = _centred(slopes)
        limits = limits - middle * most
    slopes, limits, rates = slopes / sizes[:, None], limits / sizes, rates / sizes
    if least != most:
        ones = np.ones((1, n))
        slopes = np.vstack([slopes, ones, -ones])
        limits, rates = np.r_[limits, most, -least], np.r_[rates, 0.0, 0.0]
    return Straight(slopes, limits, rates, at)
