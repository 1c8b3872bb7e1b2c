"""Yahoo Finance through yfinance, one symbol at a time. The only module that imports yfinance.

`yfinance.download` hides every failure as NaN columns, so `Ticker.history` is called with
exceptions on, and each is classed as transient, missing or rejected.
"""

from __future__ import annotations

import atexit
import datetime as dt
import json
import logging
import shutil
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pandas as pd

from etf_pipeline.errors import ReasonCode
from etf_pipeline.ingest.backoff import SharedBackoff
from etf_pipeline.ingest.source import Download, FetchFailure, Request
from etf_pipeline.model.calendars import time_zone
from etf_pipeline.model.outcomes import FailureKind
from etf_pipeline.model.rows import DOWNLOAD_COLUMNS
from etf_pipeline.model.yahoo_shape import session_dates
from etf_pipeline.settings import Settings

if TYPE_CHECKING:
    from yfinance import Ticker
    from yfinance.exceptions import YFTickerMissingError

log = logging.getLogger(__name__)
_YAHOO_NAMES = {
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "volume": "Volume",
    "dividends": "Dividends",
    "stock_splits": "Stock Splits",
    "capital_gains": "Capital Gains",
    "adj_close_source": "Adj Close",
}
_MISSING_WORDS = ("delisted", "not found", "no data found", "no price data found")


class YahooSource:
    """Real Yahoo Finance data, in request order, with bounded concurrency."""

    name = "yahoo"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._backoff = SharedBackoff(
            settings.yahoo_backoff_seconds, settings.yahoo_backoff_max_seconds
        )
        self._deadline = time.monotonic() + settings.run_deadline_seconds
        _configure(settings.yahoo_url)

    def fetch(self, requests: Sequence[Request]) -> Iterator[Download | FetchFailure]:
        """See `PriceSource.fetch`. Memory holds a few answers at a time."""
        workers = self._settings.yahoo_concurrency
        pending: deque[Future[Download | FetchFailure]] = deque()
        pool, left = ThreadPoolExecutor(workers, thread_name_prefix="yahoo"), threading.Event()
        done = False
        try:
            for request in requests:
                pending.append(pool.submit(self._fetch_one, request, left))
                if len(pending) >= 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
            done = True
        finally:
            # Left early, by Ctrl-C say: what is asked already is not waited for, nor asked again.
            left.set()
            pool.shutdown(wait=done, cancel_futures=True)

    def _fetch_one(self, request: Request, left: threading.Event) -> Download | FetchFailure:
        code, reason = ReasonCode.INTERRUPTED, "not tried"
        tries = 0
        for attempt in range(self._settings.yahoo_attempts):
            if left.is_set():
                break
            if not self._backoff.wait(self._deadline):
                limit = self._settings.run_deadline_seconds
                text = f"run deadline of {limit:g} s reached ({reason})"
                return FetchFailure(request, FailureKind.TRANSIENT, ReasonCode.RUN_DEADLINE, text)
            started = time.monotonic()
            tries += 1
            try:
                frame, meta, ticker = self._ask(request)
            except Exception as error:  # every failure of one ticker is that ticker's answer
                code, reason = _classify(error)
                if code is ReasonCode.SYMBOL_MISSING:
                    return FetchFailure(request, FailureKind.MISSING, code, reason)
                log.info("%s: try %d: %s", request.instrument.symbol, tries, reason)
                _forget_cached_answers()
                if code is ReasonCode.RATE_LIMITED:
                    self._backoff.rate_limited(started)
                elif attempt + 1 < self._settings.yahoo_attempts:
                    self._backoff.pause(attempt, self._deadline)
            else:
                self._backoff.answered()
                return understood(request, frame, meta, ticker)
        text = f"{reason} (tried {tries} times)" if tries else reason
        return FetchFailure(request, FailureKind.TRANSIENT, code, text)

    def _ask(self, request: Request) -> tuple[pd.DataFrame, Mapping[str, Any], Ticker]:
        """What yfinance says. Whatever it raises is about the answer, mangled as that may be."""
        import yfinance

        instrument = request.instrument
        ticker = yfinance.Ticker(instrument.symbol)
        zone = time_zone(instrument.exchange)
        tell_zone(ticker, zone)
        span: dict[str, Any] = {"period": "max"}
        if request.start is not None:
            span = {"start": day_begins(request.start, zone)}
        frame = ticker.history(
            interval="1d",
            auto_adjust=False,
            actions=True,
            repair=False,
            keepna=True,
            timeout=self._settings.yahoo_timeout_seconds,
            **span,
        )
        meta = ticker.get_history_metadata()
        if not isinstance(frame.index, pd.DatetimeIndex) or not isinstance(meta, Mapping):
            raise ValueError("no dates, or no word on what the prices are")
        named = [c for c in _YAHOO_NAMES.values() if c in frame]
        return frame.assign(**{c: frame[c].astype("float64") for c in named}), meta, ticker


def day_begins(day: dt.date, zone: str) -> dt.datetime:
    """The first instant of a day at a place; midnight, unless clocks were put forward over it."""
    midnight = pd.Timestamp(day)
    return midnight.tz_localize(zone, nonexistent="shift_forward", ambiguous=True).to_pydatetime()


