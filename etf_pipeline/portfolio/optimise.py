"""Solving a `Problem`, and saying honestly how well."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from etf_pipeline.portfolio import certificate, conic
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
    """Solve a problem; the impossible is answered with what is possible."""
    if problem.objective == "min_volatility":
        return _min_volatility(problem)
    if problem.objective == "max_sharpe":
        return _max_sharpe(problem)
    if problem.objective == "target_return":
        return _target_return(problem)
    return _max_return(problem)


def _min_volatility(problem: Problem) -> Answer:
    weights = conic.min_variance(problem)
    if weights is None:
        return Answer(False, "the solver found no weights")
    weights = _settled(problem, weights)
    return _answer(problem, weights, certificate.gap_min_variance(problem, weights))


def _max_sharpe(problem: Problem) -> Answer:
    best = float(problem.means @ certificate.best_linear(problem, problem.means))
    if best <= problem.risk_free_rate:
        return Answer(
            False,
            f"no portfolio is expected to earn more than the risk-free rate: at most {best:.6g}, "
            f"against {problem.risk_free_rate:.6g}; minimise volatility instead",
        )
    weights = conic.max_sharpe(problem)
    if weights is None:
        return Answer(False, "the solver found no weights")
    weights = _settled(problem, weights)
    if float(weights @ problem.covariance @ weights) <= 0:
        return Answer(False, "a portfolio without risk earns more than the risk-free rate")
    return _answer(problem, weights, certificate.gap_max_sharpe(problem, weights))


def _target_return(problem: Problem) -> Answer:
    target = problem.target_return
    assert target is not None
    top = certificate.best_linear(problem, problem.means)
    most = float(problem.means @ top)
    if target > most + 1e-12:
        return Answer(
            False,
            f"target return {target:.6g} is out of reach: the bounds allow at most {most:.6g} "
            f"({_leader(problem, top)})",
        )
    weights = conic.min_variance(problem, target)
    if weights is None:
        weights = top
    weights = _settled(problem, weights)
    lowest = conic.min_variance(problem)
    if lowest is not None:
        # A floor below what least volatility earns anyway does not bind.
        lowest = _settled(problem, lowest)
        if float(problem.means @ lowest) >= target:
            weights = lowest
            return _answer(problem, weights, certificate.gap_min_variance(problem, weights))
    return _answer(problem, weights, certificate.gap_min_variance(problem, weights, target))


def _max_return(problem: Problem) -> Answer:
    top = certificate.best_linear(problem, problem.means)
    budget = problem.risk_budget
    if budget is None or _volatility(problem, top) <= budget:
        # Ties between means are broken towards less risk by the volatility minimum among them.
        top = _least_risky_of_best(problem, top)
        return _answer(problem, top, 0.0, binding=False if budget is not None else None)
    lowest = _min_volatility(problem)
    assert lowest.volatility is not None
    if budget < lowest.volatility * (1 - 1e-12):
        return Answer(
            False,
            f"risk budget {budget:.6g} is below the least attainable volatility "
            f"{lowest.volatility:.6g} under these bounds; raise it to at least that",
        )
    weights = conic.max_return(problem, budget)
    if weights is None:
        return Answer(False, "the solver found no weights")
    weights = _settled(problem, weights)
    return _answer(
        problem, weights, certificate.gap_max_return(problem, weights, budget), binding=True
    )


def _least_risky_of_best(problem: Problem, top: Floats) -> Floats:
    most = float(problem.means @ top)
    found = conic.min_variance(problem, most)
    if found is None:
        return top
    found = _settled(problem, found)
    close = abs(float(problem.means @ found) - most) <= 1e-10 * max(1.0, abs(most))
    return found if close and _volatility(problem, found) < _volatility(problem, top) else top


def efficient_frontier(problem: Problem, points: int = 25) -> list[Answer]:
    """Portfolios from least volatility to greatest return, evenly spaced in return."""
    lowest = _min_volatility(problem)
    top = certificate.best_linear(problem, problem.means)
    assert lowest.expected_return is not None
    assert lowest.weights is not None
    targets = np.linspace(lowest.expected_return, float(problem.means @ top), points)
    answers = [lowest]
    for target in targets[1:]:
        weights = conic.min_variance(problem, float(target))
        if weights is not None:
            weights = _settled(problem, weights)
            gap = certificate.gap_min_variance(problem, weights, float(target))
            answers.append(_answer(problem, weights, gap))
    return answers


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
    if binding is False:
        message = "optimal; the risk budget does not bind"
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
