"""What frames of any source have in common. Pure."""

from __future__ import annotations

import numpy as np
import pandas as pd

from etf_pipeline.model.schemas import BAR_COLUMNS, EVENT_COLUMNS


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
