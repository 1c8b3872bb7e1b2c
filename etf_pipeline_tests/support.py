"""Builders that the tests share. Values are made here by plain arithmetic."""

from __future__ import annotations

import contextlib
import datetime as dt
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest

from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.yahoo import YahooSource
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.model.reading.arrow import read_arrow
from etf_pipeline.model.reading.declared import Declared
from etf_pipeline.model.reading.rows import read_rows
from etf_pipeline.model.reading.sessions import Market
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.settings import Settings
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.processes import HOST
from etf_pipeline.store.reader import read_history, read_table
from etf_pipeline.store.store import Store
from etf_pipeline_tests.yahoo_standin import MARKETS, Series, StandIn

UTC = dt.UTC


def instrument(ticker: str = "VAS", **changes: Any) -> Instrument:
    """An ASX instrument."""
    values: dict[str, Any] = {
        "ticker": ticker,
        "symbol": f"{ticker}.AX",
        "exchange": "XASX",
        "name": ticker,
        "asset_class": "australian_equity",
        "issuer": "Vanguard",
        "currency": "AUD",
    }
    return Instrument(**(values | changes))


def listed(mic: str, ticker: str = "ETF", **changes: Any) -> Instrument:
    """An instrument of one of the exchanges of `yahoo_standin.MARKETS`."""
    market = MARKETS[mic]
    values = {
        "symbol": f"{ticker}{market.suffix}",
        "exchange": mic,
        "currency": market.currency,
        "asset_class": "equity",
        "issuer": "",
    }
    return instrument(ticker, **(values | changes))


@dataclass(frozen=True)
class Others:
    """Peers that all moved alike between any two sessions."""

    size: float
    count: int = 12

    def until(self, batch_id):
        return self

    def moves(self, before, day):
        return np.full(self.count, self.size)

    def closed(self, day):
        return False


def asx_days(start: str, n: int) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """The first `n` ASX sessions from `start` on."""
    return sessions_of("XASX", start)[:n]


def sessions_of(mic: str, first: str, last: str = "2100-01-01") -> npt.NDArray[np.datetime64]:
    """Sessions of an exchange from `first` to `last`, both included."""
    days = sessions(mic)
    return days[(days >= np.datetime64(first)) & (days <= np.datetime64(last))]


