"""Why no portfolio meets all limits, with numbers that work when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio.answer import Answer, refused
from etf_pipeline.portfolio.attainable import (
    attainable,
    conflict,
    goal_of_limit,
    hard,
    out_of_reach,
)
from etf_pipeline.portfolio.fewest import fewest, uncounted
from etf_pipeline.portfolio.goals import BestRatio, Goal, greatest_return, least_volatility
from etf_pipeline.portfolio.limits import FewHoldings, LeastPosition
from etf_pipeline.portfolio.problem import Limit, Problem
from etf_pipeline.portfolio.solving import solved

_SLACK = 1e-9
_CHOSEN = (FewHoldings, LeastPosition)
_QUOTED = 200  # choices of holdings that are looked at for a number to quote


def why_not(problem: Problem) -> Answer | None:
    """Why no portfolio meets all limits, with numbers that work; None where some does.

    Limits of weights are looked at first, together. Then each of the others beside all the rest:
    to give way there is enough. Where no single one is, all are told that must.
    """
    others = hard(problem)
    easy = tuple(x for x in problem.limits if x not in others)
    rows = [row for limit in easy for row in limit.rows(problem)]
    if (reason := conflict(problem, rows)) is not None:
        return refused(reason, ReasonCode.INFEASIBLE)
    single = [_out_of_reach(problem, x, [y for y in problem.limits if y is not x]) for x in others]
    if reasons := [found[0] for found in single if found is not None]:
        return refused("; or ".join(reasons), ReasonCode.INFEASIBLE)
    return _all_out_of_reach(problem, others, list(easy))


def _all_out_of_reach(problem: Problem, others: list[Limit], met: list[Limit]) -> Answer | None:
    """Several limits that must all give way, each by what it takes beside those before it."""
    reasons = []
    for limit in others:
        found = _out_of_reach(problem, limit, met)
        met.append(limit if found is None else found[1])
        if found is not None:
            reasons.append(found[0])
    return refused("; and ".join(reasons), ReasonCode.INFEASIBLE) if reasons else None


def _out_of_reach(
    problem: Problem, limit: Limit, others: Sequence[Limit]
) -> tuple[str, Limit] | None:
    """Why a limit cannot be met beside others that can, and one that can be.

    None when it can be met, or the others cannot.
    """
    free = problem.changed(limits=tuple(others))
    goal = goal_of_limit(limit, free)
    few = any(isinstance(x, _CHOSEN) for x in others)
    answer = of_few(free, partial(goal_of_limit, limit)) if few else solved(free, goal)
    if answer is None or answer.weights is None or not answer.success:
        return None
    if limit.excess(problem, answer.weights) <= _SLACK:
        return None
    best = goal.value(free, answer.weights)
    (row,) = limit.rows(free)
    if best - (answer.optimality_gap or 0.0) <= row.greatest:  # what is not proven is not refused
        return None
    return out_of_reach(free, limit, best, answer.weights), attainable(limit, best)


def of_few(problem: Problem, goal: Callable[[Problem], Goal]) -> Answer | None:
    """The best of few holdings; None where none was found."""
    free = uncounted(problem)
    lowest = solved(free, least_volatility(free))
    least = max((lowest.volatility or 0.0) - (lowest.optimality_gap or 0.0), 0.0)
    return fewest(problem, goal, _solved_or_impossible, least if lowest.success else 0.0)


def why_not_of_few(problem: Problem) -> Answer | None:
    """Which limits few holdings cannot meet, with numbers that they can; None where all can be.

    Numbers are proven, or not told.
    """
    few = problem.changed(search_limit=min(problem.search_limit, _QUOTED))
    others = hard(few)
    single = [_out_of_reach(few, x, [y for y in few.limits if y is not x]) for x in others]
    if reasons := [found[0] for found in single if found is not None]:
        return refused("; or ".join(reasons), ReasonCode.INFEASIBLE)
    return _all_out_of_reach(few, others, [x for x in few.limits if x not in others])


def _solved_or_impossible(problem: Problem, goal: Goal) -> tuple[Answer, bool]:
    if isinstance(goal, BestRatio):
        top = solved(problem, greatest_return(problem))
        if top.success and (top.expected_return or 0.0) <= problem.risk_free_rate:
            return top, True
    answer = solved(problem, goal)
    return answer, not answer.success and why_not(problem) is not None
