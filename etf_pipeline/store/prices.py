"""Adjusted closes out of the store, with the holes that quarantine left in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import unknown_ticker
from etf_pipeline.history.quality import large_moves
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.inventory import (
    available_tickers,
    large_move_dates,
    unseen_dates,
    withheld_dates,
)
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_adjusted, read_table

Days = npt.NDArray[np.datetime64]
_NO_DAYS: Days = np.array([], dtype="datetime64[D]")


def load_prices(layout: Layout, ticker: str) -> PriceSeries:
    """One ticker's adjusted closes.

    Raises:
        UnknownTickerError: there is no history of it; names the nearest ones.
        CorruptFileError: its file is damaged.
        UnreadableFileError: its file is a user's own and cannot be read beyond doubt.
    """
    path = layout.find_history(ticker)
    try:
        prices, info, user = read_adjusted(path)
    except FileNotFoundError:
        raise unknown_ticker(
            ticker, available_tickers(layout), str(layout.folder(HISTORY))
        ) from None
    excluded = missing = holes = _NO_DAYS
    if info.ours and info.meta.get("findings") != 0:
        excluded, missing = _holes(layout, ticker)
        held = prices.index.to_numpy().astype("datetime64[D]")
        holes = np.setdiff1d(np.union1d(excluded, missing), held)
    currency, exchange = (info.meta.get(name) for name in ("currency", "exchange"))
    moves = large_move_dates(info)
    if user is not None:
        excluded, holes = user.excluded, user.holes
        currency, exchange = user.said.currency, user.said.exchange
        moves = large_moves(list(user.findings))
    return PriceSeries(
        ticker,
        prices,
        holes,
        excluded,
        info.source,
        currency,
        exchange,
        withheld_dates(info),
        moves,
        unseen_dates(info),
    )


def cached_prices(layout: Layout, ticker: str, cache: FileCache) -> PriceSeries:
    """`load_prices`, from the cache while the history is the file that was read.

    A history is replaced whenever its quarantine is, as it names it by hash.
    """
    path = layout.find_history(ticker)
    if not path.exists():
        return load_prices(layout, ticker)  # which says what is missing
    found: PriceSeries | None = cache.get("series", path)
    if found is None:
        stamp = cache.stamp(path)
        found = load_prices(layout, ticker)
        cache.put("series", path, stamp, found)
    return found


def _holes(layout: Layout, ticker: str) -> tuple[Days, Days]:
    """Quarantined sessions and missing ones; a bar on a holiday leaves no hole."""
    path = layout.of(QUARANTINE, ticker)
    try:
        table = read_table(path, ["date", "rule", "severity"])
    except FileNotFoundError:
        return _NO_DAYS, _NO_DAYS
    days = table.column("date").to_numpy()
    severity, rule = (np.array(table.column(c).to_pylist()) for c in ("severity", "rule"))
    no_session = days[rule == "holiday_bar"]
    excluded = np.setdiff1d(days[severity == "quarantined"], no_session)
    return excluded, days[severity == "missing"]
