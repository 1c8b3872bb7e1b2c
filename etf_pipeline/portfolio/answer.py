"""What an optimiser answers, and how weights become an answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.portfolio.certificate import TOLERANCE
from etf_pipeline.portfolio.check import violations
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.limits import VolatilityCeiling
from etf_pipeline.portfolio.problem import Problem

_DUST = 1e-8
_BINDS = 1e-6
_TRIES = 3
_WHOLE = 1e-13


@dataclass(frozen=True)
class Answer:
    """Weights and their proof, or None and the reason.

    `success` means feasible and within 1e-6 of the optimum by the certificate, relative to the
    problem's own scale; a solver's own flag is never copied. `optimality_gap` is that bound: in
    units of return, of volatility, of CVaR, or (risk parity) of the mean relative error of risk
    contributions, see `budget_proof`. `expected_return` is net of trading costs. `code` says why
    there is no success, None when there is. `cash` is the part that is in none of the assets, below
    0 where it is borrowed; `beta` is to the benchmark.
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
    tracking_error: float | None = None
    beta: float | None = None
    cash: float | None = None
    code: ReasonCode | None = None


def refused(message: str, code: ReasonCode) -> Answer:
    """No weights, and why."""
    return Answer(False, message, code=code)


def refused_by(error: EtfError | ValueError) -> Answer:
    """No weights, as the problem could not even be stated."""
    code = error.code if isinstance(error, EtfError) else ReasonCode.BAD_PROBLEM
    return refused(str(error), code)


def settled(problem: Problem, weights: Floats, sweep: bool = True) -> Floats:
    """Weights (N,) without the solver's rounding: dust goes to its bound, and the sum is whole.

    What that moves is taken from, or given to, the assets between their bounds. Without `sweep`
    dust stays: beside cash that hardly moves, a hundred-millionth of a fund may count.
    """
    lower, upper = problem.box
    dust = (_DUST if problem.simple else _DUST / 1000) if sweep else 0.0
    weights = np.clip(weights, lower, upper)
    weights = np.where(weights - lower < dust, lower, weights)
    weights = np.where(upper - weights < dust, upper, weights)
    if not problem.invested:
        return weights + 0.0
    for _ in range(_TRIES):  # what is added may end at a bound, and leave the rest to others
        inside = (weights > lower) & (weights < upper)
        off = 1.0 - weights.sum()
        movable = inside if inside.any() else (weights < upper if off > 0 else weights > lower)
        if movable.any():
            weights = np.where(movable, weights + off / movable.sum(), weights)
        weights = np.clip(weights, lower, upper) + 0.0  # of −0 makes 0
        if abs(1.0 - weights.sum()) <= _WHOLE:
            break
    return weights


def _beta(problem: Problem, weights: Floats) -> float | None:
    """To the benchmark; None without one, or where it does not move."""
    if problem.benchmark is None or problem.benchmark.variance <= 0:
        return None
    return float(problem.betas @ weights)


def judged(problem: Problem, weights: Floats, gap: float, unit: float) -> Answer:
    """Weights with their figures, and success where check and certificate allow it.

    `unit` is what the gap is small against, so that success does not depend on whether returns are
    daily, annual or in per cent.
    """
    vol = problem.volatility(weights)
    mean = problem.net_return(weights)
    broken = violations(problem, weights)
    proven = gap <= TOLERANCE * unit
    ceilings = [x.greatest for x in problem.limits if isinstance(x, VolatilityCeiling)]
    binds = vol >= min(ceilings) * (1 - _BINDS) if ceilings else None
    ok = proven and not broken
    if ok:
        message = "optimal; the risk budget does not bind" if binds is False else "optimal"
    elif broken:
        message = f"no portfolio within every limit was found: {'; '.join(broken)}"
    elif np.isfinite(gap):
        message = f"not proven optimal: up to {gap:.3g} may be left"
    else:
        message = "not proven optimal"
    return Answer(
        ok,
        message,
        weights,
        mean,
        vol,
        (mean - problem.risk_free_rate) / vol if vol > 0 else None,
        max(gap, 0.0) if np.isfinite(gap) else None,
        binds,
        problem.cvar(weights) if problem.scenarios is not None else None,
        problem.tracking_error(weights) if problem.benchmark is not None else None,
        _beta(problem, weights),
        0.0 if problem.invested else 1.0 - float(weights.sum()),
        code=None if ok else ReasonCode.UNPROVEN,
    )
