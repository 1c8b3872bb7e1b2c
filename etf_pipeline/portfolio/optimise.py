"""Solving a `Problem`, and saying honestly how well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.objectives import FROM_RISK_ALONE
from etf_pipeline.portfolio.answer import Answer, refused
from etf_pipeline.portfolio.by_rule import from_risk_alone
from etf_pipeline.portfolio.enough import enough
from etf_pipeline.portfolio.fewest import uncounted
from etf_pipeline.portfolio.goals import (
    BestRatio,
    Least,
    LeastNorm,
    goal_of,
    least_turnover,
)
from etf_pipeline.portfolio.limits import (
    FewHoldings,
    LeastPosition,
    ReturnFloor,
    TurnoverCeiling,
    VolatilityCeiling,
)
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.ratios import (
    earns_more,
    free_lunch,
    most_invested,
    no_ratio,
    risky,
    too_low_of_few,
    why_no_ratio,
)
from etf_pipeline.portfolio.solving import solved
from etf_pipeline.portfolio.ties import best_earning, least_risky
from etf_pipeline.portfolio.why_not import of_few, why_not, why_not_of_few

_CHOSEN = (FewHoldings, LeastPosition)


def optimise(problem: Problem) -> Answer:
    """Solve a problem; the impossible is answered with what is possible.

    Bounds alone are solved by the critical line; everything else by linear, quadratic and cone
    programs, and whatever comes of them is checked against every limit by its definition and
    proven by a certificate.

    Returns:
        Weights with their proof. Where there are none, a message that quotes what is attainable
        and the limits in the way, and its code: `INFEASIBLE`, `BAD_PROBLEM`, or `UNPROVEN`, which
        may come with the best weights that were found.
    """
    order = np.argsort(np.array(problem.names))
    if np.all(order[1:] > order[:-1]):
        return _optimise(problem)
    # By name, so that the order of the request does not matter, not even in a tie.
    answer = _optimise(problem.ordered(order))
    if answer.weights is None:
        return answer
    weights = np.empty_like(answer.weights)
    weights[order] = answer.weights
    return replace(answer, weights=weights)


def _optimise(problem: Problem) -> Answer:
    if problem.objective in FROM_RISK_ALONE:
        return from_risk_alone(problem, why_not)
    if problem.max_holdings or problem.min_position:
        return _fewest(problem)
    goal = goal_of(problem)
    answer = solved(problem, goal)
    if isinstance(goal, BestRatio):
        return _best_ratio(problem, answer)
    if not answer.success:
        return why_not(problem) or answer
    if isinstance(goal, Least):
        return least_risky(problem, goal, answer)
    return best_earning(problem, goal, answer) if isinstance(goal, LeastNorm) else answer


def _best_ratio(problem: Problem, answer: Answer) -> Answer:
    """A proven Sharpe ratio, or why there is no greatest one."""
    if risky(problem, answer) and earns_more(problem, answer):
        return most_invested(problem, answer)
    why = no_ratio(problem) or free_lunch(problem)
    return why or (answer if answer.success else why_no_ratio(problem) or answer)


def _fewest(problem: Problem) -> Answer:
    """The best of few holdings; where there is none, why not."""
    free = uncounted(problem)
    if (why := why_not(free)) is not None:
        return why_not_of_few(problem) or why
    found = of_few(problem, goal_of)
    if found is not None:
        unproven = problem.objective == "max_sharpe" and not found.success
        return (free_lunch(free) if unproven else None) or found
    words = " and ".join(x.name for x in problem.limits if isinstance(x, _CHOSEN))
    none = f"no portfolio meets the other limits within its {words}"
    why = why_not_of_few(problem) or too_low_of_few(problem, words)
    return why or refused(none + enough(problem), ReasonCode.INFEASIBLE)


def nearest_feasible(problem: Problem) -> Answer:
    """The portfolio of least turnover from the holdings, within every limit but that on turnover.

    Of several, the least volatile one.

    Raises:
        ValueError: the problem has no holdings.
    """
    if problem.holdings is None:
        raise ValueError("the nearest portfolio needs holdings, the current weights")
    others = tuple(x for x in problem.limits if not isinstance(x, TurnoverCeiling))
    free = problem.changed(limits=others)
    goal = least_turnover(free)
    answer = solved(free, goal)
    return least_risky(free, goal, answer) if answer.success else why_not(free) or answer


def efficient_frontier(problem: Problem, points: int = 25) -> list[Answer]:
    """Portfolios from least volatility to greatest return, evenly spaced in return.

    Args:
        problem: its limits hold on every point; its objective, return floor and risk budget do not.
        points: how many, at least two.

    Returns:
        `points` answers in ascending order of return; none when no portfolio meets the limits.
    """
    kept = tuple(x for x in problem.limits if not isinstance(x, ReturnFloor | VolatilityCeiling))
    free = problem.changed(limits=kept, objective="min_volatility")
    lowest = optimise(free)
    top = optimise(free.changed(objective="max_return"))
    if lowest.expected_return is None or top.expected_return is None:
        return []
    targets = np.linspace(lowest.expected_return, top.expected_return, points)[1:-1]
    between = [
        optimise(free.changed(limits=(*kept, ReturnFloor(float(t))), objective="target_return"))
        for t in targets
    ]
    return [lowest, *between, top]
