"""In which direction weights would be left, were a norm's distance from them all that it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from etf_pipeline.portfolio.functions import Floats, Measure, Norm, Row
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Program
from etf_pipeline.portfolio.solvers import interior

_BINDING = 1e-7
DEAR = (0.0, 1e3)  # of what rises the norm at once, to be tried in turn
_FAR = 1e4  # of a direction's size without limits: as good as no bound


def leaving(
    problem: Problem,
    tangent: Measure,
    rows: Sequence[Row],
    norm: Norm,
    weights: Floats,
    dear: float,
) -> Floats | None:
    """The direction d (N,) of least tangent'd + d'Sd/2 in which weights (N,) can be left.

    Bounds and rows that bind at the weights hold for d; what does not bind is of no account to a
    small step. Kinks and CVaR are taken as they slope at the weights: a direction is a guess, which
    the caller judges. `dear` is what it costs to raise the norm at once, in sizes of the tangent.
    None where none is found.
    """
    slope = _slope(tangent, problem, weights)
    low, high = problem.box
    scale = float(np.mean(np.diag(norm.matrix))) or 1.0
    far = _FAR * (float(np.ptp(slope)) or 1.0) / scale
    # what raises the norm at once is no way to leave by; as a limit it would leave no inside
    rising = norm.tangent(weights).slope
    steep = float(np.ptp(rising))
    if steep > 0 and dear:
        slope = slope + rising * (dear * float(np.ptp(slope)) / steep)
    straight = [
        Row(Measure(_slope(row.function, problem, weights)), 0.0, row.label)
        for row in rows
        if row.value(weights, problem.scenarios) >= row.greatest - _BINDING * row.size
    ]
    program = replace(
        Program.over(problem, Measure(slope), straight, Norm.of(norm.matrix)),
        low=np.where(weights - low <= _BINDING, 0.0, -far),
        high=np.where(high - weights <= _BINDING, 0.0, far),
        total=(0.0, 0.0) if problem.net_exposure[0] == problem.net_exposure[1] else (-far, far),
    )
    found = interior.solve(program)
    return None if found is None else found[0]


def _slope(function: Measure | Norm, problem: Problem, weights: Floats) -> Floats:
    if isinstance(function, Norm):
        return function.tangent(weights).slope
    tail = problem.scenarios.tail_weights(weights) if problem.scenarios is not None else None
    slope = function.linear(problem.scenarios, tail).slope
    for kink in function.kinks:
        slope = slope + kink.rate * np.sign(weights - kink.centre)
    return slope
