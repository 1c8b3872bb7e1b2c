"""What an optimiser answers, and how weights become an answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.portfolio import certificate
from etf_pipeline.portfolio.polyhedron import binding
from etf_pipeline.portfolio.problem import Floats, Problem

_DUST = 1e-8


@dataclass(frozen=True)
class Answer:
    """Weights and their proof, or None and the reason.

    `success` means feasible and within 1e-6 of the optimum by the certificate, relative to the
    problem's own scale; a solver's own flag is never copied. `optimality_gap` is that bound: in
    units of return, of volatility, of CVaR, or (risk parity) of the largest error of a risk
    contribution. `expected_return` is net of trading costs. `code` says why there is no success,
    None when there is.
    """

    success: bool
    message: str
    weights: Floats | None = None
    expected_return: float | None = None
    volatility: float | None = None
    sharpe_ratio: float | None = None
    optimality_gap: float | None = None
    risk_budget_binding: bool | None = None
    cvar: float | None = None
    code: ReasonCode | None = None


def refused(message: str, code: ReasonCode) -> Answer:
    """No weights, and why."""
    return Answer(False, message, code=code)


def refused_by(error: EtfError | ValueError) -> Answer:
    """No weights, as the problem could not even be stated."""
    code = error.code if isinstance(error, EtfError) else ReasonCode.BAD_PROBLEM
    return refused(str(error), code)


def settled(problem: Problem, weights: Floats) -> Floats:
    """Weights (N,) without the solver's rounding: dust goes to its bound, and the sum is 1 again.

    What that moves is taken from, or given to, the assets between their bounds.
    """
    lower, upper = problem.lower, problem.upper
    dust = _DUST if problem.simple else _DUST / 1000
    weights = np.clip(weights, lower, upper)
    weights = np.where(weights - lower < dust, lower, weights)
    weights = np.where(upper - weights < dust, upper, weights)
    inside = (weights > lower) & (weights < upper)
    off = 1.0 - weights.sum()
    movable = inside if inside.any() else (weights < upper if off > 0 else weights > lower)
    if movable.any():
        weights = np.where(movable, weights + off / movable.sum(), weights)
    return np.clip(weights, lower, upper)


def judged(
    problem: Problem, weights: Floats, gap: float, unit: float, budget_binds: bool | None = None
) -> Answer:
    """Weights with their figures, and success where the certificate allows it.

    `unit` is what the gap is small against (see `return_unit`), so that success does not depend
    on whether returns are daily, annual or in per cent.
    """
    vol = volatility(problem, weights)
    mean = problem.net_return(weights)
    ok = certificate.feasible(problem, weights) and gap <= certificate.TOLERANCE * unit
    return Answer(
        ok,
        "optimal" if ok else f"not proven optimal: up to {gap:.3g} may be left",
        weights,
        mean,
        vol,
        (mean - problem.risk_free_rate) / vol if vol > 0 else None,
        max(gap, 0.0),
        budget_binds,
        code=None if ok else ReasonCode.UNPROVEN,
    )


def volatility(problem: Problem, weights: Floats) -> float:
    """√(w'Σw), in the unit of time of the problem."""
    return math.sqrt(max(float(weights @ problem.covariance @ weights), 0.0))


def return_unit(problem: Problem) -> float:
    """The spread of the means, what a gap in returns is measured against; 1 if there is none."""
    return float(np.ptp(problem.means)) or float(np.abs(problem.means).max()) or 1.0


def risk_unit(problem: Problem) -> float:
    """A typical asset's volatility, what a gap in volatility is measured against."""
    return math.sqrt(float(np.mean(np.diag(problem.covariance)))) or 1.0


def cvar_unit(problem: Problem) -> float:
    """A typical scenario's size, what a gap in CVaR is measured against."""
    return 1.0 if problem.scenarios is None else float(problem.scenarios.std()) or 1.0


def under(problem: Problem, weights: Floats) -> str:
    """The limits that stand in the way, for a message."""
    names = binding(problem, weights)
    return f" under these limits: {', '.join(names)}" if names else " under these bounds"


def leader(problem: Problem, weights: Floats) -> str:
    """The largest holding, for a message."""
    largest = int(np.argmax(weights))
    return f"{problem.names[largest]} at {weights[largest]:.0%}"
