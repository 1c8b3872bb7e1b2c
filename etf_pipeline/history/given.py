"""Whether closes that stand beside distributions are adjusted for them already. Pure.

yfinance adjusts by default and says so nowhere; other tools do not. Two things tell. A price falls
by what it pays, an adjusted one does not. And an exchange's prices are whole ticks, which adjusted
ones are from the last ex-date on only; undone with the right amounts they are whole ticks again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.history.adjust import unadjusted
from etf_pipeline.history.implied import UnexplainedError

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Days = npt.NDArray[np.datetime64]

_TICKS = (1.0, 10.0, 100.0, 200.0, 1000.0, 10_000.0)  # to a unit
_SINGLE = 1.2e-7  # what prices in single precision are exact to
_UNDONE = 3e-6  # likewise when an adjustment is taken out again
_FEW = 5
_LOOK = 250  # rows before an ex-date
# Log-likelihoods of "adjusted" over "not adjusted", of prices that look like ticks and others.
_FELL = {True: -3.0, False: -6.0}
_CERTAIN = 4.5
_NEIGHBOURS = 30
_QUIETEST = 1e-3
_UNKNOWN_NOISE = 0.01
_IMMATERIAL = 1e-3
# Paid within a year, of the price: more has to be proven, and more must not be disproven.
_TO_PROVE = 0.5
_HIGH = 0.15
_YEAR = np.timedelta64(365, "D")

REMEDY = (
    "add the source's Adj Close (yfinance: auto_adjust=False), or declare which it is in a file of "
    'the same name with .json after it: {"prices": "adjusted"} or {"prices": "unadjusted"}'
)


def check_adjusted(days: Days, close: Floats, paid: Floats, splits: Floats) -> None:
    """Refuse closes that are not adjusted for these distributions, or may not be.

    Args:
        days: dates, ascending, shape (n,).
        close: said to be adjusted; a row that is no positive number is passed over.
        paid: distributions, in the currency of the closes, 0 or NaN where there is none.
        splits: split ratios, likewise.

    Raises:
        UnexplainedError: prices fall by the amounts, nothing tells whether they do, or the amounts
            are not those that the closes were adjusted for. `row` is an ex-date.
    """
    rows = np.flatnonzero(np.isfinite(close) & (close > 0))
    if len(rows) < 2:
        return
    c, when = close[rows], days[rows]
    total = np.zeros(len(rows) + 1)
    known = np.nan_to_num(paid)
    # What was paid on a day without a price shows at the next price.
    np.add.at(total, np.searchsorted(rows, np.flatnonzero(known > 0)), known[known > 0])
    total = total[:-1]
    at = np.flatnonzero(total > 0)
    at = at[at > 0]
    if len(at) == 0:
        return
    split = np.flatnonzero(np.isin(rows, np.flatnonzero(np.nan_to_num(splits) > 0)))
    first = int(split[-1]) if len(split) else 0
    with np.errstate(all="ignore"):
        _check_falls(rows, c, total, at, first)
        _check_amounts(rows, when, c, total, at, first)


def _check_falls(rows: Places, c: Floats, paid: Floats, at: Places, first: int) -> None:
    last = int(at[-1])
    before, after = c[max(first, last - _LOOK) : last], c[max(first, last) :]
    tick = _tick(after)
    if tick is not None and len(before) >= _FEW and _whole(before, tick, _SINGLE) <= 0.5:
        return  # no ticks any more before the last ex-date: adjusted
    share = paid[at] / c[at - 1]
    if share.sum() < _IMMATERIAL:
        return
    odds = _odds(c, share, at)
    ticks = _tick(before) is not None
    row, n = int(rows[last]), len(at)
    dates = f"{n} ex-date{'s' if n > 1 else ''}"
    if odds < _FELL[ticks]:
        raise UnexplainedError(
            f"without Adj Close, closes are taken as adjusted for the Dividends, but on {dates} "
            f"they fall by the amounts, the last here: they are not; {REMEDY}",
            row,
        )
    if ticks and odds < _CERTAIN:
        raise UnexplainedError(
            f"without Adj Close, nothing tells whether closes are adjusted for the Dividends: the "
            f"falls on {dates}, the last here, are too small beside other moves; {REMEDY}",
            row,
        )


def _odds(c: Floats, share: Floats, at: Places) -> float:
    """Log-likelihood that closes are adjusted over that they are not; moves as Student's t(3)."""
    moves = np.diff(c) / c[:-1]
    usual = np.ones(len(moves), dtype=bool)
    usual[at - 1] = False
    odds = 0.0
    for k, s in zip(at - 1, share, strict=True):
        near = slice(max(0, k - _NEIGHBOURS), k + _NEIGHBOURS + 1)
        quiet = np.abs(moves[near][usual[near]])
        noise = 1.4826 * float(np.median(quiet)) if len(quiet) >= _FEW else _UNKNOWN_NOISE
        scale = 3.0 * max(noise, _QUIETEST) ** 2
        odds += 2.0 * float(np.log1p((moves[k] + s) ** 2 / scale) - np.log1p(moves[k] ** 2 / scale))
    return odds if np.isfinite(odds) else np.inf


def _check_amounts(
    rows: Places, days: Days, c: Floats, paid: Floats, at: Places, first: int
) -> None:
    """Refuse amounts that prices cannot have paid: cents for dollars, another currency.

    Closes that were made with an amount cannot confirm it; whole ticks do.
    """
    undone = unadjusted(pd.Series(c), pd.Series(paid), pd.Series(np.zeros(len(c)))).to_numpy()
    sums = np.r_[0.0, np.cumsum(paid)]
    in_year = sums[at + 1] - sums[np.searchsorted(days, days[at] - _YEAR, "right")]
    rate = in_year / undone[at]
    worst = int(at[np.argmax(rate)])
    highest = float(rate.max())
    if not highest > _HIGH:
        return
    begin = max(first, worst - _LOOK)
    tick, part = _tick(c[max(first, int(at[-1])) :]), undone[begin:worst]
    fits = _whole(part, tick, _UNDONE) if tick is not None and len(part) >= _FEW else np.nan
    if fits >= 0.8 or (highest <= _TO_PROVE and not fits <= 0.3):
        return
    raise UnexplainedError(
        f"in a year {in_year[np.argmax(rate)]:.6g} was paid, {highest:.3g} times the close, "
        "and closes as they were before the adjustment do not confirm it: are the Dividends in "
        "another unit or currency? Correct them, or add unadjusted closes and Adj Close",
        int(rows[worst]),
    )


def _tick(prices: Floats) -> float | None:
    """The coarsest ticks to a unit of which nearly all prices are whole; None if of none."""
    if len(prices) < _FEW:
        return None
    return next((t for t in _TICKS if _whole(prices, t, _SINGLE) >= 0.95), None)


def _whole(prices: Floats, tick: float, exact: float) -> float:
    """Which part of prices is a whole number of ticks; NaN where they are not exact enough."""
    scaled = prices * tick
    room = np.maximum(exact * scaled, 1e-9)
    if not float(np.median(room)) < 0.1:
        return np.nan
    return float(np.mean(np.abs(scaled - np.round(scaled)) <= room))
