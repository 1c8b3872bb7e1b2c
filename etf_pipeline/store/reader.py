"""Reading the store: exact, thin, and with errors that name the file and the remedy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError, StoreError
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.store.writer import META_KEY

_USER_NAMES = {
    "date": "date",
    "datetime": "date",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "adj close": "adj_close",
    "adj_close": "adj_close",
    "adjclose": "adj_close",
    "volume": "volume",
    "dividends": "dividends",
    "stock splits": "stock_splits",
    "stock_splits": "stock_splits",
    "capital gains": "capital_gains",
    "capital_gains": "capital_gains",
}


@dataclass(frozen=True)
class FileInfo:
    """What a file's footer says, without reading a row."""

    path: Path
    meta: dict[str, Any]
    num_rows: int

    @property
    def ours(self) -> bool:
        """Whether this package wrote the file."""
        return "content_hash" in self.meta

    @property
    def content_hash(self) -> str | None:
        """SHA-256 of the content, None for a user's own file."""
        return self.meta.get("content_hash")

    @property
    def source(self) -> str:
        """`yahoo`, `files`, `simulated`, or `user` for a file that this package did not write."""
        return str(self.meta.get("source", "user"))


def file_info(path: Path) -> FileInfo:
    """Read a footer.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        FileNotFoundError: there is no such file.
    """
    with _open(path) as handle:
        return FileInfo(path, _meta(handle.metadata), handle.metadata.num_rows)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file (or some columns) as Arrow.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        FileNotFoundError: there is no such file.
    """
    with _open(path) as handle:
        try:
            return handle.read(columns=list(columns) if columns is not None else None)
        except (OSError, pa.ArrowException) as error:
            raise _corrupt(path, error) from error


def read_history(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """One ticker's history, indexed by naive session date, ascending.

    A user's own Yahoo-shaped file (`Date` as a column or the index, any case, tz-aware or naive,
    with or without `Adj Close`) loads the same way; without `Adj Close` its `close` is taken as
    already adjusted, which is what yfinance writes by default.

    Args:
        path: the Parquet file.
        columns: names of `schemas.HISTORY` wanted, all by default.
    """
    wanted = [c for c in (columns or HISTORY.names) if c != "date"]
    with _open(path) as handle:
        try:
            if "content_hash" in _meta(handle.metadata):
                return to_frame(handle.read(columns=["date", *wanted]))
            table = handle.read()
        except (OSError, pa.ArrowException) as error:
            raise _corrupt(path, error) from error
    return _user_frame(path, table.to_pandas(), wanted)


def read_adjusted(path: Path) -> tuple[pd.Series, FileInfo]:
    """One ticker's adjusted closes by session date, and the footer, from one opening."""
    with _open(path) as handle:
        info = FileInfo(path, _meta(handle.metadata), handle.metadata.num_rows)
        try:
            if info.ours:
                table = handle.read(columns=["date", "adj_close"])
                dates = table.column("date").to_numpy().astype("datetime64[s]")
                index = pd.DatetimeIndex(dates, name="date", copy=False)
                values = table.column("adj_close").to_numpy()
                return pd.Series(values, index, name="adj_close", copy=False), info
        except (OSError, pa.ArrowException) as error:
            raise _corrupt(path, error) from error
    return read_history(path, ["adj_close"])["adj_close"], info


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Arrow table with a `date` column as a frame indexed by naive session date."""
    index = pd.DatetimeIndex(table.column("date").to_numpy().astype("datetime64[s]"), name="date")
    data = {
        name: table.column(name).to_numpy()
        if not pa.types.is_string(table.schema.field(name).type)
        else np.array(table.column(name).to_pylist(), dtype=object)
        for name in table.schema.names
        if name != "date"
    }
    return pd.DataFrame(data, index=index)


def normalise_user_frame(frame: pd.DataFrame, origin: str) -> pd.DataFrame:
    """Any Yahoo-shaped frame as one with our column names, indexed by naive session date.

    Raises:
        StoreError: no date or no close, or two different bars on one date.
    """
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(names=frame.index.name or "Date")
    renamed = {
        c: _USER_NAMES[str(c).strip().lower()]
        for c in frame.columns
        if str(c).strip().lower() in _USER_NAMES
    }
    frame = frame[list(renamed)].rename(columns=renamed)
    for name in ("date", "close"):
        if name not in frame.columns:
            raise StoreError(f"{origin} has no {name!r} column; columns of yfinance are expected")
    dates = pd.DatetimeIndex(pd.to_datetime(frame["date"]))
    if dates.tz is not None:
        # Midnight at the exchange is the session; converting to UTC would move it a day.
        dates = dates.tz_localize(None)
    out = frame.drop(columns="date").astype("float64")
    out.index = pd.DatetimeIndex(dates.normalize().astype("datetime64[s]"), name="date")
    out = out[~(out.reset_index().duplicated().to_numpy())].sort_index(kind="stable")
    if out.index.has_duplicates:
        twice = out.index[out.index.duplicated()][0]
        raise StoreError(f"{origin} has two different bars for {twice:%Y-%m-%d}; remove one")
    return out


def _user_frame(path: Path, frame: pd.DataFrame, wanted: list[str]) -> pd.DataFrame:
    out = normalise_user_frame(frame, str(path))
    out = out[out["close"].notna()]
    if "adj_close" not in out:
        out["adj_close"] = out["close"]
    for name in ("dividends", "stock_splits", "capital_gains"):
        if name not in out:
            out[name] = 0.0
    out["flag"] = None
    for name in ("open", "high", "low", "volume"):
        if name not in out:
            out[name] = np.nan
    return out[wanted]


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise _corrupt(path, error) from error


def _meta(footer: pq.FileMetaData) -> dict[str, Any]:
    raw = (footer.metadata or {}).get(META_KEY)
    return json.loads(raw) if raw else {}


def _corrupt(path: Path, error: Exception) -> CorruptFileError:
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CorruptFileError(
        f"{path} is not readable Parquet ({detail}): run `etf run` to rebuild it from the raw "
        "batches, or put a good copy in its place"
    )
