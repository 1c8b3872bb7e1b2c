"""How far apart bars are, and how many of them a year has. Observed, never assumed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from etf_pipeline.model.windows import LONG_GAP

Days = npt.NDArray[np.datetime64]
DAYS_PER_YEAR = 365.25  # of the Julian year
# What regular bars come near to; fewer than nine tenths of it are called sparse.
PERIODS_PER_YEAR = {"daily": 252, "weekly": 52, "monthly": 12}
# Calendar periods of months, by the alias that pandas has for them.
MONTHS_AND_LONGER = {"monthly": "M", "quarterly": "Q", "yearly": "Y"}
_GAPS = {"daily": (0, 4), "weekly": (5, 9), "monthly": (25, 35)}  # days between two bars
_ENOUGH = 90  # days, to tell sparse bars from a few holidays
_MOST_NAMED = 3


def bar_spacing(dates: Days) -> str | None:
    """`daily`, `weekly`, `monthly`, or None when it cannot be told.

    Args:
        dates: ascending bar dates, shape (n,). The median gap decides, so holidays and missing
            sessions do not.
    """
    return None if len(dates) < 3 else _spacing(_gaps(dates))


def periods_per_year(n: int, days: int) -> float:
    """A, the returns a year that there were: n · 365.25 / days from the first price to the last."""
    return n * DAYS_PER_YEAR / days


def spacing_remarks(dates: Days) -> list[str]:
    """What is to be said of the spacing of bars; nothing of daily ones without long gaps.

    The spacing has changed where three gaps in a row are all longer, or all shorter, than the
    usual ones. A long gap is over thirty days, and over four usual ones.

    Args:
        dates: ascending bar dates, shape (n,).
    """
    if len(dates) < 3:
        return []
    gaps = _gaps(dates)
    spacing = _spacing(gaps)
    apart = np.zeros(len(gaps), dtype="bool") if spacing is None else _apart(gaps, _GAPS[spacing])
    remarks = []
    if apart.any():
        where = np.flatnonzero(apart)
        remarks.append(
            f"the spacing of the bars changed: they are {spacing}, but not between "
            f"{_day(dates[where[0]])} and {_day(dates[where[-1] + 1])}"
        )
    elif spacing != "daily":
        remarks.append(f"the bars are {spacing or 'spaced irregularly'}")
    else:
        days = int(gaps.sum())
        annual = periods_per_year(len(gaps), days)
        if days >= _ENOUGH and annual < 0.9 * PERIODS_PER_YEAR["daily"]:
            remarks.append(f"the bars are sparse: {annual:.0f} returns a year")
    # What no gap is longer than needs no median of them.
    return remarks + long_gaps(dates) if int(gaps.max()) > LONG_GAP else remarks


def long_gaps(dates: Days) -> list[str]:
    """Returns that span over thirty days and over four usual gaps, in words.

    Args:
        dates: ascending bar dates, shape (n,).
    """
    long = np.flatnonzero(is_long(dates))
    named = [
        f"one return spans {_day(dates[i])} to {_day(dates[i + 1])}" for i in long[:_MOST_NAMED]
    ]
    more = len(long) - len(named)
    return [*named, f"{more} more returns span over {LONG_GAP} days"] if more else named


def is_long(dates: Days) -> npt.NDArray[np.bool_]:
    """Which gaps between bars are holes: as `long_gaps` has them, shape (n − 1,)."""
    gaps = _gaps(dates)
    if len(gaps) == 0 or int(gaps.max()) <= LONG_GAP:
        return np.zeros(len(gaps), dtype="bool")
    spacing = bar_spacing(dates)
    apart = _apart(gaps, _GAPS[spacing]) if spacing is not None else False
    return (gaps > max(LONG_GAP, 4.0 * float(np.median(gaps)))) & ~np.asarray(apart)


def _apart(gaps: npt.NDArray[np.int64], usual: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which gaps are of runs of three or more that are all longer, or all shorter, than usual."""
    found = np.zeros(len(gaps), dtype="bool")
    for other in (gaps < usual[0], gaps > usual[1]):
        runs = np.flatnonzero(other[:-2] & other[1:-1] & other[2:])
        for shift in range(3):
            found[runs + shift] = True
    return found


def _spacing(gaps: npt.NDArray[np.int64]) -> str | None:
    if np.count_nonzero(gaps <= 4) * 2 > len(gaps):  # then the median is at most 4
        return "daily"
    gap = float(np.median(gaps))
    return next((name for name, (low, high) in _GAPS.items() if low <= gap <= high), None)


def _gaps(dates: Days) -> npt.NDArray[np.int64]:
    return np.diff(dates.astype("datetime64[D]").astype("int64"))


def _day(date: np.datetime64) -> np.datetime64:
    return date.astype("datetime64[D]")
