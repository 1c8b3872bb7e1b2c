"""A portfolio of given weights as one series of prices, for the metrics of any series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.spacing import MONTHS_AND_LONGER
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.risk.prices import PriceSeries, anchor, common_prices, sources, window_start
from etf_pipeline.risk.returns import simple_returns
from etf_pipeline.risk.together import exchanges

Restored = Literal["daily", "monthly", "quarterly", "yearly", "never"]
RESTORED: tuple[Restored, ...] = get_args(Restored)
_NO_DAYS = np.array([], dtype="datetime64[D]")


def wealth_of(prices: pd.DataFrame, weights: Floats, restored: Restored) -> pd.Series:
    """The worth of 1 invested at the first prices, on every date.

    Args:
        prices: adjusted closes, a column per asset, ascending dates, no holes.
        weights: shape (N,), summing to 1.
        restored: when trading brings the weights back, at closing prices and free of charge:
            `daily` at every date, so that each return is Σ w·r, as mean-variance analysis has it;
            at the last date of every calendar period; or `never`, so that they drift.
    """
    dates = pd.DatetimeIndex(prices.index)
    values = prices.to_numpy(dtype="float64")
    if restored == "daily":
        growth = np.r_[1.0, 1.0 + simple_returns(values) @ weights]
        return pd.Series(np.cumprod(growth), dates, name="wealth")
    ends = [0]
    if restored != "never":
        bins = dates.to_period(MONTHS_AND_LONGER[restored])
        ends += [int(i) for i in np.flatnonzero(np.asarray(bins[1:] != bins[:-1])) if i > 0]
    wealth = np.ones(len(values))
    for begin, end in zip(ends, [*ends[1:], len(values) - 1], strict=True):
        wealth[begin : end + 1] = wealth[begin] * (
            (values[begin : end + 1] / values[begin]) @ weights
        )
    return pd.Series(wealth, dates, name="wealth")


def series_of_weights(
    series: list[PriceSeries],
    weights: Mapping[str, float],
    years: int | None,
    restored: Restored = "daily",
) -> PriceSeries:
    """The portfolio over the last `years` of its tickers' common dates, as a series.

    Its first price is 1, on the day that the window begins with.

    Args:
        series: prices of the tickers in one currency.
        weights: by ticker, summing to 1.
        years: None for all there is.
        restored: see `wealth_of`.

    Raises:
        InsufficientDataError: fewer than three common dates, or the portfolio was worth nothing,
            as one with weights below 0 can be.
    """
    prices = common_prices(series)
    start = window_start(prices.index[-1].date(), years)
    if start is not None:
        prices = prices.iloc[anchor(prices.index.to_numpy().astype("datetime64[D]"), start) :]
    held = np.array([weights[name] for name in prices.columns])
    wealth = wealth_of(prices, held, restored)
    if not bool((wealth > 0).all()):
        day = pd.Timestamp(wealth.index[int(np.argmax(wealth.to_numpy() <= 0))]).date()
        raise InsufficientDataError(f"the portfolio is worth nothing on {day}: all of it was lost")
    return as_series(wealth, series)


def as_series(wealth: pd.Series, series: Sequence[PriceSeries]) -> PriceSeries:
    """What became of 1 as prices, of the currency, sources and exchanges of what was held.

    Several exchanges are called by all their names, which is that of none: they close at several
    hours.
    """
    return PriceSeries(
        "portfolio",
        wealth,
        _NO_DAYS,
        _NO_DAYS,
        sources(series),
        series[0].currency,
        "+".join(exchanges(series)) or None,
    )
