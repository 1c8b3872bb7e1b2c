"""Which of several portfolios that are as good."""

from __future__ import annotations

import numpy as np

from etf_pipeline.portfolio.answer import Answer, settled
from etf_pipeline.portfolio.candidates import Candidate, as_near
from etf_pipeline.portfolio.certificate import rows_of
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.goals import Calmest, Least, LeastNorm, greatest_return
from etf_pipeline.portfolio.limits import TrackingErrorCeiling, VolatilityCeiling
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.solving import judge, solved

_SLACK = 1e-9
_SLIGHT = 1e-7  # an aversion to risk that costs no more than a ten-millionth of the goal's unit
# Of that unit: what is proven against it tells risks apart by a hundred-thousandth of a typical
# variance; of many assets, where the last digits take long, by a hundredth.
_FINE, _COARSE = 1e-6, 1e-3
_MANY = 100  # assets
_CEILINGS = (VolatilityCeiling, TrackingErrorCeiling)


def least_risky(problem: Problem, goal: Least, answer: Answer) -> Answer:
    """Of several portfolios that are as good, the least volatile one."""
    if answer.weights is None or _pays_for_risk(problem, goal, answer):
        return answer
    if goal.measure.tail and not problem.singular:  # of scenarios that differ, few are as good
        return answer
    # where a trade costs more than means differ, aversion must be told from rounding beside that
    trading = max((kink.rate for kink in goal.measure.kinks), default=0.0)
    for unit in sorted({goal.unit, max(goal.unit, trading)}, reverse=True):
        calmer = _calmer(problem, goal, answer, unit)
        if calmer is not None:
            return calmer
    return answer


def _calmer(problem: Problem, goal: Least, answer: Answer, unit: float) -> Answer | None:
    """What is as good as an answer and less volatile, by an aversion small against a unit."""
    assert answer.weights is not None
    aversion = _SLIGHT * unit / problem.risk_unit**2
    fine = _FINE if len(problem.names) <= _MANY else _COARSE
    # what is not proven as finely as that is judged by the goal all the same
    other = solved(problem, Calmest(goal.measure, problem.risk, aversion, fine * unit))
    if other.weights is None:
        return None
    found = judge(problem, goal, other.weights, Candidate(other.weights))
    lost = goal.value(problem, other.weights) - goal.value(problem, answer.weights)
    # by more than rounding, which would choose between assets that are the same
    calmer = (found.volatility or 0.0) < (answer.volatility or 0.0) - _SLACK * problem.risk_unit
    rounding = problem.return_rounding if goal.measure is problem.loss else 0.0
    return found if found.success and calmer and lost <= _SLACK * goal.unit + rounding else None


def best_earning(problem: Problem, goal: LeastNorm, answer: Answer) -> Answer:
    """Of several portfolios that are no riskier, as a singular covariance has, the best earning."""
    if answer.weights is None or _is_benchmark(problem, answer.weights):
        return answer
    earning = greatest_return(problem)
    for other in as_near(problem, earning, rows_of(problem), answer.weights):
        found = judge(problem, goal, settled(problem, other.weights), other)
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
