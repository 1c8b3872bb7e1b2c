"""Adjusted closes with the holes that quarantine left in them, and what several have in common."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import InsufficientDataError, ReasonCode
from etf_pipeline.model.spacing import DAYS_PER_YEAR
from etf_pipeline.model.windows import EARLY_DAYS, GRACE_DAYS

Days = npt.NDArray[np.datetime64]
# A history that begins this much after a window does still covers it, and one that ends this much
# before the newest session of all still trades (weekends, holidays).
GRACE = dt.timedelta(days=GRACE_DAYS)
_USUAL = 1.25  # times the median gap: what is usual between prices, months of 31 days too
_AROUND = 3  # gaps before and after that tell what is usual there
_MOST_NAMED = 5  # series that an error about many names
EARLY = dt.timedelta(days=EARLY_DAYS)


@dataclass(frozen=True)
class PriceSeries:
    """One ticker's adjusted closes.

    `prices` holds usable prices only, by session date; `holes` are sessions in between that have
    none (`excluded`: quarantined, or missing at the source).
    """

    ticker: str
    prices: pd.Series
    holes: Days
    excluded: Days
    source: str
    currency: str | None
    exchange: str | None = None  # MIC; None for a user's own file
    withheld: tuple[dt.date, ...] = ()  # ex-dates whose distribution is not in the prices
    large_moves: tuple[dt.date, ...] = ()  # dates of lasting moves that may be no market's
    unseen: tuple[dt.date, ...] = ()  # ex-dates whose distribution may be a fault

    @cached_property
    def days(self) -> Days:
        """Dates of the prices, shape (n,)."""
        return self.prices.index.to_numpy().astype("datetime64[D]")

    @property
    def end(self) -> dt.date:
        """Date of the newest price."""
        last: dt.date = self.days[-1].item()
        return last

    def covers(self, start: dt.date) -> bool:
        """Whether it has the price that a window from `start` begins with, see `anchor`."""
        at = anchor(self.days, start)
        return at < len(self.days) and bool(self.days[at] <= np.datetime64(start + GRACE))

    def check_covers(self, start: dt.date, years: int) -> None:
        """Nothing, for a history that covers a window of `years` from `start` on.

        Raises:
            InsufficientDataError: it does not; says how much there is, or where the hole is.
        """
        if self.covers(start):
            return
        if self.days[0] > np.datetime64(start):
            held = (self.end - self.prices.index[0].date()).days / DAYS_PER_YEAR
            raise InsufficientDataError(
                f"history covers {held:.1f} of {years} years: it begins on {self.days[0]}, "
                f"the window on {start}"
            )
        at = anchor(self.days, start)
        raise InsufficientDataError(
            f"no price near {start}, where the window starts: there is none between "
            f"{self.days[at - 1]} and {self.days[at]}"
        )

    def doubtful_moves(self) -> list[tuple[dt.date, float]]:
        """`large_moves` that are returns of these prices, each with its simple return."""
        out = []
        for day in self.large_moves:
            at = int(np.searchsorted(self.days, np.datetime64(day)))
            if 0 < at < len(self.days) and self.days[at] == np.datetime64(day):
                last, this = self.prices.iloc[at - 1 : at + 1]
                out.append((day, float(this / last - 1.0)))
        return out

    def trades_on(self, day: dt.date) -> bool:
        """Whether it reaches up to `day`, give or take `GRACE`."""
        return self.end >= day - GRACE

    def since(self, start: dt.date | None) -> PriceSeries:
        """The part that a window from `start` on has: from its `anchor`; None for all of it."""
        at = 0 if start is None else anchor(self.days, start)
        if at == 0:
            return self
        day = self.days[at] if at < len(self.days) else np.datetime64(start)
        part = replace(
            self,
            prices=self.prices.iloc[at:],
            holes=self.holes[self.holes >= day],
            excluded=self.excluded[self.excluded >= day],
        )
        vars(part)["days"] = self.days[at:]  # as it would be found, without looking again
        return part

    def until(self, end: dt.date) -> PriceSeries:
        """The part up to `end`, which is included."""
        day = np.datetime64(end)
        if len(self.days) == 0 or self.days[-1] <= day:
            return self
        return replace(
            self,
            prices=self.prices.iloc[: int(np.searchsorted(self.days, day, side="right"))],
            holes=self.holes[self.holes <= day],
            excluded=self.excluded[self.excluded <= day],
        )

    def with_holes(self) -> tuple[npt.NDArray[np.float64], Days]:
        """Prices and dates with a NaN at every hole between the first and the last price."""
        days, values = self.days, self.prices.to_numpy(dtype="float64")
        inner = self.holes[(self.holes > days[0]) & (self.holes < days[-1])] if len(days) else days
        if len(inner) == 0:
            return values, days
        order = np.argsort(np.r_[days, inner], kind="stable")
        return np.r_[values, np.full(len(inner), np.nan)][order], np.r_[days, inner][order]


def anchor(days: Days, start: dt.date) -> int:
    """Position of the price that a window from `start` on begins with, as on a fact sheet.

    It is the last price on or before that day, when it is near: no older than `GRACE`, or than is
    usual between these prices. Otherwise it is the first price after; `len(days)` for none.

    Args:
        days: ascending dates, shape (n,).
        start: the anniversary.
    """
    day = np.datetime64(start)
    at = int(np.searchsorted(days, day, side="right")) - 1
    if at < 0:
        return 0
    old = int((day - days[at]).astype("int64"))
    if old <= GRACE.days:
        return at
    around = np.diff(days[max(at - _AROUND, 0) : at + _AROUND + 2]).astype("int64")
    usual = float(np.median(around)) if len(around) else 0.0
    return at if old <= _USUAL * usual else at + 1


def common_prices(series: list[PriceSeries], start: dt.date | None = None) -> pd.DataFrame:
    """Prices on the dates that every series has (listwise), a column per ticker, ascending.

    A window from `start` on begins with the last such date on or before it, see `anchor`.

    Raises:
        InsufficientDataError: fewer than three common dates; names the ranges.
    """
    early = None if start is None else start - EARLY
    parts = [s.since(early).prices.rename(s.ticker) for s in series]
    joined = pd.concat(parts, axis=1, join="inner").sort_index()
    if start is not None and len(joined) > 1:
        joined = joined.iloc[anchor(joined.index.to_numpy().astype("datetime64[D]"), start) :]
    if len(joined) < 3:
        raise too_few_common(len(joined), [s.since(start) for s in series])
    return joined


class Dated(Protocol):
    """A ticker and the dates of its prices."""

    @property
    def ticker(self) -> str:
        """Which it is."""

    @property
    def days(self) -> Days:
        """Dates of the prices, shape (n,)."""


def too_few_common(n: int, parts: Sequence[Dated], what: str = "dates") -> InsufficientDataError:
    """An error that names the ranges of series that have too little in common.

    Of many, those with the fewest prices, which are the likeliest to be why.
    """
    named = parts
    if len(parts) > _MOST_NAMED:
        named = sorted(parts, key=lambda p: len(p.days))[:_MOST_NAMED]
    ranges = "; ".join(
        f"{p.ticker} {p.days[0]} to {p.days[-1]}" if len(p.days) else f"{p.ticker} nothing"
        for p in named
    )
    more = f"; and {len(parts) - len(named)} more" if len(parts) > len(named) else ""
    return InsufficientDataError(f"{n} common {what} are too few ({ranges}{more})")


class Sourced(Protocol):
    """What has prices from somewhere."""

    @property
    def source(self) -> str:
        """`yahoo`, `files`, `simulated` or `user`."""


def sources(series: Iterable[Sourced]) -> str:
    """Where prices came from, several sources joined by commas."""
    return ",".join(sorted({s.source for s in series}))


def newest_session(series: Iterable[PriceSeries]) -> dt.date:
    """The as-of date of everything that is made from these prices.

    Raises:
        InsufficientDataError: there are none at all.
    """
    return newest_day(s.end for s in series)


def newest_day(ends: Iterable[dt.date | None]) -> dt.date:
    """The newest of the days on which histories end; None is that of one without a price.

    Raises:
        InsufficientDataError: there are none at all.
    """
    days = [day for day in ends if day is not None]
    if not days:
        raise InsufficientDataError(
            "there is no price history yet; run `etf run` first", code=ReasonCode.NO_HISTORY
        )
    return max(days)


def years_before(day: dt.date, years: int) -> dt.date:
    """The same calendar day `years` earlier (28 February for 29 February)."""
    try:
        return dt.date(day.year - years, day.month, day.day)
    except ValueError:  # there is no 29 February
        return dt.date(day.year - years, day.month, 28)


def window_start(end: dt.date, years: int | None) -> dt.date | None:
    """First day of a window of `years` that ends at `end`; None for one without a beginning.

    Raises:
        ValueError: a window of no years.
    """
    if years is not None and years < 1:
        raise ValueError(f"a window of {years} years: must be 1 or more, or None for all there is")
    return None if years is None else years_before(end, years)


def first_window_end(begin: dt.date, years: int) -> dt.date:
    """The first day whose last `years` a history that begins at `begin` covers, see `GRACE`."""
    return (pd.Timestamp(begin) + pd.DateOffset(years=years)).date() - GRACE
