"""Relaxations of choices of holdings that are open in part, with bounds that are proven."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from etf_pipeline.portfolio.answer import Answer
from etf_pipeline.portfolio.certificate import rows_of
from etf_pipeline.portfolio.choices import IN, OPEN, OUT, Choices, Few
from etf_pipeline.portfolio.few_proof import Bound, proven_bound
from etf_pipeline.portfolio.few_ratio import Scaled
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.goals import BestRatio, Goal, LeastNorm
from etf_pipeline.portfolio.lifted import Lifted, lifted_goal, lifted_rows
from etf_pipeline.portfolio.limits import CountOfOpen
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.solvers.diagonal import own_part
from etf_pipeline.portfolio.solvers.perspective import Perspective, Relaxed

_FIRST, _LATER = 6, 1  # better diagonals tried at the first choice, and at each that follows
_STEP = 0.2  # of the way to a better one
_WORTH = 1e-3  # of the greatest: what every open asset's own variance is worth at least
_WHOLE = 1e-9  # the least degree that is told from 0
_BEYOND = 1e-8  # of a ceiling: what the least there can be must be above it by
_SMALL = 1e-2  # of a typical volatility, as in `limits`
_SUM = 1e-12
_TIE = 1e-6
_NOTHING = 1e-300

# Solves a problem for a goal; and says whether it is known that no portfolio meets its limits.
Solve = Callable[[Problem, Goal], tuple[Answer, bool]]


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Bounds of the score, see `few_proof.Bound`, and what the relaxation holds.

    `weights`, the `degrees` to which assets are held, and the `doubt` about each choice have shape
    (N,); `own` is the diagonal that made the bound.
    """

    bound: float
    held: Floats
    without: Floats
    weights: Floats
    degrees: Floats
    doubt: Floats
    own: Floats | None = None


