"""Whether rows are one security's: a symbol may be given to another one after a pause. Pure."""

from __future__ import annotations

import datetime as dt

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.model.corrections import VOID_REMEDY
from etf_pipeline.model.rows import values_of
from etf_pipeline.model.schemas import VALUE_COLUMNS
from etf_pipeline.model.spacing import bar_spacing

Floats = npt.NDArray[np.float64]

_LONG_GAP = np.timedelta64(60, "D")  # symbols are not given away sooner
_LARGE = np.log(1.8)
_MOVES = 6.0  # standard deviations of what the closes did before, over as many sessions
_SESSIONS_A_DAY = 252 / 365.25
_NORMAL = 1.4826  # from the median of absolute deviations to a standard deviation
_FAULTY_FACTORS = np.log(np.array([10.0, 100.0, 1000.0]))
_SAME_FACTOR = np.log(1.10)
_EQUAL = 1e-6  # relative; closes of one answer are the same number
_FEW, _MOST = 3, 0.9


def since(rows: pd.DataFrame, listed: dt.date | None) -> pd.DataFrame:
    """The rows from the day on that a security is listed; all of them when that is not said."""
    if listed is None or len(rows) == 0:
        return rows
    kept = rows.index.to_numpy() >= np.datetime64(listed, "s")
    return rows if kept.all() else rows[kept]


def same_prices(one: pd.Series[float], other: pd.Series[float]) -> bool:
    """Whether two series of closes are one security's, by the sessions that they have in common.

    All but a few are equal, or a split has brought one of the two to another level: then the ratio
    is the same on each of at least three sessions.

    Args:
        one: closes by date, each date once.
        other: the same.
    """
    common = one.index.intersection(other.index)
    ratios = one.loc[common].to_numpy() / other.loc[common].to_numpy()
    if not len(ratios):
        return False
    level = float(np.median(ratios)) if len(ratios) >= _FEW else 1.0
    return bool(np.mean(np.abs(ratios / level - 1) < _EQUAL) >= _MOST)


def other_security(rows: pd.DataFrame) -> str | None:
    """Why the rows after a long gap look like another security's, in words; None when they do not.

    The price is on a level that its own moves before the gap would not have reached in that time,
    and that is no change of unit and no split.

    Args:
        rows: daily, ascending, as `model.rows` has them.
    """
    values = values_of(rows)
    close = values[:, VALUE_COLUMNS.index("close")]
    usable = np.isfinite(close) & (close > 0)
    days = rows.index.to_numpy()[usable].astype("datetime64[D]")
    gaps = np.diff(days)
    long = np.flatnonzero(gaps > _LONG_GAP)
    if len(long) == 0 or bar_spacing(days) not in (None, "daily"):
        return None
    logs = np.log(close[usable])
    splits = values[:, VALUE_COLUMNS.index("stock_splits")]
    recorded = np.abs(np.log(splits[(splits > 0) & (splits != 1)]))
    for k in long:
        jump = abs(float(logs[k + 1] - logs[k]))
        known_factors = np.r_[_FAULTY_FACTORS, recorded]
        if jump <= _LARGE or np.min(np.abs(known_factors - jump)) < _SAME_FACTOR:
            continue
        sessions = float(gaps[k].astype("int64")) * _SESSIONS_A_DAY
        if jump > _MOVES * _daily_scale(logs[: k + 1], logs[k + 1 :]) * np.sqrt(sessions):
            return (
                f"{k + 1} closes end at {np.exp(logs[k]):g} on {days[k]}, nothing for "
                f"{gaps[k].astype('int64')} days, then {len(days) - k - 1} closes from "
                f"{np.exp(logs[k + 1]):g} on {days[k + 1]}: does the symbol mean another security "
                f"now? If so, set listed_since={days[k + 1]} in the universe (rows before it are "
                "left out), or give the new one a ticker of its own; if the fund was renamed, "
                "correct its symbol and keep the old ticker as an alias; if all rows are the same "
                f"fund's, set listed_since={days[0]}, and declare a wrong price in the "
                f"corrections. {VOID_REMEDY}"
            )
    return None


def _daily_scale(before: Floats, after: Floats) -> float:
    """The standard deviation of daily moves of the longer side, not misled by single faults."""
    longer = before if len(before) >= len(after) else after
    moves = np.abs(np.diff(longer))
    return float(_NORMAL * np.median(moves)) if len(moves) else 0.0
