"""Adjusted closes out of the store, with the holes that quarantine left in them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.spacing import PERIODS_PER_YEAR, bar_spacing
from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.inventory import available_tickers, unknown_ticker
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_adjusted, read_table

Days = npt.NDArray[np.datetime64]


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

    @cached_property
    def periods_per_year(self) -> int:
        """252, 52 or 12 by the spacing of the bars.

        Raises:
            InsufficientDataError: the spacing cannot be told.
        """
        days = self.prices.index.to_numpy().astype("datetime64[D]")
        spacing = bar_spacing(days)
        if spacing is None:
            raise InsufficientDataError(
                f"{self.ticker}: {len(days)} bars are too few, or too irregular, to annualise"
            )
        return PERIODS_PER_YEAR[spacing]

    @property
    def end(self) -> dt.date:
        """Date of the newest price."""
        return self.prices.index[-1].date()

    def since(self, start: dt.date | None) -> PriceSeries:
        """The part from `start` on."""
        if start is None:
            return self
        day = np.datetime64(start)
        return PriceSeries(
            self.ticker,
            self.prices[self.prices.index.to_numpy() >= day.astype("datetime64[s]")],
            self.holes[self.holes >= day],
            self.excluded[self.excluded >= day],
            self.source,
            self.currency,
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


def load_prices(layout: Layout, ticker: str) -> PriceSeries:
    """One ticker's adjusted closes.

    Raises:
        UnknownTickerError: there is no history of it; names the nearest ones.
        CorruptFileError: its file is damaged.
    """
    path = layout.find_history(ticker)
    try:
        prices, info = read_adjusted(path)
    except FileNotFoundError:
        raise unknown_ticker(
            ticker, available_tickers(layout), str(layout.historical_dir)
        ) from None
    excluded = missing = holes = _NO_DAYS
    if info.ours and info.meta.get("findings") != 0:
        excluded, missing = _holes(layout, ticker)
        held = prices.index.to_numpy().astype("datetime64[D]")
        holes = np.setdiff1d(np.union1d(excluded, missing), held)
    return PriceSeries(ticker, prices, holes, excluded, info.source, info.meta.get("currency"))


def cached_prices(layout: Layout, ticker: str, cache: FileCache) -> PriceSeries:
    """`load_prices`, from the cache while the history is the file that was read.

    A history is replaced whenever its quarantine is, as it names it by hash.
    """
    path = layout.find_history(ticker)
    if not path.exists():
        return load_prices(layout, ticker)  # which says what is missing
    found: PriceSeries | None = cache.get("series", path)
    if found is None:
        stamp = cache.stamp(path)
        found = load_prices(layout, ticker)
        cache.put("series", path, stamp, found)
    return found


_NO_DAYS: Days = np.array([], dtype="datetime64[D]")


def _holes(layout: Layout, ticker: str) -> tuple[Days, Days]:
    """Quarantined sessions and missing ones; a bar on a holiday leaves no hole."""
    path = layout.quarantine(ticker)
    try:
        table = read_table(path, ["date", "rule", "severity"])
    except FileNotFoundError:
        return _NO_DAYS, _NO_DAYS
    days = table.column("date").to_numpy()
    severity, rule = (np.array(table.column(c).to_pylist()) for c in ("severity", "rule"))
    no_session = days[rule == "holiday_bar"]
    excluded = np.setdiff1d(days[severity == "quarantined"], no_session)
    return excluded, days[severity == "missing"]


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


def years_before(day: dt.date, years: int) -> dt.date:
    """The same calendar day `years` earlier (28 February for 29 February)."""
    return (pd.Timestamp(day) - pd.DateOffset(years=years)).date()
