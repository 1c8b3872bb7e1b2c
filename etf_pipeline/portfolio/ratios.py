"""Where there is no greatest Sharpe ratio, and why; and which of several that are alike."""

from __future__ import annotations

import numpy as np

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio.answer import Answer, refused
from etf_pipeline.portfolio.attainable import at_most, hard
from etf_pipeline.portfolio.candidates import Candidate, riskless
from etf_pipeline.portfolio.check import allowed
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.goals import goal_of, greatest_return
from etf_pipeline.portfolio.limits import AboveTheRate
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.solving import judge, solved
from etf_pipeline.portfolio.why_not import of_few, why_not

_SLACK = 1e-9
_ABOVE = 1e-6  # of the unit of returns: what a ratio earns at least beyond the risk-free rate
_HALVINGS = 60
_EXACT = 1e-12  # what is scaled shall use up no tolerance
_NO_RISK = 1e-6  # of a typical volatility


def no_ratio(problem: Problem) -> Answer | None:
    """Why there is no greatest Sharpe ratio, or None."""
    top = solved(problem, greatest_return(problem))
    if top.weights is None or not top.success:
        return None
    if not earns_more(problem, top):
        return _earns_too_little(problem, problem.net_return(top.weights))
    return None


def earns_more(problem: Problem, answer: Answer) -> bool:
    """Whether an answer earns more than the risk-free rate, by more than rounding."""
    if answer.weights is None:
        return False
    excess = problem.net_return(answer.weights) - problem.risk_free_rate
    return excess > problem.return_rounding + _SLACK * problem.return_unit


def _earns_too_little(problem: Problem, most: float, within: str = "") -> Answer:
    return refused(
        f"{within}no portfolio is expected to earn more than the risk-free rate: at most "
        f"{at_most(most)}, against {problem.risk_free_rate:.6g}; minimise volatility instead",
        ReasonCode.INFEASIBLE,
    )


def risky(problem: Problem, answer: Answer) -> bool:
    """Whether a proven answer has a risk that is more than rounding."""
    enough = _NO_RISK * problem.risk_unit
    return answer.success and answer.volatility is not None and answer.volatility > enough


def free_lunch(problem: Problem) -> Answer | None:
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


def why_no_ratio(problem: Problem) -> Answer | None:
    """Why no portfolio meets all limits, with numbers at which one earns more than the rate."""
    others = hard(problem)
    easy = tuple(x for x in problem.limits if x not in others)
    if (why := why_not(problem.changed(limits=easy))) is not None:
        return why
    if (why := no_ratio(problem.changed(limits=easy))) is not None:
        return why
    above = AboveTheRate(problem.risk_free_rate + _ABOVE * problem.return_unit)
    return why_not(problem.changed(limits=(*problem.limits, above)))


def most_invested(problem: Problem, answer: Answer) -> Answer:
    """Of portfolios that differ in their scale alone, and so not in their ratio, the largest.

    That is the one of least cash, or with a net exposure of 0 that of the largest positions.
    """
    if problem.invested or problem.cost_rate or answer.weights is None:
        return answer
    low, high = 1.0, _room(problem, answer.weights)
    if not 1.0 < high < np.inf:
        return answer
    if not allowed(problem, high * answer.weights, _EXACT):
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            met = allowed(problem, middle * answer.weights, _EXACT)
            low, high = (middle, high) if met else (low, middle)
        high = low
    weights = np.clip(high * answer.weights, *problem.box)
    found = judge(problem, goal_of(problem), weights, Candidate(weights))
    return found if found.success else answer


def _room(problem: Problem, weights: Floats) -> float:
    """By how much weights (N,) may be multiplied within bounds and net exposure."""
    total, (least, most) = float(weights.sum()), problem.net_exposure
    if abs(total) <= _EXACT * float(np.abs(weights).sum()):
        total = 0.0
    ends = np.append(np.where(weights < 0, *problem.box), least if total < 0 else most)
    sizes = np.append(weights, total)
    held = sizes != 0
    return float((ends[held] / sizes[held]).min(initial=np.inf))


def too_low_of_few(problem: Problem, words: str) -> Answer | None:
    """Why few holdings have no greatest Sharpe ratio, where they earn too little; else None."""
    top = of_few(problem, greatest_return) if problem.objective == "max_sharpe" else None
    if top is None or not top.success or (top.expected_return or 0.0) > problem.risk_free_rate:
        return None
    return _earns_too_little(problem, top.expected_return or 0.0, f"with its {words} ")
