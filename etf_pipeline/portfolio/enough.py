"""What would be enough where no portfolio has so few holdings, or such large ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from etf_pipeline.portfolio.attainable import at_most
from etf_pipeline.portfolio.check import allowed
from etf_pipeline.portfolio.functions import Floats, Norm
from etf_pipeline.portfolio.goals import Goal, LeastNorm, least_volatility
from etf_pipeline.portfolio.limits import FewHoldings, LeastPosition
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.why_not import of_few

_TRIED = 200  # choices of holdings that are looked at for each number


def enough(problem: Problem) -> str:
    """How many holdings, or of which size, some portfolio has, to end a refusal with.

    Empty where none of what was tried has.
    """
    quick = problem.changed(search_limit=min(problem.search_limit, _TRIED))
    if problem.max_holdings is not None and (count := _count(quick)) is not None:
        return f": {count} holdings are enough"
    if problem.min_position is not None and (position := _position(quick)) is not None:
        return f": a least position of {at_most(position)} can be met"
    return ""


def _count(problem: Problem) -> int | None:
    """The least number of holdings at which a portfolio is found, by bisection."""
    low, high = (problem.max_holdings or 1) - 1, len(problem.names)
    if _found(_counted(problem, high), least_volatility) is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        met = _found(_counted(problem, middle), least_volatility) is not None
        low, high = (low, middle) if met else (middle, high)
    return high


def _position(problem: Problem) -> float | None:
    """The smallest holding of a portfolio that is spread over as few as can be."""
    others = tuple(x for x in problem.limits if not isinstance(x, LeastPosition))
    free = problem.changed(limits=others, min_position=None)
    count = _count(free.changed(max_holdings=1))
    if count is None:
        return None
    even = LeastNorm(Norm.of(np.eye(len(problem.names))), 1.0)
    found = _found(_counted(free, min(count, problem.max_holdings or count)), lambda _: even)
    return None if found is None else float(found[found > 0].min())


def _counted(problem: Problem, count: int) -> Problem:
    others = [x for x in problem.limits if not isinstance(x, FewHoldings)]
    return problem.changed(limits=(*others, FewHoldings(count)), max_holdings=count)


def _found(problem: Problem, goal: Callable[[Problem], Goal]) -> Floats | None:
    answer = of_few(problem, goal)
    if answer is None or answer.weights is None or not allowed(problem, answer.weights):
        return None
    return answer.weights
