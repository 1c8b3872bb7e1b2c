"""Distributions that a source tells only by how its adjusted close differs from its close."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# A fund that pays more than this of its price at once is rather a split that the close lacks.
_LARGEST = 0.3


class UnexplainedError(ValueError):
    """An adjusted close that no distributions explain; `row` is where it shows."""

    def __init__(self, why: str, row: int) -> None:
        super().__init__(why)
        self.row = row


def implied_dividends(
    close: Floats, adjusted: Floats, close_doubt: Floats, adjusted_doubt: Floats
) -> Floats:
    """The distributions that turn closes into adjusted closes, shape (n,), currency per unit.

    The ratio A/C is the product of the factors 1 − D/C_prev of all later ex-dates (CRSP price
    adjustment factor), so it is level between ex-dates and steps at each: with L the levels
    before and after, D = C_prev (1 − L_before/L_after). Prices are rounded, so each row knows its
    ratio within an interval only: a step is where the intervals of neighbours are apart, and a
    level lies where all intervals of its rows meet.

    Args:
        close: by ascending date; a row that is not a positive number is passed over.
        adjusted: the source's adjusted closes of the same dates, likewise.
        close_doubt: by how much each close may be off, in its currency.
        adjusted_doubt: likewise of the adjusted closes.

    Returns:
        0 where nothing was paid; else rounded to the decimals that are certain.

    Raises:
        UnexplainedError: the ratio rises above what rounding allows, falls by a split's factor,
            or drifts by steps too small to be told from rounding.
    """
    paid = np.zeros_like(close)
    with np.errstate(all="ignore"):
        ratio = adjusted / close
    usable = (ratio > 1e-9) & (ratio < 1e9) & (close > 0) & np.isfinite(close + adjusted)
    rows = np.flatnonzero(usable)
    if len(rows) < 2:
        return paid
    c, a = close[rows], adjusted[rows]
    off = np.minimum(close_doubt[rows] / c + adjusted_doubt[rows] / a, 0.5)
    low, high = a / c * (1 - off), a / c * (1 + off)
    steps = 1 + np.flatnonzero((low[1:] > high[:-1]) | (high[1:] < low[:-1]))
    starts = np.r_[0, steps]
    floor, ceiling = np.maximum.reduceat(low, starts), np.minimum.reduceat(high, starts)
    apart = floor > ceiling
    if apart.any():
        raise UnexplainedError(
            "Adj Close drifts from Close by less than its decimals tell; more decimals, or a "
            "Dividends column, would",
            int(rows[starts[int(np.argmax(apart))]]),
        )
    level = (floor + ceiling) / 2
    fall = 1 - level[:-1] / level[1:]
    for wrong, why in (
        (fall < 0, "Adj Close rises against Close, as if something negative had been paid"),
        (fall > _LARGEST, "Adj Close holds a split that Close does not"),
    ):
        if wrong.any():
            raise UnexplainedError(why, int(rows[steps[int(np.argmax(wrong))]]))
    _check_days(close, rows, steps)
    before = c[steps - 1]
    width = (ceiling - floor) / level / 2
    unsure = before * (width[:-1] + width[1:])
    # one decimal more than is certain, so that the rounding adds nothing of weight
    scale = 10.0 ** np.clip(np.ceil(-np.log10(np.maximum(unsure, 1e-9))), 0, 8)
    paid[rows[steps]] = np.round(before * fall * scale) / scale
    return paid


def _check_days(close: Floats, rows: npt.NDArray[np.intp], steps: npt.NDArray[np.intp]) -> None:
    """Refuse a distribution that falls where Adj Close is missing beside a close: on which day?

    Raises:
        UnexplainedError: naming how many days it may be of.
    """
    for step in steps:
        last, first = int(rows[step]), int(rows[step - 1])
        between = close[first + 1 : last]
        if np.any(np.isfinite(between) & (between > 0)):
            raise UnexplainedError(
                "a distribution falls on this day or before it, where Adj Close is missing: which "
                "day it is of cannot be told; fill Adj Close in, or add a Dividends column",
                last,
            )
