"""Returns of whole calendar months."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
_NEAR = 7.0  # days from a month's last price to its end, that weekends and holidays explain
_USUAL = 1.25  # times the usual gap between prices, where bars are further apart
_DAILY = 4.0  # days between prices, on average, at most
_MONTHLY = 35.0  # the same of bars that months can be made of


class Months(NamedTuple):
    """Simple returns of whole months, shape (m,) or (m, N), and how many others there were.

    `left_out` are months with a price before and after them that have none near their end, or
    near their beginning.
    """

    returns: Floats
    left_out: int


def whole_months(prices: Floats, days: Days) -> Months:
    """The return of each calendar month, from the last price of the month before to its own last.

    A month is whole where both prices are near the ends of their months: within seven days, or as
    near as is usual between prices. The newest is whole once it is over: no Monday to Friday of it
    is left, or there is a later price.

    Args:
        prices: positive, shape (n,) or (n, N).
        days: their dates, ascending, shape (n,).
    """
    if len(days) < 2:
        return Months(np.empty((0, *prices.shape[1:])), 0)
    dates = days.astype("datetime64[D]", copy=False)
    average = _span(dates) / (len(dates) - 1)
    if average > _MONTHLY:
        return Months(np.empty((0, *prices.shape[1:])), 0)
    first, last = dates[0].astype("datetime64[M]"), dates[-1].astype("datetime64[M]")
    begins = np.arange(first, last + 2).astype("datetime64[D]")
    at = np.searchsorted(dates, begins[1:]) - 1
    since, ends, starts = (a.astype("int64") for a in (dates[at], begins[1:] - 1, begins[:-1]))
    near = _NEAR
    if average > _DAILY:
        near = max(near, _USUAL * float(np.median(np.diff(dates).astype("int64"))))
    good = (since >= starts) & (ends - since <= near)
    known = good.copy()
    known[-1] &= np.busday_count(dates[-1] + 1, begins[-1]) == 0
    whole = good[:-1] & known[1:]
    over = len(at) - 1 if known[-1] else len(at) - 2
    p = prices[at]
    returns = p[1:][whole] / p[:-1][whole] - 1.0
    return Months(returns, max(over, 0) - int(np.count_nonzero(whole)))


def _span(dates: Days) -> int:
    return int((dates[-1] - dates[0]).astype("int64"))
