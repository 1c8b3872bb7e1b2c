"""Prices of several series side by side, where bars or closing hours differ."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.outcomes import moves_in_words, withheld_in_words
from etf_pipeline.model.spacing import is_long, long_gaps, periods_per_year
from etf_pipeline.risk.annual import Span
from etf_pipeline.risk.prices import (
    EARLY,
    GRACE,
    PriceSeries,
    anchor,
    common_prices,
    too_few_common,
)
from etf_pipeline.risk.returns import simple_returns

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
Period = Literal["daily", "weekly"]
PERIODS: tuple[Period, ...] = ("daily", "weekly")
_COARSER = 1.5  # times fewer returns a year make bars coarser, not merely short of some
_STALE = np.timedelta64(5, "D")  # how old a finer series' price may be on a coarser one's date


def exchanges(series: Iterable[PriceSeries]) -> list[str]:
    """The exchanges that prices are of, sorted; a user's own file says none."""
    return sorted({s.exchange for s in series if s.exchange})


def calendars_differ(series: Iterable[PriceSeries]) -> str | None:
    """Why weekly returns are used, as the end of a sentence; None where one calendar is all."""
    where = exchanges(series)
    return f"as the calendars of {' and '.join(where)} differ" if len(where) > 1 else None


def period_for(series: Iterable[PriceSeries], asked: Period | None = None) -> Period:
    """What correlations are computed from: weekly returns where exchanges differ, unless asked.

    Exchanges that close hours apart put one day's news into two days' prices, so that daily
    returns go together less than the assets do (Burns, Engle & Mezrich, 1998, "Correlations and
    Volatilities of Asynchronous Data").

    Raises:
        ValueError: no such period.
    """
    if asked is None:
        return "daily" if calendars_differ(series) is None else "weekly"
    if asked not in PERIODS:
        raise ValueError(f"correlation period {asked!r}: must be daily or weekly")
    return asked


def ended_early(series: Sequence[PriceSeries]) -> list[str]:
    """Which series end long before the newest, and so end what they are side by side with."""
    newest = max(s.end for s in series)
    return [
        f"{s.ticker} ends on {s.end}: nothing after that is in numbers of them all"
        for s in series
        if not s.trades_on(newest)
    ]


def doubts(series: Iterable[PriceSeries]) -> list[str]:
    """What is not in prices, or may be no market's, of series that numbers are made of."""
    said = []
    for one in series:
        first = one.days[0].item() if len(one.days) else dt.date.max
        withheld = [day for day in one.withheld if day > first]
        words = [withheld_in_words(withheld)] if withheld else []
        words += moves_in_words(one.doubtful_moves())
        said += [f"{one.ticker}: {text}" for text in words]
    return said


def common_gaps(days: Days) -> list[str]:
    """Holes of common dates, which no deviation and no correlation is made of."""
    return [f"on common dates, {gap}" for gap in long_gaps(days)]


def prices_by(
    period: Period, series: list[PriceSeries], start: dt.date | None = None
) -> pd.DataFrame:
    """Prices for correlations: `common_prices` or `weekly_prices`."""
    return common_prices(series, start) if period == "daily" else weekly_prices(series, start)


def weekly_prices(series: list[PriceSeries], start: dt.date | None = None) -> pd.DataFrame:
    """The last price of each calendar week (Monday to Sunday) in which every series has one.

    Indexed by the newest of the dates in that week. A window from `start` on begins with the last
    such week on or before it, see `anchor`.

    Raises:
        InsufficientDataError: fewer than three such weeks; names the ranges.
    """
    frame = _by_week(series, lambda a, b: np.intersect1d(a, b, assume_unique=True))
    frame = _from(frame, start)
    if len(frame) < 3:
        raise too_few_common(len(frame), [s.since(start) for s in series], "weeks")
    return frame


def all_prices(
    period: Period, series: list[PriceSeries], start: dt.date | None = None
) -> pd.DataFrame:
    """Prices on every date, or of every week, that any series has; NaN where one has none."""
    if period == "weekly":
        return _from(_by_week(series, np.union1d), start)
    parts = [s.since(start).prices.rename(s.ticker) for s in series]
    return pd.concat(parts, axis=1, sort=False).sort_index()


def week_ends(days: Days) -> npt.NDArray[np.intp]:
    """Positions of the last date of each calendar week."""
    weeks = _weeks(days)
    return np.flatnonzero(np.r_[weeks[1:] != weeks[:-1], len(weeks) > 0])


def _weeks(days: Days) -> npt.NDArray[np.int64]:
    return (days.astype("int64") + 3) // 7  # day 0 is a Thursday


def _by_week(series: list[PriceSeries], joined: Callable[[Any, Any], Any]) -> pd.DataFrame:
    """Last prices of weeks, of all or of any of the series as `joined` says."""
    ends = [week_ends(s.days) for s in series]
    own = [_weeks(s.days[at]) for s, at in zip(series, ends, strict=True)]
    weeks = reduce(joined, own)
    dates = np.full(len(weeks), np.datetime64("NaT"), dtype="datetime64[D]")
    columns = {}
    for one, at, mine in zip(series, ends, own, strict=True):
        to, there = np.searchsorted(weeks, mine), np.isin(mine, weeks)
        values = np.full(len(weeks), np.nan)
        values[to[there]] = one.prices.to_numpy(dtype="float64")[at[there]]
        dates[to[there]] = np.fmax(dates[to[there]], one.days[at[there]])
        columns[one.ticker] = values
    return pd.DataFrame(columns, pd.DatetimeIndex(dates.astype("datetime64[s]")))


