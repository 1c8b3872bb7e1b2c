"""Weights that the engines propose for a goal, the fastest engine first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from etf_pipeline.portfolio.certificate import rows_of
from etf_pipeline.portfolio.check import allowed
from etf_pipeline.portfolio.functions import Floats, Measure, Norm, Row
from etf_pipeline.portfolio.goals import BestRatio, Calmest, Goal, Least, LeastNorm, Utility
from etf_pipeline.portfolio.knapsack import filled
from etf_pipeline.portfolio.limits import ReturnFloor, VolatilityCeiling
from etf_pipeline.portfolio.nearby import near
from etf_pipeline.portfolio.pins import Base
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Duals, Program
from etf_pipeline.portfolio.solvers import active_set, conic, frontier, interior, linear
from etf_pipeline.portfolio.solvers.critical_line import (
    Corners,
    corner_portfolios,
    means_with_order,
)
from etf_pipeline.portfolio.solvers.polish import polished

_NULL = 1e-12
_FEW = 100  # assets
_HALVINGS = 60
_ROOM = 8e-10  # of a limit's size
_THERE = 1e-15  # what the critical line says is at a bound is
_NEAR = (1e-7, 1e-5, 1e-4)  # what is that near to a bound or a limit is taken to be on it, in turn


@dataclass(frozen=True, eq=False)
class Candidate:
    """Weights (N,) and what their engine says of the multipliers."""

    weights: Floats
    duals: tuple[Duals, ...] = ()


def candidates(problem: Problem, goal: Goal) -> Iterator[Candidate]:
    """Weights for a goal within a problem's limits, until the caller has enough."""
    yield from _benchmark(problem, goal)
    rows = rows_of(problem)
    for candidate in _exact(problem, goal):
        yield candidate
        exact = polished(problem, goal, rows, candidate.weights, _THERE)
        if exact is not None:
            yield Candidate(exact[0], (exact[1],))
    start: Floats | None = None
    if rows and (len(problem.names) <= _FEW or isinstance(goal, Least)):
        # limits that do not bind leave the answer as it is without them, for next to nothing
        relaxed = problem.changed(limits=tuple(x for x in problem.limits if x.bounds_only))
        for candidate in islice(_exact(relaxed, goal), 1):
            if allowed(problem, candidate.weights):
                yield Candidate(candidate.weights)
            start = candidate.weights
    if problem.singular and isinstance(goal, LeastNorm):
        free = riskless(problem, means_with_order(problem), rows)
        if free is not None:
            yield Candidate(free)
    guessed = active_set.solve(problem, goal, rows, start)
    if guessed is not None:
        yield Candidate(guessed[0], (guessed[1],))
    last: Floats | None = None
    for given in (rows, [_with_room(row) for row in rows]):
        for solve in _engines(problem, goal, given):
            found = solve()
            if found is None:
                continue
            last = found[0]
            for apart in _NEAR:
                exact = polished(problem, goal, given, found[0], apart)
                if exact is not None:
                    yield Candidate(exact[0], (exact[1], found[1]))
            yield Candidate(found[0], (found[1],))
        if last is not None:
            break
    yield from _brought_inside(problem, goal, rows, last)


def _with_room(row: Row) -> Row:
    """A limit that contradicts others by rounding alone, with a part of what `check` allows."""
    return replace(row, greatest=row.greatest + _ROOM * row.size)


def _benchmark(problem: Problem, goal: Goal) -> Iterator[Candidate]:
    """The benchmark, where its weights are allowed, and not another that moves as it does."""
    known = problem.benchmark
    if known is None or known.weights is None or not isinstance(goal, LeastNorm):
        return
    if goal.norm is problem.active_risk and allowed(problem, known.weights):
        yield Candidate(known.weights)


