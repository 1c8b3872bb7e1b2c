"""Portfolios from risk alone: risk budgets, and hierarchical risk parity, as answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from etf_pipeline.portfolio.answer import Answer, judged, refused_by
from etf_pipeline.portfolio.functions import Floats, Measure
from etf_pipeline.portfolio.hrp import hierarchical_risk_parity
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.risk_budgets import risk_budgeting
from etf_pipeline.risk.covariance import risk_contributions

_AS_ASKED = 1e-3  # a share of the risk this far from its budget is told


def from_risk_alone(problem: Problem, why_not: Callable[[Problem], Answer | None]) -> Answer:
    """Weights of `risk_parity` or `hrp`, or why there are none.

    `why_not` says which limits of a problem cannot be met together, None where they can.
    """
    try:
        if problem.objective == "hrp":
            return _by_tree(problem)
        return _by_budgets(problem)
    except ValueError as error:
        return why_not(problem) or refused_by(error)


def _by_tree(problem: Problem) -> Answer:
    weights = hierarchical_risk_parity(
        problem.covariance, problem.names, problem.lower, problem.upper
    )
    answer = judged(problem, weights, 0.0, 1.0)
    message = "by rule: hierarchical risk parity" if answer.success else answer.message
    return replace(answer, message=message, optimality_gap=None)


def _by_budgets(problem: Problem) -> Answer:
    n = len(problem.names)
    budgets = np.full(n, 1.0 / n) if problem.risk_budgets is None else problem.risk_budgets
    budgets = budgets / budgets.sum()
    rows, limits = _rows(problem)
    weights, gap = risk_budgeting(
        problem.covariance, budgets, problem.lower, problem.upper, rows, limits, problem.names
    )
    answer = judged(problem, weights, gap, 1.0)
    if not answer.success:
        return answer
    return replace(answer, message=_told(problem, weights, budgets))


def _rows(problem: Problem) -> tuple[Floats, Floats]:
    """Limits on groups as rows · w ≤ limits: (R, N) and (R,)."""
    found = [row for limit in problem.limits for row in limit.rows(problem)]
    slopes = [row.function.slope for row in found if isinstance(row.function, Measure)]
    return np.array(slopes).reshape(len(found), len(problem.names)), np.array(
        [row.greatest for row in found]
    )


def _told(problem: Problem, weights: Floats, budgets: Floats) -> str:
    """Whether the risk is shared as asked, or how far the limits keep it from that."""
    shares = risk_contributions(weights, problem.covariance)
    worst = int(np.argmax(np.abs(shares - budgets)))
    if abs(shares[worst] - budgets[worst]) <= _AS_ASKED:
        return "optimal"
    return (
        f"optimal; the limits keep the risk from being shared as asked: {problem.names[worst]} "
        f"carries {shares[worst]:.1%} of it, not {budgets[worst]:.1%}"
    )
