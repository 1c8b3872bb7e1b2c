"""Solving a `Problem`, and saying honestly how well."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from etf_pipeline.portfolio import certificate, conic, frontier
from etf_pipeline.portfolio.critical_line import Corners, corner_portfolios
from etf_pipeline.portfolio.problem import Floats, Problem

_DUST = 1e-8


@dataclass(frozen=True)
class Answer:
    """Weights and their proof, or None and the reason.

    `success` means feasible and within 1e-6 of the optimum by the certificate; a solver's own
    flag is never copied. `optimality_gap` is that bound, in return (or volatility) units.
    """

    success: bool
    message: str
    weights: Floats | None = None
    expected_return: float | None = None
    volatility: float | None = None
    sharpe_ratio: float | None = None
    optimality_gap: float | None = None
    risk_budget_binding: bool | None = None


def optimise(problem: Problem) -> Answer:
    """Solve a problem; the impossible is answered with what is possible.

    The critical line answers first. Where rounding defeats it, so that its answer cannot be
    proven, a cone solver is asked as well, and the better proven answer is given.
    """
    corners = corner_portfolios(problem)
    if problem.objective == "min_volatility":
        return _min_volatility(problem, corners)
    if problem.objective == "max_sharpe":
        return _max_sharpe(problem, corners)
    if problem.objective == "target_return":
        return _target_return(problem, corners, problem.target_return or 0.0)
    return _max_return(problem, corners)


def _first_proven(
    problem: Problem,
    tries: Iterable[Callable[[], Floats | None]],
    gap: Callable[[Floats], float],
    binding: bool | None = None,
) -> Answer:
    """The first answer that is proven, else the one nearest to it."""
    best: Answer | None = None
    for attempt in tries:
        weights = attempt()
        if weights is None:
            continue
        weights = _settled(problem, weights)
        answer = _answer(problem, weights, gap(weights), binding)
        if answer.success:
            return answer
        if best is None or (answer.optimality_gap or 0.0) < (best.optimality_gap or 0.0):
            best = answer
    return best or Answer(False, "no solver found weights")


def _min_volatility(problem: Problem, corners: Corners | None) -> Answer:
    return _first_proven(
        problem,
        (
            lambda: corners.weights[-1] if corners else None,
            lambda: conic.min_variance(problem),
        ),
        lambda w: certificate.gap_min_variance(problem, w),
    )


def _max_sharpe(problem: Problem, corners: Corners | None) -> Answer:
    best = float(problem.means @ certificate.best_linear(problem, problem.means))
    rate = problem.risk_free_rate
    if best <= rate:
        return Answer(
            False,
            f"no portfolio is expected to earn more than the risk-free rate: at most {best:.6g}, "
            f"against {rate:.6g}; minimise volatility instead",
        )
    lowest = _min_volatility(problem, corners)
    if not lowest.volatility and (lowest.expected_return or 0.0) > rate:
        return Answer(False, "a portfolio without risk earns more than the risk-free rate")
    return _first_proven(
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
    )


def _target_return(problem: Problem, corners: Corners | None, target: float) -> Answer:
    top = certificate.best_linear(problem, problem.means)
    most = float(problem.means @ top)
    if target > most + 1e-12 * max(1.0, abs(most)):
        return Answer(
            False,
            f"target return {target:.6g} is out of reach: the bounds allow at most {most:.6g} "
            f"({_leader(problem, top)})",
        )
    lowest = _min_volatility(problem, corners)
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
    )


def _max_return(problem: Problem, corners: Corners | None) -> Answer:
    most = float(problem.means @ certificate.best_linear(problem, problem.means))
    # Of several portfolios with the greatest return, the least volatile one.
    top = _target_return(problem, corners, most)
    budget = problem.risk_budget
    if budget is None or (top.volatility is not None and top.volatility <= budget):
        binding = None if budget is None else False
        message = top.message if binding is None else "optimal; the risk budget does not bind"
        return replace(top, risk_budget_binding=binding, message=message)
    lowest = _min_volatility(problem, corners)
    if lowest.volatility is not None and budget < lowest.volatility * (1 - 1e-12):
        return Answer(
            False,
            f"risk budget {budget:.6g} is below the least attainable volatility "
            f"{lowest.volatility:.6g} under these bounds; raise it to at least that",
        )
    return _first_proven(
        problem,
        (
            lambda: (
                frontier.at_volatility(corners, problem.covariance, budget) if corners else None
            ),
            lambda: conic.max_return(problem, budget),
        ),
        lambda w: certificate.gap_max_return(problem, w, budget),
        binding=True,
    )


def efficient_frontier(problem: Problem, points: int = 25) -> list[Answer]:
    """Portfolios from least volatility to greatest return, evenly spaced in return."""
    corners = corner_portfolios(problem)
    lowest = _min_volatility(problem, corners)
    if lowest.expected_return is None:
        return []
    most = float(problem.means @ certificate.best_linear(problem, problem.means))
    targets = np.linspace(lowest.expected_return, most, points)[1:]
    return [lowest, *(_target_return(problem, corners, float(t)) for t in targets)]


def _settled(problem: Problem, weights: Floats) -> Floats:
    """Remove the solver's rounding: dust to its bound, and a sum of 1 from the assets between."""
    lower, upper = problem.lower, problem.upper
    weights = np.clip(weights, lower, upper)
    weights = np.where(weights - lower < _DUST, lower, weights)
    weights = np.where(upper - weights < _DUST, upper, weights)
    inside = (weights > lower) & (weights < upper)
    off = 1.0 - weights.sum()
    movable = inside if inside.any() else (weights < upper if off > 0 else weights > lower)
    if movable.any():
        weights = np.where(movable, weights + off / movable.sum(), weights)
    return np.clip(weights, lower, upper)


def _answer(problem: Problem, weights: Floats, gap: float, binding: bool | None = None) -> Answer:
    vol = _volatility(problem, weights)
    mean = float(problem.means @ weights)
    ok = certificate.feasible(problem, weights) and gap <= certificate.TOLERANCE
    message = "optimal" if ok else f"not proven optimal: up to {gap:.3g} may be left"
    return Answer(
        ok,
        message,
        weights,
        mean,
        vol,
        (mean - problem.risk_free_rate) / vol if vol > 0 else None,
        max(gap, 0.0),
        binding,
    )


def _volatility(problem: Problem, weights: Floats) -> float:
    return math.sqrt(max(float(weights @ problem.covariance @ weights), 0.0))


def _leader(problem: Problem, weights: Floats) -> str:
    leader = int(np.argmax(weights))
    return f"{problem.names[leader]} at {weights[leader]:.0%}"
