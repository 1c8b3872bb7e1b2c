"""Who is listed when: the prices of members that come and go, on the sessions they share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.model.spacing import LONG_GAP, MONTHS_AND_LONGER
from etf_pipeline.risk.prices import PriceSeries, too_few_common

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
_USUAL_GAPS = 4.0


@dataclass(frozen=True)
class Members:
    """Prices (T, N) on the sessions on which every listed member has one, `days` (T,).

    A member is listed from its first price on; NaN before, and after its last when it has gone.
    `final` (N,) are last prices. `ended` has the last date of each that has gone, else None.
    `remarks` say what a reader of the course must know.
    """

    days: Days
    prices: Floats
    final: Floats
    ended: tuple[dt.date | None, ...]
    remarks: tuple[str, ...] = ()

    @property
    def dates(self) -> pd.DatetimeIndex:
        """`days`, as an index."""
        return pd.DatetimeIndex(self.days.astype("datetime64[s]"))


def members_of(
    series: Sequence[PriceSeries], *, newest: dt.date | None = None, together: bool = False
) -> Members:
    """Put members side by side that need not be listed at the same time.

    One has gone when its prices end over thirty days (and over four of its usual gaps) before the
    newest of them all, which no holidays do. Until that is known the course of all ends with them.

    Args:
        series: one or more, of one currency.
        newest: the newest session known; that of the members by default.
        together: end all with the first that goes.

    Raises:
        InsufficientDataError: fewer than three sessions.
    """
    last = max([*(s.end for s in series), *([newest] if newest else [])])
    ended = [s.end if _gone(s, last) else None for s in series]
    days = np.unique(np.concatenate([s.days for s in series]))
    prices = np.full((len(days), len(series)), np.nan)
    listed = np.zeros(prices.shape, dtype="bool")
    for i, (one, end) in enumerate(zip(series, ended, strict=True)):
        prices[np.searchsorted(days, one.days), i] = one.prices.to_numpy(dtype="float64")
        stays = end is None or together
        listed[:, i] = (days >= one.days[0]) & (stays | (days <= one.days[-1]))
    shared = listed.any(axis=1) & ~(listed & np.isnan(prices)).any(axis=1)
    if int(shared.sum()) < 3:
        raise too_few_common(int(shared.sum()), list(series))
    final = np.array([float(s.prices.iloc[-1]) for s in series])
    gone = tuple(None if together else end for end in ended)
    kept = days[shared]
    remarks = _remarks(series, kept[-1].item(), last)
    return Members(kept, prices[shared], final, gone, tuple(remarks))


def rebalance_sessions(dates: pd.DatetimeIndex, calendar: str) -> npt.NDArray[np.intp]:
    """Positions of each period's last session; the last date is none, as its period may go on.

    `never` has those of months: on one of them everything is bought, and then held.
    """
    bins = dates.to_period(MONTHS_AND_LONGER["monthly" if calendar == "never" else calendar])
    return np.flatnonzero(np.asarray(bins[1:] != bins[:-1]))


def _gone(series: PriceSeries, newest: dt.date) -> bool:
    gaps = np.diff(series.days[-250:]).astype("int64")
    usual = float(np.median(gaps)) if len(gaps) else 1.0
    return (newest - series.end).days > max(LONG_GAP, _USUAL_GAPS * usual)


def _remarks(series: Sequence[PriceSeries], until: dt.date, newest: dt.date) -> list[str]:
    """Whose end is the end of the course, before the newest session."""
    ends = [s.ticker for s in series if s.end <= until]
    if until >= newest or not ends:
        return []
    return [f"the course ends on {until}, as {', '.join(ends)} does; the newest is of {newest}"]
