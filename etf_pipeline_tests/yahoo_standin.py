"""A stand-in for Yahoo Finance on loopback: v8 chart JSON, cookie, crumb and switchable faults.

The real yfinance client talks to it; only the host name is rewritten (`ETF_YAHOO_URL`).
Run as a program it serves a folder: `python -m etf_pipeline_tests.yahoo_standin FOLDER`.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
import time
import zoneinfo
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pandas as pd

FAULTS = frozenset(
    {
        "429",
        "500",
        "html",
        "truncated",
        "hang",
        "empty",
        "null_rows",
        "wrong_symbol",
        "monthly",
        "duplicate_live",
        "dividend_after_last",
        "currency",
        "rename",
        "not_found",
        "drop_day",
    }
)


@dataclass
class Series:
    """One symbol: rows with Yahoo's column names, `Date` as the index (dates).

    Attributes:
        currency: of the prices, as Yahoo spells it: `GBp` is pence.
        time_zone: the exchange's; sessions are dates there.
        exchange: Yahoo's own name of the exchange.
        stamped_at: local time at which each session's bar and events are stamped; Yahoo takes the
            open.
        meta: entries of the answer's `meta` that are other than usual.
        dividend_currencies: what Yahoo says a dividend is paid in, by ex-date; it says nothing of
            most.
    """

    rows: pd.DataFrame
    currency: str | None = "AUD"
    time_zone: str = "Australia/Sydney"
    instrument_type: str = "ETF"
    exchange: str = "ASX"
    stamped_at: dt.time = dt.time(10)
    meta: Mapping[str, Any] = field(default_factory=dict)
    dividend_currencies: Mapping[dt.date, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Market:
    """How Yahoo shows one exchange: the suffix of its symbols, and what `Series` says of it."""

    suffix: str
    exchange: str
    time_zone: str
    opens: dt.time
    currency: str

    def series(self, rows: pd.DataFrame, **changes: Any) -> Series:
        """A series of this exchange; `changes` are other fields of `Series`."""
        values: dict[str, Any] = {
            "currency": self.currency,
            "time_zone": self.time_zone,
            "exchange": self.exchange,
            "stamped_at": self.opens,
        }
        return Series(rows, **(values | changes))


# By MIC. `FX` stands for currency pairs, which Yahoo stamps at London's midnight.
MARKETS = {
    "XASX": Market(".AX", "ASX", "Australia/Sydney", dt.time(10), "AUD"),
    "XNYS": Market("", "PCX", "America/New_York", dt.time(9, 30), "USD"),
    "XLON": Market(".L", "LSE", "Europe/London", dt.time(8), "GBp"),
    "XTKS": Market(".T", "JPX", "Asia/Tokyo", dt.time(9), "JPY"),
    "XHKG": Market(".HK", "HKG", "Asia/Hong_Kong", dt.time(9, 30), "HKD"),
    "XETR": Market(".DE", "GER", "Europe/Berlin", dt.time(9), "EUR"),
    "XSGO": Market(".SN", "SGO", "America/Santiago", dt.time(9, 30), "CLP"),
    "FX": Market("", "CCY", "Europe/London", dt.time(0), "USD"),
}


@dataclass
class Fault:
    """A fault that applies to the next `times` chart answers (None: until removed)."""

    kind: str
    times: int | None = None
    arg: Any = None


@dataclass
class StandIn:
    """The server's state; tests change it while it runs."""

    series: dict[str, Series] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    started: list[tuple[float, str]] = field(default_factory=list)
    stop_hanging: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: ThreadingHTTPServer | None = None
    _kept: dict[str, tuple[Series, bytes]] = field(default_factory=dict)

    def load_folder(self, folder: Path, suffix: str = ".AX") -> None:
        """Serve every `<T>.parquet` of a folder as `<T><suffix>`."""
        for path in sorted(folder.glob("*.parquet")):
            self.series[path.stem + suffix] = Series(from_parquet(path))

    def fault(self, symbol: str, kind: str, times: int | None = None, arg: Any = None) -> None:
        """Switch a fault on for a symbol (`*` for all)."""
        assert kind in FAULTS, kind
        self.faults.setdefault(symbol, []).append(Fault(kind, times, arg))

    def take_fault(self, symbol: str) -> Fault | None:
        with self._lock:
            for key in (symbol, "*"):
                for fault in self.faults.get(key, []):
                    if fault.times is None:
                        return fault
                    if fault.times > 0:
                        fault.times -= 1
                        return fault
        return None

    def answer(
        self, symbol: str, series: Series, query: dict[str, str], fault: Fault | None
    ) -> bytes:
        """The JSON of one request; faultless whole histories are kept, to serve benchmarks."""
        whole = fault is None and int(query.get("period1", "0")) < 0
        if whole and symbol in self._kept and self._kept[symbol][0] is series:
            return self._kept[symbol][1]
        body = json.dumps(chart(symbol, series, query, fault)).encode()
        if whole:
            self._kept[symbol] = (series, body)
        return body

    def __enter__(self) -> StandIn:
        handler = type("Handler", (_Handler,), {"state": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop_hanging.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


def from_parquet(path: Path) -> pd.DataFrame:
    """A Yahoo-shaped Parquet file as rows indexed by date."""
    frame = pd.read_parquet(path)
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("Date")))
    return frame


