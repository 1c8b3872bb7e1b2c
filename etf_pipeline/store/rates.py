"""Exchange rates out of the store: the histories whose tickers are currency pairs."""

from __future__ import annotations

import logging

from etf_pipeline.errors import CorruptFileError, UnreadableFileError
from etf_pipeline.model.currencies import pair_of
from etf_pipeline.risk.conversion import Rates
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.prices import cached_prices
from etf_pipeline.store.reader import file_info

log = logging.getLogger(__name__)


def read_rates(layout: Layout, cache: FileCache) -> Rates:
    """Every currency pair that there is a history of, through a cache.

    One that cannot be read costs only whoever needs it, who is told why.
    """
    series: dict[str, PriceSeries] = {}
    hashes: dict[str, str | None] = {}
    unreadable: dict[str, str] = {}
    for ticker in available_tickers(layout):
        if pair_of(ticker) is None:
            continue
        try:
            found = cached_prices(layout, ticker, cache)
            digest = file_info(layout.find_history(ticker)).content_hash
        except (CorruptFileError, UnreadableFileError, FileNotFoundError) as error:
            log.warning("%s converts nothing: %s", ticker, error)
            unreadable[ticker] = str(error)
            continue
        if len(found.prices):
            series[ticker], hashes[ticker] = found, digest
    return Rates(series, hashes, unreadable)
