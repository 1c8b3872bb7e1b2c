"""Simulated prices for demos and tests: deterministic, correlated, and labelled as simulated.

They carry what real data carry: dividends, a split that restates the past, a missing session and
a close that is corrected a session later.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.ingest.source import (
    Clock,
    Download,
    FetchFailure,
    Request,
    utc_now,
)
from etf_pipeline.model.calendars import last_final_session, sessions
from etf_pipeline.model.currencies import USD, Pair, pair_of
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.rows import DOWNLOAD_COLUMNS

_START = np.datetime64("2014-01-02")
_SPLIT_DATE = np.datetime64("2023-05-10")
_SPLIT_RATIO = 4.0
_MISSING = np.datetime64("2022-09-07")


@dataclass(frozen=True)
class _Character:
    """Annual drift and volatility, sensitivity to the two common factors, and yield."""

    drift: float
    volatility: float
    equity: float
    rates: float
    dividend_yield: float


_CHARACTERS = {
    "australian_equity": _Character(0.085, 0.15, 0.85, 0.05, 0.042),
    "international_equity": _Character(0.105, 0.15, 0.85, -0.05, 0.017),
    "fixed_income": _Character(0.032, 0.045, 0.10, 0.85, 0.028),
    "cash": _Character(0.030, 0.003, 0.0, 0.2, 0.030),
    "property": _Character(0.075, 0.18, 0.75, 0.25, 0.040),
    "commodity": _Character(0.080, 0.15, 0.10, 0.20, 0.0),
}
_OTHER = _Character(0.09, 0.17, 0.8, 0.0, 0.02)


# About what one USD was in other currencies; 1 for those that are not named.
_PER_DOLLAR = {
    "AUD": 1.5,
    "BRL": 5.2,
    "CAD": 1.36,
    "CHF": 0.88,
    "CLP": 920.0,
    "CNY": 7.2,
    "DKK": 6.9,
    "EUR": 0.92,
    "GBP": 0.79,
    "HKD": 7.8,
    "ILS": 3.7,
    "INR": 84.0,
    "JPY": 150.0,
    "KRW": 1350.0,
    "KWD": 0.31,
    "MXN": 18.0,
    "NOK": 10.6,
    "NZD": 1.65,
    "SEK": 10.5,
    "SGD": 1.34,
    "TWD": 32.0,
    "ZAR": 18.5,
}
_RATE_VOLATILITY = 0.09


class SimulatedSource:
    """Prices from a two-factor model; the same ticker and clock always give the same rows."""

    name = "simulated"

    def __init__(self, clock: Clock = utc_now, close_delay: dt.timedelta = dt.timedelta()) -> None:
        self._clock = clock
        self._delay = close_delay

    def fetch(self, requests: Sequence[Request]) -> Iterator[Download | FetchFailure]:
        """See `PriceSource.fetch`."""
        for request in requests:
            instrument = request.instrument
            last = last_final_session(instrument.exchange, self._clock(), self._delay)
            rows = simulate(instrument, last)
            if request.start is not None:
                rows = rows[rows.index.to_numpy() >= np.datetime64(request.start, "s")]
            yield Download(request, rows, instrument.symbol, instrument.currency)


def simulate(instrument: Instrument, last: dt.date) -> pd.DataFrame:
    """One ticker's rows up to and including session `last`, as a source would send them."""
    calendar = sessions(instrument.exchange)
    days = calendar[(calendar >= _START) & (calendar <= np.datetime64(last))]
    pair = pair_of(instrument.ticker)
    if pair is not None:
        return _rates(pair, days)[list(DOWNLOAD_COLUMNS)]
    seed = zlib.crc32(instrument.ticker.encode())
    nature = _CHARACTERS.get(instrument.asset_class, _OTHER)
    own = _shocks(np.random.default_rng(seed), len(days))
    equity = _shocks(np.random.default_rng(1), len(days))
    rates = _shocks(np.random.default_rng(2), len(days))
    rest = np.sqrt(max(0.0, 1 - nature.equity**2 - nature.rates**2))
    mixed = nature.equity * equity + nature.rates * rates + rest * own
    daily = nature.drift / 252 + nature.volatility / np.sqrt(252) * mixed
    paid_yield = np.where(_quarter_starts(days), nature.dividend_yield / 4, 0.0)
    growth = np.cumprod((1 + daily) * (1 - paid_yield))
    close = np.round((40 + seed % 60) * growth, 3)
    dividends = np.round(np.r_[0.0, close[:-1]] * paid_yield, 6)
    rows = _bars(seed, days, close).assign(
        dividends=dividends, stock_splits=0.0, capital_gains=0.0, adj_close_source=np.nan
    )
    rows = _with_split(rows, days) if seed % 5 == 0 else rows
    if seed % 3 == 0 and len(rows):
        # The newest close is provisional; the next session's download corrects it.
        middle = (rows["low"].iloc[-1] + rows["high"].iloc[-1]) / 2
        rows.loc[rows.index[-1], "close"] = round(middle, 3)
    return rows[days != _MISSING][list(DOWNLOAD_COLUMNS)]


