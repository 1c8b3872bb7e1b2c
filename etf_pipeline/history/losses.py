"""What a history would lose if it were rebuilt from raw batches that are not all there. Pure.

Rows also leave for good reasons (a rule, a declaration, a restatement), so batches decide. Rows
only tell whether what is gone was downloaded again, and of histories that name no batches.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import numpy as np
import pandas as pd

from etf_pipeline.errors import ReasonCode
from etf_pipeline.history.identity import since
from etf_pipeline.history.slices import BatchSlice, Folded


def not_again(
    known: pd.DataFrame, again: Iterable[BatchSlice], listed_since: dt.date | None
) -> pd.DatetimeIndex:
    """Known sessions with a price that was not downloaded again.

    Args:
        known: every row known, as `model.rows` has them.
        again: what was downloaded since.
        listed_since: rows before it do not count.
    """
    left = _priced(since(known, listed_since))
    for one in again:
        left = left.difference(_priced(one.rows))
    return pd.DatetimeIndex(left)


def unexplained(
    known: pd.DataFrame, merged: Folded, listed_since: dt.date | None
) -> pd.DatetimeIndex:
    """Known sessions that are not among the rebuilt rows, and that nothing explains.

    A slice that was refused and a ticker that is held are told of; a restated history takes the
    place of every row up to its own last one.
    """
    refused = any(note.code is not ReasonCode.RESTATED for note in merged.notes)
    if merged.held is not None or refused:
        return pd.DatetimeIndex([])
    lost = since(known, listed_since).index.difference(merged.rows.index)
    if any(note.code is ReasonCode.RESTATED for note in merged.notes):
        lost = lost[lost > max(one.rows.index.max() for one in merged.slices if one.info.full)]
    return pd.DatetimeIndex(lost)


def _priced(rows: pd.DataFrame) -> pd.DatetimeIndex:
    close = rows["close"].to_numpy(dtype="float64")
    return pd.DatetimeIndex(rows.index[np.isfinite(close)])