def _brought_inside(
    problem: Problem, goal: Goal, rows: Sequence[Row], weights: Floats | None
) -> Iterator[Candidate]:
    """Weights (N,) that break a limit by a little, moved towards those that meet it best.

    A limit at the least that can be had leaves no inside, where solvers of cones lose their digits.
    """
    for k, row in enumerate(rows):
        if not isinstance(row.function, Norm) and not row.function.tail:
            continue
        others = [r for j, r in enumerate(rows) if j != k]
        least = (
            LeastNorm(row.function, 1.0)
            if isinstance(row.function, Norm)
            else Least(row.function, 1.0)
        )
        for solve in _engines(problem, least, others):
            found = solve()
            if found is None:
                continue
            for apart in _NEAR:
                exact = polished(problem, least, others, found[0], apart)
                if exact is not None:
                    duals = Duals(np.insert(exact[1].rows, k, 0.0), exact[1].tail)
                    yield from _nearby(problem, goal, rows, Base(exact[0], k, duals))
                    yield from _between(problem, row, weights, exact[0])
                    yield from as_near(problem, goal, rows, exact[0])
            yield from _between(problem, row, weights, found[0])


def _nearby(problem: Problem, goal: Goal, rows: Sequence[Row], base: Base) -> Iterator[Candidate]:
    """Weights around a base, and around the best of those without a difference in risk from it."""
    if not isinstance(rows[base.tight].function, Norm):
        return
    bases = [base]
    if problem.singular:
        others = as_near(problem, goal, rows, base.weights)
        bases = [*(replace(base, weights=c.weights) for c in others), base]
    for each in bases:
        for weights, duals in near(problem, goal, rows, each):
            yield Candidate(weights, (duals,))


def as_near(
    problem: Problem, goal: Goal, rows: Sequence[Row], weights: Floats
) -> Iterator[Candidate]:
    """Of all portfolios without a difference in risk from `weights`, the best for a linear goal."""
    tangent = goal.tangent(weights)
    if not problem.singular or not np.all(np.isfinite(tangent.slope)):
        return  # a ratio without risk has no tangent
    straight = [r for r in rows if not isinstance(r.function, Norm)]
    program = Program.over(problem, tangent, straight)
    found = linear.solve(program, _risky(problem), weights)
    if found is not None:
        yield Candidate(found[0])


def _between(
    problem: Problem, row: Row, weights: Floats | None, best: Floats
) -> Iterator[Candidate]:
    """The point nearest to `weights` on the way to `best` that meets a row, and `best` itself."""
    if weights is not None:
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            at = weights + middle * (best - weights)
            inside = row.value(at, problem.scenarios) <= row.greatest
            low, high = (low, middle) if inside else (middle, high)
        yield Candidate(weights + high * (best - weights))
    yield Candidate(best)


Solved = tuple[Floats, Duals] | None


def _engines(problem: Problem, goal: Goal, rows: Sequence[Row]) -> Iterator[Callable[[], Solved]]:
    """Linear programs by HiGHS; the others by the dense method, then by the cone solver."""
    if isinstance(goal, BestRatio):
        ratio = Program.over(problem, goal.measure, rows, goal.norm)
        yield lambda: interior.best_ratio(ratio, goal.measure, goal.norm)
        yield lambda: conic.best_ratio(ratio, goal.measure, goal.norm)
        return
    program = _program(problem, goal, rows)
    if program.linear:
        yield lambda: linear.solve(program)
    yield lambda: interior.solve(program)
    yield lambda: conic.solve(program)


def _program(problem: Problem, goal: Goal, rows: Sequence[Row]) -> Program:
    """What makes the goal least: a quadratic program where the goal is a norm or a utility."""
    if isinstance(goal, LeastNorm):
        nothing = Measure(np.zeros(len(problem.names)))
        return Program.over(problem, nothing, rows, goal.norm, rooted=True)
    if isinstance(goal, Utility):
        return Program.over(problem, goal.measure, rows, goal.norm, goal.aversion)
    assert isinstance(goal, Least)
    return Program.over(problem, goal.measure, rows)