class _Handler(BaseHTTPRequestHandler):
    state: StandIn
    protocol_version = "HTTP/1.1"
    # One segment per answer: head and body apart would each wait for a delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        self._send(200, b"<html></html>", "text/html")

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/v8/finance/chart/"):
            query = {k: v[0] for k, v in parse_qs(parts.query).items()}
            self._chart(unquote(parts.path.rsplit("/", 1)[1]), query)
        elif parts.path.endswith("/getcrumb"):
            self._send(200, b"crumb123", "text/plain")
        else:  # the cookie page, and the consent pages of yfinance's second strategy
            self._send(200, b"<html></html>", "text/html", cookie=True)

    def _chart(self, symbol: str, query: dict[str, str]) -> None:
        state = self.state
        state.seen[symbol] += 1
        state.started.append((time.monotonic(), symbol))
        fault = state.take_fault(symbol)
        kind = fault.kind if fault else ""
        if kind == "429":
            return self._send(429, b"Edge: Too Many Requests", "text/plain")
        if kind == "500":
            return self._send(500, b"<html>Internal Server Error</html>", "text/html")
        if kind == "html":
            return self._send(200, b"<!DOCTYPE html><html><body>Oops</body></html>", "text/html")
        if kind == "hang":
            state.stop_hanging.wait(60)
            return None
        series = state.series.get(symbol)
        if series is None or kind == "not_found":
            return self._error(404, "Not Found", "No data found, symbol may be delisted")
        body = state.answer(symbol, series, query, fault)
        if kind == "truncated":
            body = body[: len(body) // 2]
        return self._send(200, body, "application/json")

    def _error(self, status: int, code: str, text: str) -> None:
        body = {"chart": {"result": None, "error": {"code": code, "description": text}}}
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str, cookie: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if cookie:
            self.send_header("Set-Cookie", "A3=d=stand-in; Max-Age=31557600; Path=/")
        self.end_headers()
        self.wfile.write(body)


def chart(symbol: str, series: Series, query: dict[str, str], fault: Fault | None) -> Any:
    """The v8 chart answer for one request."""
    kind = fault.kind if fault else ""
    rows = _selected(series, query)
    stamps = _stamps(rows.index, series)
    if kind == "monthly":
        keep = ~pd.Series(pd.DatetimeIndex(rows.index).to_period("M")).duplicated().to_numpy()
        rows, stamps = rows[keep], stamps[keep]
    if kind == "null_rows":
        rows = rows.copy()
        rows.loc[
            rows.index.isin(_days(fault)), ["Open", "High", "Low", "Close", "Adj Close", "Volume"]
        ] = np.nan
    if kind == "drop_day":
        keep = ~rows.index.isin(_days(fault))
        rows, stamps = rows[keep], stamps[keep]
    events = _events(rows, stamps, series)
    if kind == "dividend_after_last":
        day, amount = fault.arg  # type: ignore[union-attr]
        stamp = int(_stamps(pd.DatetimeIndex([day]), series)[0])
        events.setdefault("dividends", {})[str(stamp)] = {"amount": amount, "date": stamp}
    quote = {
        name.lower(): _numbers(rows[name]) for name in ("Open", "High", "Low", "Close", "Volume")
    }
    adjclose = _numbers(rows["Adj Close"])
    listed = stamps.tolist()
    if kind == "duplicate_live" and listed:
        # Yahoo repeats the running session as a second row with the time of the last trade.
        listed.append(listed[-1] + 6 * 3600)
        for column in (*quote.values(), adjclose):
            column.append(column[-1])
        quote["volume"][-1] += 17
    result: dict[str, Any] = {
        "meta": _meta(symbol, series, kind, fault),
        "timestamp": listed,
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": adjclose}]},
    }
    if events:
        result["events"] = events
    if kind == "empty" or not listed:
        result = {"meta": result["meta"], "indicators": {"quote": [{}], "adjclose": [{}]}}
    return {"chart": {"result": [result], "error": None}}


def _days(fault: Fault | None) -> pd.DatetimeIndex:
    assert fault is not None
    return pd.DatetimeIndex([pd.Timestamp(day) for day in fault.arg])


def _selected(series: Series, query: dict[str, str]) -> pd.DataFrame:
    rows = series.rows
    if "period1" in query:
        stamps = _stamps(rows.index, series)
        rows = rows[(stamps >= int(query["period1"])) & (stamps < int(query["period2"]))]
    elif query.get("range") == "1d":
        rows = rows.iloc[-1:]
    return rows


def _stamps(index: pd.Index, series: Series) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Seconds since 1970 of each session's bar; a local time that does not exist is the next."""
    at = series.stamped_at
    naive = pd.DatetimeIndex(index) + pd.Timedelta(hours=at.hour, minutes=at.minute)
    first = np.ones(len(naive), dtype=bool)
    local = naive.tz_localize(series.time_zone, ambiguous=first, nonexistent="shift_forward")
    return local.as_unit("s").asi8


def _numbers(column: pd.Series[Any]) -> list[Any]:
    return [None if v != v else v for v in column.tolist()]


def _events(rows: pd.DataFrame, stamps: Any, series: Series) -> dict[str, Any]:
    events: dict[str, Any] = {}
    for name, key in (("Dividends", "dividends"), ("Capital Gains", "capitalGains")):
        if name in rows:
            hits = np.flatnonzero(rows[name].to_numpy() != 0)
            if len(hits):
                events[key] = {
                    str(stamps[i]): {"amount": float(rows[name].iloc[i]), "date": int(stamps[i])}
                    for i in hits
                }
    if series.dividend_currencies and "dividends" in events:
        for day, currency in series.dividend_currencies.items():
            stamp = int(_stamps(pd.DatetimeIndex([day]), series)[0])
            if str(stamp) in events["dividends"]:  # else its day was not asked for
                events["dividends"][str(stamp)]["currency"] = currency
    hits = np.flatnonzero(rows["Stock Splits"].to_numpy() != 0)
    if len(hits):
        events["splits"] = {}
        for i in hits:
            ratio = float(rows["Stock Splits"].iloc[i])
            numerator, denominator = (ratio, 1.0) if ratio >= 1 else (1.0, 1 / ratio)
            events["splits"][str(stamps[i])] = {
                "date": int(stamps[i]),
                "numerator": numerator,
                "denominator": denominator,
                "splitRatio": f"{numerator:g}:{denominator:g}",
            }
    return events


def _meta(symbol: str, series: Series, kind: str, fault: Fault | None) -> dict[str, Any]:
    """What the answer says of itself; `series.meta` has the last word."""
    zone = zoneinfo.ZoneInfo(series.time_zone)
    offset = dt.datetime.now(zone).utcoffset()
    assert offset is not None
    gmtoffset = int(offset.total_seconds())
    name = dt.datetime.now(zone).tzname()
    session = {"timezone": name, "start": 0, "end": 1, "gmtoffset": gmtoffset}
    arg = fault.arg if fault else None
    return {
        "currency": (arg or "USD") if kind == "currency" else series.currency,
        "symbol": (arg or "OTHER.AX") if kind in ("wrong_symbol", "rename") else symbol,
        "exchangeName": series.exchange,
        "fullExchangeName": series.exchange,
        "instrumentType": series.instrument_type,
        "firstTradeDate": 0,
        "regularMarketTime": 0,
        "hasPrePostMarketData": False,
        "gmtoffset": gmtoffset,
        "timezone": name,
        "exchangeTimezoneName": series.time_zone,
        "regularMarketPrice": 1.0,
        "priceHint": 2,
        "currentTradingPeriod": {"pre": session, "regular": session, "post": session},
        "dataGranularity": "1mo" if kind == "monthly" and arg != "lies" else "1d",
        "range": "",
        "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"],
        **series.meta,
    }


def main() -> None:
    """Serve a folder until standard input closes; prints the address."""
    state = StandIn()
    state.load_folder(Path(sys.argv[1]))
    with state:
        print(state.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
