"""Long-only portfolios strictly inside of their limits, and what limits leave no room to.

Interior-point methods need a start that meets every limit with something to spare. Where limits
imply that some weights or rows have but one value, those are found first, and the rest is as free
as it can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.functions import Floats

_NOTHING = 1e-12  # of the whole portfolio
_NO_ROOM = 1e-9  # of the range of each limit
_PRESSED = 1e-9
_NEVER = "no portfolio meets all limits at once"

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Inside:
    """A portfolio inside of limits.

    Attributes:
        weights: shape (N,), of sum 1, strictly inside but for what is fixed or tight.
        lower: least weights, raised to what is fixed, shape (N,).
        upper: greatest weights, lowered to what is fixed, shape (N,).
        tight: rows that every allowed portfolio meets with equality, shape (R,).
    """

    weights: Floats
    lower: Floats
    upper: Floats
    tight: Mask

    @property
    def fixed(self) -> Mask:
        """Assets whose weight is the same in every allowed portfolio, shape (N,)."""
        return self.upper <= self.lower


def inside(lower: Floats, upper: Floats, rows: Floats, limits: Floats) -> Inside:
    """A portfolio of sum 1 that meets lower ≤ w ≤ upper and rows · w ≤ limits, all with room.

    Args:
        lower: shape (N,); 0 where negative.
        upper: shape (N,).
        rows: shape (R, N), possibly none.
        limits: shape (R,).

    Raises:
        ValueError: there is no portfolio that meets them.
    """
    low, high = np.maximum(lower, 0.0), np.minimum(upper, 1.0)
    tight = np.zeros(len(rows), dtype=bool)
    for _ in range(len(low) + len(rows) + 2):
        spare = 1.0 - float(low.sum())
        if min(spare, float(high.sum()) - 1.0) < -_NO_ROOM or np.any(high < low - _NO_ROOM):
            raise ValueError(_NEVER)
        high = np.minimum(high, low + max(spare, 0.0))
        high = np.where(high - low <= _NOTHING, low, high)
        span = high - low
        if spare <= _NOTHING or float(span.sum()) - spare <= _NOTHING:
            only = low if spare <= _NOTHING else high
            _check(rows, limits, only)
            return Inside(only, only, only, tight)
        if not len(rows):
            return Inside(low + span * (spare / float(span.sum())), low, high, tight)
        room, shares, pressed = _roomiest(low, span, spare, rows, limits, tight)
        if room < -_NO_ROOM:
            raise ValueError(_NEVER)
        if room > _NO_ROOM:
            return Inside(low + span * shares, low, high, tight)
        free = np.flatnonzero(span > 0)
        down, up, new = np.split(pressed, [len(free), 2 * len(free)])
        value_low, value_high = low.copy(), high.copy()
        value_high[free[down]] = low[free[down]]
        value_low[free[up & ~down]] = high[free[up & ~down]]
        low, high = value_low, value_high
        tight[np.flatnonzero(~tight)] |= new
    raise ValueError(_NEVER)


def _check(rows: Floats, limits: Floats, weights: Floats) -> None:
    """That the only portfolio within bounds meets the rows as well."""
    size = np.abs(rows).max(axis=1, initial=0.0)
    if np.any(rows @ weights > limits + _NO_ROOM * size):
        raise ValueError(_NEVER)


def _roomiest(
    low: Floats, span: Floats, spare: float, rows: Floats, limits: Floats, tight: Mask
) -> tuple[float, Floats, Mask]:
    """The room left at the portfolio that leaves each limit the most, as a part of its range.

    The weights are low + span · shares. The limits that have no room when that is 0 are marked:
    N_free least shares, N_free greatest ones, and the rows that are not tight already.
    """
    import scipy.optimize
    from scipy import sparse

    free = np.flatnonzero(span > 0)
    n = len(free)
    scaled, left = rows[:, free] * span[free], limits - rows @ low
    ranges = np.abs(scaled).sum(axis=1)
    ranged = ranges > 0
    size = np.where(ranged, ranges, 1.0)
    eye, one = sparse.csr_matrix(np.eye(n)), sparse.csr_matrix(np.ones((n, 1)))
    own = np.column_stack([scaled / size[:, None], ranged])
    upper = sparse.vstack(
        [sparse.hstack([-eye, one]), sparse.hstack([eye, one]), sparse.csr_matrix(own[~tight])]
    )
    equal = scaled[tight & ranged] / size[tight & ranged, None]
    equal = np.vstack([span[free] / spare, equal])
    linprog: Any = scipy.optimize.linprog
    solution = linprog(
        np.r_[np.zeros(n), -1.0],
        A_ub=upper,
        b_ub=np.r_[np.zeros(n), np.ones(n), (left / size)[~tight]],
        A_eq=np.column_stack([equal, np.zeros(len(equal))]),
        b_eq=np.r_[1.0, (left / size)[tight & ranged]],
        bounds=[(None, None)] * n + [(-2.0, 0.5)],
        method="highs",
    )
    if solution.x is None:
        raise ValueError(_NEVER)
    shares = np.zeros(len(low))
    shares[free] = solution.x[:n]
    return float(solution.x[n]), shares, np.abs(solution.ineqlin.marginals) > _PRESSED


def whole(weights: Floats, lower: Floats, upper: Floats) -> Floats:
    """Weights exactly within bounds, of sum 1; what rounding left over goes where there is room.

    All of shape (N,).
    """
    found = np.clip(weights, lower, upper)
    off = 1.0 - float(found.sum())
    # Rather where it does not lead away from a bound.
    room = np.minimum(upper - found, found - lower)
    if float(room.sum()) < abs(off):
        room = upper - found if off > 0 else found - lower
    total = float(room.sum())
    return np.clip(found + room * (off / total), lower, upper) if total > 0 else found