def _rates(pair: Pair, days: npt.NDArray[np.datetime64]) -> pd.DataFrame:
    """Rates of a currency pair: each currency walks against the dollar, so that crosses agree."""
    dollars = []
    for currency in (pair.base, pair.quote):
        moves = _shocks(np.random.default_rng(zlib.crc32(currency.encode())), len(days))
        daily = (currency != USD) * _RATE_VOLATILITY / np.sqrt(252) * moves
        dollars.append(np.cumprod(1 + daily) / _PER_DOLLAR.get(currency, 1.0))
    close = dollars[0] / dollars[1]
    index = pd.DatetimeIndex(days.astype("datetime64[s]"), name="date")
    opens = np.r_[close[:1], close[:-1]]
    return pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, close),
            "low": np.minimum(opens, close),
            "close": close,
            "volume": 0.0,  # as Yahoo has it: nobody counts it
            "dividends": 0.0,
            "stock_splits": 0.0,
            "capital_gains": 0.0,
            "adj_close_source": np.nan,
        },
        index,
    )


def _shocks(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    """Fat-tailed draws of unit variance; a longer run has the shorter one as its beginning."""
    t = rng.standard_t(6, size=n)
    return t / np.sqrt(6 / 4)


def _bars(
    seed: int, days: npt.NDArray[np.datetime64], close: npt.NDArray[np.float64]
) -> pd.DataFrame:
    width = np.random.default_rng([seed, 1]).random((len(days), 4))
    opens = np.round(close * (1 + 0.004 * (width[:, 0] - 0.5)), 3)
    high = np.round(np.maximum(opens, close) * (1 + 0.004 * width[:, 1]), 3)
    low = np.round(np.minimum(opens, close) * (1 - 0.004 * width[:, 2]), 3)
    volume = np.floor(20_000 + 400_000 * width[:, 3])
    index = pd.DatetimeIndex(days.astype("datetime64[s]"), name="date")
    return pd.DataFrame(
        {"open": opens, "high": high, "low": low, "close": close, "volume": volume}, index
    )


def _quarter_starts(days: npt.NDArray[np.datetime64]) -> npt.NDArray[np.bool_]:
    months = days.astype("datetime64[M]").astype("int64")
    return np.r_[False, (months[1:] // 3) != (months[:-1] // 3)]


def _with_split(rows: pd.DataFrame, days: npt.NDArray[np.datetime64]) -> pd.DataFrame:
    """A split, once it has happened, restates every row before it, as Yahoo does."""
    if days[-1] < _SPLIT_DATE:
        return rows
    rows[["open", "high", "low", "close", "dividends"]] /= _SPLIT_RATIO
    rows["volume"] *= _SPLIT_RATIO
    rows.loc[rows.index[int(np.searchsorted(days, _SPLIT_DATE))], "stock_splits"] = _SPLIT_RATIO
    return rows
