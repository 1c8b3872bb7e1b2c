"""The greatest ratio of few holdings as a least variance, for which its perspective is a bound.

With x = w / (excess return of w) the ratio is 1/√(x'Sx), the excess return of x is 1, and every
linear limit of w is one of x, as Σ x stands for the 1 that w sums to. Of portfolios that are better
than one that is known Σ x has a greatest value, as none has less than the least risk.

Source: Schaible, "Parameter-free convex equivalent and dual programs of fractional programming
problems" (1974).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etf_pipeline.portfolio.choices import OUT, Choices
from etf_pipeline.portfolio.functions import Measure, Row
from etf_pipeline.portfolio.goals import BestRatio, Goal
from etf_pipeline.portfolio.lifted import Lifted
from etf_pipeline.portfolio.problem import Problem

_MORE = 1.01  # of the greatest Σ x, so that rounding leaves no better portfolio out


@dataclass(frozen=True, eq=False)
class Scaled:
    """The problem of x, its goal and its limits."""

    problem: Problem
    goal: Lifted
    limits: list[Lifted]

    @classmethod
    def of(
        cls, problem: Problem, goal: Goal, rows: Sequence[Row], best: float, least_risk: float
    ) -> Scaled | None:
        """That of portfolios with a ratio above `best`; None where there is no such form.

        Args:
            problem: invested whole, with linear limits alone.
            goal: the greatest ratio.
            rows: those of the limits.
            best: a ratio above 0 that is attained.
            least_risk: of all portfolios, above 0.
        """
        if not isinstance(goal, BestRatio) or goal.measure.kinks or not problem.invested:
            return None
        if not (0 < best < np.inf and least_risk > 0):
            return None
        n, most = len(problem.names), _MORE / (best * least_risk)
        limits = [Lifted(goal.measure, 0.0, -1.0)]
        for row in rows:
            function = row.function
            if not isinstance(function, Measure) or function.kinks or function.tail:
                return None
            limits.append(Lifted(Measure(function.slope + function.constant - row.greatest)))
        low, high = problem.box
        for i in np.flatnonzero(high < 1):
            limits.append(Lifted(Measure(np.eye(n)[i] - high[i])))
        for i in np.flatnonzero(low > 0):
            limits.append(Lifted(Measure(low[i] - np.eye(n)[i])))
        scaled = problem.changed(
            limits=(),
            lower=np.zeros(n),
            upper=np.full(n, most),
            net_exposure=(0.0, most),
        )
        return cls(scaled, Lifted(Measure(np.zeros(n)), 1.0), limits)

    def within(self, choices: Choices) -> Problem:
        """The problem without the assets that are left out."""
        upper = np.where(choices == OUT, 0.0, self.problem.upper)
        return self.problem.changed(upper=upper)
