"""Solving a `Problem`, and saying honestly how well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.objectives import FROM_RISK_ALONE
from etf_pipeline.portfolio.answer import Answer, judged, refused, settled
from etf_pipeline.portfolio.attainable import (
    at_most,
    attainable,
    conflict,
    goal_of_limit,
    hard,
    out_of_reach,
)
from etf_pipeline.portfolio.by_rule import from_risk_alone
from etf_pipeline.portfolio.candidates import Candidate, as_near, candidates, riskless
from etf_pipeline.portfolio.certificate import TOLERANCE, proven_gap, rows_of
from etf_pipeline.portfolio.check import allowed
from etf_pipeline.portfolio.fewest import fewest, uncounted
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.goals import (
    BestRatio,
    Calmest,
    Goal,
    Least,
    LeastNorm,
    goal_of,
    greatest_return,
    least_turnover,
    least_volatility,
)
from etf_pipeline.portfolio.limits import (
    AboveTheRate,
    FewHoldings,
    LeastPosition,
    ReturnFloor,
    TrackingErrorCeiling,
    TurnoverCeiling,
    VolatilityCeiling,
)
from etf_pipeline.portfolio.problem import Limit, Problem

_SLACK = 1e-9
_SLIGHT = 1e-7  # an aversion to risk that costs no more than a ten-millionth of the goal's unit
_CEILINGS = (VolatilityCeiling, TrackingErrorCeiling)
_CHOSEN = (FewHoldings, LeastPosition)
_ABOVE = 1e-6  # of the unit of returns: what a ratio earns at least beyond the risk-free rate
_QUOTED = 200  # choices of holdings that are looked at for a number to quote
_HALVINGS = 60
_EXACT = 1e-12  # what is scaled shall use up no tolerance
_NO_RISK = 1e-6  # of a typical volatility


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
        return _least_risky(problem, goal, answer)
    return _best_earning(problem, goal, answer) if isinstance(goal, LeastNorm) else answer


def _best_ratio(problem: Problem, answer: Answer) -> Answer:
    """A proven Sharpe ratio, or why there is no greatest one."""
    if _risky(problem, answer) and (answer.sharpe_ratio or 0.0) > 0:
        return _most_invested(problem, answer)
    why = _no_ratio(problem) or _free_lunch(problem)
    return why or (answer if answer.success else _why_no_ratio(problem) or answer)


def _why_no_ratio(problem: Problem) -> Answer | None:
    """Why no portfolio meets all limits, with numbers at which one earns more than the rate."""
    others = hard(problem)
    easy = tuple(x for x in problem.limits if x not in others)
    if (why := why_not(problem.changed(limits=easy))) is not None:
        return why
    if (why := _no_ratio(problem.changed(limits=easy))) is not None:
        return why
    above = AboveTheRate(problem.risk_free_rate + _ABOVE * problem.return_unit)
    return why_not(problem.changed(limits=(*problem.limits, above)))


def _most_invested(problem: Problem, answer: Answer) -> Answer:
    """Of portfolios that differ in their cash alone, and so not in their ratio, that with least."""
    if problem.invested or problem.cost_rate or answer.weights is None:
        return answer
    total = float(answer.weights.sum())
    if not 0 < total < problem.net_exposure[1]:
        return answer
    low, high = 1.0, problem.net_exposure[1] / total
    if not allowed(problem, high * answer.weights, _EXACT):
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            met = allowed(problem, middle * answer.weights, _EXACT)
            low, high = (middle, high) if met else (low, middle)
        high = low
    weights = np.clip(high * answer.weights, *problem.box)
    found = _judge(problem, goal_of(problem), weights, Candidate(weights))
    return found if found.success else answer


def _fewest(problem: Problem) -> Answer:
    """The best of few holdings; where there is none, why not."""
    free = uncounted(problem)
    if (why := why_not(free)) is not None:
        return _why_not_of_few(problem) or why
    found = _of_few(problem, goal_of)
    if found is not None:
        unproven = problem.objective == "max_sharpe" and not found.success
        return (_free_lunch(free) if unproven else None) or found
    words = " and ".join(x.name for x in problem.limits if isinstance(x, _CHOSEN))
    none = f"no portfolio meets the other limits within its {words}"
    why = _why_not_of_few(problem) or _too_low_of_few(problem, words)
    return why or refused(none, ReasonCode.INFEASIBLE)


def _of_few(problem: Problem, goal: Callable[[Problem], Goal]) -> Answer | None:
    """The best of few holdings; None where none was found."""
    free = uncounted(problem)
    lowest = solved(free, least_volatility(free))
    least = max((lowest.volatility or 0.0) - (lowest.optimality_gap or 0.0), 0.0)
    return fewest(problem, goal, _solved_or_impossible, least if lowest.success else 0.0)


def _why_not_of_few(problem: Problem) -> Answer | None:
    """Which limits few holdings cannot meet, with numbers that they can; None where all can be.

    Numbers are proven, or not told.
    """
    few = problem.changed(search_limit=min(problem.search_limit, _QUOTED))
    others = hard(few)
    single = [_out_of_reach(few, x, [y for y in few.limits if y is not x]) for x in others]
    if reasons := [found[0] for found in single if found is not None]:
        return refused("; or ".join(reasons), ReasonCode.INFEASIBLE)
    return _all_out_of_reach(few, others, [x for x in few.limits if x not in others])


def _too_low_of_few(problem: Problem, words: str) -> Answer | None:
    """Why few holdings have no greatest Sharpe ratio, where they earn too little; else None."""
    top = _of_few(problem, greatest_return) if problem.objective == "max_sharpe" else None
    if top is None or not top.success or (top.expected_return or 0.0) > problem.risk_free_rate:
        return None
    return _earns_too_little(problem, top.expected_return or 0.0, f"with its {words} ")


def _solved_or_impossible(problem: Problem, goal: Goal) -> tuple[Answer, bool]:
    if isinstance(goal, BestRatio):
        top = solved(problem, greatest_return(problem))
        if top.success and (top.expected_return or 0.0) <= problem.risk_free_rate:
            return top, True
    answer = solved(problem, goal)
    return answer, not answer.success and why_not(problem) is not None


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
    return _least_risky(free, goal, answer) if answer.success else why_not(free) or answer


def solved(problem: Problem, goal: Goal) -> Answer:
    """The first candidate that is allowed and proven, else the nearest to that.

    One that is better than any that is allowed owes that to the tolerance of limits; it is taken
    only where there is no other, as it would depend on order and units.
    """
    best: Answer | None = None
    for candidate in candidates(problem, goal):
        weights = settled(problem, candidate.weights)
        gap = _gap(problem, goal, weights, candidate)
        answer = judged(problem, weights, gap, goal.unit)
        if answer.success and gap >= -TOLERANCE * goal.unit:
            return answer
        if best is None or _nearer(answer, best):
            best = answer
    return best or refused("no solver found weights", ReasonCode.UNPROVEN)


def _gap(problem: Problem, goal: Goal, weights: Floats, candidate: Candidate) -> float:
    if not allowed(problem, weights):
        return float("inf")
    return proven_gap(problem, goal, weights, candidate.duals)


def _judge(problem: Problem, goal: Goal, weights: Floats, candidate: Candidate) -> Answer:
    return judged(problem, weights, _gap(problem, goal, weights, candidate), goal.unit)


def _nearer(answer: Answer, best: Answer) -> bool:
    if answer.optimality_gap is None or best.optimality_gap is None:
        return best.optimality_gap is None and answer.optimality_gap is not None
    return answer.optimality_gap < best.optimality_gap


def _least_risky(problem: Problem, goal: Least, answer: Answer) -> Answer:
    """Of several portfolios that are as good, the least volatile one."""
    if answer.weights is None or _pays_for_risk(problem, goal, answer):
        return answer
    if goal.measure.tail and not problem.singular:  # of scenarios that differ, few are as good
        return answer
    aversion = _SLIGHT * goal.unit / problem.risk_unit**2
    other = solved(problem, Calmest(goal.measure, problem.risk, aversion, goal.unit))
    if other.weights is None or not other.success:
        return answer
    found = _judge(problem, goal, other.weights, Candidate(other.weights))
    lost = goal.value(problem, other.weights) - goal.value(problem, answer.weights)
    calmer = (found.volatility or 0.0) < (answer.volatility or 0.0)
    return found if found.success and calmer and lost <= _SLACK * goal.unit else answer


def _best_earning(problem: Problem, goal: LeastNorm, answer: Answer) -> Answer:
    """Of several portfolios that are no riskier, as a singular covariance has, the best earning."""
    if answer.weights is None or _is_benchmark(problem, answer.weights):
        return answer
    earning = greatest_return(problem)
    for other in as_near(problem, earning, rows_of(problem), answer.weights):
        found = _judge(problem, goal, settled(problem, other.weights), other)
        more = (found.expected_return or 0.0) - (answer.expected_return or 0.0)
        if found.success and more > _SLACK * problem.return_unit:
            return found
    return answer


def _is_benchmark(problem: Problem, weights: Floats) -> bool:
    known = problem.benchmark
    return (
        known is not None and known.weights is not None and np.array_equal(known.weights, weights)
    )


def _pays_for_risk(problem: Problem, goal: Least, answer: Answer) -> bool:
    """Whether a ceiling on a risk is reached because more of it would earn more.

    Then no other portfolio is as good. Where several assets earn the most alike, one may reach the
    ceiling for nothing.
    """
    if answer.weights is None:
        return False
    flat = tuple(x for x in problem.limits if not isinstance(x, _CEILINGS))
    if len(flat) == len(problem.limits):
        return False
    top = solved(free := problem.changed(limits=flat), goal)
    if top.weights is None or not top.success:
        return True
    gained = goal.value(problem, answer.weights) - goal.value(free, top.weights)
    return gained > _SLACK * goal.unit


def _no_ratio(problem: Problem) -> Answer | None:
    """Why there is no greatest Sharpe ratio, or None."""
    top = solved(problem, greatest_return(problem))
    if top.weights is None or not top.success:
        return None
    if problem.net_return(top.weights) <= problem.risk_free_rate:
        return _earns_too_little(problem, problem.net_return(top.weights))
    return None


def _earns_too_little(problem: Problem, most: float, within: str = "") -> Answer:
    return refused(
        f"{within}no portfolio is expected to earn more than the risk-free rate: at most "
        f"{at_most(most)}, against {problem.risk_free_rate:.6g}; minimise volatility instead",
        ReasonCode.INFEASIBLE,
    )


def _risky(problem: Problem, answer: Answer) -> bool:
    """Whether a proven answer has a risk that is more than rounding."""
    enough = _NO_RISK * problem.risk_unit
    return answer.success and answer.volatility is not None and answer.volatility > enough


def _free_lunch(problem: Problem) -> Answer | None:
    """That no Sharpe ratio is the greatest, as one without risk earns an excess; or None."""
    free = riskless(problem, problem.means)
    rate = problem.risk_free_rate
    if free is None or not allowed(problem, free):
        return None
    if problem.net_return(free) <= rate + _SLACK * problem.return_unit:
        return None
    return refused(
        "a portfolio without risk earns more than the risk-free rate, so no Sharpe ratio is "
        "the greatest: the covariance is singular (fewer returns than tickers?); shrink it",
        ReasonCode.BAD_PROBLEM,
    )


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
    answer = _of_few(free, partial(goal_of_limit, limit)) if few else solved(free, goal)
    if answer is None or answer.weights is None or not answer.success:
        return None
    if limit.excess(problem, answer.weights) <= _SLACK:
        return None
    best = goal.value(free, answer.weights)
    return out_of_reach(free, limit, best, answer.weights), attainable(limit, best)


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