def walk(n: int, seed: int = 0, start: float = 100.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A positive random walk with ordinary daily moves, to four decimals."""
    moves = np.random.default_rng(seed).normal(0.0003, 0.008, n)
    return np.round(start * np.cumprod(1 + moves), 4)


def bars(days: Sequence[Any] | np.ndarray[Any, Any], closes: Any, **columns: Any) -> pd.DataFrame:
    """Rows as the domain has them: index `date`, columns of a bar and its events."""
    closes = np.asarray(closes, dtype="float64")
    frame = pd.DataFrame(
        {
            "open": closes,
            "high": closes * 1.01,
            "low": closes * 0.99,
            "close": closes,
            "volume": 1000.0,
            "dividends": 0.0,
            "stock_splits": 0.0,
            "capital_gains": 0.0,
        },
        index=pd.DatetimeIndex(np.asarray(days, dtype="datetime64[s]"), name="date"),
    )
    for name, values in columns.items():
        frame[name] = values
    return frame


def yahoo_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Domain rows as the stand-in serves them."""
    out = rows.rename(
        columns={
            "open": "Open",
            "high": "High",
            "low": "Low",
            "close": "Close",
            "volume": "Volume",
            "dividends": "Dividends",
            "stock_splits": "Stock Splits",
            "capital_gains": "Capital Gains",
        }
    )
    out["Adj Close"] = rows.get("adj_close", rows["close"])
    return out.rename_axis("Date")


def rows_of(frame: pd.DataFrame, origin: str) -> pd.DataFrame:
    """A frame of any shape as rows, its dates as they are written."""
    sheet = read_arrow(pa.Table.from_pandas(frame), origin)
    return read_rows(sheet, Market(), Declared(), dt.date(2025, 11, 12)).rows


def leftover(folder: Path) -> Path:
    """A temp file that a process has left behind, which has ended since."""
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    child.wait()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".x.parquet.{HOST}-{child.pid}-00000000.tmp"
    path.write_bytes(b"half")
    return path


@dataclass
class World:
    """A store fed by the stand-in through the real yfinance, at a time the test sets."""

    root: Path
    yahoo: StandIn
    now: dt.datetime = dt.datetime(2025, 11, 12, 12, 0, tzinfo=UTC)
    settings: Settings = field(init=False)
    runs: int = 0
    partition: str = "XASX"

    def __post_init__(self) -> None:
        self.settings = self.configured()

    def configured(self, **changes: Any) -> Settings:
        """Settings for quick tests: no long pauses."""
        values: dict[str, Any] = {
            "data_dir": self.root,
            "yahoo_url": self.yahoo.url,
            "yahoo_backoff_seconds": 0.01,
            "yahoo_backoff_max_seconds": 0.05,
            "yahoo_attempts": 3,
            "yahoo_timeout_seconds": 5.0,
            "lock_timeout_seconds": 10.0,
        }
        return Settings(**(values | changes))

    @property
    def store(self) -> Store:
        return Store.at(self.root, self.settings.lock_timeout_seconds)

    @property
    def layout(self) -> Layout:
        return self.store.layout

    @property
    def this_run(self) -> Run:
        return Run(f"run{self.runs:05d}", self.now, self.partition)

    def serve(self, ticker: str, rows: pd.DataFrame, **changes: Any) -> None:
        """Have the stand-in serve these rows."""
        self.yahoo.series[f"{ticker}.AX"] = Series(yahoo_rows(rows), **changes)

    def list_on(self, mic: str, ticker: str, rows: pd.DataFrame, **changes: Any) -> Instrument:
        """Serve these rows as that exchange's; `changes` are fields of the stand-in's `Series`."""
        one = listed(mic, ticker, currency=changes.get("currency", MARKETS[mic].currency))
        self.yahoo.series[one.symbol] = MARKETS[mic].series(yahoo_rows(rows), **changes)
        return one

    def download(self, *instruments: Instrument, full: bool = False) -> dict[str, Outcome]:
        """The download step, of a run of its own."""
        self.runs += 1
        result = download(
            self.store,
            self.this_run,
            YahooSource(self.settings),
            instruments,
            Terms.of(self.settings, full),
            clock=lambda: self.now,
        )
        self.now += dt.timedelta(seconds=1)
        return {o.subject: o for o in result.outcomes}

    def update(self, *instruments: Instrument) -> dict[str, Outcome]:
        """The history step, of the run that downloaded last."""
        result = update_histories(self.store, self.this_run, instruments, source="yahoo")
        return {o.subject: o for o in result.outcomes}

    def run(self, *instruments: Instrument, full: bool = False) -> dict[str, Outcome]:
        """Both steps; the download's outcomes."""
        outcomes = self.download(*instruments, full=full)
        self.update(*instruments)
        return outcomes

    def history(self, ticker: str = "VAS") -> pd.DataFrame:
        return read_history(self.layout.of(HISTORY, ticker))

    def findings(self, ticker: str = "VAS") -> dict[tuple[str, str], str]:
        """Severity by (date, rule)."""
        table = read_table(self.layout.of(QUARANTINE, ticker)).to_pylist()
        return {(str(r["date"]), r["rule"]): r["severity"] for r in table}

    def bytes_on_disk(self, *folders: str) -> dict[str, bytes]:
        """Every published file below these folders of the store."""
        return {
            str(p.relative_to(self.root)): p.read_bytes()
            for folder in folders or ("historical", "quarantine")
            for p in sorted((self.root / folder).rglob("*.parquet"))
        }


@contextlib.contextmanager
def disk_in_memory(folder: Path, options: str) -> Iterator[Path]:
    """A disk at `folder`, with options of `mount -o`; skips where none may be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
