"""Proof that weights are optimal, whatever solver made them.

The gap is an upper bound, by weak duality, of what any allowed portfolio could still gain.
Objective and limits are convex, so each is above its tangent at the weights; with any multipliers
≥ 0 of the limits the sum of the tangents is a function whose least value over bounds and net
exposure is found exactly, by sorting. Poor multipliers make the gap larger, never wrong.

Weights w have shape (N,) and are allowed. A gap may come out slightly below 0, by rounding.

Source: Boyd & Vandenberghe, "Convex Optimization" (2004), section 5.1 (the dual function bounds the
optimum) and 3.1.3 (a convex function is above its tangents).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from etf_pipeline.portfolio.functions import Floats, Norm, Row, Scenarios
from etf_pipeline.portfolio.goals import Goal
from etf_pipeline.portfolio.knapsack import lowest
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Duals, Program
from etf_pipeline.portfolio.solvers import linear

TOLERANCE = 1e-6
_ROOM = 1e-9
_GOOD = 1e-8  # of a goal's unit: below, better multipliers are not worth a search


def rows_of(problem: Problem) -> list[Row]:
    """The rows of all limits of a problem."""
    return [row for rows in problem.rows_by_limit for row in rows]


def proven_gap(problem: Problem, goal: Goal, weights: Floats, duals: Sequence[Duals] = ()) -> float:
    """How much better any allowed portfolio could be than `weights`, at most, in the goal's unit.

    Args:
        problem: whose limits hold.
        goal: what is made least.
        weights: allowed ones, shape (N,).
        duals: what solvers say of the rows; the best ones for these weights are found by a linear
            program where they do not prove enough.
    """
    if not np.all(np.isfinite(goal.tangent(weights).slope)):
        return float("inf")  # a ratio without risk
    rows = rows_of(problem)
    enough = _GOOD * goal.unit
    best = _of_norm(goal, weights)
    for each in duals or [Duals(np.zeros(len(rows)))]:
        if best <= enough:
            return best
        best = min(best, gap(problem, goal, weights, rows, each))
    if best <= enough or not (rows or goal.tangent(weights).tail):
        return best
    found = best_duals(problem, goal, weights, rows)
    if found is not None:
        best = min(best, gap(problem, goal, weights, rows, found))
    return best


def _of_norm(goal: Goal, weights: Floats) -> float:
    """A norm is not below 0: what is that small already cannot gain more."""
    norm = getattr(goal, "norm", None)
    rooted = isinstance(norm, Norm) and not hasattr(goal, "measure")
    return norm.value(weights) if rooted and isinstance(norm, Norm) else float("inf")


def gap(problem: Problem, goal: Goal, weights: Floats, rows: Sequence[Row], duals: Duals) -> float:
    """The bound with these multipliers; see the module."""
    tail = tail_at(problem.scenarios, weights, duals)
    total = goal.tangent(weights)
    for row, y in zip(rows, duals.rows, strict=True):
        if y > 0:
            function = row.function
            tangent = function.tangent(weights) if isinstance(function, Norm) else function
            total = total.plus(tangent.beyond(row.greatest), float(y))
    total = total.linear(problem.scenarios, tail)
    least = lowest(*problem.box, problem.net_exposure, total.slope, total.kinks)
    # Differences are taken before sums, which would lose them.
    gained = float(total.slope @ (weights - least))
    gained += sum(
        k.rate * float((np.abs(weights - k.centre) - np.abs(least - k.centre)).sum())
        for k in total.kinks
    )
    return gained + goal.value(problem, weights) - total.value(weights)


def tail_at(scenarios: Scenarios | None, weights: Floats, duals: Duals) -> Floats | None:
    """Probabilities (T,) that the CVaR's tangent may have, as near to the solver's as allowed."""
    if scenarios is None:
        return None
    if duals.tail is None:
        return scenarios.tail_weights(weights)
    most = 1.0 / ((1.0 - scenarios.level) * len(scenarios.returns))
    found = np.minimum(duals.tail, most)
    room = most - found
    lack = 1.0 - float(found.sum())
    return found + room * (lack / float(room.sum())) if room.sum() > 0 else found


def best_duals(problem: Problem, goal: Goal, weights: Floats, rows: Sequence[Row]) -> Duals | None:
    """The multipliers of the linear program that the tangents at weights (N,) make.

    At an optimum that program has the same multipliers; a CVaR stays what it is.
    """
    # the limits are given room, as rounding may leave none; multipliers do not depend on it
    straight = [
        Row(
            r.function.tangent(weights) if isinstance(r.function, Norm) else r.function,
            r.greatest + _ROOM * r.size,
            r.label,
        )
        for r in rows
    ]
    found = linear.solve(Program.over(problem, goal.tangent(weights), straight))
    return None if found is None else found[1]
