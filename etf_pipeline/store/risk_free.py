"""What is free of risk, out of the store or a file of somebody's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from etf_pipeline.errors import UnreadableFileError
from etf_pipeline.model.reading.declared import SUFFIX
from etf_pipeline.model.reading.interest import read_interest
from etf_pipeline.model.risk_free import Asked, Cash, Published
from etf_pipeline.risk.risk_free import Constant, Course, RiskFree
from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.prices import cached_prices


def load_risk_free(
    layout: Layout,
    cache: FileCache,
    asked: Asked,
    currencies: Mapping[str, str] | None = None,
) -> RiskFree:
    """The risk-free returns that somebody asks for.

    Args:
        layout: of the store.
        cache: of its files.
        asked: a rate, a ticker or a file.
        currencies: by ticker, of those whose histories say none.

    Raises:
        UnknownTickerError: there is no history of the ticker; names the nearest ones.
        UnreadableFileError: the file is not there, or cannot be read beyond doubt.
    """
    if isinstance(asked, Published):
        return _published(asked.path)
    if isinstance(asked, Cash):
        fund = cached_prices(layout, asked.ticker, cache)
        return Course.of_fund(fund, (currencies or {}).get(asked.ticker))
    return Constant(asked)


def _published(path: Path) -> Course:
    try:
        content = path.read_bytes()
        sidecar = path.with_name(path.name + SUFFIX)
        text = sidecar.read_bytes() if sidecar.is_file() else None
    except OSError as error:
        raise UnreadableFileError(
            f"the risk-free rates {path} cannot be read ({error.strerror}); correct the path, or "
            "give a fraction such as 0.04, or a ticker"
        ) from None
    return _read(path, content, text, dt.datetime.now(dt.UTC).date())


@lru_cache(maxsize=4)
def _read(path: Path, content: bytes, sidecar: bytes | None, today: dt.date) -> Course:
    """The course of a file's content; kept, as every ticker of a table may ask for it."""
    found = read_interest(content, str(path), sidecar, today)
    return Course.of_rates(path.name, found.rates, found.days, found.currency)