def understood(
    request: Request, frame: pd.DataFrame, meta: Mapping[str, Any], ticker: Ticker | None = None
) -> Download | FetchFailure:
    """Yfinance's answer as ours. A fault in here is our own, so it is not tried again."""
    try:
        currency = str(meta.get("currency"))
        return Download(
            request,
            _normalised(frame),
            symbol=str(meta.get("symbol")),
            currency=currency,
            granularity=str(meta.get("dataGranularity")),
            dividend_notes=foreign_dividends(ticker, currency) if ticker is not None else {},
        )
    except Exception as error:
        log.exception("%s: reading Yahoo's answer failed", request.instrument.symbol)
        text = f"{ReasonCode.OUR_MISTAKE.text} ({type(error).__name__}: {error})"
        return FetchFailure(request, FailureKind.PERMANENT, ReasonCode.OUR_MISTAKE, text)


def _normalised(frame: pd.DataFrame) -> pd.DataFrame:
    """Yfinance's answer as rows with the columns of `DOWNLOAD_COLUMNS`, ascending."""
    dates = session_dates(pd.DatetimeIndex(frame.index))
    values = np.zeros((len(frame), len(DOWNLOAD_COLUMNS)))
    for i, name in enumerate(DOWNLOAD_COLUMNS):
        column = _YAHOO_NAMES[name]
        if column in frame:  # only funds have capital gains
            values[:, i] = frame[column].to_numpy(dtype="float64")
    rows = pd.DataFrame(
        values, pd.DatetimeIndex(dates, name="date"), list(DOWNLOAD_COLUMNS), copy=False
    )
    return rows if rows.index.is_monotonic_increasing else rows.sort_index()


def foreign_dividends(ticker: Ticker, currency: str) -> dict[dt.date, str]:
    """By session date, the currency of the dividends that are not in the prices' own.

    Yahoo names it per dividend. Yfinance leaves it out of the frame, as its repair is off; the
    answer as it read it is the other private attribute of yfinance that is used here.

    Args:
        ticker: whose history has been asked for.
        currency: of its prices.
    """
    told = ticker._price_history._dividends
    if "currency" not in getattr(told, "columns", ()):  # a plain series: Yahoo named none
        return {}
    days = session_dates(pd.DatetimeIndex(told.index)).date
    named = zip(days, told["currency"], strict=True)
    return {d: c for d, c in named if isinstance(c, str) and c and c != currency}


def tell_zone(ticker: Ticker, zone: str) -> None:
    """Tell yfinance the exchange's time zone; otherwise it asks Yahoo for it first, every time.

    There is no public way to say it: a private attribute of yfinance, one of two used here.

    Args:
        ticker: not asked for anything yet.
        zone: IANA name.
    """
    ticker._tz = zone


def _classify(error: Exception) -> tuple[ReasonCode, str]:
    """Why there is no answer: as a code, and in words."""
    from yfinance.exceptions import YFRateLimitError, YFTickerMissingError

    unreachable = ReasonCode.SOURCE_UNREACHABLE
    if isinstance(error, YFRateLimitError):
        return ReasonCode.RATE_LIMITED, "Yahoo answered 429 (too many requests)"
    if isinstance(error, YFTickerMissingError):
        if _says_missing(error):
            return ReasonCode.SYMBOL_MISSING, f"Yahoo has no prices for it ({error})"
        return unreachable, f"Yahoo answered: {error}"
    if isinstance(error, json.JSONDecodeError):
        return unreachable, "Yahoo's answer was not JSON (an error page, or cut short)"
    if isinstance(error, (KeyError, TypeError, IndexError, AttributeError, ValueError)):
        return unreachable, f"Yahoo's answer was incomplete ({type(error).__name__}: {error})"
    return unreachable, f"{type(error).__name__}: {error}"


def _says_missing(error: YFTickerMissingError) -> bool:
    """Whether yfinance means that there is no such symbol, and not that something went wrong.

    Yfinance raises this one type for both, and of what Yahoo gave as the reason there is only the
    English text: here alone a text decides.
    """
    text = str(error).lower()
    return any(words in text for words in _MISSING_WORDS)


def _forget_cached_answers() -> None:
    """Yfinance caches answers in process, failed ones too; a retry must really ask."""
    from yfinance.data import YfData

    YfData().cache_get.cache_clear()


_configure_lock = threading.Lock()


def _configure(base_url: str | None) -> None:
    """Set yfinance up once per process and address."""
    with _configure_lock:
        _configure_once(base_url)


@lru_cache(maxsize=1)
def _configure_once(base_url: str | None) -> None:
    import yfinance
    from yfinance.data import YfData

    # Shared cache folders make parallel processes meet "database is locked".
    folder = tempfile.mkdtemp(prefix="etf-yfinance-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    yfinance.set_tz_cache_location(folder)
    yfinance.config.debug.hide_exceptions = False
    warnings.filterwarnings("ignore", module=r"yfinance\.")  # its own use of pandas
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # each failure is reported once, by us
    YfData(session=_session(base_url))


def _session(base_url: str | None) -> Any:
    from curl_cffi import requests

    if base_url is None:
        return requests.Session(impersonate="chrome")
    target = urlsplit(base_url)

    class RedirectedSession(requests.Session[Any]):
        """Sends what is meant for yahoo.com to another address."""

        def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> Any:
            parts = urlsplit(url)
            if (parts.hostname or "").endswith("yahoo.com"):
                path = f"{target.path.rstrip('/')}{parts.path}"
                url = urlunsplit((target.scheme, target.netloc, path, parts.query, ""))
            return super().request(method, url, *args, **kwargs)

    return RedirectedSession()
