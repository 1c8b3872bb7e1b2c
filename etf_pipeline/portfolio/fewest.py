"""At most so many holdings, each of a least size: branch and bound, with a proven gap.

Which assets are held is decided one by one. Where it is open the choice is relaxed, and a bound is
proven of every portfolio that may still come of it: by the perspective of what each asset has of
the variance for itself (see `few_proof`) where there is a variance; else the count is relaxed to
Σ w_i / upper_i ≤ what is left, and such a portfolio is solved and proven as any other. What cannot
beat the best portfolio found so far is left out, and of assets that are the same but for their
names the first is held first. The search ends when nothing is left, or after so many choices: a
number of them and not of seconds, so that the answer is the same on any machine.

Source: Land & Doig, "An automatic method of solving discrete programming problems" (1960);
Bienstock, "Computational study of a family of mixed-integer quadratic programming problems" (1996),
for the cardinality of portfolios; Frangioni & Gentile, "Perspective cuts for a class of convex 0–1
mixed integer programs" (2006).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio.answer import Answer, judged, refused
from etf_pipeline.portfolio.certificate import TOLERANCE
from etf_pipeline.portfolio.choices import IN, OPEN, OUT, Choices, Few, needless, twins
from etf_pipeline.portfolio.few_relaxed import Relaxation, Relaxations, Solve
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.goals import BestRatio, Goal
from etf_pipeline.portfolio.limits import FewHoldings, LeastPosition
from etf_pipeline.portfolio.problem import Problem

_ENOUGH = TOLERANCE / 10  # of the goal's unit: what a choice may be better by and be left out
_FIT = 1e-9  # of a holding, so that thirds are three
_LEAST = 1e-12  # what a weight may be short of the least one, by rounding


@dataclass(order=True)
class _Node:
    """Choices so far, and a bound of the score of every portfolio that keeps to them."""

    bound: float
    number: int
    choices: Choices
    own: Floats | None


class _Search:
    def __init__(
        self, problem: Problem, goal: Callable[[Problem], Goal], solve: Solve, least_risk: float
    ) -> None:
        self.problem, self.goal_of, self.solve, self.risk = problem, goal, solve, least_risk
        self.free = uncounted(problem)
        self.goal = goal(self.free)
        self.least = problem.min_position or 0.0
        self.most = problem.max_holdings or len(problem.names)
        if self.least:  # of a least size no more fit into the whole
            self.most = min(self.most, int(problem.net_exposure[1] / self.least + _FIT))
        self.relaxations = Relaxations(self.free, goal, solve, self.most, self.least, least_risk)
        self.twins = twins(self.free, self.relaxations.rows)
        self.numbers = itertools.count()
        self.best: Answer | None = None
        self.best_score = np.inf
        self.closed = np.inf  # a bound of the score of all that was left out
        self.known: dict[bytes, float | None] = {}  # by what is held, see `_solved`

    def run(self, limit: int) -> Answer | None:
        """The best portfolio and its gap; None when none is possible."""
        heap = [_Node(-np.inf, next(self.numbers), self._start(), None)]
        looked = 0
        while heap and heap[0].bound < self._enough() and looked < limit:
            node = heapq.heappop(heap)
            looked += 1
            for child in self._expanded(node):
                heapq.heappush(heap, child)
        cut = bool(heap) and heap[0].bound < self._enough()
        left = min(heap[0].bound if heap else np.inf, self.closed)
        if self.best is None:
            return self._none(left, looked, cut)
        return self._answer(self.best, left, looked, cut)

    def _start(self) -> Choices:
        """What the bounds decide."""
        low, high = self.free.box
        start = np.zeros(len(low), dtype=np.int8)
        start[(high <= 0) | (high < self.least) | needless(self.free, self.twins)] = OUT
        start[low > 0] = IN
        return start

    def _enough(self) -> float:
        """The bound from which on nothing is missed."""
        return self.best_score - _ENOUGH * self._unit()

    def _unit(self) -> float:
        """Of a score: a ratio's is that of the excess return over a volatility."""
        if not isinstance(self.goal, BestRatio):
            return self.goal.unit
        return self.goal.unit / max(self.risk, 1e-300) if self.risk else self.goal.unit

    def _expanded(self, node: _Node) -> list[_Node]:
        """What is left open of a node, once it has been looked at."""
        choices = self._decided(node.choices)
        if choices is None:
            return []
        if not np.any(choices == OPEN):
            found = self._solved(choices == IN)
            self._close(node.bound if found is None else max(found, node.bound))
            return []
        seen = self.relaxations.look(choices, node.own, self._enough(), self.best_score)
        if seen is None:
            return []
        bound = max(seen.bound, node.bound)
        if bound < self._enough():
            self._try(choices, seen)
        if bound >= self._enough():
            self._close(bound)
            return []
        choices = self._fixed(choices, seen)
        if not np.any(choices == OPEN):
            return [_Node(bound, next(self.numbers), choices, seen.own)]
        return [_Node(bound, next(self.numbers), x, seen.own) for x in self._split(choices, seen)]

    def _decided(self, choices: Choices) -> Choices | None:
        """With what follows from them; None when too much is held."""
        left = self.most - int((choices == IN).sum())
        is_open = choices == OPEN
        if left < 0:
            return None
        if left == 0:
            return np.where(is_open, OUT, choices).astype(np.int8)
        if int(is_open.sum()) <= left and not self.least:
            return np.where(is_open, IN, choices).astype(np.int8)
        return choices

    def _split(self, choices: Choices, seen: Relaxation) -> list[Choices]:
        """With and without the asset of which the relaxation is least sure."""
        doubted = int(np.argmax(np.where(choices == OPEN, seen.doubt, -np.inf)))
        alike = np.flatnonzero((choices == OPEN) & (self.twins == self.twins[doubted]))
        held, without = choices.copy(), choices.copy()
        held[alike[0]] = IN
        without[alike] = OUT  # of twins the first is held first
        return [held, without]

    def _fixed(self, choices: Choices, seen: Relaxation) -> Choices:
        """With the choices that the best portfolio leaves no other way for."""
        is_open, enough = choices == OPEN, self._enough()
        out = is_open & (seen.held >= enough)
        into = is_open & (seen.without >= enough) & ~out
        self._close(float(seen.held[out].min(initial=np.inf)))
        self._close(float(seen.without[into].min(initial=np.inf)))
        return np.where(out, OUT, np.where(into, IN, choices)).astype(np.int8)

    def _close(self, bound: float) -> None:
        self.closed = min(self.closed, bound)

    def _try(self, choices: Choices, seen: Relaxation) -> None:
        """What is held the most in the relaxation, solved alone."""
        left = self.most - int((choices == IN).sum())
        is_open, held = choices == OPEN, choices == IN
        order = np.argsort(np.where(is_open, -seen.degrees, np.inf), kind="stable")[:left]
        order = order[is_open[order] & (seen.weights[order] > 0)]
        worthy = order[seen.weights[order] > self.least / 2.0]
        held[worthy if len(worthy) or held.any() else order] = True
        self._solved(held)

    def _solved(self, held: npt.NDArray[np.bool_]) -> float | None:
        """A bound of the score of what holds these and nothing else.

        Infinite where that is impossible, None where nobody knows. The best is remembered.
        """
        key = held.tobytes()
        if key not in self.known:
            self.known[key] = self._solved_anew(held)
        return self.known[key]

    def _solved_anew(self, held: npt.NDArray[np.bool_]) -> float | None:
        choices = np.where(held, IN, OUT).astype(np.int8)
        problem = self.relaxations.within(choices)
        if problem is None or self.relaxations.beyond_a_ceiling(
            problem, Few(choices, 0, self.least)
        ):
            return np.inf
        goal = self.goal_of(problem)
        answer, impossible = self.solve(problem, goal)
        if impossible:
            return np.inf
        if answer.weights is None or not answer.success:
            return None
        score = self.relaxations.score(problem, goal, answer)
        if score < self.best_score and self._meets(answer.weights):
            self.best, self.best_score = answer, score
        return score - self.relaxations.gap_of_score(answer)

    def _meets(self, weights: Floats) -> bool:
        held = weights[weights != 0]
        return len(held) <= self.most and bool(np.all(held >= self.least - _LEAST))

    def _none(self, left: float, looked: int, cut: bool) -> Answer | None:
        if left == np.inf:
            return None
        more = f"; a search_limit above {looked} tries more" if cut else ""
        return refused(
            f"no portfolio was found in {looked} choices of holdings, and it is not proven that "
            f"there is none{more}",
            ReasonCode.UNPROVEN,
        )

    def _answer(self, best: Answer, left: float, looked: int, cut: bool) -> Answer:
        assert best.weights is not None
        gap = max(self.best_score - left, 0.0) if left < self.best_score else 0.0
        if isinstance(self.goal, BestRatio):
            gap *= self.problem.volatility(best.weights)
        gap = max(gap, best.optimality_gap or 0.0)
        answer = judged(self.problem, best.weights, gap, self.goal.unit)
        if answer.success:
            return answer
        more = f"; a search_limit above {looked} tries more" if cut else ""
        message = f"the best of {looked} choices of holdings; {answer.message}{more}"
        return replace(answer, message=message, code=ReasonCode.UNPROVEN)


def uncounted(problem: Problem) -> Problem:
    """The same without its limits on the number and the size of holdings."""
    counted = FewHoldings | LeastPosition
    return problem.changed(limits=tuple(x for x in problem.limits if not isinstance(x, counted)))


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
        Weights whose gap is proven by the bounds of all that was left out, without success where
        the search ended before that was enough; None when no portfolio is possible.
    """
    return _Search(problem, goal, solve, least_risk).run(problem.search_limit)
