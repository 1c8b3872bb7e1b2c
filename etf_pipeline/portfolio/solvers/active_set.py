"""Quadratic goals and ratios by guessing what binds, again and again until the guess holds.

With what binds as equations, the conditions of Kuhn & Tucker are a linear system of the size of the
weights that are free, which are few once most are at a bound. Its solution says which of the
guesses were wrong: what is beyond a limit binds, what is held back from the wrong side does not.
Most problems take less than ten such steps, and the answer is exact but for rounding.

Nothing says that the guesses settle, and nothing here is believed: the caller checks and proves,
and has other solvers for where this fails.

Source: Hintermüller, Ito & Kunisch, "The primal-dual active set strategy as a semismooth Newton
method" (2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.functions import Floats, Row
from etf_pipeline.portfolio.goals import BestRatio, Goal
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Duals
from etf_pipeline.portfolio.solvers.active_set_model import Bend, Model

_STEPS = 30
_SURE = 1e-12  # less is rounding, no reason to take a guess back
_SETTLED = 1e-6  # about the square of such a step is left over
_MET = 1e-10  # of a limit's size
_WILD = 1e9  # weights of that size are no way to an answer

Signs = npt.NDArray[np.int8]


def solve(
    problem: Problem, goal: Goal, rows: Sequence[Row], start: Floats | None = None
) -> tuple[Floats, Duals] | None:
    """Weights (N,) and multipliers of the rows; None where the guesses do not settle.

    `start` are weights near the answer, such as those without the rows. Limits of CVaR, deviations
    from more than one centre, and goals without curvature are not for this method.
    """
    model = Model.of(problem, goal, rows)
    if model is None:
        return None
    with np.errstate(all="ignore"):  # what is not finite is dropped
        return _Search(model, start).run()


class _Search:
    """The guesses and the point they lead to.

    `at` (N,) is −1 or 1 where a weight is on its lower or upper bound. `side` (N,) is the side of
    the centre that it is on, 0 where it is held there. `active` are the rows that bind, those of
    norms last, with multipliers `y`; `over` is what all are beyond their limits, and `pull` the
    rate of the deviations by those that bind.
    """

    def __init__(self, model: Model, start: Floats | None) -> None:
        n = len(model.low)
        self.model = model
        self.linear = len(model.straight.limits)
        self.w = np.full(n, (model.total or 1.0) / n) if start is None else start
        self.y = np.zeros(self.linear + len(model.balls))
        self.over = self._excess()
        self.active = self.over > _SURE if start is not None else self.y > 0
        if np.any(self.active[self.linear :]):
            self._draw_in()
        self.at: Signs = -model.pinned.astype("int8")
        self.side: Signs = np.ones(n, dtype="int8")
        if model.centre is not None:
            self.side = np.sign(self.w - model.centre).astype("int8")
            self.side[(self.side == 0) & (self.at == 0)] = 1
        self.pull = model.rate
        self.factor: tuple[bytes, Any] | None = None
        self.exact = False  # whether the last step leaves nothing to another one

    def _draw_in(self) -> None:
        """Draw the start towards the centre of the first norm that is too large.

        Its first multiplier takes as much as it can of the goal's gradient away.
        """
        model = self.model
        first = int(np.flatnonzero(self.active[self.linear :])[0])
        norm, square = model.balls[first]
        if model.total is not None and abs(float(norm.centre.sum()) - model.total) <= _MET:
            share = float(np.sqrt(square / norm.squared(self.w)))
            self.w = norm.centre + share * (self.w - norm.centre)
        own = norm.gradient_of_half_square(self.w) / square
        own = own - own.mean()
        against = -float(model.bend(self.w).gradient @ own)
        length = float(own @ own)
        self.y[self.linear + first] = max(against / length, 0.0) if length > 0 else 0.0

    def run(self) -> tuple[Floats, Duals] | None:
        """Steps until no guess is taken back."""
        seen = set()
        for _ in range(_STEPS):
            found = self._step()
            if found is None:
                return None
            size, gradient, left = found
            if self._taken_back(gradient):
                guess = self.at.tobytes() + self.side.tobytes() + self.active.tobytes()
                if guess in seen:
                    return None
                seen.add(guess)
            elif left <= _SURE and (self.exact or size <= _SETTLED) and self._met():
                return self.w, self.model.duals(self.w, self.y)
        return None

    def _excess(self) -> Floats:
        """Of every row over its limit."""
        model, rows = self.model, self.model.straight
        found = rows.slopes @ self.w - rows.limits
        if model.centre is not None:
            found += rows.rates * float(np.abs(self.w - model.centre).sum())
        if not model.balls:
            return found
        return np.r_[found, [norm.squared(self.w) / square - 1.0 for norm, square in model.balls]]

    def _met(self) -> bool:
        """Whether what is to hold with equality does: limits that contradict cannot."""
        total = self.model.total
        if total is not None and not abs(float(self.w.sum()) - total) <= _MET:
            return False
        return bool(np.all(np.abs(self.over[self.active]) <= _MET))

    def _step(self) -> tuple[float, Floats, float] | None:
        """A step to where the guesses hold: its size, the gradient (N,), what is left of it."""
        model = self.model
        w, held = self._placed()
        free = np.flatnonzero(~held)
        if not len(free):
            return None
        border, right = self._equations(w)
        bend = self._bend(w, free, border, right)
        gradient, times, corner = bend.gradient, bend.times, 0.0
        if model.rate:
            gradient = gradient + model.rate * self.side
        for y, (_, square) in zip(self.y[self.linear :], model.balls, strict=True):
            times += y / square
        if not 0 < times < np.inf:
            return None
        if bend.along is not None and bend.less > 0:
            border, right = [*border, bend.along], [*right, 0.0]
            corner = 1.0 / bend.less
        whole = np.array(border).reshape(len(border), len(w))
        found = self._solved(free, times, whole, np.array(right), gradient, corner)
        if found is None:
            return None
        step, y = found
        moved = np.zeros(len(w))
        moved[free] = step
        gradient = gradient + times * (model.matrix @ moved) + y @ whole
        self.w = w + moved
        self.y = np.zeros(len(self.y))
        first = int(model.total is not None)
        self.y[self.active] = y[first : first + np.count_nonzero(self.active)]
        self.pull = model.rate + float(model.straight.rates @ self.y[: self.linear])
        return float(np.abs(step).max()), gradient, float(np.abs(gradient[free]).max())

    def _bend(
        self, w: Floats, free: npt.NDArray[np.intp], border: list[Floats], right: list[float]
    ) -> Bend:
        """Of the goal at w (N,), which a step follows to the end if no norm binds.

        Where p is of least risk by the guesses, the best of p + t q has t = variance / excess of p.
        That is of the greatest utility by an aversion of 1/t: q is the direction of most return.
        """
        model, goal = self.model, self.model.goal
        self.exact = not np.any(self.active[self.linear :])
        if not isinstance(goal, BestRatio) or not self.exact:
            return model.bend(w)
        whole = np.array(border).reshape(len(border), len(w))
        found = self._solved(free, 1.0, whole, np.array(right), model.matrix @ w, 0.0)
        if found is None:
            return model.with_aversion(w, np.nan)
        p = w.copy()
        p[free] += found[0]
        excess = -float(goal.measure.slope @ p)
        if model.rate and model.centre is not None:
            excess -= model.rate * model.scale * float(self.side @ (p - model.centre))
        variance = float(p @ model.matrix @ p)
        self.exact = excess > 0 and variance > 0
        times = excess / variance / model.scale if self.exact else model.usual
        return model.with_aversion(w, times)

    def _placed(self) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """The weights (N,) with those put in their places that are held there, and which are."""
        held = self.at != 0
        w = self.w
        if held.any():
            w = np.where(held, np.where(self.at < 0, self.model.low, self.model.high), w)
        if self.model.centre is None:
            return w, held
        middle = (self.side == 0) & ~held
        return np.where(middle, self.model.centre, w), held | middle

    def _equations(self, w: Floats) -> tuple[list[Floats], list[float]]:
        """Gradients (N,) of what holds with equality, and what is missing to it."""
        model, rows = self.model, self.model.straight
        border: list[Floats] = []
        right: list[float] = []
        if model.total is not None:
            border.append(np.ones(len(w)))
            right.append(model.total - float(w.sum()))
        for k in np.flatnonzero(self.active[: self.linear]):
            slope, missing = rows.slopes[k], float(rows.limits[k])
            if model.centre is not None and rows.rates[k]:
                slope = slope + rows.rates[k] * self.side
                missing += rows.rates[k] * float(self.side @ model.centre)
            border.append(slope)
            right.append(missing - float(slope @ w))
        for (norm, square), on in zip(model.balls, self.active[self.linear :], strict=True):
            if on:
                own, half = norm.square_and_half_gradient(w)
                border.append(half / square)
                # of the norm and not of its square: from afar too it leads to where they are equal
                right.append(float(np.sqrt(own / square)) - own / square)
        return border, right

    def _solved(
        self,
        free: npt.NDArray[np.intp],
        times: float,
        border: Floats,
        right: Floats,
        gradient: Floats,
        corner: float,
    ) -> tuple[Floats, Floats] | None:
        """The step of the free weights, and the multipliers of the border (E, N).

        `corner` is what the last of the border has in the diagonal in place of 0, negative.
        """
        from scipy.linalg import lapack

        key = free.tobytes()
        if self.factor is None or self.factor[0] != key:
            matrix = self.model.matrix[np.ix_(free, free)]
            factor, failed = lapack.dpotrf(matrix.T, lower=1, overwrite_a=1, clean=0)
            if failed:
                return None
            self.factor = key, factor
        own = border[:, free]
        sides = np.vstack([own, -gradient[free]])
        solved = lapack.dpotrs(self.factor[1], sides.T, lower=1)[0] / times
        small = own @ solved[:, :-1]
        if corner:
            small[-1, -1] -= corner
        wanted = own @ solved[:, -1] - right
        try:
            y = np.linalg.solve(small, wanted)
        except np.linalg.LinAlgError:
            y = np.linalg.lstsq(small, wanted, rcond=None)[0]
        step = solved[:, -1] - solved[:, :-1] @ y
        return (step, y) if np.abs(step).max() < _WILD else None  # False for what is not finite

    def _taken_back(self, gradient: Floats) -> bool:
        """Make the guesses anew that the step has shown to be wrong; whether there are any."""
        model, w = self.model, self.w
        at, side = self.at.copy(), self.side
        free = at == 0
        resists: Floats | float = 0.0
        if model.centre is not None:
            free &= side != 0
            # at the centre a deviation resists both ways
            resists = np.where(side == 0, max(self.pull, 0.0), 0.0)
        held = ~(free | model.pinned)
        up = held & (at <= 0) & (gradient + resists < -_SURE)
        down = held & (at >= 0) & (gradient - resists > _SURE)
        at[up | down] = 0
        if model.centre is not None:
            side = side.copy()
            side[up & (side == 0)], side[down & (side == 0)] = 1, -1
            side[free] = self._sides(model.centre)[free]
            free &= side != 0
        at[free & (w < model.low - _SURE)] = -1
        at[free & (w > model.high + _SURE)] = 1
        if model.centre is not None:
            for place, bound in ((-1, model.low), (1, model.high)):
                at[(side == 0) & ~model.pinned & (bound == model.centre)] = place
                on = at == place
                side[on] = np.sign(bound - model.centre)[on]
        self.over = self._excess()
        active = np.where(self.active, self.y > -_SURE, self.over > _SURE)
        self._leave_free(at, side, int(active.sum()) + int(model.total is not None))
        wrong = np.any(at != self.at) or np.any(active != self.active)
        if model.centre is not None:
            wrong = wrong or np.any(side != self.side)
        self.at, self.side, self.active = at, side, active
        self.y = np.where(active, self.y, 0.0)
        return bool(wrong)

    def _leave_free(self, at: Signs, side: Signs, equations: int) -> None:
        """Where fewer weights than equations would be free, hold no more than the worst one anew.

        `at` and `side` (N,) are the new guesses, changed in place.
        """
        model = self.model
        held = (at != 0) | (side == 0)
        if len(held) - np.count_nonzero(held) >= equations:
            return
        new = np.flatnonzero(held & (self.at == 0) & (self.side != 0))
        if len(new) < 2:
            return
        w = self.w[new]
        places = np.where(at[new] < 0, model.low[new], model.high[new])
        if model.centre is not None:
            places = np.where(at[new] == 0, model.centre[new], places)
        others = np.delete(new, int(np.argmax(np.abs(w - places))))
        at[others], side[others] = 0, self.side[others]

    def _sides(self, centre: Floats) -> Signs:
        """Where the free weights are now; what a deviation pulls back is held as it gets there."""
        model = self.model
        away = self.w - centre
        own = np.where(np.abs(away) > _SURE, np.sign(away), 0).astype("int8")
        if self.pull <= 0:
            return np.where(own == 0, self.side, own)
        crossed = (own == -self.side) & (model.low <= centre) & (centre <= model.high)
        return np.where(crossed, np.int8(0), self.side)
