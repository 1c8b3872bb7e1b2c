"""Two rows for one day: one rule, whatever order they come in. Pure."""

from __future__ import annotations

import datetime as dt

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.model.schemas import BAR_COLUMNS, EVENT_COLUMNS, VALUE_COLUMNS

# Of equal volume, what decides: any fixed order will do.
_TIES = ("close", "high", "low", "open", *EVENT_COLUMNS)


def one_row_per_day(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[dt.date, str]]:
    """Of several rows of one day the one with the greatest volume; events that it lacks are kept.

    A session that is answered while it runs comes once more when it is over, with more volume. A
    row with a price goes before one without; rows of equal volume are decided by their values, so
    that their order never matters.

    Args:
        rows: with at least `VALUE_COLUMNS`, by session date, in any order.

    Returns:
        Rows of unique ascending dates, and by date what was left out, in words; equal rows are one
        without a word.
    """
    if rows.index.is_unique:
        return rows, {}
    values = {name: rows[name].to_numpy(dtype="float64") for name in VALUE_COLUMNS}
    days = rows.index.to_numpy()
    keys = [_lowest(values[name]) for name in reversed(_TIES)]
    priced = np.isfinite(values["close"])
    order = np.lexsort((*keys, _lowest(values["volume"]), priced, days))
    ordered = rows.iloc[order]
    days = days[order]
    last = np.r_[days[1:] != days[:-1], True]
    kept = ordered[last].copy()
    notes: dict[dt.date, str] = {}
    for day in np.unique(days[~last]):
        same = ordered[days == day]
        for name in EVENT_COLUMNS:
            told = np.nan_to_num(same[name].to_numpy(dtype="float64"))
            if told[-1] == 0 and told.any():
                kept.loc[day, name] = told[told != 0][-1]
        distinct = same.drop_duplicates(list(VALUE_COLUMNS))
        if len(distinct) > 1:
            notes[day.astype("datetime64[D]").astype(object)] = _words(distinct)
    return kept, notes


def _lowest(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """With what is not known below everything."""
    return np.where(np.isnan(values), -np.inf, values)


def _words(rows: pd.DataFrame) -> str:
    """What is kept and what is left out, of rows in their order: the last is kept."""
    told = [_bar(row) for _, row in rows[list(BAR_COLUMNS)].iterrows()]
    return f"{len(told)} rows for this day: kept {told[-1]}; left out {', '.join(told[:-1])}"


def _bar(row: pd.Series) -> str:
    return f"close {row['close']:g} with volume {row['volume']:.0f}"