def riskless(
    problem: Problem, gradient: Floats, rows: Sequence[Row] | None = None
) -> Floats | None:
    """Allowed weights without any variance, with the greatest gradient'w; None without such.

    Only a singular covariance has them. Found by a linear program on the null space, as solvers
    of the variance stop at about 1e-12, which is a volatility of 1e-6.
    """
    if not problem.singular:
        return None
    rows = rows_of(problem) if rows is None else rows
    straight = [r for r in rows if not isinstance(r.function, Norm)]
    program = Program.over(problem, Measure(-gradient), straight)
    found = linear.solve(program, _risky(problem), np.zeros(len(gradient)))
    return None if found is None else found[0]


def _risky(problem: Problem) -> Floats:
    """Directions (K, N) in which there is a variance."""
    values, vectors = np.linalg.eigh(problem.covariance)
    return np.asarray(vectors[:, values > _NULL * max(float(values[-1]), 0.0)].T)


def _exact(problem: Problem, goal: Goal) -> Iterator[Candidate]:
    """Read off the critical line, where bounds and one limit of return or risk are all there is."""
    others = [x for x, own in zip(problem.limits, problem.rows_by_limit, strict=True) if own]
    if not problem.invested or problem.cost_rate or len(others) > 1:
        return
    limit = others[0] if others else None
    low, high = problem.box
    if np.any(low > high) or low.sum() > 1 or high.sum() < 1:
        return
    if isinstance(goal, Least) and goal.measure is problem.loss and limit is None:
        yield Candidate(filled(low, high, problem.means))
        return
    read = _reader(problem, goal, limit)
    if read is None:
        return
    for careful in (False, True):
        corners = _corners(problem, careful)
        if corners is not None:
            yield read(corners)


def _corners(problem: Problem, careful: bool) -> Corners | None:
    """Traced once for problems that differ in their objective and limits alone."""
    low, high = problem.box
    key = (careful, low.tobytes(), high.tobytes())
    if key not in problem.traced:
        problem.traced[key] = corner_portfolios(problem, careful)
    return problem.traced[key]


Read = Callable[[Corners], Candidate]


def _reader(problem: Problem, goal: Goal, limit: object) -> Read | None:
    """How the answer to a goal is read off the corners; None where it is not on them."""
    means, covariance = problem.means, problem.covariance
    if isinstance(goal, LeastNorm) and goal.norm is problem.risk:
        if limit is None:
            return lambda corners: Candidate(corners.weights[-1])
        if isinstance(limit, ReturnFloor):
            least = limit.least
            return lambda corners: _at_return(problem, corners, least)
    earning = isinstance(goal, Least) and goal.measure is problem.loss
    if earning and isinstance(limit, VolatilityCeiling):
        (row,) = limit.rows(problem)
        return lambda corners: _at_volatility(problem, corners, row.greatest)
    if limit is not None:
        return None
    if isinstance(goal, BestRatio):
        rate = problem.risk_free_rate
        return lambda corners: Candidate(frontier.best_sharpe(corners, means, covariance, rate))
    if isinstance(goal, Utility) and not isinstance(goal, Calmest):
        return lambda corners: Candidate(frontier.at_multiplier(corners, 1.0 / goal.aversion))
    return None


def _at_return(problem: Problem, corners: Corners, least: float) -> Candidate:
    """Least volatility with a return: that of all where the floor does not bind."""
    lowest = corners.weights[-1]
    if float(problem.means @ lowest) >= least:
        return Candidate(lowest, (Duals(np.zeros(1)),))
    weights, multiplier = frontier.at_return(corners, problem.means, least)
    risk = problem.volatility(weights)
    return Candidate(weights, (Duals(np.array([multiplier / risk if risk > 0 else 0.0])),))


def _at_volatility(problem: Problem, corners: Corners, most: float) -> Candidate:
    """Greatest return within a volatility: that of all where the ceiling does not bind."""
    top = corners.weights[0]
    if problem.volatility(top) <= most:
        return Candidate(top, (Duals(np.zeros(1)),))
    weights, multiplier = frontier.at_volatility(corners, problem.covariance, most)
    risk = problem.volatility(weights)
    duals = Duals(np.array([risk / multiplier])) if multiplier > 0 else Duals(np.zeros(1))
    return Candidate(weights, (duals,))
