"""The efficient frontier as it is told: points with a proof, and what became of the others."""

from __future__ import annotations

from dataclasses import dataclass

from etf_pipeline.errors import EtfError
from etf_pipeline.portfolio.answer import Answer
from etf_pipeline.portfolio.optimise import efficient_frontier, optimise
from etf_pipeline.portfolio.problem import Problem


@dataclass(frozen=True)
class Curve:
    """`points` by their number, counted from least volatility; `remarks` on those left out."""

    points: tuple[tuple[int, Answer], ...]
    remarks: tuple[str, ...] = ()


def proven_curve(problem: Problem, points: int = 25) -> Curve:
    """Portfolios from least volatility to greatest return, those that are proven alone.

    A search over holdings may stop without a proof. Such a point may lie above the frontier, and
    nothing in its numbers would tell.
    """
    found = list(enumerate(efficient_frontier(problem, points)))
    bad = [(i, a) for i, a in found if not a.success or a.weights is None]
    good = tuple((i, a) for i, a in found if a.success and a.weights is not None)
    if not bad:
        return Curve(good)
    numbers = ", ".join(str(i) for i, _ in bad)
    what = f"point {numbers} is" if len(bad) == 1 else f"points {numbers} are"
    return Curve(
        good, (f"{what} not proven, and left out of the frontier (the first: {bad[0][1].message})",)
    )


def frontier_of(problem: Problem, points: int) -> Curve:
    """The same, where somebody asks for nothing else.

    Raises:
        EtfError: not one portfolio is proven: no portfolio meets the limits, say.
    """
    found = proven_curve(problem, points)
    if not found.points:
        least = optimise(problem.changed(objective="min_volatility"))
        raise EtfError(least.message, code=least.code)
    return found
