"""A folder of Yahoo-shaped Parquet or CSV files as a price source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from etf_pipeline.errors import EtfError, ReasonCode, SettingsError, StoreError
from etf_pipeline.history.adjust import unadjusted
from etf_pipeline.ingest.source import REJECTED, Download, FetchFailure, Request
from etf_pipeline.model.file_names import encode_ticker
from etf_pipeline.model.outcomes import FailureKind
from etf_pipeline.model.rows import DOWNLOAD_COLUMNS
from etf_pipeline.model.yahoo_shape import completed, normalised

_PRICES = ("open", "high", "low", "close")


class FilesSource:
    """Reads `<ticker>` or `<symbol>` with `.parquet` or `.csv` from one folder.

    A file without `Adj Close` is what yfinance writes by default: its prices are adjusted for
    dividends already. The adjustment is taken out again, exactly, so that it is not made twice.
    """

    name = "files"

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SettingsError(f"source files:{folder}: there is no such folder")
        self._folder = folder

    def fetch(self, requests: Sequence[Request]) -> Iterator[Download | FetchFailure]:
        """See `PriceSource.fetch`."""
        for request in requests:
            try:
                yield self._read(request)
            except EtfError as error:
                yield FetchFailure(request, REJECTED, ReasonCode.UNREADABLE_ANSWER, str(error))

    def _read(self, request: Request) -> Download | FetchFailure:
        instrument = request.instrument
        names = [
            n
            for name in (instrument.ticker, instrument.symbol)
            for n in (encode_ticker(name), name)
            if "/" not in n
        ]
        paths = [self._folder / f"{n}{ext}" for n in names for ext in (".parquet", ".csv")]
        path = next((p for p in paths if p.is_file()), None)
        if path is None:
            return FetchFailure(
                request,
                FailureKind.MISSING,
                ReasonCode.SYMBOL_MISSING,
                f"no {instrument.ticker}.parquet or .csv in {self._folder}",
            )
        rows = _read(path)
        if request.start is not None:
            rows = rows[rows.index.to_numpy() >= np.datetime64(request.start, "s")]
        return Download(request, rows, instrument.symbol, instrument.currency)


def _read(path: Path) -> pd.DataFrame:
    """A file's rows, unadjusted, with the columns of `DOWNLOAD_COLUMNS`."""
    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if path.suffix == ".csv" and (
        date := next((c for c in frame.columns if str(c).lower() == "date"), None)
    ):
        # The date as written is the session; offsets after it only say which midnight.
        frame[date] = pd.to_datetime(frame[date].astype(str).str.slice(0, 10), format="%Y-%m-%d")
    rows = completed(normalised(frame, str(path)))
    if "adj_close" not in rows:
        rows = rows.assign(adj_close=rows["close"])
        factor = unadjusted(rows["close"], rows["dividends"], rows["capital_gains"]) / rows["close"]
        for name in _PRICES:
            rows[name] = rows[name] * factor
    return rows.rename(columns={"adj_close": "adj_close_source"})[list(DOWNLOAD_COLUMNS)]
