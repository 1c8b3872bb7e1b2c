"""Exchange rates out of the store: the histories whose tickers are currency pairs."""

from __future__ import annotations

import contextlib

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model.currencies import pair_of
from etf_pipeline.risk.conversion import Rates
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.prices import cached_prices
from etf_pipeline.store.reader import file_info


def read_rates(layout: Layout, cache: FileCache) -> Rates:
    """Every currency pair that there is a history of, through a cache.

    A damaged one is as none: whoever needs it is told the command that makes it anew.
    """
    series: dict[str, PriceSeries] = {}
    hashes: dict[str, str | None] = {}
    for ticker in available_tickers(layout):
        if pair_of(ticker) is None:
            continue
        with contextlib.suppress(CorruptFileError):
            series[ticker] = cached_prices(layout, ticker, cache)
            hashes[ticker] = file_info(layout.find_history(ticker)).content_hash
    return Rates(series, hashes)
