"""Prices of many tickers as one array: a row for each, a column for each day or week.

What `prices.common_prices` and `together.weekly_prices` do for a few series, without a frame or a
copy for each: ten thousand histories are read one after the other, and none is kept.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etf_pipeline.model.spacing import is_long
from etf_pipeline.risk.prices import PriceSeries, anchor
from etf_pipeline.risk.together import Period

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
Positions = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
_WEEK = 7
_BEFORE = dt.timedelta(days=400)  # days before a window that may tell where it begins
_AT_ONCE = 512  # rows that are copied at a time
WHAT: dict[Period, str] = {"daily": "dates", "weekly": "weeks"}


@dataclass(frozen=True)
class Grid:
    """Prices by day or by calendar week (Monday to Sunday), NaN where there is none.

    Attributes:
        period: what a column is.
        values: the price, of a week the last one, shape (N, C).
        begins: first day of each column, shape (C,).
        after: of weeks, how many days after Monday the last price is, shape (N, C).
    """

    period: Period
    values: Floats
    begins: Days
    after: npt.NDArray[np.int8] | None = None

    @cached_property
    def there(self) -> Flags:
        """Whether there is a price, shape (N, C)."""
        return ~np.isnan(self.values)

    def days(self, rows: Positions, columns: Positions) -> Days:
        """The date of each column, shape (k,): of a week, the newest that one of the rows has."""
        if self.after is None:
            return self.begins[columns]
        newest = np.zeros(len(columns), dtype="int64")
        for part in _parts(rows):
            newest = np.maximum(newest, self.after[np.ix_(part, columns)].max(axis=0))
        return self.begins[columns] + newest

    def has(self, rows: Positions, columns: Positions) -> Flags:
        """Whether each of these rows has a price in each of these columns, shape (n, k)."""
        return self.there[np.ix_(rows, columns)]

    def own_days(self, row: int, start: dt.date) -> Days:
        """Dates of the prices of one row that a window from `start` on has."""
        held = np.flatnonzero(self.there[row])
        days = self.days(np.array([row]), held)
        return days[anchor(days, start) :]

    def returns(self, rows: Positions, common: Common, units: Floats) -> Floats:
        """Simple returns between common columns, but over holes, shape (n, T).

        Args:
            rows: which.
            common: where all of them have a price.
            units: by row, what its prices are divided by, shape (n,).
        """
        kept = ~is_long(common.days)
        found = np.empty((len(rows), int(kept.sum())))
        for i in range(0, len(rows), _AT_ONCE):
            part = slice(i, i + _AT_ONCE)
            prices = self.values[np.ix_(rows[part], common.columns)] / units[part, None]
            found[part] = (prices[:, 1:] / prices[:, :-1] - 1.0)[:, kept]
        return found


def _parts(rows: Positions) -> list[Positions]:
    return [rows[i : i + _AT_ONCE] for i in range(0, len(rows), _AT_ONCE)]


class Sheet:
    """A daily grid that is written a row at a time, up to `end`; `weekly` is made from it."""

    def __init__(self, n: int, start: dt.date, end: dt.date) -> None:
        """Room for `n` rows of windows that begin on `start` or later."""
        self._monday = _week_of(np.datetime64(start - _BEFORE))
        weeks = _week_of(np.datetime64(end)) - self._monday + 1
        self._last = np.datetime64(end)
        self._begin = np.datetime64(self._monday * _WEEK - 3, "D")
        self._values = np.full((n, weeks * _WEEK), np.nan)
        self._more: list[Floats] = []

    def write(self, row: int, series: PriceSeries) -> None:
        """Put the prices of a series into a row."""
        at, prices = self._placed(series)
        self._values[row, at] = prices

    def add(self, series: PriceSeries) -> int:
        """Another row, for a series that is not the same in every window; says which."""
        at, prices = self._placed(series)
        row = np.full(self._values.shape[1], np.nan)
        row[at] = prices
        self._more.append(row)
        return len(self._values) + len(self._more) - 1

    def _placed(self, series: PriceSeries) -> tuple[Positions, Floats]:
        days = series.days
        first = int(np.searchsorted(days, self._begin))
        stop = int(np.searchsorted(days, self._last, side="right"))
        at = (days[first:stop] - self._begin).astype(np.intp)
        return at, series.prices.to_numpy(dtype="float64")[first:stop]

    def daily(self) -> Grid:
        """What was written, which is not to be written to any more."""
        if self._more:
            self._values, self._more = np.vstack([self._values, *self._more]), []
        days = self._begin + np.arange(self._values.shape[1])
        return Grid("daily", self._values, days)


def weekly(daily: Grid) -> Grid:
    """The last price of each calendar week, of a grid of days that begins on a Monday."""
    n, many = daily.values.shape
    days = daily.values.reshape(n, many // _WEEK, _WEEK)
    values, after = days[:, :, 0].copy(), np.zeros((n, many // _WEEK), dtype="int8")
    for day in range(1, _WEEK):
        newer = ~np.isnan(days[:, :, day])
        values[newer] = days[:, :, day][newer]
        after[newer] = day
    return Grid("weekly", values, daily.begins[::_WEEK], after)


def _week_of(day: np.datetime64) -> int:
    return int((day.astype("datetime64[D]").astype("int64") + 3) // _WEEK)  # day 0 is a Thursday


class Common(NamedTuple):
    """Columns in which all of some rows have a price, and their dates, shape (T + 1,)."""

    columns: Positions
    days: Days

    @classmethod
    def of(cls, grid: Grid, rows: Positions, start: dt.date, since: Days) -> Common:
        """Those of a window from `start` on.

        Args:
            grid: the prices.
            rows: one or more.
            start: where the window begins, see `anchor`.
            since: by row, the first day that is looked at.
        """
        every = np.ones(len(grid.begins), dtype="bool")
        for part in _parts(rows):
            every &= grid.there[part].all(axis=0)
        if grid.period == "daily":
            every &= grid.begins >= since.max()
        columns = np.flatnonzero(every)
        days = grid.days(rows, columns)
        at = anchor(days, start) if len(days) > 1 else 0
        return cls(columns[at:], days[at:])
