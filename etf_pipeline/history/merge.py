"""Merging a download into what is known: idempotent, and never from longer to shorter."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import RejectedDataError
from etf_pipeline.model.schemas import BAR_COLUMNS, EVENT_COLUMNS, VALUE_COLUMNS

# Below this relative difference two prices are the same number sent twice.
_SAME = 1e-7
# A ratio this far from 1 on most of the overlap is a split or a restatement, not a correction.
_RESCALED = 1e-4
_MIN_OVERLAP = 3
_STARTS_LATER = np.timedelta64(7, "D")

Floats = npt.NDArray[np.float64]
_COLUMNS = pd.Index(VALUE_COLUMNS)
_CLOSE = VALUE_COLUMNS.index("close")
_EMPTY = pd.DataFrame(
    np.empty((0, len(VALUE_COLUMNS))),
    index=pd.DatetimeIndex(np.array([], dtype="datetime64[s]"), name="date"),
    columns=_COLUMNS,
)


@dataclass(frozen=True)
class Merge:
    """Result of a merge: the rows, and how many were added, revised and removed."""

    rows: pd.DataFrame
    added: int = 0
    revised: int = 0
    removed: int = 0
    note: str | None = None

    @property
    def changed(self) -> bool:
        """Whether anything is different from before."""
        return bool(self.added or self.revised or self.removed)


def empty_rows() -> pd.DataFrame:
    """No rows, with the columns and index that every other function here expects."""
    return _EMPTY


def framed(values: Floats, index: pd.Index) -> pd.DataFrame:
    """Values of shape (n, len(VALUE_COLUMNS)) as rows."""
    return pd.DataFrame(values, index=index, columns=_COLUMNS, copy=False)


def tidy(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows worth merging: a price, or an event; sorted, with only `VALUE_COLUMNS`.

    A null day carries no information and is left out, so it can be asked for again.
    """
    values = np.column_stack([rows[c].to_numpy(dtype="float64") for c in VALUE_COLUMNS])
    events = values[:, len(BAR_COLUMNS) :]
    events[np.isnan(events)] = 0.0
    keep = ~np.isnan(values[:, _CLOSE]) | (events != 0).any(axis=1)
    index = rows.index
    if not keep.all():
        values, index = values[keep], index[keep]
    tidied = framed(values, index)
    return tidied if index.is_monotonic_increasing else tidied.sort_index()


def needs_full(known: pd.DataFrame, window: pd.DataFrame) -> str | None:
    """Why a trailing window cannot be merged and the whole history must be fetched again.

    Returns:
        None when the window can be merged; otherwise the reason, with the ratio seen.
    """
    old, new = _common_closes(known, window)
    if len(old) == 0:
        return "the window does not overlap what is known"
    ratio = old / new
    changed = np.abs(ratio - 1.0) > _RESCALED
    if changed.any() and (len(old) < _MIN_OVERLAP or changed.sum() * 2 >= len(old)):
        return f"known closes are {np.median(ratio[changed]):.6g} times the new ones"
    dates, splits = window.index.to_numpy(), window["stock_splits"].to_numpy(dtype="float64")
    last = known.index.to_numpy()[~np.isnan(known["close"].to_numpy())][-1]
    fresh = np.flatnonzero((dates > last) & (np.nan_to_num(splits) != 0))
    if len(fresh):
        return f"split of {splits[fresh[0]]:g} on {dates[fresh[0]].astype('datetime64[D]')}"
    return None


def merge_window(known: pd.DataFrame, window: pd.DataFrame) -> Merge:
    """Union by date where the newer download wins; a day it lacks keeps what is known."""
    return _union(known, tidy(window))


def merge_full(known: pd.DataFrame, full: pd.DataFrame) -> Merge:
    """Merge a download of the whole history.

    When it restates the price level (split, rescaling), it replaces everything as one version;
    otherwise it is merged like a window, so that days it has lost are kept.

    Raises:
        RejectedDataError: it restates the level but starts later than what is known, so that
            older rows would be lost.
    """
    full = tidy(full)
    old, new = _common_closes(known, full)
    rescaled = len(old) > 0 and (np.abs(old / new - 1.0) > _RESCALED).sum() * 2 >= len(old)
    if not rescaled:
        return _union(known, full)
    first_old, first_new = known.index[0], full.index[0]
    if first_new.to_numpy() - first_old.to_numpy() > _STARTS_LATER:
        raise RejectedDataError(
            f"the new history is on another price level and starts on {first_new:%Y-%m-%d}, "
            f"later than the known {first_old:%Y-%m-%d}; kept the known one"
        )
    counted = _union(known, full)
    gone = ~known.index.isin(full.index)
    note = f"restated: known closes were {np.median(old / new):.6g} times the new ones"
    return Merge(full, counted.added, counted.revised, int(gone.sum()), note)


def _union(known: pd.DataFrame, new: pd.DataFrame) -> Merge:
    if known.empty:
        return Merge(new, added=len(new))
    if new.empty:
        return Merge(known)
    positions = known.index.get_indexer(new.index)
    exists = positions >= 0
    before = known.to_numpy()[positions[exists]]
    after = new.to_numpy()[exists].copy()
    # A day that has lost its price keeps the one we know; its events are still taken.
    bars = len(BAR_COLUMNS)
    lost = np.isnan(after[:, _CLOSE])
    after[lost, :bars] = before[lost, :bars]
    changed = _differs(before, after).any(axis=1)
    if not len(new) or (exists.all() and not changed.any()):
        return Merge(known)
    values = known.to_numpy(copy=True)
    values[positions[exists][changed]] = after[changed]
    fresh = new[~exists]
    if len(fresh):
        dates = np.concatenate([known.index.to_numpy(), fresh.index.to_numpy()])
        order = np.argsort(dates, kind="stable")
        values = np.concatenate([values, fresh.to_numpy()])[order]
        index = pd.DatetimeIndex(dates[order], name="date")
    else:
        index = pd.DatetimeIndex(known.index)
    return Merge(framed(values, index), added=len(fresh), revised=int(changed.sum()))


def _differs(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    both_missing = np.isnan(before) & np.isnan(after)
    close = np.abs(before - after) <= _SAME * np.maximum(np.abs(before), np.abs(after))
    return np.asarray(~(both_missing | close), dtype=np.bool_)


def _common_closes(known: pd.DataFrame, new: pd.DataFrame) -> tuple[Floats, Floats]:
    positions = known.index.get_indexer(new.index)
    exists = positions >= 0
    old = known["close"].to_numpy()[positions[exists]]
    fresh = new["close"].to_numpy(dtype="float64")[exists]
    usable = (old > 0) & (fresh > 0)
    return old[usable], fresh[usable]


def drop_unfinished(rows: pd.DataFrame, last_final: dt.date) -> pd.DataFrame:
    """Remove prices after the last final session: a live quote is not a close.

    An event on such a day is kept, without a price.
    """
    unfinished = rows.index.to_numpy() > np.datetime64(last_final, "s")
    if not unfinished.any():
        return rows
    rows = rows.copy()
    rows.loc[unfinished, list(BAR_COLUMNS)] = np.nan
    has_event = (rows[list(EVENT_COLUMNS)].fillna(0.0).to_numpy() != 0).any(axis=1)
    return rows[~unfinished | has_event]
