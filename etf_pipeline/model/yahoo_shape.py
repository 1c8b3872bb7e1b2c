"""Frames in the shape that yfinance writes, as frames with our names. Pure."""

from __future__ import annotations

import numpy as np
import pandas as pd

from etf_pipeline.errors import StoreError
from etf_pipeline.model.schemas import BAR_COLUMNS, EVENT_COLUMNS

_NAMES = {
    "date": "date",
    "datetime": "date",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "adj close": "adj_close",
    "adj_close": "adj_close",
    "adjclose": "adj_close",
    "volume": "volume",
    "dividends": "dividends",
    "stock splits": "stock_splits",
    "stock_splits": "stock_splits",
    "capital gains": "capital_gains",
    "capital_gains": "capital_gains",
}


def our_name(column: str) -> str | None:
    """What we call a column that a user may have spelt in any of these ways; None: it is not read.

    `flag` is not among them: only our own rules flag a row.
    """
    return _NAMES.get(column.strip().lower())


def normalised(frame: pd.DataFrame, origin: str) -> pd.DataFrame:
    """Any Yahoo-shaped frame as one with our column names, indexed by naive session date.

    Args:
        frame: `Date` as a column or the index, any case, tz-aware or naive. Prices in currency per
            unit.
        origin: the file's name, for errors.

    Returns:
        The columns that there are, `adj_close` among them if there is one; ascending dates.

    Raises:
        StoreError: no date or no close, or two different bars on one date.
    """
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(names=frame.index.name or "Date")
    renamed = {c: ours for c in frame.columns if (ours := our_name(str(c))) is not None}
    frame = frame[list(renamed)].rename(columns=renamed)
    for name in ("date", "close"):
        if name not in frame.columns:
            raise StoreError(f"{origin} has no {name!r} column; columns of yfinance are expected")
    out = frame.drop(columns="date").astype("float64")
    dates = session_dates(pd.DatetimeIndex(pd.to_datetime(frame["date"])))
    out.index = pd.DatetimeIndex(dates, name="date")
    out = out[~(out.reset_index().duplicated().to_numpy())].sort_index(kind="stable")
    if out.index.has_duplicates:
        twice = out.index[out.index.duplicated()][0]
        raise StoreError(f"{origin} has two different bars for {twice:%Y-%m-%d}; remove one")
    return out


def completed(rows: pd.DataFrame) -> pd.DataFrame:
    """The same with every column of `VALUE_COLUMNS`: no event where none is told, no bar unknown.

    Adds the columns in place.
    """
    for name in EVENT_COLUMNS:
        if name not in rows:
            rows[name] = 0.0
    for name in BAR_COLUMNS:
        if name not in rows:
            rows[name] = np.nan
    return rows


def session_dates(stamps: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Sessions (midnight, naive, to the second) of stamps: their date at the exchange.

    Midnight at the exchange is the session; converting to UTC would move it a day.
    """
    naive = stamps if stamps.tz is None else stamps.tz_localize(None)
    return pd.DatetimeIndex(naive.to_numpy().astype("datetime64[D]").astype("datetime64[s]"))
