"""Why no portfolio meets all limits, in words, with numbers that work when they are asked for."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

import numpy as np

from etf_pipeline.portfolio.functions import Floats, Measure, Norm, Row
from etf_pipeline.portfolio.goals import Goal, Least, LeastNorm
from etf_pipeline.portfolio.limits import (
    AboveTheRate,
    CvarCeiling,
    FewHoldings,
    LeastPosition,
    ReturnFloor,
    TrackingErrorCeiling,
    VolatilityCeiling,
)
from etf_pipeline.portfolio.problem import Limit, Problem
from etf_pipeline.portfolio.program import Program
from etf_pipeline.portfolio.solvers import linear

DIGITS = 6
# Of a number: what rounding has to leave, for a solver to prove what is asked with it. One that six
# digits say as it is needs no room: it is a corner.
_ROOM, _EXACT = Decimal("1e-6"), Decimal("1e-12")
_TIGHT = 1e-7
_BROKEN = 1e-9


def at_least(value: float) -> str:
    """A number that is not below `value`, of six digits."""
    return _written(value, ROUND_CEILING)


def at_most(value: float) -> str:
    """A number that is not above `value`, of six digits."""
    return _written(value, ROUND_FLOOR)


def _provable(value: float, rounding: str) -> str:
    """The same, far enough from `value` for a solver to prove what is asked with it."""
    context, exact = Context(DIGITS, rounding), Decimal(repr(float(value)))
    number = context.create_decimal(exact)
    if _EXACT * abs(exact) < abs(number - exact) < _ROOM * abs(exact):
        number = (context.next_plus if rounding == ROUND_CEILING else context.next_minus)(number)
    return _written(float(number), rounding)


def _written(value: float, rounding: str) -> str:
    text = f"{Context(DIGITS, rounding).create_decimal(repr(float(value) + 0.0)):f}"  # no −0
    return text.rstrip("0").rstrip(".") if "." in text else text


def hard(problem: Problem) -> list[Limit]:
    """Limits that no linear program over the weights alone can hold, and the return floor."""
    return [x for x in problem.limits if _is_hard(x, problem)]


def _is_hard(limit: Limit, problem: Problem) -> bool:
    rows = limit.rows(problem)
    if isinstance(limit, ReturnFloor):
        return bool(rows) and not isinstance(limit, AboveTheRate)
    return any(isinstance(r.function, Norm) or r.function.tail for r in rows)


def goal_of_limit(limit: Limit, problem: Problem) -> Goal:
    """The goal of meeting a limit of `hard` as well as possible."""
    (row,) = limit.rows(problem)
    if isinstance(row.function, Norm):
        return LeastNorm(row.function, problem.risk_unit)
    unit = problem.cvar_unit if isinstance(limit, CvarCeiling) else problem.return_unit
    return Least(row.function, unit)


def out_of_reach(problem: Problem, limit: Limit, best: float, weights: Floats) -> str:
    """That a limit asks for more than `best`, which `weights` (N,) attain under the others."""
    if isinstance(limit, ReturnFloor):
        leader = ""
        if len(problem.names) > 1:
            largest = int(np.argmax(weights))
            leader = f" ({problem.names[largest]} at {weights[largest]:.0%})"
        return (
            f"target return {limit.least:.6g} is out of reach: at most "
            f"{_provable(-best, ROUND_FLOOR)}{under(problem, weights, limit)}{leader}"
        )
    assert isinstance(limit, VolatilityCeiling | TrackingErrorCeiling | CvarCeiling)
    return (
        f"{limit.name} {limit.greatest:.6g} is below the least attainable {limit.noun} "
        f"{_provable(best, ROUND_CEILING)}{under(problem, weights, limit)}; "
        "raise it to at least that"
    )


def attainable(limit: Limit, best: float) -> Limit:
    """The same limit at the number that `out_of_reach` quotes."""
    if isinstance(limit, ReturnFloor):
        return replace(limit, least=float(_provable(-best, ROUND_FLOOR)))
    assert isinstance(limit, VolatilityCeiling | TrackingErrorCeiling | CvarCeiling)
    return replace(limit, greatest=float(_provable(best, ROUND_CEILING)))


def under(problem: Problem, weights: Floats, without: Limit | None = None) -> str:
    """The limits that weights (N,) press against, for a message."""
    names = binding(problem, weights, without)
    return f" under these limits: {', '.join(names)}" if names else " under these bounds"


def binding(problem: Problem, weights: Floats, without: Limit | None = None) -> list[str]:
    """Limits that weights (N,) press against, in words; plain 0-to-1 bounds are left out."""
    names = []
    low, high = problem.plain_box
    for name, weight, lo, hi in zip(problem.names, weights, low, high, strict=True):
        if lo != 0 and weight <= lo + _TIGHT:
            names.append(f"{name} at least {lo:.6g}")
        if hi != 1 and weight >= hi - _TIGHT:
            names.append(f"{name} at most {hi:.6g}")
    for limit in problem.limits:
        if limit is without:
            continue
        if isinstance(limit, FewHoldings | LeastPosition) and limit.excess(problem, weights) >= 0:
            names.append(f"{limit.name} {limit.words}")
        for row in limit.rows(problem):
            value = row.value(weights, problem.scenarios)
            if value >= row.greatest - _TIGHT * row.size:
                names.append(row.label)
    return names


def conflict(problem: Problem, rows: list[Row]) -> str | None:
    """Which rows of measures cannot all be met, in words, or None when they can.

    The least total violation shows which give way (an elastic program: Chinneck, 2008, "Feasibility
    and Infeasibility in Optimization").
    """
    low, high = problem.plain_box
    crossed = np.flatnonzero(low > high)
    if len(crossed):
        named = ", ".join(problem.names[i] for i in crossed)
        around = problem.benchmark_weights
        needed = float(np.maximum(problem.lower - around, around - problem.upper).max())
        return (
            f"active weights of {named} cannot be within their bounds: the greatest active weight "
            f"has to be {at_least(needed)} at least"
        )
    nothing = Measure(np.zeros(len(problem.names)))
    program = replace(Program.over(problem, nothing, rows), low=low, high=high)
    if linear.solve(program) is not None:
        return None
    over = linear.least_violations(program)
    if over is None:
        least, most = at_least(float(low.sum())), at_most(float(high.sum()))
        return f"weights within all bounds sum to {least} at least and {most} at most; widen them"
    tight = [
        f"{row.label} (short by {at_least(by * (1 - _BROKEN))})"
        for row, by in zip(rows, over, strict=True)
        if by > _BROKEN * row.size
    ]
    return "no portfolio meets all limits at once: " + ", ".join(tight) if tight else None