def _from(frame: pd.DataFrame, start: dt.date | None) -> pd.DataFrame:
    if start is None or len(frame) < 2:
        return frame
    return frame.iloc[anchor(_days(frame), start) :]


class Regular(NamedTuple):
    """Simple returns without those over holes, shape (n, N), and A of those that are kept.

    A return over a hole (see `spacing.is_long`) is of another length than the others: one of
    years would decide over any deviation and correlation that it is in.
    """

    returns: Floats
    periods_per_year: float
    left_out: int

    @classmethod
    def of(cls, prices: Floats, days: Days) -> Regular:
        """Those between prices, shape (n + 1, N), on ascending `days`."""
        returns, kept = simple_returns(prices), ~is_long(days)
        if kept.all():
            return cls(returns, Span.of(days).periods_per_year() or 1.0, 0)
        gaps = np.diff(days.astype("datetime64[D]").astype("int64"))[kept]
        annual = periods_per_year(len(gaps), int(gaps.sum())) if len(gaps) else 1.0
        return cls(returns[kept], annual, int((~kept).sum()))

    @classmethod
    def of_frame(cls, prices: pd.DataFrame) -> Regular:
        """Those between the rows of a frame that is indexed by date."""
        return cls.of(prices.to_numpy(), _days(prices))


class Beside(NamedTuple):
    """Prices of a series and its benchmark, shape (n, 2), on `days`; how they were matched.

    `resampled` says so where the dates are not simply the common ones.
    """

    prices: Floats
    days: Days
    resampled: str | None


def beside(series: PriceSeries, benchmark: PriceSeries, start: dt.date | None = None) -> Beside:
    """A series and its benchmark on the same dates, at the coarser spacing of the two.

    Where one has far fewer bars a year, its dates count, with the other's last price on each or
    up to five days before. Where they close at different hours, each week's last prices count.
    Otherwise it is the common dates. A window from `start` on begins with the last such date on
    or before it, see `anchor`.

    Raises:
        InsufficientDataError: there are fewer than three such dates, or the benchmark does not
            reach as far as the series.
    """
    part = series.since(start)
    first, last = part.days[0], part.days[-1]
    other = benchmark.since(first.item()).until(last.item())
    grace = np.timedelta64(GRACE)
    if len(other.days) == 0 or other.days[0] > first + grace or other.days[-1] < last - grace:
        held = f"{benchmark.days[0]} to {benchmark.days[-1]}"
        raise InsufficientDataError(
            f"the benchmark's prices ({held}) do not cover {first} to {last}"
        )
    mine, its = Span.of(part.days), Span.of(other.days)
    ratio = (mine.periods_per_year() or 1.0) / (its.periods_per_year() or 1.0)
    if not 1 / _COARSER <= ratio <= _COARSER:
        early = None if start is None else start - EARLY
        whole, known = series.since(early), benchmark.since(early).until(last.item())
        coarse, fine = (whole, known) if ratio < 1 else (known, whole)
        days, theirs = _on_dates(coarse, fine, start)
        prices = np.column_stack(theirs if coarse is whole else theirs[::-1])
        return Beside(prices, days, "compared with the benchmark on the dates of the coarser bars")
    pair = [series, benchmark.until(last.item())]
    if why := calendars_differ(pair):
        frame = weekly_prices(pair, start)
        said = f"compared with the benchmark on weekly prices, {why}"
        return Beside(frame.to_numpy(), _days(frame), said)
    days, theirs = _on_both(pair[0], pair[1], start)
    return Beside(np.column_stack(theirs), days, None)


def _on_both(
    one: PriceSeries, other: PriceSeries, start: dt.date | None
) -> tuple[Days, list[Floats]]:
    """`common_prices` of two, without a frame: the dates that both have, and both prices."""
    early = None if start is None else start - EARLY
    parts = one.since(early), other.since(early)
    days = parts[0].days
    values = [p.prices.to_numpy(dtype="float64") for p in parts]
    if not np.array_equal(days, parts[1].days):
        days, mine, its = np.intersect1d(days, parts[1].days, True, return_indices=True)
        values = [values[0][mine], values[1][its]]
    at = anchor(days, start) if start is not None and len(days) > 1 else 0
    if len(days) - at < 3:
        raise too_few_common(len(days) - at, [s.since(start) for s in (one, other)])
    return days[at:], [v[at:] for v in values]


def _on_dates(
    coarse: PriceSeries, fine: PriceSeries, start: dt.date | None
) -> tuple[Days, list[Floats]]:
    """The coarser series' dates on which the finer has a price not too old, and both prices."""
    at = np.searchsorted(fine.days, coarse.days, side="right") - 1
    known = at >= 0
    known[known] = coarse.days[known] - fine.days[at[known]] <= _STALE
    kept = np.flatnonzero(known)
    if start is not None:
        kept = kept[anchor(coarse.days[kept], start) :]
    if len(kept) < 3:
        raise too_few_common(len(kept), [coarse, fine])
    own, other = (s.prices.to_numpy(dtype="float64") for s in (coarse, fine))
    return coarse.days[kept], [own[kept], other[at[kept]]]


def _days(frame: pd.DataFrame) -> Days:
    return frame.index.to_numpy().astype("datetime64[D]")
