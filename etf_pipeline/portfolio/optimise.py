"""Solving a `Problem`, and saying honestly how well."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.objectives import FROM_RISK_ALONE, TWO_BUDGETS, two_budgets
from etf_pipeline.portfolio import certificate, conic, cvar, frontier, parity
from etf_pipeline.portfolio.answer import (
    Answer,
    cvar_unit,
    judged,
    leader,
    refused,
    refused_by,
    return_unit,
    risk_unit,
    settled,
    under,
    volatility,
)
from etf_pipeline.portfolio.critical_line import (
    Corners,
    corner_portfolios,
    means_with_order,
)
from etf_pipeline.portfolio.polyhedron import conflict, riskless
from etf_pipeline.portfolio.problem import Floats, Problem
from etf_pipeline.risk.covariance import risk_contributions

_TIED = 1e-9
_NOTHING_FOUND = "no solver found weights"


def optimise(problem: Problem) -> Answer:
    """Solve a problem; the impossible is answered with what is possible.

    Bounds alone are solved by the critical line, and by a cone solver only where rounding defeats
    it; groups, turnover and costs by the cone solver; CVaR by linear programming.

    Returns:
        Weights with their proof. Where there are none, a message that quotes what is attainable
        and the limits in the way, and its code: `INFEASIBLE`, `BAD_PROBLEM`, or `UNPROVEN`, which
        may come with the best weights that were found.
    """
    if not problem.simple and (reason := conflict(problem)) is not None:
        return refused(reason, ReasonCode.INFEASIBLE)
    solvers: dict[str, Callable[[Problem, Corners | None], Answer]] = {
        "min_volatility": _min_volatility,
        "max_sharpe": _max_sharpe,
        "target_return": _target_and_budget,
        "max_return": _max_return,
    }
    if problem.objective in FROM_RISK_ALONE:
        return _from_risk_alone(problem)
    if problem.objective == "min_cvar":
        return _min_cvar(problem)
    if problem.cvar_budget is not None:
        return _max_return_within_cvar(problem)
    if not problem.simple:
        return solvers[problem.objective](problem, None)
    answer = solvers[problem.objective](problem, corner_portfolios(problem))
    if answer.weights is None or answer.success:
        return answer
    careful = solvers[problem.objective](problem, corner_portfolios(problem, careful=True))
    return careful if careful.success else answer


def _first_proven(
    problem: Problem,
    tries: Iterable[Callable[[], Floats | None]],
    gap: Callable[[Floats], float],
    unit: float,
    binding: bool | None = None,
) -> Answer:
    """The first answer that is proven, else the one nearest to it."""
    best: Answer | None = None
    for attempt in tries:
        weights = attempt()
        if weights is None:
            continue
        weights = settled(problem, weights)
        answer = judged(problem, weights, gap(weights), unit, binding)
        if answer.success:
            return answer
        if best is None or (answer.optimality_gap or 0.0) < (best.optimality_gap or 0.0):
            best = answer
    return best or refused(_NOTHING_FOUND, ReasonCode.UNPROVEN)


def _min_volatility(problem: Problem, corners: Corners | None) -> Answer:
    return _first_proven(
        problem,
        (
            # Of several portfolios without variance, the one with the greatest return.
            lambda: riskless(problem, means_with_order(problem)),
            lambda: corners.weights[-1] if corners else None,
            lambda: conic.min_variance(problem),
        ),
        lambda w: certificate.gap_min_variance(problem, w),
        risk_unit(problem),
    )


def _most(problem: Problem) -> tuple[float, Floats]:
    """The greatest net return there is, and where."""
    top = certificate.best_linear(problem, problem.means)
    return problem.net_return(top), top


def _out_of_reach(problem: Problem, target: float, most: float, top: Floats) -> str | None:
    """Why no portfolio returns the target, given the most that one does, and which; else None."""
    if target > most + 1e-12 * max(1.0, abs(most)):
        limits = under(problem, top)
        return f"target return {target:.6g} is out of reach: at most {most:.6g}{limits}"
    return None


def _max_sharpe(problem: Problem, corners: Corners | None) -> Answer:
    best, _ = _most(problem)
    rate = problem.risk_free_rate
    if best <= rate:
        return refused(
            f"no portfolio is expected to earn more than the risk-free rate: at most {best:.6g}, "
            f"against {rate:.6g}; minimise volatility instead",
            ReasonCode.INFEASIBLE,
        )
    answer = _first_proven(
        problem,
        (
            lambda: (
                frontier.best_sharpe(corners, problem.means, problem.covariance, rate)
                if corners
                else None
            ),
            lambda: conic.max_sharpe(problem),
        ),
        lambda w: certificate.gap_max_sharpe(problem, w),
        return_unit(problem),
    )
    if answer.success:
        return answer
    free = riskless(problem, problem.means)
    if free is not None and problem.net_return(free) > rate:
        return refused(
            "a portfolio without risk earns more than the risk-free rate, so no Sharpe ratio is "
            "the greatest: the covariance is singular (fewer returns than tickers?); shrink it",
            ReasonCode.BAD_PROBLEM,
        )
    return answer


def _target_and_budget(problem: Problem, corners: Corners | None) -> Answer:
    """Least volatility that reaches the target; with a risk budget, only if it is within it."""
    assert problem.target_return is not None
    answer = _target_return(problem, corners, problem.target_return)
    budget = problem.risk_budget
    if budget is None or answer.volatility is None:
        return answer
    if answer.volatility <= budget * (1 + 1e-9):
        return replace(answer, risk_budget_binding=answer.volatility >= budget * (1 - 1e-6))
    within = _within_budget(problem, corners, budget)
    could = (
        f"{budget:.6g} allows a return of at most {within.expected_return:.6g}"
        if within.expected_return is not None
        else within.message
    )
    return refused(
        f"target return {problem.target_return:.6g} needs a volatility of at least "
        f"{answer.volatility:.6g}, above the risk budget; {could}",
        ReasonCode.INFEASIBLE,
    )


def _target_return(problem: Problem, corners: Corners | None, target: float) -> Answer:
    most, top = _most(problem)
    if why := _out_of_reach(problem, target, most, top):
        return refused(f"{why} ({leader(problem, top)})", ReasonCode.INFEASIBLE)
    return _reaching(problem, corners, target, _min_volatility(problem, corners), top)


def _reaching(
    problem: Problem, corners: Corners | None, target: float, lowest: Answer, top: Floats
) -> Answer:
    """Least volatility that reaches an attainable target, given both ends of the frontier."""
    if lowest.expected_return is not None and lowest.expected_return >= target:
        return lowest  # a floor below what least volatility earns anyway does not bind
    return _first_proven(
        problem,
        (
            lambda: frontier.at_return(corners, problem.means, target) if corners else None,
            lambda: conic.min_variance(problem, target),
            lambda: top,
        ),
        lambda w: certificate.gap_min_variance(problem, w, target),
        risk_unit(problem),
    )


def _max_return(problem: Problem, corners: Corners | None) -> Answer:
    most, _ = _most(problem)
    budget = problem.risk_budget
    if budget is not None and corners is not None:
        ends = [volatility(problem, corners.weights[k]) for k in (0, -1)]
        if ends[1] < budget < ends[0]:
            answer = _spending(problem, corners, budget)
            # Unless ties let the greatest return be had with less risk, the budget binds.
            if answer.expected_return is not None and answer.expected_return < most - _TIED * abs(
                most
            ):
                return answer
    # Of several portfolios with the greatest return, the least volatile one.
    top = _target_return(problem, corners, most)
    if budget is None:
        return top
    if top.volatility is not None and top.volatility <= budget:
        message = "optimal; the risk budget does not bind"
        return replace(top, risk_budget_binding=False, message=message)
    return _within_budget(problem, corners, budget)


def _within_budget(problem: Problem, corners: Corners | None, budget: float) -> Answer:
    """Greatest return whose volatility is the budget, for a budget that binds."""
    lowest = _min_volatility(problem, corners)
    if lowest.volatility is not None and budget < lowest.volatility * (1 - 1e-12):
        assert lowest.weights is not None
        return refused(
            f"risk budget {budget:.6g} is below the least attainable volatility "
            f"{lowest.volatility:.6g}{under(problem, lowest.weights)}; raise it to at least that",
            ReasonCode.INFEASIBLE,
        )
    return _spending(problem, corners, budget)


def _spending(problem: Problem, corners: Corners | None, budget: float) -> Answer:
    """Greatest return whose volatility is the budget."""
    return _first_proven(
        problem,
        (
            lambda: (
                frontier.at_volatility(corners, problem.covariance, budget) if corners else None
            ),
            lambda: conic.max_return(problem, budget),
            lambda: conic.max_return_by_bisection(problem, budget),
        ),
        lambda w: certificate.gap_max_return(problem, w, budget),
        return_unit(problem),
        binding=True,
    )


def _min_cvar(problem: Problem) -> Answer:
    target = problem.target_return
    if target is not None:
        most, top = _most(problem)
        if why := _out_of_reach(problem, target, most, top):
            return refused(why, ReasonCode.INFEASIBLE)
    found = cvar.min_cvar(problem)
    if found is None:
        return refused(_NOTHING_FOUND, ReasonCode.UNPROVEN)
    weights = settled(problem, found[0])
    loss = cvar.portfolio_cvar(problem, weights)
    return replace(judged(problem, weights, loss - found[1], cvar_unit(problem)), cvar=loss)


def _max_return_within_cvar(problem: Problem) -> Answer:
    assert problem.cvar_budget is not None
    if two_budgets(problem.risk_budget, problem.cvar_budget):
        return refused(TWO_BUDGETS, ReasonCode.BAD_PROBLEM)
    least = cvar.min_cvar(problem)
    if least is not None and least[1] > problem.cvar_budget * (1 + 1e-12):
        return refused(
            f"CVaR budget {problem.cvar_budget:.6g} is below the least attainable CVaR "
            f"{least[1]:.6g}{under(problem, least[0])}; raise it to at least that",
            ReasonCode.INFEASIBLE,
        )
    found = cvar.max_return(problem)
    if found is None:
        return refused(_NOTHING_FOUND, ReasonCode.UNPROVEN)
    weights = settled(problem, found[0])
    answer = judged(problem, weights, found[1] - problem.net_return(weights), return_unit(problem))
    return replace(answer, cvar=cvar.portfolio_cvar(problem, weights))


def _from_risk_alone(problem: Problem) -> Answer:
    try:
        if problem.objective == "hrp":
            weights = parity.hierarchical_risk_parity(problem.covariance, problem.names)
            answer = judged(problem, weights, 0.0, 1.0)
            return replace(answer, message="by rule: hierarchical risk parity", optimality_gap=None)
        weights = parity.equal_risk_contribution(problem.covariance)
    except ValueError as error:
        return refused_by(error)
    shares = risk_contributions(weights, problem.covariance)
    return judged(problem, weights, float(np.abs(shares - 1.0 / len(shares)).max()), 1.0)


def efficient_frontier(problem: Problem, points: int = 25) -> list[Answer]:
    """Portfolios from least volatility to greatest return, evenly spaced in return.

    Args:
        problem: its limits hold on every point; its objective and budgets do not.
        points: how many, at least two.

    Returns:
        `points` answers in ascending order of return; none when no portfolio meets the limits.
    """
    if not problem.simple and conflict(problem) is not None:
        return []
    corners = corner_portfolios(problem) if problem.simple else None
    lowest = _min_volatility(problem, corners)
    if lowest.expected_return is None:
        return []
    most, top = _most(problem)
    targets = np.linspace(lowest.expected_return, most, points)[1:]
    return [lowest, *(_reaching(problem, corners, float(t), lowest, top) for t in targets)]
