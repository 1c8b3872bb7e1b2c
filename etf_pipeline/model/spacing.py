"""How far apart bars are: daily, weekly or monthly. Detected, never assumed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PERIODS_PER_YEAR = {"daily": 252, "weekly": 52, "monthly": 12}
# Calendar periods of months, by the alias that pandas has for them.
MONTHS_AND_LONGER = {"monthly": "M", "quarterly": "Q", "yearly": "Y"}


def bar_spacing(dates: npt.NDArray[np.datetime64]) -> str | None:
    """`daily`, `weekly`, `monthly`, or None when it cannot be told.

    Args:
        dates: ascending bar dates, shape (n,). The median gap decides, so holidays and missing
            sessions do not.
    """
    if len(dates) < 3:
        return None
    gaps = np.diff(dates.astype("datetime64[D]")).astype("int64")
    if np.count_nonzero(gaps <= 4) * 2 > len(gaps):  # then the median is at most 4
        return "daily"
    gap = float(np.median(gaps))
    if gap <= 4:
        return "daily"
    if 5 <= gap <= 9:
        return "weekly"
    if 25 <= gap <= 35:
        return "monthly"
    return None


def periods_per_year(dates: npt.NDArray[np.datetime64]) -> int | None:
    """252, 52 or 12 by the spacing of bars; None when it cannot be told."""
    spacing = bar_spacing(dates)
    return None if spacing is None else PERIODS_PER_YEAR[spacing]
