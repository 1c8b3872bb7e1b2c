"""At most so many holdings, each of a least size: branch and bound, with a proven gap.

Which assets are held is decided one by one. Where it is open the asset may have any weight, and the
count is relaxed to Σ w_i / upper_i ≤ what is left; such a portfolio is solved and proven as any
other, and its proven bound is one for every choice that is still open. What cannot beat the best
portfolio found so far is left out. The search ends when nothing is left, or after so many
portfolios: a number of them and not of seconds, so that the answer is the same on any machine.

Source: Land & Doig, "An automatic method of solving discrete programming problems" (1960);
Bienstock, "Computational study of a family of mixed-integer quadratic programming problems" (1996),
for the cardinality of portfolios.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio.answer import Answer, judged
from etf_pipeline.portfolio.certificate import TOLERANCE
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.goals import BestRatio, Goal
from etf_pipeline.portfolio.limits import CountOfOpen, FewHoldings, LeastPosition
from etf_pipeline.portfolio.problem import Problem

_ENOUGH = TOLERANCE / 10  # of the goal's unit: what a choice may be better by and be left out
_OUT, _OPEN, _IN = -1, 0, 1

Choices = npt.NDArray[np.int8]
# Solves a problem for a goal; and says whether it is known that no portfolio meets its limits.
Solve = Callable[[Problem, Goal], tuple[Answer, bool]]


@dataclass(order=True)
class _Node:
    """Choices so far, and a bound of the score of every portfolio that keeps to them."""

    bound: float
    number: int
    choices: Choices
    weights: Floats | None


class _Search:
    def __init__(self, problem: Problem, goal: Callable[[Problem], Goal], solve: Solve) -> None:
        self.problem, self.goal_of, self.solve = problem, goal, solve
        chosen = [x for x in problem.limits if isinstance(x, FewHoldings | LeastPosition)]
        self.free = problem.changed(limits=tuple(x for x in problem.limits if x not in chosen))
        self.goal = goal(self.free)
        self.most = problem.max_holdings or len(problem.names)
        self.least = problem.min_position or 0.0
        self.numbers = itertools.count()
        self.best: Answer | None = None
        self.best_score = np.inf
        self.unproven = np.inf  # bound of what could not be decided
        self.seen: set[bytes] = set()
        self.risk = 0.0

    def run(self, limit: int) -> Answer | None:
        """The best portfolio and its gap; None when none was found."""
        start = np.zeros(len(self.problem.names), dtype=np.int8)
        start[self.problem.upper < self.least] = _OUT
        start[self.problem.lower > 0] = _IN
        heap = [_Node(-np.inf, next(self.numbers), start, None)]
        looked = 0
        while heap and heap[0].bound < self.best_score - self._slack() and looked < limit:
            node = heapq.heappop(heap)
            looked += 1
            for child in self._expanded(node):
                if child.bound < self.best_score - self._slack():
                    heapq.heappush(heap, child)
        left = min([heap[0].bound if heap else np.inf, self.unproven])
        return self._answer(left, looked)

    def _slack(self) -> float:
        return _ENOUGH * self._unit()

    def _unit(self) -> float:
        """Of a score: a ratio's is that of the excess return over a volatility."""
        if not isinstance(self.goal, BestRatio):
            return self.goal.unit
        return self.goal.unit / max(self.risk, 1e-300) if self.risk else self.goal.unit

    def _expanded(self, node: _Node) -> list[_Node]:
        """What is left open of a node, once it has been solved."""
        choices = node.choices
        held = int((choices == _IN).sum())
        if held > self.most:
            return []
        if held == self.most:
            choices = np.where(choices == _OPEN, _OUT, choices).astype(np.int8)
        bound, weights = self._bound(choices, node.bound)
        if weights is None or bound >= self.best_score - self._slack():
            return []
        if self._meets(weights):
            return []
        self._try(choices, weights)
        is_open = choices == _OPEN
        if not is_open.any():
            self.unproven = min(self.unproven, bound)
            return []
        at = int(np.argmax(np.where(is_open, weights, -np.inf)))
        children = []
        for choice in (_IN, _OUT):
            new = choices.copy()
            new[at] = choice
            children.append(_Node(bound, next(self.numbers), new, weights))
        return children

    def _at(self, choices: Choices) -> Problem:
        """The relaxed problem of some choices."""
        lower = np.where(choices == _IN, np.maximum(self.free.lower, self.least), self.free.lower)
        upper = np.where(choices == _OUT, 0.0, self.free.upper)
        limits = self.free.limits
        left = self.most - int((choices == _IN).sum())
        is_open = choices == _OPEN
        if 0 < left < int(is_open.sum()):
            limits = (*limits, CountOfOpen(tuple(np.flatnonzero(is_open).tolist()), left))
        return self.free.changed(lower=np.minimum(lower, upper), upper=upper, limits=limits)

    def _bound(self, choices: Choices, before: float) -> tuple[float, Floats | None]:
        """A bound of the score under some choices, and relaxed weights; None where there are none.

        Weights that meet the count are remembered as the best where they are.
        """
        problem = self._at(choices)
        if (
            np.any(problem.lower > problem.upper)
            or problem.upper.sum() < problem.net_exposure[0] - 1e-12
        ):
            return np.inf, None
        goal = self.goal_of(problem)
        answer, impossible = self.solve(problem, goal)
        if impossible:
            return np.inf, None
        if answer.weights is None or not answer.success:
            self.unproven = min(self.unproven, before)
            return before, None
        score = self._score(problem, goal, answer)
        if self._meets(answer.weights) and score < self.best_score:
            self.best, self.best_score = answer, score
        gap = answer.optimality_gap or 0.0
        return max(score - self._gap_of_score(gap), before), answer.weights

    def _score(self, problem: Problem, goal: Goal, answer: Answer) -> float:
        assert answer.weights is not None
        if isinstance(goal, BestRatio):
            return -goal.ratio(answer.weights)
        return goal.value(problem, answer.weights)

    def _gap_of_score(self, gap: float) -> float:
        return gap / self.risk if isinstance(self.goal, BestRatio) and self.risk else gap

    def _meets(self, weights: Floats) -> bool:
        held = weights != 0
        return int(held.sum()) <= self.most and bool(np.all(weights[held] >= self.least - 1e-12))

    def _try(self, choices: Choices, weights: Floats) -> None:
        """The assets of the largest relaxed weights, solved alone."""
        score = np.where(choices == _IN, np.inf, np.where(choices == _OPEN, weights, -np.inf))
        order = np.argsort(-score, kind="stable")[: self.most]
        kept = order[score[order] > max(self.least / 2.0, 0.0)]
        new = np.full(len(weights), _OUT, dtype=np.int8)
        new[kept] = _IN if self.least else _OPEN
        new[choices == _IN] = _IN
        key = new.tobytes()
        if key not in self.seen:
            self.seen.add(key)
            unproven = self.unproven
            self._bound(new, -np.inf)
            self.unproven = unproven  # a failure of this try leaves nothing open

    def _answer(self, left: float, looked: int) -> Answer | None:
        if self.best is None or self.best.weights is None:
            return None
        weights = self.best.weights
        gap = max(self.best_score - left, 0.0) if left < self.best_score else 0.0
        if isinstance(self.goal, BestRatio):
            gap *= self.problem.volatility(weights)
        gap += self.best.optimality_gap or 0.0
        answer = judged(self.problem, weights, gap, self.goal.unit)
        if answer.success:
            return answer
        message = f"the best of {looked} choices of holdings; {answer.message}"
        return replace(answer, message=message, code=ReasonCode.UNPROVEN)


def fewest(
    problem: Problem, goal: Callable[[Problem], Goal], solve: Solve, least_risk: float
) -> Answer | None:
    """The best portfolio of at most `max_holdings` assets, each of at least `min_position`.

    Args:
        problem: long only, with the limits `FewHoldings` and `LeastPosition`.
        goal: the goal over a problem that differs in bounds and limits alone.
        solve: see `Solve`.
        least_risk: of any portfolio within the other limits, for a ratio.

    Returns:
        Weights whose gap is proven by the bounds of all that was left out; None when no portfolio
        was found.
    """
    search = _Search(problem, goal, solve)
    search.risk = least_risk
    return search.run(problem.search_limit)
