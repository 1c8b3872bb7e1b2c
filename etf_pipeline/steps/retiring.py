"""Removing histories that nothing stands for any more; the raw batches keep every row of them."""

from __future__ import annotations

import logging

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import file_info

log = logging.getLogger(__name__)


def retire_aliases(layout: Layout, instrument: Instrument) -> None:
    """Remove the files of former names; the raw batches keep every row of them."""
    for alias in instrument.aliases:
        remove(layout, alias, f"it was renamed to {instrument.ticker}")


def remove(layout: Layout, ticker: str, why: str) -> None:
    """Remove what we have published of a ticker, the history first; never a file of a user."""
    for path in (layout.of(HISTORY, ticker), layout.of(QUARANTINE, ticker)):
        try:
            ours = file_info(path).ours
        except (FileNotFoundError, CorruptFileError):
            continue
        if ours:
            path.unlink()
            log.info("%s: %s; removed %s", ticker, why, path)
