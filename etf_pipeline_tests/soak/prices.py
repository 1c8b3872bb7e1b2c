"""Prices of two tickers as files that grow by a session with every run."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

TICKERS = ("VAS", "VGS")
_UNIVERSE = "ticker,symbol,exchange,name,asset_class,issuer,currency,shards\n" + "".join(
    f"{t},{t}.AX,XASX,{t},australian_equity,x,AUD,1\n" for t in TICKERS
)
_PORTFOLIOS = """portfolios:
  - name: calm
    tickers: [VAS, VGS]
    objective: min_volatility
"""
_BEFORE = 40


def lay_out(folder: Path) -> dict[str, str]:
    """Universe, portfolios and an empty folder of prices; the settings that name them."""
    (folder / "prices").mkdir(parents=True)
    (folder / "universe.csv").write_text(_UNIVERSE)
    (folder / "portfolios.yaml").write_text(_PORTFOLIOS)
    return {
        "ETF_UNIVERSE_FILE": str(folder / "universe.csv"),
        "ETF_PORTFOLIOS_FILE": str(folder / "portfolios.yaml"),
        "ETF_SOURCE": f"files:{folder / 'prices'}",
    }


def grow(folder: Path, day: int) -> None:
    """Write the files so that they have `day` sessions more than at the beginning."""
    first = dt.date(2025, 2, 3)
    days = [first + dt.timedelta(days=7 * (i // 5) + i % 5) for i in range(_BEFORE + day)]
    for k, ticker in enumerate(TICKERS):
        with (folder / f"{ticker}.csv").open("w", newline="") as handle:
            rows = csv.writer(handle)
            rows.writerow(["Date", "Open", "High", "Low", "Close", "Volume"])
            for i, date in enumerate(days):
                close = 100 + 10 * k + (i * 7 % 11) / 10
                rows.writerow([date, close, close + 0.5, close - 0.5, close, 1000 + i])
