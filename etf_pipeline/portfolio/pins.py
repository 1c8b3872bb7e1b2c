"""What stays as it is around a portfolio of least risk, as leaving it would use up all the room.

At the least of a norm its slope is that of the limits that bind, times their multipliers. What has
a multiplier costs risk at once, in proportion to the step and not to its square; where hardly any
risk may be added it is not left. So bounds are kept, and rows become equations. Trades and a CVaR
are taken as they slope there: a weight stays at its kink, and scenarios at the border of the CVaR
lose the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.functions import Floats, Measure, Norm, Row, Scenarios
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Duals

_DEAR = 1e-3  # of the norm's slope: what costs that much is not left at all
_SAME = 1e-12
_KINK = 1e-9  # of a weight
_INSIDE = 1e-6  # of a scenario's greatest probability

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Base:
    """Weights (N,) near the least of the norm of row `tight`, and what it costs to leave them.

    `duals` are the multipliers at that least, of all rows; that of the tight one is 0.
    """

    weights: Floats
    tight: int
    duals: Duals


@dataclass(frozen=True, eq=False)
class Pins:
    """What stays.

    Attributes:
        weights: which of the weights, shape (N,).
        total: whether their sum.
        rows: which of the rows, shape (M,); their slopes are `flat`.
        idle: rows that say nothing more, shape (M,).
        flat: slopes (N,) of rows, by place.
        border: slopes (B, N) that stay 0: of scenarios' losses less that of the first.
        places: of these scenarios, the first one first, shape (B + 1,), or none.
        multipliers: of the rows, shape (M,), by which the slope of the norm was lessened.
        slope: what is left of it, shape (N,); None where nothing stays.
    """

    weights: Flags
    total: bool
    rows: Flags
    idle: Flags
    flat: dict[int, Floats]
    border: Floats
    places: npt.NDArray[np.intp]
    multipliers: Floats
    slope: Floats | None = None

    @classmethod
    def none(cls, problem: Problem, rows: Sequence[Row]) -> Pins:
        """Nothing does."""
        n, nothing = len(problem.names), np.zeros(len(rows), dtype=bool)
        nowhere, still = np.zeros(0, dtype=np.intp), np.zeros(n, dtype=bool)
        zeros = np.zeros((0, n))
        return cls(still, False, nothing, nothing, {}, zeros, nowhere, np.zeros(len(rows)))

    @classmethod
    def of(cls, problem: Problem, rows: Sequence[Row], base: Base, tail: bool) -> Pins:
        """By the multipliers at the base; `tail` says whether a CVaR may become an equation."""
        norm = rows[base.tight].function
        assert isinstance(norm, Norm)
        slope = norm.tangent(base.weights).slope
        size = float(np.ptp(slope)) or 1.0
        flat, kinked = _flat(problem, rows, base, tail)
        multipliers = np.zeros(len(rows))
        for j, own in flat.items():
            multipliers[j] = base.duals.rows[j]
            slope = slope + multipliers[j] * own
        low, high = problem.box
        inside = (base.weights > low) & (base.weights < high) & ~kinked
        total = False
        if inside.any() and _at_a_limit(problem, base.weights):
            alike = float(np.median(slope[inside]))
            total = abs(alike) > _DEAR * float(np.abs(slope).max())
            slope = slope - alike if total else slope
        still = (~inside & (np.abs(slope) > _DEAR * size)) | kinked
        pinned = {
            j for j, own in flat.items() if multipliers[j] * float(np.ptp(own)) > _DEAR * size
        }
        places = _border(problem.scenarios, rows, base, pinned)
        apart = _apart(problem.scenarios, places, len(slope))
        least, most = problem.net_exposure
        whole = total or least == most
        kept, idle, new = _independent(len(rows), flat, pinned, apart, ~still, whole)
        idle[[j for j in flat if _is_curved(rows[j])]] = False
        places = places[np.r_[True, new]] if len(places) else places
        return cls(still, total, kept, idle, flat, apart[new], places, multipliers, slope)

    def equations(self, scale: float) -> list[Row]:
        """What stays 0, as rows in steps of a size: those of the rows, then those of the border."""
        slopes = [self.flat[int(j)] for j in np.flatnonzero(self.rows)]
        return [Row(Measure(scale * s), 0.0, "what stays") for s in [*slopes, *self.border]]

    def unpinned(self, rows: Sequence[Row], duals: Duals, base: Base, weights: Floats) -> Duals:
        """Multipliers of the rows, from those of the rows and of equations from both sides."""
        count = len(rows)
        found = duals.rows[:count].copy()
        if self.slope is None:
            return Duals(found, duals.tail)
        norm = rows[base.tight].function
        assert isinstance(norm, Norm)
        price = found[base.tight] * norm.value(base.weights) / (norm.value(weights) or 1.0)
        one, other = np.split(duals.rows[count:], 2)
        own = int(self.rows.sum())
        found[self.rows] += (one - other)[:own]
        found = np.maximum(found + price * self.multipliers, 0.0)
        tail = self._tail(rows, found, (one - other)[own:], base)
        return Duals(found, duals.tail if tail is None else tail)

    def _tail(self, rows: Sequence[Row], found: Floats, moved: Floats, base: Base) -> Floats | None:
        """Probabilities (T,), from those at the base and the multipliers of the border."""
        rate = sum(float(found[j]) * _tail_of(rows[j]) for j in self.flat)
        if base.duals.tail is None or rate <= 0:
            return None
        tail = base.duals.tail.copy()
        if len(self.places):
            tail[self.places[1:]] += moved / rate
            tail[self.places[0]] -= float(moved.sum()) / rate
        return np.maximum(tail, 0.0)


def _tail_of(row: Row) -> float:
    return row.function.tail if isinstance(row.function, Measure) else 0.0


def _is_curved(row: Row) -> bool:
    return isinstance(row.function, Measure) and bool(row.function.tail or row.function.kinks)


def _flat(
    problem: Problem, rows: Sequence[Row], base: Base, tail: bool
) -> tuple[dict[int, Floats], Flags]:
    """Slopes (N,) of rows that bind, by place, and which weights (N,) are at a kink of them."""
    flat: dict[int, Floats] = {}
    kinked = np.zeros(len(base.weights), dtype=bool)
    for j, row in enumerate(rows):
        function = row.function
        if not isinstance(function, Measure):
            continue
        if _is_curved(row) and base.duals.rows[j] <= 0:
            continue
        if function.tail and (not tail or base.duals.tail is None):
            continue
        slope = function.linear(problem.scenarios, base.duals.tail).slope
        for kink in function.kinks:
            off = base.weights - kink.centre
            kinked |= np.abs(off) <= _KINK
            slope = slope + kink.rate * np.sign(np.where(np.abs(off) <= _KINK, 0.0, off))
        flat[j] = slope
    return flat, kinked


def _border(
    scenarios: Scenarios | None, rows: Sequence[Row], base: Base, pinned: set[int]
) -> npt.NDArray[np.intp]:
    """Scenarios that are in the tail in part."""
    tail = base.duals.tail
    if scenarios is None or tail is None or not any(_tail_of(rows[j]) for j in pinned):
        return np.zeros(0, dtype=np.intp)
    most = 1.0 / ((1.0 - scenarios.level) * len(tail))
    return np.flatnonzero((tail > _INSIDE * most) & (tail < (1.0 - _INSIDE) * most))


def _apart(scenarios: Scenarios | None, places: npt.NDArray[np.intp], n: int) -> Floats:
    """Losses (B, n) of scenarios less those of the first."""
    if scenarios is None or not len(places):
        return np.zeros((0, n))
    return scenarios.returns[places[0]] - scenarios.returns[places[1:]]


def _at_a_limit(problem: Problem, weights: Floats) -> bool:
    """Whether the sum of weights (N,) is all that it may be, or no more than it must."""
    least, most = problem.net_exposure
    total = float(weights.sum())
    return least == most or total <= least + _SAME or total >= most - _SAME


def _independent(
    count: int, flat: dict[int, Floats], pinned: set[int], border: Floats, free: Flags, total: bool
) -> tuple[Flags, Flags, Flags]:
    """Rows that stay and say something new, rows that do not, and what is new of the border."""
    known = np.zeros((0, int(free.sum())))
    if total and free.any():
        known = np.full((1, int(free.sum())), 1.0 / math.sqrt(free.sum()))
    kept, idle = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    new = np.zeros(len(border), dtype=bool)

    def says_more(slope: Floats) -> Floats | None:
        own = slope[free]
        left = own - known.T @ (known @ own)
        if float(np.abs(left).max(initial=0.0)) <= _SAME * float(np.abs(slope).max()):
            return None
        return np.asarray(left / np.linalg.norm(left))

    for j in sorted(pinned):
        if (more := says_more(flat[j])) is not None:
            kept[j], known = True, np.vstack([known, more])
    for b, slope in enumerate(border):
        if (more := says_more(slope)) is not None:
            new[b], known = True, np.vstack([known, more])
    for j, slope in flat.items():
        idle[j] = not kept[j] and says_more(slope) is None
    return kept, idle, new
