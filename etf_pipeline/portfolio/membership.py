"""Who is listed when: the prices of members that come and go, on the sessions they share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.model.spacing import MONTHS_AND_LONGER, long_gaps
from etf_pipeline.model.windows import LONG_GAP
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
    series: Sequence[PriceSeries],
    *,
    newest: dt.date | None = None,
    together: bool = False,
    sessions: Days | None = None,
) -> Members:
    """Put members side by side that need not be listed at the same time.

    One has gone when its prices end over thirty days (and over four of its usual gaps) before the
    newest of them all, which no holidays do. Until that is known the course of all ends with them.
    What else there are prices of has no say in that: it would make another course of the same.

    Args:
        series: one or more, of one currency.
        newest: the newest session known of anything, for remarks; that of the members by default.
        together: end all with the first that goes.
        sessions: those of an account that goes on when all of these have gone; none by default.

    Raises:
        InsufficientDataError: fewer than three sessions.
    """
    known = [s.days for s in series] + ([] if sessions is None else [sessions])
    last: dt.date = max(days[-1] for days in known if len(days)).item()
    ended = [s.end if _gone(s, last) else None for s in series]
    after = _after(sessions, ended)
    days = np.unique(np.concatenate([*(s.days for s in series), after]))
    prices = np.full((len(days), len(series)), np.nan)
    listed = np.zeros(prices.shape, dtype="bool")
    for i, (one, end) in enumerate(zip(series, ended, strict=True)):
        prices[np.searchsorted(days, one.days), i] = one.prices.to_numpy(dtype="float64")
        stays = end is None or together
        listed[:, i] = (days >= one.days[0]) & (stays | (days <= one.days[-1]))
    shared = listed.any(axis=1) & ~(listed & np.isnan(prices)).any(axis=1)
    shared |= np.isin(days, after)
    if int(shared.sum()) < 3:
        raise too_few_common(int(shared.sum()), list(series))
    final = np.array([float(s.prices.iloc[-1]) for s in series])
    gone = tuple(None if together else end for end in ended)
    kept = days[shared]
    remarks = _remarks(series, kept, last if newest is None else max(last, newest))
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


def _after(sessions: Days | None, ended: Sequence[dt.date | None]) -> Days:
    """The sessions after all have gone; none while one has not."""
    dates = [end for end in ended if end is not None]
    if sessions is None or len(dates) < len(ended):
        return np.array([], dtype="datetime64[D]")
    return sessions[sessions > np.datetime64(max(dates))]


def _remarks(series: Sequence[PriceSeries], days: Days, newest: dt.date) -> list[str]:
    """Holes of the course, and whose end is its end, before the newest session."""
    until = days[-1].item()
    said = [f"no session in common: {gap}" for gap in long_gaps(days)]
    ends = [s.ticker for s in series if s.end <= until]
    if until < newest and ends:
        names = ", ".join(ends)
        said.append(f"the course ends on {until}, as {names} does; the newest is of {newest}")
    return said
