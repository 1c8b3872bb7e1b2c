"""A folder of Parquet or text files as a price source; docs/files.md says what is read."""

from __future__ import annotations

import datetime as dt
import filecmp
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import EtfError, ReasonCode, SettingsError, UnreadableFileError
from etf_pipeline.history.adjust import distributions, unadjusted
from etf_pipeline.history.duplicates import one_row_per_day
from etf_pipeline.history.given import check_adjusted
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
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import FailureKind, Remark
from etf_pipeline.model.reading.arrow import read_arrow
from etf_pipeline.model.reading.claims import other_security
from etf_pipeline.model.reading.declared import SUFFIX, Declared, declared
from etf_pipeline.model.reading.rows import Reading, read_rows
from etf_pipeline.model.reading.sessions import Market
from etf_pipeline.model.reading.sheet import Sheet
from etf_pipeline.model.reading.text import read_text
from etf_pipeline.model.rows import DOWNLOAD_COLUMNS
from etf_pipeline.model.schemas import EVENT_COLUMNS
from etf_pipeline.model.yahoo_shape import completed

log = logging.getLogger(__name__)
_PRICES = ("open", "high", "low", "close")
_EXTENSIONS = (".parquet", ".csv", ".tsv", ".txt")
IMPLIED = "implied"
_NOTHING_PAID = (
    "the file has neither Adj Close nor Dividends: returns are those of its closes, without "
    "distributions that these are not adjusted for"
)


class FilesSource:
    """Reads `<ticker>` or `<symbol>` with one of the known extensions from one folder.

    Whatever a file holds, the outcome is its ticker's: rows, or a refusal that names the file and
    the line. A file without `Adj Close` is what yfinance writes by default: its prices are
    adjusted for dividends already, and the adjustment is taken out again, exactly, so that it is
    not made twice; the falls and the ticks of the prices have to bear that out. A file with
    `Adj Close` and no distributions has them in the ratio of the two. A file is always answered
    whole, whatever was asked for, as anything in it may have been mended.
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
        path = self._path(instrument)
        if path is None:
            known = ", ".join(_EXTENSIONS)
            return FetchFailure(
                request,
                FailureKind.MISSING,
                ReasonCode.SYMBOL_MISSING,
                f"no {instrument.ticker} with {known} in {self._folder}",
            )
        said = _declared(path, self._date_format)
        sheet = _sheet(path)
        if instrument.is_rate:  # of a pair of currencies, either may be named
            sheet = replace(sheet, claims={**sheet.claims, "currency": frozenset()})
        exchange = instrument.exchange
        market = Market(exchange, time_zone(exchange), sessions(exchange))
        today = self._clock().date()
        reading = read_rows(sheet, market, said, today, instrument.currency, several=True)
        rows, notes, remarks = _rows(reading, said)
        return Download(
            request,
            rows,
            other_security(sheet, (*instrument.names, instrument.symbol)) or instrument.symbol,
            reading.foreign or instrument.currency,
            dividend_notes=notes,
            origin=str(path),
            whole=True,
            implied=reading.rows.get("adj_close") is not None and "dividends" not in reading.rows,
            remarks=remarks,
        )

    def _path(self, instrument: Instrument) -> Path | None:
        """The one file of an instrument, None without any.

        Raises:
            UnreadableFileError: there are several, and they are not the same.
        """
        names = [
            n
            for name in (instrument.ticker, instrument.symbol)
            for n in (encode_ticker(name), name)
            if "/" not in n
        ]
        names = list(dict.fromkeys(names))
        paths = [self._folder / f"{n}{ext}" for n in names for ext in _EXTENSIONS]
        found = [p for p in paths if p.is_file()]
        for other in found[1:]:
            if not filecmp.cmp(found[0], other, shallow=False):
                raise UnreadableFileError(
                    f"{found[0]} and {other} are both of {instrument.ticker}; take one away"
                )
        return found[0] if found else None


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


def _rows(
    reading: Reading, said: Declared
) -> tuple[pd.DataFrame, dict[dt.date, str], tuple[Remark, ...]]:
    """A file's rows, unadjusted, with the columns of `DOWNLOAD_COLUMNS`.

    An event is NaN where the file has no such column: that is not told, which is not none.

    Returns:
        The rows, notes on dividends, and what is to be said when they are taken.
    """
    given = reading.rows
    told = [c for c in EVENT_COLUMNS if c in given]
    paid = [c for c in ("dividends", "capital_gains") if c in given]
    tells = bool(paid) and bool((given[paid].fillna(0.0) != 0).to_numpy().any())
    if tells and "adj_close" in given and given["adj_close"].equals(given["close"]):
        given = given.drop(columns="adj_close")  # both adjusted, or neither: it tells nothing
    rows = completed(given.copy())
    for name in told:
        rows[name] = rows[name].fillna(0.0)
    # each day once: of two rows for a day, both are kept, for the rule that decides between them
    once = one_row_per_day(rows.assign(at=np.arange(len(rows))))[0]
    notes: dict[dt.date, str] = {}
    remarks: tuple[Remark, ...] = ()
    if "adj_close" in rows:
        if not tells:
            implied = pd.Series(_implied(reading, once), once.index)
            rows["dividends"] = implied.reindex(rows.index).to_numpy()
            told.append("dividends")
            notes = dict.fromkeys(pd.DatetimeIndex(implied.index[implied > 0]).date, IMPLIED)
    elif not paid or said.prices == "unadjusted":
        rows["adj_close"] = np.nan
        remarks = () if paid else (Remark(ReasonCode.NO_DISTRIBUTIONS, _NOTHING_PAID),)
    else:
        if said.prices is None:
            _check_adjusted(reading, once)
        rows["adj_close"] = rows["close"]
        factor = pd.Series(_adjustment(once), once.index).reindex(rows.index).to_numpy()
        with np.errstate(over="ignore"):  # found by the quality rules
            for name in _PRICES:
                rows[name] = rows[name] * factor
    for name in set(EVENT_COLUMNS) - set(told):
        rows[name] = np.nan
    rows = rows.rename(columns={"adj_close": "adj_close_source"})
    return rows[list(DOWNLOAD_COLUMNS)], notes, remarks


def _check_adjusted(reading: Reading, rows: pd.DataFrame) -> None:
    """Refuse prices beside distributions that are not adjusted for them, or may not be."""
    days = rows.index.to_numpy().astype("datetime64[D]")
    names = ("close", "dividends", "capital_gains", "stock_splits")
    close, income, gains, splits = (rows[n].to_numpy() for n in names)
    try:
        check_adjusted(days, close, distributions(income, gains), splits)
    except UnexplainedError as error:
        at = int(rows["at"].to_numpy()[error.row])
        raise reading.refusal(f"{error} ({days[error.row]})", at) from None


def _implied(reading: Reading, rows: pd.DataFrame) -> np.ndarray:
    """Distributions of rows that are `at` these positions of the reading, shape (n,)."""
    at = rows["at"].to_numpy()
    close, adjusted = (rows[n].to_numpy() for n in ("close", "adj_close"))
    doubts = (reading.doubts[n][at] for n in ("close", "adj_close"))
    try:
        return implied_dividends(close, adjusted, *doubts)
    except UnexplainedError as error:
        day = rows.index[error.row]
        raise reading.refusal(f"{error} ({day:%Y-%m-%d})", int(at[error.row])) from None


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
