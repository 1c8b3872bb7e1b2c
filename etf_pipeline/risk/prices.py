"""Adjusted closes with the holes that quarantine left in them, and what several have in common."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import InsufficientDataError, ReasonCode
from etf_pipeline.model.spacing import periods_per_year

Days = npt.NDArray[np.datetime64]
# A history that begins this much after a window does still covers it, and one that ends this much
# before the newest session of all still trades (weekends, holidays).
GRACE = dt.timedelta(days=10)


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

    @cached_property
    def periods_per_year(self) -> int:
        """252, 52 or 12 by the spacing of the bars.

        Raises:
            InsufficientDataError: the spacing cannot be told.
        """
        days = self.prices.index.to_numpy().astype("datetime64[D]")
        annual = periods_per_year(days)
        if annual is None:
            raise InsufficientDataError(
                f"{self.ticker}: {len(days)} bars are too few, or too irregular, to annualise"
            )
        return annual

    @property
    def end(self) -> dt.date:
        """Date of the newest price."""
        return self.prices.index[-1].date()

    def covers(self, start: dt.date) -> bool:
        """Whether it reaches back to `start`, give or take `GRACE`."""
        return self.prices.index[0].date() <= start + GRACE

    def trades_on(self, day: dt.date) -> bool:
        """Whether it reaches up to `day`, give or take `GRACE`."""
        return self.end >= day - GRACE

    def since(self, start: dt.date | None) -> PriceSeries:
        """The part from `start` on."""
        if start is None:
            return self
        day = np.datetime64(start)
        return replace(
            self,
            prices=self.prices[self.prices.index.to_numpy() >= day.astype("datetime64[s]")],
            holes=self.holes[self.holes >= day],
            excluded=self.excluded[self.excluded >= day],
        )

    def with_holes(self) -> tuple[npt.NDArray[np.float64], Days]:
        """Prices and dates with a NaN at every hole between the first and the last price."""
        days = self.prices.index.to_numpy().astype("datetime64[D]")
        values = self.prices.to_numpy(dtype="float64")
        inner = self.holes[(self.holes > days[0]) & (self.holes < days[-1])] if len(days) else days
        if len(inner) == 0:
            return values, days
        order = np.argsort(np.r_[days, inner], kind="stable")
        return np.r_[values, np.full(len(inner), np.nan)][order], np.r_[days, inner][order]


def common_prices(series: list[PriceSeries], start: dt.date | None = None) -> pd.DataFrame:
    """Prices on the dates that every series has (listwise), a column per ticker, ascending.

    Raises:
        InsufficientDataError: fewer than three common dates; names the ranges.
    """
    parts = [s.since(start).prices.rename(s.ticker) for s in series]
    joined = pd.concat(parts, axis=1, join="inner").sort_index()
    if len(joined) < 3:
        ranges = "; ".join(
            f"{p.name} {p.index[0]:%Y-%m-%d} to {p.index[-1]:%Y-%m-%d}"
            if len(p)
            else f"{p.name} nothing"
            for p in parts
        )
        raise InsufficientDataError(f"{len(joined)} common dates are too few ({ranges})")
    return joined


def sources(series: Iterable[PriceSeries]) -> str:
    """Where prices came from, several sources joined by commas."""
    return ",".join(sorted({s.source for s in series}))


def newest_session(series: Iterable[PriceSeries]) -> dt.date:
    """The as-of date of everything that is made from these prices.

    Raises:
        InsufficientDataError: there are none at all.
    """
    ends = [s.end for s in series]
    if not ends:
        raise InsufficientDataError(
            "there is no price history yet; run `etf run` first", code=ReasonCode.NO_HISTORY
        )
    return max(ends)


def years_before(day: dt.date, years: int) -> dt.date:
    """The same calendar day `years` earlier (28 February for 29 February)."""
    return (pd.Timestamp(day) - pd.DateOffset(years=years)).date()


def window_start(end: dt.date, years: int | None) -> dt.date | None:
    """First day of a window of `years` that ends at `end`; None for one without a beginning."""
    return None if years is None else years_before(end, years)


def first_window_end(begin: dt.date, years: int) -> dt.date:
    """The first day whose last `years` a history that begins at `begin` covers, see `GRACE`."""
    return (pd.Timestamp(begin) + pd.DateOffset(years=years)).date() - GRACE
