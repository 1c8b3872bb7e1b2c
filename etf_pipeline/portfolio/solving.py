"""Solving a problem for a goal: the first proposal that is allowed and proven."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio.answer import Answer, judged, refused, settled
from etf_pipeline.portfolio.candidates import Candidate, candidates
from etf_pipeline.portfolio.certificate import TOLERANCE, proven_gap
from etf_pipeline.portfolio.check import allowed
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.goals import Goal
from etf_pipeline.portfolio.problem import Problem


def solved(problem: Problem, goal: Goal) -> Answer:
    """The first candidate that is allowed and proven, else the nearest to that.

    One that is better than any that is allowed owes that to the tolerance of limits; it is taken
    only where there is no other, as it would depend on order and units.
    """
    best: Answer | None = None
    for candidate in candidates(problem, goal):
        for weights in _settled(problem, candidate.weights):
            gap = _gap(problem, goal, weights, candidate)
            answer = judged(problem, weights, gap, goal.unit)
            if answer.success and gap >= -TOLERANCE * goal.unit:
                return answer
            if best is None or _nearer(answer, best):
                best = answer
    return best or refused("no solver found weights", ReasonCode.UNPROVEN)


def _settled(problem: Problem, weights: Floats) -> Iterator[Floats]:
    swept = settled(problem, weights)
    yield swept
    plain = settled(problem, weights, sweep=False)
    if not np.array_equal(plain, swept):
        yield plain


def judge(problem: Problem, goal: Goal, weights: Floats, candidate: Candidate) -> Answer:
    """Weights (N,) that an engine proposes as an answer."""
    return judged(problem, weights, _gap(problem, goal, weights, candidate), goal.unit)


def _gap(problem: Problem, goal: Goal, weights: Floats, candidate: Candidate) -> float:
    if not allowed(problem, weights):
        return float("inf")
    return proven_gap(problem, goal, weights, candidate.duals)


def _nearer(answer: Answer, best: Answer) -> bool:
    if answer.optimality_gap is None or best.optimality_gap is None:
        return best.optimality_gap is None and answer.optimality_gap is not None
    return answer.optimality_gap < best.optimality_gap
