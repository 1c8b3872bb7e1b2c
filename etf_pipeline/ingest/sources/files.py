"""A folder of Parquet or text files as a price source; docs/files.md says what is read."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import EtfError, ReasonCode, SettingsError, UnreadableFileError
from etf_pipeline.history.adjust import unadjusted
from etf_pipeline.history.duplicates import one_row_per_day
from etf_pipeline.history.implied import UnexplainedError, implied_dividends
from etf_pipeline.ingest.source import (
    REJECTED,
    Clock,
    Download,
    FetchFailure,
    Request,
    utc_now,
)
from etf_pipeline.model.calendars import sessions, time_zone
from etf_pipeline.model.file_names import encode_ticker
from etf_pipeline.model.outcomes import FailureKind
from etf_pipeline.model.reading.arrow import read_arrow
from etf_pipeline.model.reading.declared import SUFFIX, Declared, declared
from etf_pipeline.model.reading.rows import Reading, other_symbols, read_rows
from etf_pipeline.model.reading.sessions import Market
from etf_pipeline.model.reading.sheet import Sheet
from etf_pipeline.model.reading.text import read_text
from etf_pipeline.model.rows import DOWNLOAD_COLUMNS
from etf_pipeline.model.yahoo_shape import completed

log = logging.getLogger(__name__)
_PRICES = ("open", "high", "low", "close")
_EXTENSIONS = (".parquet", ".csv", ".tsv", ".txt")
IMPLIED = "implied"


class FilesSource:
    """Reads `<ticker>` or `<symbol>` with one of the known extensions from one folder.

    Whatever a file holds, the outcome is its ticker's: rows, or a refusal that names the file and
    the line. A file without `Adj Close` is what yfinance writes by default: its prices are
    adjusted for dividends already, and the adjustment is taken out again, exactly, so that it is
    not made twice. A file with `Adj Close` and no distributions has them in the ratio of the two.
    """

    name = "files"

    def __init__(
        self, folder: Path, clock: Clock = utc_now, date_format: str | None = None
    ) -> None:
        """`date_format` is that of dates which could be read in two ways; `clock` says today."""
        if not folder.is_dir():
            raise SettingsError(f"source files:{folder}: there is no such folder")
        self._folder = folder
        self._clock = clock
        self._date_format = date_format

    def fetch(self, requests: Sequence[Request]) -> Iterator[Download | FetchFailure]:
        """See `PriceSource.fetch`."""
        for request in requests:
            try:
                answer = self._answer(request)
            except EtfError as error:
                answer = FetchFailure(request, REJECTED, ReasonCode.UNREADABLE_ANSWER, str(error))
            except Exception as error:
                # No file may end the others, not even by a fault of ours.
                log.exception("%s: reading its file failed", request.instrument.ticker)
                text = f"reading its file failed ({type(error).__name__}: {error})"
                answer = FetchFailure(request, FailureKind.PERMANENT, ReasonCode.OUR_MISTAKE, text)
            yield answer

    def _answer(self, request: Request) -> Download | FetchFailure:
        instrument = request.instrument
        names = [
            n
            for name in (instrument.ticker, instrument.symbol)
            for n in (encode_ticker(name), name)
            if "/" not in n
        ]
        paths = [self._folder / f"{n}{ext}" for n in names for ext in _EXTENSIONS]
        path = next((p for p in paths if p.is_file()), None)
        if path is None:
            return FetchFailure(
                request,
                FailureKind.MISSING,
                ReasonCode.SYMBOL_MISSING,
                f"no {instrument.ticker}.parquet or .csv in {self._folder}",
            )
        said = _declared(path, self._date_format)
        sheet = _sheet(path)
        exchange = instrument.exchange
        market = Market(exchange, time_zone(exchange), sessions(exchange))
        today = self._clock().date()
        reading = read_rows(sheet, market, said, today, instrument.currency, several=True)
        rows, notes = _rows(reading)
        if request.start is not None:
            rows = rows[rows.index.to_numpy() >= np.datetime64(request.start, "s")]
            notes = {day: note for day, note in notes.items() if day >= request.start}
        symbol = other_symbols(sheet, (*instrument.names, instrument.symbol))
        return Download(
            request,
            rows,
            symbol or instrument.symbol,
            reading.foreign or instrument.currency,
            dividend_notes=notes,
        )


def _declared(path: Path, usual: str | None) -> Declared:
    sidecar = path.with_name(path.name + SUFFIX)
    return declared(sidecar.read_bytes() if sidecar.is_file() else None, str(sidecar), usual)


def _sheet(path: Path) -> Sheet:
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as handle:
                return read_arrow(handle.read(), str(path))
        return read_text(path.read_bytes(), str(path))
    except (OSError, pa.ArrowException) as error:
        detail = next(iter(str(error).splitlines()), type(error).__name__)
        raise UnreadableFileError(f"{path} cannot be read: {detail}") from None


def _rows(reading: Reading) -> tuple[pd.DataFrame, dict[dt.date, str]]:
    """A file's rows, unadjusted, with the columns of `DOWNLOAD_COLUMNS`; notes on dividends."""
    given = reading.rows
    paid = [c for c in ("dividends", "capital_gains") if c in given]
    tells = bool(paid) and bool((given[paid].fillna(0.0) != 0).to_numpy().any())
    rows = completed(given.copy())
    # each day once: of two rows for a day, both are kept, for the rule that decides between them
    once = one_row_per_day(rows.assign(at=np.arange(len(rows))))[0]
    notes: dict[dt.date, str] = {}
    if "adj_close" not in rows:
        rows["adj_close"] = rows["close"]
        factor = pd.Series(_adjustment(once), once.index).reindex(rows.index).to_numpy()
        for name in _PRICES:
            rows[name] = rows[name] * factor
    elif not tells:
        implied = pd.Series(_implied(reading, once), once.index)
        rows["dividends"] = implied.reindex(rows.index).to_numpy()
        notes = dict.fromkeys(pd.DatetimeIndex(implied.index[implied > 0]).date, IMPLIED)
    return rows.rename(columns={"adj_close": "adj_close_source"})[list(DOWNLOAD_COLUMNS)], notes


def _implied(reading: Reading, rows: pd.DataFrame) -> np.ndarray:
    """Distributions of rows that are `at` these positions of the reading, shape (n,)."""
    at = rows["at"].to_numpy()
    close, adjusted = (rows[n].to_numpy() for n in ("close", "adj_close"))
    doubts = (reading.doubts[n][at] for n in ("close", "adj_close"))
    try:
        return implied_dividends(close, adjusted, *doubts)
    except UnexplainedError as error:
        raise reading.refusal(str(error), int(at[error.row])) from None


def _adjustment(rows: pd.DataFrame) -> np.ndarray:
    """What prices adjusted for distributions are to be multiplied by, shape (n,).

    A day without a usable close has the factor of its neighbours, so it costs that day only.
    """
    closes = rows["close"]
    usable = np.isfinite(closes) & (closes > 0)
    filled = closes.where(usable).ffill().bfill()
    if not usable.any():
        return np.ones(len(rows))
    with np.errstate(all="ignore"):  # prices such as 1e308 are for the quality rules to find
        closes = unadjusted(filled, rows["dividends"], rows["capital_gains"])
        return (closes / filled).to_numpy(dtype="float64")
