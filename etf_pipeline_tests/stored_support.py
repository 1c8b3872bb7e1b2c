"""Histories as the store has them, made of closes: for what reads a store and downloads nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from etf_pipeline.history.basis import Basis
from etf_pipeline.history.build import build
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.publishing import NewHistory, publish_history
from etf_pipeline_tests.support import bars


def publish_closes(
    root: Path, ticker: str, days: Any, closes: Any, currency: str = "AUD", **columns: Any
) -> Path:
    """Publish a history of sessions of XASX, and its quarantine; returns the history's path."""
    built = build(bars(days, closes, **columns), Basis(sessions("XASX")))
    new = NewHistory(ticker, built, f"{ticker}.AX", "XASX", currency, "files")
    publish_history(Layout(root), new)
    return Layout(root).of(HISTORY, ticker)


def damage_rows(path: Path) -> None:
    """Spoil the rows of a Parquet file and leave its footer whole, as a bad sector does."""
    content = bytearray(path.read_bytes())
    footer = int(np.frombuffer(content[-8:-4], "<u4")[0]) + 8
    content[4:-footer] = bytes(len(content) - footer - 4)
    path.write_bytes(content)


def turn_a_bit(path: Path, column: str) -> None:
    """Turn one bit of a value, as a disk does: no size, no time and no footer tells."""
    group = pq.read_metadata(path).row_group(0)
    found = (group.column(i) for i in range(group.num_columns))
    (chunk,) = (c for c in found if c.path_in_schema == column)
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    content, status = bytearray(path.read_bytes()), path.stat()
    content[begin + chunk.total_compressed_size - 5] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def damage_footer(path: Path) -> None:
    """Spoil what the footer says of a file, where Parquet itself does not look."""
    whole = path.read_bytes()
    at = whole.rindex(b'"content_hash"')
    path.write_bytes(whole[:at] + b"\xb3\x00\xff" + whole[at + 3 :])
