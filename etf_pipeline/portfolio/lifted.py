"""Goals and limits as a measure and a multiple of one variance, w'Sw.

Volatility and tracking error differ in their linear part alone: the square of either is
w'Sw + slope'w + constant, and a ceiling of it is a limit of the variance and the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etf_pipeline.portfolio.functions import Measure, Norm, Row
from etf_pipeline.portfolio.goals import Goal, Least, LeastNorm, Utility


@dataclass(frozen=True, eq=False)
class Lifted:
    """measure(w) + curvature · w'Sw, as a goal, or as a limit: at most `greatest`."""

    measure: Measure
    curvature: float = 0.0
    greatest: float = 0.0

    @property
    def straight(self) -> Row:
        """The limit without its curvature."""
        return Row(self.measure, self.greatest, "")


def _square(norm: Norm) -> Measure:
    """A norm's square less w'Sw."""
    along = norm.matrix @ norm.centre
    constant = float(along @ norm.centre + 2.0 * (norm.linear @ norm.centre)) + norm.constant
    return Measure(-2.0 * (along + norm.linear), constant)


def lifted_goal(goal: Goal) -> Lifted | None:
    """A goal, its square where it is a norm; None for what is neither, such as a ratio."""
    if isinstance(goal, LeastNorm):
        return Lifted(_square(goal.norm), 1.0)
    if isinstance(goal, Utility):
        half = goal.aversion / 2.0
        return Lifted(goal.measure.plus(_square(goal.norm), half), half)
    return Lifted(goal.measure) if isinstance(goal, Least) else None


def lifted_rows(rows: Sequence[Row]) -> list[Lifted]:
    """Limits, those of norms by their squares."""
    return [
        Lifted(_square(row.function), 1.0, row.greatest**2)
        if isinstance(row.function, Norm)
        else Lifted(row.function, 0.0, row.greatest)
        for row in rows
    ]
