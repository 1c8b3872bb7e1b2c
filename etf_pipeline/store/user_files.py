"""Histories that somebody else wrote: read like any file, judged by the rules for our own."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from etf_pipeline.errors import EtfError, ReasonCode, UnreadableFileError
from etf_pipeline.history.adjust import adjusted_close, distributions
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.given import check_adjusted
from etf_pipeline.history.implied import UnexplainedError
from etf_pipeline.history.quality import MISSING, QUARANTINED, Finding, assess
from etf_pipeline.model.calendars import has_calendar, sessions, time_zone
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.reading.arrow import read_arrow
from etf_pipeline.model.reading.claims import other_security
from etf_pipeline.model.reading.declared import SUFFIX, Declared, declared
from etf_pipeline.model.reading.rows import read_rows
from etf_pipeline.model.reading.sessions import Market
from etf_pipeline.model.reading.sheet import Sheet
from etf_pipeline.model.schemas import EVENT_COLUMNS, VALUE_COLUMNS
from etf_pipeline.model.yahoo_shape import completed

log = logging.getLogger(__name__)
Days = npt.NDArray[np.datetime64]
_TOLD = 3


@dataclass(frozen=True)
class UserFile:
    """What a user's own file came to.

    Attributes:
        rows: usable ones, by naive session date, ascending, with the columns of `schemas.HISTORY`.
        excluded: dates whose row failed a rule and is left out.
        holes: these, dates without a price, and sessions without a row.
        findings: what the rules found.
        said: what is declared of the file.
    """

    rows: pd.DataFrame
    excluded: Days
    holes: Days
    findings: tuple[Finding, ...]
    said: Declared


def read_user_file(path: Path, table: pa.Table) -> UserFile:
    """A user's table as a history.

    `Date` may be a column or the index, in any spelling; without a declared exchange the dates are
    taken as written. Without `Adj Close` its `close` is taken as adjusted already, which is what
    yfinance writes by default; no distribution is 0, as in our own.

    Args:
        path: of the file; beside it `<name>.json` may declare what it does not say.
        table: its content.

    Raises:
        UnreadableFileError: it cannot be read beyond doubt, or no row of it can be used. Names the
            ticker, the file, and the row if it is about one.
    """
    origin = f"{decode_ticker(path.stem)}: {path}"
    try:
        return _read(path, table, origin)
    except EtfError:
        raise
    except Exception as error:
        log.exception("%s: reading it failed", origin)
        text = f"{origin}: {ReasonCode.OUR_MISTAKE.text} ({type(error).__name__}: {error})"
        raise UnreadableFileError(text, code=ReasonCode.OUR_MISTAKE) from error


def _read(path: Path, table: pa.Table, origin: str) -> UserFile:
    sidecar = path.with_name(path.name + SUFFIX)
    text = sidecar.read_bytes() if sidecar.is_file() else None
    said = declared(text, str(sidecar))
    market = _market(said, str(sidecar))
    sheet = read_arrow(table, origin)
    if (other := other_security(sheet, (decode_ticker(path.stem),), any_exchange=True)) is not None:
        raise sheet.refusal(
            f"it says that its prices are {other}'s; rename the file, or correct it"
        )
    reading = read_rows(sheet, market, said, dt.datetime.now(dt.UTC).date(), said.currency)
    if reading.foreign is not None:
        raise sheet.refusal(f"prices are in {reading.foreign}, {said.currency} is declared")
    given = reading.rows
    rows = completed(given[given["close"].notna()].copy())
    rows[list(EVENT_COLUMNS)] = rows[list(EVENT_COLUMNS)].fillna(0.0)
    adjusted = rows.get("adj_close")
    if adjusted is None or adjusted.equals(rows["close"]):
        rows["adj_close"] = _adjusted(rows, said, sheet)
    findings = assess(rows[list(VALUE_COLUMNS)], Basis(market.sessions)) + _bad_adjusted(rows)
    days = rows.index.to_numpy().astype("datetime64[D]")
    bad = np.isin(days, _dates(findings, QUARANTINED))
    if bad.all():
        rules = ", ".join(sorted({f.rule for f in findings})) or "no row with a price"
        raise UnreadableFileError(f"{origin}: none of {len(given)} rows can be used ({rules})")
    unpriced = given.index[given["close"].isna()].to_numpy().astype("datetime64[D]")
    holes = np.unique(np.r_[days[bad], unpriced, _dates(findings, MISSING)])
    _tell(origin, len(rows), findings)
    return UserFile(rows[~bad].assign(flag=None), days[bad], holes, tuple(findings), said)


def _dates(findings: list[Finding], severity: str) -> Days:
    return np.array([f.date for f in findings if f.severity == severity], dtype="datetime64[D]")


def _market(said: Declared, origin: str) -> Market:
    if said.exchange is None:
        return Market()
    if not has_calendar(said.exchange):
        raise UnreadableFileError(f"{origin}: {said.exchange!r} is no exchange that is known here")
    return Market(said.exchange, time_zone(said.exchange), sessions(said.exchange))


def _adjusted(rows: pd.DataFrame, said: Declared, sheet: Sheet) -> npt.NDArray[np.float64]:
    """The adjusted close of a file that has none: its close, if that is adjusted already.

    Raises:
        UnreadableFileError: it is not, or may not be, and nobody says.
    """
    days = rows.index.to_numpy().astype("datetime64[D]")
    close = rows["close"].to_numpy()
    paid = distributions(rows["dividends"].to_numpy(), rows["capital_gains"].to_numpy())
    if said.prices == "unadjusted":
        usable = np.isfinite(close) & (close > 0)
        out = close.copy()
        try:
            out[usable] = adjusted_close(rows["close"][usable], pd.Series(paid, rows.index))
        except ValueError as error:
            raise sheet.refusal(str(error)) from None
        return out
    if said.prices is None:
        try:
            check_adjusted(days, close, paid, rows["stock_splits"].to_numpy())
        except UnexplainedError as error:
            raise sheet.refusal(f"{days[error.row]}: {error}") from None
    return np.asarray(close, dtype=np.float64)


def _bad_adjusted(rows: pd.DataFrame) -> list[Finding]:
    adjusted = rows["adj_close"].to_numpy()
    days = rows.index.to_numpy().astype("datetime64[D]")
    bad = ~(np.isfinite(adjusted) & (adjusted > 0))
    return [
        Finding(days[i], "impossible_price", QUARANTINED, f"adj_close {adjusted[i]:g}")
        for i in np.flatnonzero(bad)
    ]


def _tell(origin: str, n: int, findings: list[Finding]) -> None:
    out = [f for f in findings if f.severity == QUARANTINED]
    if not out:
        return
    counts = Counter(f.rule for f in out)
    rules = ", ".join(f"{rule} {count}" for rule, count in sorted(counts.items()))
    first = "; ".join(f"{f.date}: {f.evidence}" for f in out[:_TOLD])
    dates = len({f.date for f in out})
    log.warning("%s: %d of %d rows are left out (%s): %s", origin, dates, n, rules, first)
