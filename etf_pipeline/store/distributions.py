"""Distributions out of the store, with their yield over the months before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from etf_pipeline.history.quality import WITHHELD
from etf_pipeline.model.rows import table_rows
from etf_pipeline.model.schemas import QUARANTINE, VALUE_COLUMNS
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table

_YEAR = 365.25
# Days by which the twelve months are cut short, so that a payer whose ex-date moves by a few days
# is not counted five quarters: half of its rhythm, half a month at most.
_MOST_CUT, _UNKNOWN_RHYTHM = 15.0, 30.0


def distributions_of(histories: Mapping[str, pd.DataFrame], layout: Layout) -> pd.DataFrame:
    """Distributions of some tickers, see `ETFDataProvider.get_distributions`.

    Args:
        histories: by ticker, indexed by session date.
        layout: of the store that they are from.
    """
    parts = {t: _of_one(history, _withheld(layout, t)) for t, history in histories.items()}
    return pd.concat(parts, names=["ticker", "date"])


def _withheld(layout: Layout, ticker: str) -> pd.Series:
    """Amounts that a rule keeps out, by date."""
    try:
        columns = ["date", "severity", *VALUE_COLUMNS]
        table = read_table(layout.of(QUARANTINE, ticker), columns)
    except FileNotFoundError:  # a user's own file
        return pd.Series(dtype="float64", index=pd.DatetimeIndex([]))
    kept = np.array(table.column("severity").to_pylist(), dtype=object) == WITHHELD
    rows = table_rows(table.filter(kept))
    rows = rows[~rows.index.duplicated()]
    return rows["dividends"].fillna(0.0) + rows["capital_gains"].fillna(0.0)


def _of_one(history: pd.DataFrame, withheld: pd.Series) -> pd.DataFrame:
    amounts = history[["dividends", "capital_gains"]].fillna(0.0)
    paid = amounts[(amounts != 0).any(axis=1)]
    paid = paid.reindex(paid.index.union(withheld.index)).fillna(0.0)
    found = paid.assign(total=paid.sum(axis=1), withheld=withheld.reindex(paid.index))
    days = found.index.to_numpy().astype("datetime64[D]").astype("int64")
    gaps = np.diff(days)
    rhythm = float(np.median(gaps)) if len(gaps) else _UNKNOWN_RHYTHM
    year = _YEAR - min(_MOST_CUT, rhythm / 2)
    # The first ex-date that is still within the twelve months up to each.
    first = np.searchsorted(days, days - year, side="right")
    total, doubtful = (
        np.r_[0.0, np.cumsum(values)] for values in (found["total"], found["withheld"].notna())
    )
    here = np.arange(1, len(found) + 1)
    begin = history.index[0].to_numpy().astype("datetime64[D]").astype("int64")
    close = history["close"].reindex(found.index).to_numpy()
    known = (days - begin >= year) & (doubtful[here] - doubtful[first] == 0)
    over_a_year = np.where(known, (total[here] - total[first]) / close, np.nan)
    found.index.name = "date"
    return found.assign(yield_12m=over_a_year)
