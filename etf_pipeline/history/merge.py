"""Comparing a download with what is known, and merging it: idempotent, never longer to shorter.

One comparison decides what differs; `compare_…` counts it, `merge_…` applies it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import ReasonCode, RejectedDataError
from etf_pipeline.history.adjust import income
from etf_pipeline.history.restatement import Split, check_restatement
from etf_pipeline.model.corrections import VOID_REMEDY
from etf_pipeline.model.outcomes import Remark, in_words
from etf_pipeline.model.rows import framed, positions_of, values_of
from etf_pipeline.model.schemas import BAR_COLUMNS, EVENT_COLUMNS, VALUE_COLUMNS

# Below this relative difference two prices are the same number sent twice.
_SAME = 1e-7
# A ratio this far from 1 on most of the overlap is a split or a restatement, not a correction.
_RESCALED = 1e-4
_MIN_OVERLAP = 3
_STARTS_LATER = np.timedelta64(7, "D")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_CLOSE = VALUE_COLUMNS.index("close")
_DIVIDENDS, _GAINS = VALUE_COLUMNS.index("dividends"), VALUE_COLUMNS.index("capital_gains")
_SPLITS = VALUE_COLUMNS.index("stock_splits")


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How many rows are added, revised and removed, and what is to be said of it."""

    added: int = 0
    revised: int = 0
    removed: int = 0
    notes: tuple[Remark, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything is different from before."""
        return bool(self.added or self.revised or self.removed)

    @property
    def note(self) -> str | None:
        """The notes in words, None without any."""
        return in_words(self.notes)


@dataclass(frozen=True, kw_only=True)
class Comparison(Changes):
    """What a merge would change; `first` and `last` date would have a price afterwards."""

    first: dt.date | None = None
    last: dt.date | None = None


@dataclass(frozen=True, kw_only=True)
class Merge(Changes):
    """What a merge changed, and the rows that came of it."""

    rows: pd.DataFrame


@dataclass(frozen=True)
class _Difference:
    """Where a download differs from what is known.

    Attributes:
        known: the rows there are.
        new: the download's, tidied.
        positions: of each new row among the known ones, -1 where it is none.
        values: the new rows that are known too, as they are to be, shape (n, columns).
        changed: which of those differ from what is known.
        replaces: whether the new rows take the place of all known ones.
        removed: how many known rows the new ones lack, when they replace them.
    """

    known: pd.DataFrame
    new: pd.DataFrame
    positions: npt.NDArray[np.intp]
    values: Floats
    changed: Mask
    replaces: bool = False
    removed: int = 0
    notes: tuple[Remark, ...] = ()

    def counts(self) -> Changes:
        """New rows that are not known, known rows that are to change, and rows that are to go."""
        return Changes(
            added=int(np.count_nonzero(self.positions < 0)),
            revised=int(np.count_nonzero(self.changed)),
            removed=self.removed,
            notes=self.notes,
        )


def tidy(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows worth merging: a price, or an event; sorted, with only `VALUE_COLUMNS`.

    A null day carries no information and is left out, so it can be asked for again. An event
    that is NaN counts as none. A dividend becomes income alone, without the gain inside it, so
    this is for rows as a source answered them and never for rows that are known.
    """
    return _counting_as_none(_tidied(rows))


def _tidied(rows: pd.DataFrame) -> pd.DataFrame:
    """The same with NaN where an event is not told, which is not none."""
    values = values_of(rows).copy()
    events = np.nan_to_num(values[:, len(BAR_COLUMNS) :], posinf=np.inf, neginf=-np.inf)
    apart = income(
        values[:, _DIVIDENDS], np.where(np.isnan(values[:, _GAINS]), 0, values[:, _GAINS])
    )
    values[:, _DIVIDENDS] = apart
    keep = ~np.isnan(values[:, _CLOSE]) | (events != 0).any(axis=1)
    index = rows.index
    if not keep.all():
        values, index = values[keep], index[keep]
    tidied = framed(values, index)
    return tidied if index.is_monotonic_increasing else tidied.sort_index()


def _counting_as_none(tidied: pd.DataFrame) -> pd.DataFrame:
    values = tidied.to_numpy(copy=True)
    events = values[:, len(BAR_COLUMNS) :]
    if not np.isnan(events).any():
        return tidied
    events[np.isnan(events)] = 0.0
    return framed(values, tidied.index)


def needs_full(known: pd.DataFrame, window: pd.DataFrame) -> str | None:
    """Why a trailing window cannot be merged and the whole history must be fetched again.

    Args:
        known: every row known, ascending.
        window: the rows that came, ascending.

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
    dates, splits = window.index.to_numpy(), values_of(window)[:, _SPLITS]
    last = known.index.to_numpy()[np.flatnonzero(~np.isnan(values_of(known)[:, _CLOSE]))[-1]]
    fresh = np.flatnonzero((dates > last) & (np.nan_to_num(splits) != 0))
    if len(fresh):
        return f"split of {splits[fresh[0]]:g} on {dates[fresh[0]].astype('datetime64[D]')}"
    return None


def compare_window(known: pd.DataFrame, window: pd.DataFrame) -> Comparison:
    """What `merge_window` would change, without merging."""
    return _counted(_difference(known, _tidied(window)))


def compare_full(
    known: pd.DataFrame, full: pd.DataFrame, declared: Sequence[Split] = ()
) -> Comparison:
    """What `merge_full` would change, without merging.

    Raises:
        RejectedDataError: as `merge_full` does.
    """
    return _counted(_full_difference(known, _tidied(full), declared))


def merge_window(known: pd.DataFrame, window: pd.DataFrame) -> Merge:
    """Union by date where the newer download wins; a day it lacks keeps what is known."""
    return _applied(_difference(known, _tidied(window)))


def merge_full(known: pd.DataFrame, full: pd.DataFrame, declared: Sequence[Split] = ()) -> Merge:
    """Merge a download of the whole history.

    When it restates the price level (split, rescaling), it replaces everything as one version;
    otherwise it is merged like a window, so that days it has lost are kept. Splits that somebody
    declared explain a level as those of the source do.

    Raises:
        RejectedDataError: it restates the level but starts later than what is known, so that
            older rows would be lost; or no split explains the level; or it is another series.
    """
    return _applied(_full_difference(known, _tidied(full), declared))


def _difference(known: pd.DataFrame, new: pd.DataFrame) -> _Difference:
    """The one rule of what counts as a row added and as a row revised."""
    positions = positions_of(known, new.index.to_numpy())
    exists = positions >= 0
    before = values_of(known)[positions[exists]]
    after = values_of(new)[exists]
    # A day that has lost its price keeps the one we know; its events are still taken.
    bars = len(BAR_COLUMNS)
    lost = np.isnan(after[:, _CLOSE])
    after[lost, :bars] = before[lost, :bars]
    _fill_events(before[:, bars:], after[:, bars:])
    changed = np.any(_differs(before, after), axis=1)
    return _Difference(known, _counting_as_none(new), positions, after, changed)


def _fill_events(before: Floats, after: Floats) -> None:
    """Where an event is not told, what is known of it stays. In place."""
    silent = np.isnan(after)
    if not silent.any():
        return
    after[silent] = before[silent]
    gains = _GAINS - len(BAR_COLUMNS)
    dividends = _DIVIDENDS - len(BAR_COLUMNS)
    # A dividend that came without the gain has it inside.
    came = silent[:, gains] & ~silent[:, dividends] & (after[:, gains] != 0)
    after[came, dividends] = income(after[came, dividends], after[came, gains])


def _full_difference(
    known: pd.DataFrame, full: pd.DataFrame, declared: Sequence[Split]
) -> _Difference:
    check_restatement(known, full, declared)
    found = _difference(known, full)
    old, new = _common_closes(known, full)
    rescaled = len(old) > 0 and (np.abs(old / new - 1.0) > _RESCALED).sum() * 2 >= len(old)
    if not rescaled:
        return found
    paid = known[["dividends", "capital_gains"]].to_numpy() != 0
    if full[["dividends", "capital_gains"]].isna().to_numpy().all() and paid.any():
        raise RejectedDataError(
            f"the known closes are {np.median(old / new):.6g} times the new ones, and the new "
            "history tells no distributions, of which some are known: closes that are adjusted, "
            "perhaps. Kept the known history; add Dividends or Adj Close",
            code=ReasonCode.OTHER_LEVEL,
        )
    first_old, first_new = known.index[0], full.index[0]
    if first_new.to_numpy() - first_old.to_numpy() > _STARTS_LATER:
        raise RejectedDataError(
            f"the new history is on another price level and starts on {first_new:%Y-%m-%d}, "
            f"later than the known {first_old:%Y-%m-%d}; kept the known one. {VOID_REMEDY}",
            code=ReasonCode.LEVEL_SHORTENED,
        )
    text = f"restated: known closes were {np.median(old / new):.6g} times the new ones"
    return replace(
        found,
        replaces=True,
        removed=int((~known.index.isin(full.index)).sum()),
        notes=(Remark(ReasonCode.RESTATED, text),),
    )


def _counted(found: _Difference) -> Comparison:
    parts = (found.new,) if found.replaces else (found.known, found.new)
    # A price once known is never lost to a union, so its span is that of both together.
    spans = [days for part in parts if len(days := _priced_days(part))]
    return Comparison(
        first=min(days[0] for days in spans).astype(object) if spans else None,
        last=max(days[-1] for days in spans).astype(object) if spans else None,
        **vars(found.counts()),
    )


def _applied(found: _Difference) -> Merge:
    counts = found.counts()
    if found.replaces or found.known.empty:
        return Merge(rows=found.new, **vars(counts))
    if not counts.changed:
        return Merge(rows=found.known)
    exists = found.positions >= 0
    values, dates = found.known.to_numpy(), found.known.index.to_numpy()
    if found.changed.any():
        values = values.copy()
        values[found.positions[exists][found.changed]] = found.values[found.changed]
    fresh, days = found.new.to_numpy()[~exists], found.new.index.to_numpy()[~exists]
    if len(fresh):
        values, behind = np.concatenate([values, fresh]), days[0] > dates[-1]
        dates = np.concatenate([dates, days])
        if not behind:
            order = np.argsort(dates, kind="stable")
            values, dates = values[order], dates[order]
    return Merge(rows=framed(values, pd.DatetimeIndex(dates, name="date")), **vars(counts))


def _priced_days(rows: pd.DataFrame) -> npt.NDArray[np.datetime64]:
    priced = ~np.isnan(values_of(rows)[:, _CLOSE])
    return rows.index.to_numpy()[priced].astype("datetime64[D]")


def _differs(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    both_missing = np.isnan(before) & np.isnan(after)
    close = np.abs(before - after) <= _SAME * np.maximum(np.abs(before), np.abs(after))
    return np.asarray(~(both_missing | close), dtype=np.bool_)


def _common_closes(known: pd.DataFrame, new: pd.DataFrame) -> tuple[Floats, Floats]:
    positions = positions_of(known, new.index.to_numpy())
    exists = positions >= 0
    old = values_of(known)[positions[exists], _CLOSE]
    fresh = values_of(new)[exists, _CLOSE]
    usable = (old > 0) & (fresh > 0)
    return old[usable], fresh[usable]


def drop_unfinished(rows: pd.DataFrame, last_final: dt.date) -> pd.DataFrame:
    """Remove prices after the last final session: a live quote is not a close.

    An event on such a day is kept, without a price.

    Args:
        rows: as a source sent them.
        last_final: the newest session whose bar is final.
    """
    unfinished = rows.index.to_numpy() > np.datetime64(last_final, "s")
    if not unfinished.any():
        return rows
    rows = rows.copy()
    rows.loc[unfinished, list(BAR_COLUMNS)] = np.nan
    has_event = (rows[list(EVENT_COLUMNS)].fillna(0.0).to_numpy() != 0).any(axis=1)
    return rows[~unfinished | has_event]
