"""What a whole history that differs from the known one may be: restated, or a fault. Pure.

A restatement multiplies the past by one ratio, that of a split or a bonus issue. A unit that
changed under the same label multiplies it by a power of ten which no split explains, and another
security (or another currency) by a ratio that changes from day to day.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import ReasonCode, RejectedDataError
from etf_pipeline.model.corrections import VOID_REMEDY
from etf_pipeline.model.splits import possible_splits

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
Split = tuple[np.datetime64, float]  # from which day on, new units for an old one

_RESCALED = 1e-4  # a ratio nearer to 1 is a correction
_SAME_FACTOR = np.log(1.02)
_UNITS = np.log(np.array([10.0, 100.0, 1000.0]))
_ENOUGH_TO_TELL = 10  # common days, to compare day by day
_SHORTEST_SEGMENT = 3
# Of the known close's own moves from day to day: more is another series. A currency moves by half
# of what a share does; rounding to the third decimal by less than this.
_OTHER_SERIES = 0.1
_ROUNDING = 5e-4


def check_restatement(
    known: pd.DataFrame, full: pd.DataFrame, declared: Sequence[Split] = ()
) -> None:
    """Refuse a whole history that is on another level for no reason, or another series.

    Args:
        known: every row known, as `model.rows` has them.
        full: the new whole history, tidied.
        declared: splits that somebody declared, which the source may lack.

    Raises:
        RejectedDataError: `OTHER_LEVEL` or `OTHER_SECURITY`; the message has the numbers.
    """
    positions = known.index.get_indexer(full.index)
    there = positions >= 0
    old = known["close"].to_numpy()[positions[there]]
    new = full["close"].to_numpy(dtype="float64")[there]
    usable = np.isfinite(old) & np.isfinite(new) & (old > 0) & (new > 0)
    if not usable.any():
        return
    days = full.index.to_numpy()[there][usable].astype("datetime64[D]")
    old, new = np.log(old[usable]), np.log(new[usable])
    ratio = old - new
    changed = np.abs(ratio) > _RESCALED
    if not changed.any():
        return
    # What splits that only the new history has make of the ratio.
    splits = _later_splits(full, days) - _later_splits(known, days)
    said = _product_of_later(declared, days)
    if declared and np.median(np.abs(ratio - said)) < np.median(np.abs(ratio - splits)):
        splits = said
    if changed.sum() * 2 >= len(changed):
        _check_same_series(old, ratio - splits)
    _check_same_unit(days, old, new, splits)


def _check_same_series(old: Floats, residual: Floats) -> None:
    if len(old) < _ENOUGH_TO_TELL:
        return
    apart = float(np.median(np.abs(np.diff(residual))))
    moves = float(np.median(np.abs(np.diff(old))))
    if apart > max(_ROUNDING, _OTHER_SERIES * moves):
        raise RejectedDataError(
            f"the new closes are another series: their ratio to the known ones changes by "
            f"{apart:.2%} from day to day (the known closes move by {moves:.2%}). Is it another "
            "security under the same symbol, or another currency? Kept the known history. If the "
            "symbol now means another security, set listed_since in the universe to its first "
            "session, or give it a ticker of its own; if the fund was renamed, correct its symbol. "
            f"{VOID_REMEDY}",
            code=ReasonCode.OTHER_SECURITY,
        )


def _check_same_unit(days: Days, old: Floats, new: Floats, splits: Floats) -> None:
    """Refuse when the newest known rows, or most of all, changed by an unexplained power of ten."""
    ratio = old - new
    residual = ratio - splits
    # Also a split that is recorded upside down explains its ratio.
    moved = (np.abs(ratio) > _SAME_FACTOR) & (np.abs(ratio + splits) > _SAME_FACTOR)
    off = moved & (np.min(np.abs(np.abs(residual)[:, None] - _UNITS), axis=1) < _SAME_FACTOR)
    if not off[-1]:
        return
    first = len(off) - int(np.argmin(off[::-1])) if not off.all() else 0
    size = len(off) - first
    if size < min(_SHORTEST_SEGMENT, len(off)):
        return
    is_part = first > 0 and size * 2 < len(off)
    if is_part and abs(new[first] - new[first - 1]) < abs(old[first] - old[first - 1]):
        return  # the new one has no jump where the part begins: the source has mended a fault
    factor = float(np.exp(np.median(residual[first:])))
    raise RejectedDataError(
        f"the known closes from {days[first]} to {days[-1]} are {factor:.6g} times the new ones, "
        "and no split in the answer explains it: the unit of the prices changed under the same "
        "label (pence and pounds, say), or the source lacks a split. Kept the known history; an "
        "answer on the known level is taken again. If the new level is to stay, declare "
        f"stock_splits {factor:.6g} in the corrections, on the first session after {days[-1]}. "
        f"{VOID_REMEDY}",
        code=ReasonCode.OTHER_LEVEL,
    )


def _product_of_later(splits: Sequence[Split], days: Days) -> Floats:
    """Of each day, the log of the product of these splits after it."""
    total = np.zeros(len(days))
    for date, ratio in splits:
        total += np.where(days < date, np.log(ratio), 0.0)
    return total


def _later_splits(rows: pd.DataFrame, days: Days) -> Floats:
    """Of each day, the log of the product of the splits after it."""
    ratios = rows["stock_splits"].to_numpy(dtype="float64")
    at = np.flatnonzero(possible_splits(ratios))
    if len(at) == 0:
        return np.zeros(len(days))
    dates = rows.index.to_numpy()[at].astype("datetime64[D]")
    logs = np.log(ratios[at])
    total = np.r_[np.cumsum(logs[::-1])[::-1], 0.0]
    return np.asarray(total[np.searchsorted(dates, days, "right")], dtype=np.float64)
