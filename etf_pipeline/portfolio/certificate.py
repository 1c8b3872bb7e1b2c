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
from dataclasses import replace

import numpy as np

from etf_pipeline.portfolio.functions import Floats, Measure, Norm, Row, Scenarios
from etf_pipeline.portfolio.goals import Goal, LeastNorm, Tangent
from etf_pipeline.portfolio.knapsack import lowest
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Duals, Program
from etf_pipeline.portfolio.solvers import linear
from etf_pipeline.portfolio.solvers.leaving import DEAR, leaving

TOLERANCE = 1e-6
_AT_LEAST = 1e-6
_ROOM = 1e-9
_ROUNDING = 1e-15
_GOOD = 1e-8  # of a goal's unit: below, better multipliers are not worth a search


def rows_of(problem: Problem) -> list[Row]:
    """The rows of all limits of a problem."""
    return [row for limit in problem.limits for row in limit.rows(problem)]


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
    for k, row in enumerate(rows):
        if best > enough and isinstance(row.function, Norm):
            best = min(best, _gap_without_inside(problem, goal, weights, rows, k))
    return best


def _gap_without_inside(
    problem: Problem, goal: Goal, weights: Floats, rows: Sequence[Row], k: int
) -> float:
    """The bound where norm k is at the least that the other limits allow.

    There no multiplier is large enough. But whatever meets the limits is then near: with n the norm
    at the weights w, proven to be within g of its least, (x − w)'S(x − w) ≤ greatest² − n² + 2 n g
    for every allowed x, so that r'(x − w) for r = S d is at most √(d'Sd) times the root of that.
    What is left of the goal's tangent is bounded as ever. The d that makes it small is that of
    least tangent'd + d'Sd/2 over the directions in which w can be left.
    """
    norm = rows[k].function
    assert isinstance(norm, Norm)
    value = norm.value(weights)
    if value < rows[k].greatest * (1.0 - _AT_LEAST):
        return float("inf")
    others = [row for j, row in enumerate(rows) if j != k]
    least = LeastNorm(norm, 1.0)
    duals = best_duals(problem, least, weights, others)
    if duals is None:
        return float("inf")
    off = max(gap(problem, least, weights, others, duals), 0.0)
    near = max(rows[k].greatest ** 2 - value**2, 0.0) + 2.0 * value * off + _ROUNDING * value**2
    best = float("inf")
    for dear in DEAR:
        direction = leaving(problem, goal.tangent(weights), others, norm, weights, dear)
        if direction is None:
            continue
        along = norm.matrix @ direction
        rest = Tangent(goal, Measure(along, -float(along @ weights)))
        found = best_duals(problem, rest, weights, rows)
        if found is not None:
            reach = float(np.sqrt(max(float(direction @ along), 0.0) * near))
            best = min(best, max(gap(problem, rest, weights, rows, found), 0.0) + reach)
    return best


def _of_norm(goal: Goal, weights: Floats) -> float:
    """A norm is not below 0: what is that small already cannot gain more."""
    norm = getattr(goal, "norm", None)
    rooted = isinstance(norm, Norm) and not hasattr(goal, "measure")
    return norm.value(weights) if rooted and isinstance(norm, Norm) else float("inf")


def gap(problem: Problem, goal: Goal, weights: Floats, rows: Sequence[Row], duals: Duals) -> float:
    """The bound with these multipliers; see the module."""
    tail = _tail(problem.scenarios, weights, duals)
    total = goal.tangent(weights)
    for row, y in zip(rows, duals.rows, strict=True):
        if y > 0:
            function = row.function
            tangent = function.tangent(weights) if isinstance(function, Norm) else function
            # a limit and what it is compared to may be large beside their difference
            over = replace(tangent, constant=tangent.constant - row.greatest)
            total = total.plus(over, float(y))
    total = total.linear(problem.scenarios, tail)
    least = lowest(*problem.box, problem.net_exposure, total.slope, total.kinks)
    # Differences are taken before sums, which would lose them.
    gained = float(total.slope @ (weights - least))
    gained += sum(
        k.rate * float((np.abs(weights - k.centre) - np.abs(least - k.centre)).sum())
        for k in total.kinks
    )
    return gained + goal.value(problem, weights) - total.value(weights)


def _tail(scenarios: Scenarios | None, weights: Floats, duals: Duals) -> Floats | None:
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
