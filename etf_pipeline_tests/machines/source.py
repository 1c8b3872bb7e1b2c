"""Prices that everybody asks the same two sources for: a folder of files, and a stand-in for Yahoo.

With every night there is a session more; the newest close of some tickers is put right by the next.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np

from etf_pipeline.ingest.sources.simulated import simulate
from etf_pipeline.model.calendars import sessions
from etf_pipeline_tests.machines.told import Row, said
from etf_pipeline_tests.pipeline.support import write_universe
from etf_pipeline_tests.support import listed, yahoo_rows
from etf_pipeline_tests.yahoo_standin import MARKETS, StandIn

MIC = "XNYS"
TICKERS = tuple(f"T{i}" for i in range(8))
SHARDS = 4
# Of this shard Yahoo is asked, whose slot one run has at a time.
YAHOO_SHARD = "XNYS-03"
PORTFOLIOS = """portfolios:
  - {name: calm, tickers: [T0, T1, T5], objective: min_volatility}
  - {name: even, tickers: [T2, T4, T6, T7], objective: risk_parity}
"""
_FIRST = np.datetime64("2025-09-02")
_KEPT = 300


class Source:
    """The files and the stand-in, and how many nights they hold."""

    def __init__(self, folder: Path) -> None:
        self.universe = write_universe(folder, dict.fromkeys(TICKERS, MIC), SHARDS)
        self.portfolios = folder / "portfolios.yaml"
        self.portfolios.write_text(PORTFOLIOS)
        self.prices = folder / "prices"
        self.prices.mkdir()
        self.yahoo = StandIn().__enter__()
        days = sessions(MIC)
        self._days = days[days >= _FIRST]
        self.nights = 0
        # By ticker: the rows that are said now, and those that ever were.
        self.says: dict[str, set[Row]] = {}
        self.said: dict[str, set[Row]] = {t: set() for t in TICKERS}

    def grow(self) -> None:
        """The prices of one session more."""
        last: dt.date = self._days[self.nights].astype("datetime64[D]").item()
        self.nights += 1
        for ticker in TICKERS:
            one = listed(MIC, ticker)
            rows = yahoo_rows(simulate(one, last).tail(_KEPT + self.nights))
            rows = rows.drop(columns="adj_close_source")
            self.yahoo.series[one.symbol] = MARKETS[MIC].series(rows)
            self.says[ticker] = said(rows)
            self.said[ticker] |= self.says[ticker]
            rows.to_csv(self.prices / f"{ticker}.csv")
            (self.prices / f"{ticker}.csv.json").write_text('{"prices": "unadjusted"}')

    def environment(self) -> dict[str, str]:
        """The settings that name it."""
        return {
            "ETF_UNIVERSE_FILE": str(self.universe),
            "ETF_PORTFOLIOS_FILE": str(self.portfolios),
            "ETF_SOURCE": f"files:{self.prices}",
            "ETF_YAHOO_URL": self.yahoo.url,
            "ETF_YAHOO_BACKOFF_SECONDS": "0.01",
            "ETF_RETRY_DELAY_SECONDS": "0.5",
        }

    def close(self) -> None:
        self.yahoo.__exit__()
