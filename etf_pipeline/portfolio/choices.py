"""Which assets are held, decided in part; and which assets are the same but for their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.functions import Floats, Measure, Norm, Row
from etf_pipeline.portfolio.problem import Problem

OUT, OPEN, IN = -1, 0, 1
Choices = npt.NDArray[np.int8]
_ALIKE = 1e-14  # of the largest value: equal but for the rounding of who computed it


@dataclass(frozen=True, eq=False)
class Few:
    """Choices (N,) of OUT, OPEN and IN.

    At most `left` of the open ones may be held, and whatever is held has at least the weight
    `least`.
    """

    choices: Choices
    left: int
    least: float

    def interval(self, problem: Problem) -> tuple[Floats, Floats]:
        """Least and greatest weights (N,) of assets, where they are held."""
        low, high = problem.box
        return np.maximum(low, self.least), high


def twins(problem: Problem, rows: Sequence[Row]) -> npt.NDArray[np.intp]:
    """For each asset the first one that it could change places with, shape (N,).

    Such two have the same estimates, bounds, holdings and parts in every row, so that nobody
    could tell whether their weights were exchanged.
    """
    facts = np.column_stack(_facts(problem, rows))
    allowed = _ALIKE * np.abs(facts).max(axis=0)
    covariance = problem.covariance
    slight = _ALIKE * float(np.abs(covariance).max())
    first = np.arange(len(facts))
    for j in range(1, len(facts)):
        earlier = np.flatnonzero(first[:j] == np.arange(j))
        near = np.all(np.abs(facts[earlier] - facts[j]) <= allowed, axis=1)
        for i in earlier[near]:
            apart = np.abs(covariance[i] - covariance[j])
            apart[[i, j]] = abs(covariance[i, i] - covariance[j, j])
            if apart.max() <= slight:
                first[j] = i
                break
    return first


def _facts(problem: Problem, rows: Sequence[Row]) -> list[Floats]:
    """What is known of each asset, but for its covariances: columns that have N rows."""
    low, high = problem.box
    found = [problem.means, low, high]
    if problem.holdings is not None:
        found.append(problem.holdings)
    if problem.benchmark is not None:
        found.append(problem.benchmark.covariances)
    for row in rows:
        if isinstance(row.function, Measure):
            found += [row.function.slope, *(k.centre for k in row.function.kinks)]
        elif isinstance(row.function, Norm):
            found.append(row.function.matrix @ row.function.centre + row.function.linear)
    if problem.scenarios is not None:
        found.append(problem.scenarios.returns.T)
    return found


def needless(problem: Problem, first: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Twins (N,) that move as one with an earlier asset, which may as well have the weight of both.

    Not where that has no room for it, nor where a trade away from what is held costs or counts.
    """
    low, high = problem.box
    roomy = (high >= problem.net_exposure[1]) & (low <= 0)
    if problem.holdings is not None:
        roomy &= problem.holdings == 0
    covariance, at = problem.covariance, np.arange(len(first))
    apart = np.abs(covariance[at, first] - covariance[first, first])
    as_one = apart <= _ALIKE * float(np.abs(covariance).max())
    return (first != at) & roomy & as_one