class Relaxations:
    """Those of one problem; a score is what is made least: the goal, or the ratio, negative."""

    def __init__(
        self,
        problem: Problem,
        goal: Callable[[Problem], Goal],
        solve: Solve,
        most: int,
        least: float,
        least_risk: float,
    ) -> None:
        """With a problem whose limits do not count holdings; see `fewest`."""
        self.problem, self.goal_of, self.solve = problem, goal, solve
        self.most, self.least, self.risk = most, least, least_risk
        self.goal = goal(problem)
        self.rows = rows_of(problem)
        self.lifted, self.limits = lifted_goal(self.goal), lifted_rows(self.rows)
        self._variance: tuple[Scaled, Perspective] | None = None
        self._worse = 0.0  # the score that all it speaks of is better than

    @cached_property
    def perspective(self) -> Perspective | None:
        """None where there is no variance in goal or limits, or the goal is a ratio."""
        if self.lifted is None or not any(x.curvature for x in (self.lifted, *self.limits)):
            return None
        return Perspective(self.problem, self.lifted, self.limits)

    @cached_property
    def _ceilings(self) -> list[tuple[Perspective, Lifted, list[Lifted], float]]:
        """For each ceiling of a norm: its square as a goal within the other limits."""
        found = []
        for k, (row, limit) in enumerate(zip(self.rows, self.limits, strict=True)):
            if limit.curvature:
                others = [x for j, x in enumerate(self.limits) if j != k]
                near = max(row.greatest, _SMALL * self.problem.risk_unit)
                greatest = (row.greatest + _BEYOND * near) ** 2
                found.append((Perspective(self.problem, limit, others), limit, others, greatest))
        return found

    def within(self, choices: Choices) -> Problem | None:
        """The problem with the bounds of some choices; None when no weights are within them."""
        low = np.where(choices == IN, np.maximum(self.problem.lower, self.least), 0.0)
        low = np.maximum(low, self.problem.lower)
        high = np.where(choices == OUT, 0.0, self.problem.upper)
        problem = self.problem.changed(lower=low, upper=high)
        low, high = problem.box
        least, most = problem.net_exposure
        if np.any(low > high) or low.sum() > most + _SUM or high.sum() < least - _SUM:
            return None
        return problem

    def look(
        self, choices: Choices, own: Floats | None, enough: float, best: float
    ) -> Relaxation | None:
        """The relaxation of some choices; None when they are impossible.

        Args:
            choices: open in part.
            own: the diagonal of the choices before, None for the first.
            enough: a bound of the score above which no better one is needed.
            best: the score that is attained so far; for what is not better it is a bound.
        """
        problem = self.within(choices)
        if problem is None:
            return None
        few = Few(choices, self.most - int((choices == IN).sum()), self.least)
        if self.perspective is not None and self.lifted is not None:
            at = _At(problem, few, self.perspective, self.lifted, self.limits)
            found = self._by_perspective(at, own, enough)
            if found is not None:
                return found
            if self.beyond_a_ceiling(problem, few):
                return None
        found = self._by_tangent(problem, few)
        if found is None or found.bound >= enough or self._counted(found.weights):
            return found
        return self._by_ratio(found, choices, own, enough, best)

    def _counted(self, weights: Floats) -> bool:
        """Whether a relaxation holds few enough, so that its bound is what they attain."""
        return bool(np.count_nonzero(weights) <= self.most and not self.least)

    def _by_ratio(
        self, found: Relaxation, choices: Choices, own: Floats | None, enough: float, best: float
    ) -> Relaxation:
        """With the bound of its variance too, where a ratio can be had as one."""
        if self._variance is None and best < self._worse:
            self._worse = best
            scaled = Scaled.of(self.problem, self.goal, self.rows, -best, self.risk)
            if scaled is not None:
                perspective = Perspective(scaled.problem, scaled.goal, scaled.limits)
                self._variance = scaled, perspective
        if self._variance is None:
            return replace(found, own=own)
        scaled, perspective = self._variance
        few = Few(choices, self.most - int((choices == IN).sum()), 0.0)
        at = _At(scaled.within(choices), few, perspective, scaled.goal, scaled.limits)
        other = self._by_perspective(at, own, enough)
        if other is None:
            return replace(found, own=own)
        return replace(
            other,
            bound=max(found.bound, other.bound),
            held=np.maximum(found.held, other.held),
            without=np.maximum(found.without, other.without),
            weights=other.weights / (float(other.weights.sum()) or 1.0),
        )

    def _by_perspective(self, at: _At, own: Floats | None, enough: float) -> Relaxation | None:
        """The best of several diagonals; None where there is no solution."""
        best: Relaxation | None = None
        first = own is None
        own = at.own_part(at.open * 1.0) if own is None else own * at.open
        last = _FIRST if first else _LATER
        for k in range(last + 1):
            found = at.solved(own)
            if found is None:
                break
            bound, relaxed = found
            degrees = np.maximum(relaxed.degrees, _WHOLE)
            worth = at.open * relaxed.weights**2 * np.maximum(1.0 / degrees - 1.0, 0.0)
            if best is None or self._score(bound.value) > best.bound:
                best = self._relaxation(bound, relaxed, worth * own, own)
            if best.bound >= enough or k == last:
                break
            worth = worth + at.open * (_WORTH * float(worth.max()) or 1.0)
            own = own + (2.0 / (k + 3) if first else _STEP) * (at.own_part(worth) - own)
        return best

    def _relaxation(self, bound: Bound, relaxed: Relaxed, doubt: Floats, own: Floats) -> Relaxation:
        held, without = (self._scores(x) for x in (bound.held, bound.without))
        doubt = doubt + _TIE * (float(doubt.max()) or 1.0) * relaxed.weights
        value = self._score(bound.value)
        return Relaxation(value, held, without, relaxed.weights, relaxed.degrees, doubt, own)

    def _score(self, lifted: float) -> float:
        return float(self._scores(np.array([lifted]))[0])

    def _scores(self, lifted: Floats) -> Floats:
        """Of a norm its square was made least, for a ratio that of better ones a variance."""
        if isinstance(self.goal, BestRatio):
            return np.minimum(-1.0 / np.sqrt(np.maximum(lifted, _NOTHING)), self._worse)
        return np.sqrt(np.maximum(lifted, 0.0)) if isinstance(self.goal, LeastNorm) else lifted

    def beyond_a_ceiling(self, problem: Problem, few: Few) -> bool:
        """Whether some norm is proven to be above its ceiling under the choices.

        Told in a fraction of the time that engines take to find no portfolio.
        """
        for perspective, goal, others, greatest in self._ceilings:
            at = _At(problem, few, perspective, goal, others)
            found = at.solved(at.own_part(at.open * 1.0))
            if found is not None and found[0].value > greatest:
                return True
        return False

    def _by_tangent(self, problem: Problem, few: Few) -> Relaxation | None:
        """The count relaxed to Σ w_i / upper_i, solved and proven as any other problem."""
        places = tuple(np.flatnonzero(few.choices == OPEN).tolist())
        if 0 < few.left < len(places):
            limits = (*problem.limits, CountOfOpen(places, few.left))
            problem = problem.changed(limits=limits)
        goal = self.goal_of(problem)
        answer, impossible = self.solve(problem, goal)
        if impossible:
            return None
        if answer.weights is None or not answer.success:
            bound, weights = -np.inf, problem.box[1] / problem.box[1].sum()
        else:
            weights = answer.weights
            bound = self.score(problem, goal, answer)
            bound -= self.gap_of_score(answer)
        same = np.full(len(weights), bound)
        return Relaxation(bound, same, same, weights, weights, weights)

    def score(self, problem: Problem, goal: Goal, answer: Answer) -> float:
        """Of an answer with weights."""
        assert answer.weights is not None
        if isinstance(goal, BestRatio):
            return -goal.ratio(answer.weights)
        return goal.value(problem, answer.weights)

    def gap_of_score(self, answer: Answer) -> float:
        """How much better the score could be, by an answer's gap."""
        gap = answer.optimality_gap or 0.0
        return gap / self.risk if isinstance(self.goal, BestRatio) and self.risk else gap


@dataclass(frozen=True, eq=False)
class _At:
    """A perspective relaxation under some choices."""

    problem: Problem
    few: Few
    perspective: Perspective
    goal: Lifted
    limits: list[Lifted]

    @property
    def open(self) -> Floats:
        """1 where a choice is open, else 0, shape (N,)."""
        return (self.few.choices == OPEN).astype("float64")

    def own_part(self, worth: Floats) -> Floats:
        """A diagonal (N,) of what is open, by what it is worth; see `solvers.diagonal`."""
        inside = np.flatnonzero(self.few.choices != OUT)
        found = np.zeros(len(worth))
        if not len(inside):  # all in cash
            return found
        matrix = self.problem.covariance[np.ix_(inside, inside)]
        found[inside] = own_part(matrix, worth[inside])
        return found

    def solved(self, own: Floats) -> tuple[Bound, Relaxed] | None:
        """The relaxation with a diagonal, and what is proven by it; None without a solution."""
        low, high = self.few.interval(self.problem)
        relaxed = self.perspective.relaxed(self.few, low, high, own)
        if relaxed is None:
            return None
        bound = proven_bound(
            self.problem, self.few, self.goal, self.limits, relaxed.duals, relaxed.weights, own
        )
        return bound, relaxed
