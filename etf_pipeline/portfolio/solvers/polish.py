"""From a solver's weights to exact ones: Newton's method on the limits that hold with equality.

An interior-point method stops some 1e-9 away from bounds and limits. Which of them bind is plain by
then, and with those as equations the conditions of Kuhn & Tucker are a small system that is solved
to rounding. What comes out is a candidate as any other: it is checked and proven, or dropped.

Source: Nocedal & Wright, "Numerical Optimization" (2006), sections 16.1 (equality-constrained
quadratic programs) and 18.1 (Newton's method on the conditions of optimality).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.functions import Floats, Measure, Norm, Row, Scenarios
from etf_pipeline.portfolio.goals import BestRatio, Goal, Least, LeastNorm, Utility
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Duals

_STEPS = 8
_DONE = 1e-14
_FLAT = 1e-12  # of a row: a diagonal below that is none
_LEAST = 1e-9  # of what is smaller digits do not matter
_WILD = 1e12  # a step of that size solves nothing
_SMALL = 400  # unknowns: up to here a singular system is worth a least-squares solution


def polished(
    problem: Problem,
    goal: Goal,
    rows: Sequence[Row],
    weights: Floats,
    near: float,
) -> tuple[Floats, Duals] | None:
    """Weights (N,) at which what is within `near` of binding binds, and their multipliers.

    None where there is nothing to solve, or no solution.
    """
    tangent = goal.tangent(weights)
    if not np.all(np.isfinite(tangent.slope)):
        return None
    measures = [tangent, *(r.function for r in rows if isinstance(r.function, Measure))]
    tail = None
    if any(m.tail for m in measures):
        assert problem.scenarios is not None
        tail = _Tail.at(problem.scenarios, weights, near)
    newton = _Newton.at(problem, goal, rows, weights, near, measures, tail)
    if not newton.free[: len(weights)].any():
        return None
    with np.errstate(all="ignore"):  # what is not finite is dropped
        return newton.run()


@dataclass(frozen=True, eq=False)
class _Tail:
    """Which scenarios are beyond the border α of the CVaR, and which are on it.

    With both known the CVaR is linear in (w, α): (1 − beyond/count) α + Σ losses beyond / count.
    `losses` are those on the border, shape (B, N), to be equal to α.
    """

    alpha: float
    slope: Floats
    rest: float
    losses: Floats
    beyond: npt.NDArray[np.bool_]
    border: npt.NDArray[np.intp]
    count: float

    @classmethod
    def at(cls, scenarios: Scenarios, weights: Floats, near: float) -> _Tail:
        """At weights (N,); losses within `near` of the border, of their size, are on it."""
        losses = -(scenarios.returns @ weights)
        count = (1.0 - scenarios.level) * len(losses)
        k = min(int(np.ceil(count - 1e-9)), len(losses)) - 1
        alpha = float(-np.partition(-losses, k)[k])
        apart = near * (float(np.abs(losses).max()) or 1.0)
        beyond = losses > alpha + apart
        border = np.flatnonzero(np.abs(losses - alpha) <= apart)
        slope = -scenarios.returns[beyond].sum(axis=0) / count
        rest = 1.0 - float(beyond.sum()) / count
        return cls(alpha, slope, rest, -scenarios.returns[border], beyond, border, count)

    def probabilities(self, shares: Floats, rate: float) -> Floats | None:
        """Weights (T,) of the scenarios, from the multipliers of the border; None without any."""
        if rate <= 0:
            return None
        found = self.beyond / self.count
        found[self.border] = np.clip(shares / rate, 0.0, 1.0 / self.count)
        return np.asarray(found, dtype="float64")


@dataclass(eq=False)
class _Newton:
    """The system: x = (w, α), α only beside a CVaR, and the rows that bind."""

    problem: Problem
    goal: Goal
    rows: Sequence[Row]
    active: list[int]
    free: npt.NDArray[np.bool_]
    signs: dict[int, Floats]
    x: Floats
    scale: float
    tail: _Tail | None
    total: float | None  # what Σ w is, where it is at a limit

    @classmethod
    def at(
        cls,
        problem: Problem,
        goal: Goal,
        rows: Sequence[Row],
        weights: Floats,
        near: float,
        measures: Sequence[Measure],
        tail: _Tail | None,
    ) -> _Newton:
        """What binds at weights (N,), put where it binds."""
        low, high = problem.box
        w = np.where(weights - low <= near, low, weights)
        w = np.where(high - weights <= near, high, w)
        fixed = (w == low) | (w == high)
        signs: dict[int, Floats] = {}
        for measure in measures:
            for kink in measure.kinks:
                if not kink.rate or id(kink.centre) in signs:
                    continue
                still = np.abs(weights - kink.centre) <= near
                w = np.where(still & ~fixed, kink.centre, w)
                fixed |= still
                signs[id(kink.centre)] = np.sign(np.where(still, 0.0, weights - kink.centre))
        active = [k for k, row in enumerate(rows) if _slack(row, weights, problem) <= near]
        free = ~fixed
        if tail is not None:
            w, free = np.r_[w, tail.alpha], np.r_[free, True]
        total = _total(problem, weights, near)
        return cls(problem, goal, rows, active, free, signs, w, _scale(goal, problem), tail, total)

    @property
    def weights(self) -> Floats:
        """The weights (N,) of x."""
        return self.x[: len(self.problem.names)]

    def run(self) -> tuple[Floats, Duals] | None:
        """Newton steps until they are rounding."""
        free = np.flatnonzero(self.free)
        f, m = len(free), len(self.active)
        y = np.zeros(0)
        for _ in range(_STEPS):
            gradient, hessian = self._goal()
            jacobian, values, curved = self._equations()
            if not len(y):
                y = np.zeros(len(values))
            for k, matrix in curved:
                if y[k]:
                    n = len(matrix)
                    hessian[:n, :n] += y[k] * matrix
            system = np.zeros((f + len(values), f + len(values)))
            system[:f, :f] = hessian[np.ix_(free, free)]
            system[:f, f:] = jacobian[:, free].T
            system[f:, :f] = jacobian[:, free]
            step = _solved(system, np.r_[-gradient[free], -values])
            if step is None or not np.abs(step).max() < _WILD:
                return None
            self.x[free] += step[:f]
            # each by its own size: beside cash, weights of a millionth decide
            moved = float((np.abs(step[:f]) / np.maximum(np.abs(self.x[free]), _LEAST)).max())
            settled = float(np.abs(step[f:] - y).max(initial=0.0)) <= _DONE
            y = step[f:]
            straight = not curved and not isinstance(self.goal, BestRatio)
            if moved <= _DONE or (straight and settled):
                break
        if m and y[:m].min() < 0:
            y = self._from_above(free, m, y)
        return self.weights, self._duals(y[:m], y[m:])

    def _from_above(self, free: npt.NDArray[np.intp], m: int, y: Floats) -> Floats:
        """Multipliers of which none of the m rows' is negative, as near to balance as can be.

        Rows that say the same, or the opposite, share what one of them has in any way.
        """
        from scipy.optimize import nnls

        gradient, _ = self._goal()
        jacobian, _, _ = self._equations()
        own = jacobian[:, free].T
        both = np.hstack([own, -own[:, m:]])
        if not (np.all(np.isfinite(both)) and np.all(np.isfinite(gradient))):
            return y
        try:
            found, _ = nnls(both, -gradient[free])
        except RuntimeError:  # too many steps
            return y
        found[m : len(y)] -= found[len(y) :]
        return np.asarray(found[: len(y)], dtype="float64")

    def _goal(self) -> tuple[Floats, Floats]:
        """Gradient and Hessian of the goal over its scale, in x."""
        goal, w, size = self.goal, self.weights, len(self.x)
        n = len(w)
        gradient, hessian = np.zeros(size), np.zeros((size, size))
        if isinstance(goal, LeastNorm):
            gradient[:n] = goal.norm.gradient_of_half_square(w)
            hessian[:n, :n] = goal.norm.matrix
        elif isinstance(goal, Utility):
            gradient += self._slope(goal.measure)
            gradient[:n] += goal.aversion * goal.norm.gradient_of_half_square(w)
            hessian[:n, :n] = goal.norm.matrix * goal.aversion
        elif isinstance(goal, BestRatio):
            half, risk = goal.norm.gradient_of_half_square(w), goal.norm.value(w)
            ratio = max(goal.ratio(w), 0.0) if risk > 0 else np.nan
            gradient += self._slope(goal.measure)
            gradient[:n] += ratio * half / risk
            hessian[:n, :n] = (goal.norm.matrix / risk - np.outer(half, half) / risk**3) * ratio
        else:
            assert isinstance(goal, Least)
            gradient += self._slope(goal.measure)
        if self.total is not None:  # what all weights have alike says nothing, and costs digits
            gradient[:n] -= (gradient[:n].min() + gradient[:n].max()) / 2.0
        return gradient / self.scale, hessian / self.scale

    def _slope(self, measure: Measure) -> Floats:
        """Of a measure in x, kinks by the side that the weights are on."""
        slope = np.zeros(len(self.x))
        n = len(measure.slope)
        slope[:n] = measure.slope
        for kink in measure.kinks:
            if kink.rate:
                slope[:n] += kink.rate * self.signs[id(kink.centre)]
        if measure.tail and self.tail is not None:
            slope[:n] += measure.tail * self.tail.slope
            slope[n] = measure.tail * self.tail.rest
        return slope

    def _value(self, measure: Measure) -> float:
        """Of a measure at x."""
        plain = Measure(measure.slope, measure.constant, measure.kinks).value(self.weights)
        if not measure.tail or self.tail is None:
            return plain
        return plain + measure.tail * (
            float(self.tail.slope @ self.weights) + self.tail.rest * float(self.x[-1])
        )

    def _equations(self) -> tuple[Floats, Floats, list[tuple[int, Floats]]]:
        """Gradients (E, size of x) and values (E,) of what holds with equality, norms' Hessians.

        Active rows first, then Σ w where it is given, then the border of the CVaR.
        """
        size, n = len(self.x), len(self.weights)
        gradients: list[Floats] = []
        values: list[float] = []
        curved: list[tuple[int, Floats]] = []
        for k, at in enumerate(self.active):
            row = self.rows[at]
            if isinstance(row.function, Norm):
                square = row.greatest**2
                half = row.function.gradient_of_half_square(self.weights) / square
                gradients.append(np.r_[half, np.zeros(size - n)])
                values.append((row.function.squared(self.weights) - square) / (2.0 * square))
                curved.append((k, row.function.matrix / square))
            else:
                over = _size(row.function, self.problem)
                slope, value = self._slope(row.function), self._value(row.function) - row.greatest
                if self.total is not None:  # what all weights have alike would cost digits
                    middle = (slope[:n].min() + slope[:n].max()) / 2.0
                    slope[:n] -= middle
                    value -= middle * (float(self.weights.sum()) - self.total)
                gradients.append(slope / over)
                values.append(value / over)
        if self.total is not None:
            gradients.append(np.r_[np.ones(n), np.zeros(size - n)])
            values.append(float(self.weights.sum()) - self.total)
        if self.tail is not None:
            unit = self.problem.cvar_unit
            for losses in self.tail.losses:
                gradients.append(np.r_[losses, -1.0] / unit)
                values.append((float(losses @ self.weights) - float(self.x[-1])) / unit)
        return np.array(gradients).reshape(len(values), size), np.array(values), curved

    def _duals(self, y: Floats, others: Floats) -> Duals:
        """In the units of the rows, and of the goal itself where its half square was used."""
        found = np.zeros(len(self.rows))
        unit = self.scale
        if isinstance(self.goal, LeastNorm):
            unit /= max(self.goal.norm.value(self.weights), 1e-300)
        for k, at in enumerate(self.active):
            row = self.rows[at]
            function = row.function
            size = row.greatest if isinstance(function, Norm) else _size(function, self.problem)
            found[at] = max(float(y[k]), 0.0) * unit / size
        if self.tail is None:
            return Duals(found)
        rate = self.goal.tangent(self.weights).tail
        for row, dual in zip(self.rows, found, strict=True):
            if isinstance(row.function, Measure):
                rate += row.function.tail * dual
        many = len(self.tail.border)
        shares = others[len(others) - many :] * unit / self.problem.cvar_unit
        return Duals(found, self.tail.probabilities(shares, rate))


def _total(problem: Problem, weights: Floats, near: float) -> float | None:
    least, most = problem.net_exposure
    total = float(weights.sum())
    if least == most or total <= least + near:
        return least
    return most if total >= most - near else None


def _scale(goal: Goal, problem: Problem) -> float:
    if isinstance(goal, LeastNorm):
        return problem.risk_unit**2
    return goal.unit


def _size(measure: Measure, problem: Problem) -> float:
    spread = float(np.ptp(measure.slope)) or float(np.abs(measure.slope).max())
    tail = measure.tail * problem.cvar_unit if measure.tail else 0.0
    return max([spread, tail, *(k.rate for k in measure.kinks)]) or 1.0


def _slack(row: Row, weights: Floats, problem: Problem) -> float:
    if isinstance(row.function, Norm):
        return (row.greatest - row.function.value(weights)) / row.greatest
    value = row.function.value(weights, problem.scenarios)
    return (row.greatest - value) / _size(row.function, problem)


def _solved(system: Floats, right: Floats) -> Floats | None:
    """The solution, or the smallest of several; None for a large singular system."""
    if not np.all(np.isfinite(right)):
        return None
    try:
        # symmetric and of unit diagonal, as variances of cash and of shares differ by 1e10
        size = np.sqrt(np.maximum(np.abs(np.diag(system)), _FLAT * np.abs(system).max(axis=1)))
        size = np.where(size > 0, size, 1.0)
        scaled = system / np.outer(size, size)
        found = np.asarray(np.linalg.solve(scaled, right / size) / size, dtype="float64")
        if np.abs(system @ found - right).max() <= 1e-9 * max(1.0, float(np.abs(right).max())):
            return found
    except np.linalg.LinAlgError:
        pass
    if len(system) > _SMALL:
        return None
    try:
        return np.asarray(np.linalg.lstsq(system, right, rcond=None)[0], dtype="float64")
    except np.linalg.LinAlgError:
        return None
