"""Yahoo Finance through yfinance, one symbol at a time. The only module that imports yfinance.

`yfinance.download` hides every failure as NaN columns, so `Ticker.history` is called with
exceptions on, and each is classed as transient, missing or rejected.
"""

from __future__ import annotations

import atexit
import json
import logging
import shutil
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pandas as pd

from etf_pipeline.ingest.backoff import SharedBackoff
from etf_pipeline.ingest.source import DOWNLOAD_COLUMNS, Download, FetchFailure, Request
from etf_pipeline.model.calendars import time_zone
from etf_pipeline.settings import Settings

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
        reason = "not tried"
        for attempt in range(self._settings.yahoo_attempts):
            if left.is_set():
                break
            if not self._backoff.wait(self._deadline):
                limit = self._settings.run_deadline_seconds
                text = f"run deadline of {limit:g} s reached ({reason})"
                return FetchFailure(request, "transient", text)
            started = time.monotonic()
            try:
                answer = self._ask(request)
            except Exception as error:  # every failure of one ticker is that ticker's answer
                kind, reason = _classify(error)
                if kind == "missing":
                    return FetchFailure(request, kind, reason)
                log.info("%s: try %d: %s", request.instrument.symbol, attempt + 1, reason)
                _forget_cached_answers()
                if kind == "rate_limited":
                    self._backoff.rate_limited(started)
                elif attempt + 1 < self._settings.yahoo_attempts:
                    self._backoff.pause(attempt, self._deadline)
            else:
                self._backoff.answered()
                return answer
        tries = self._settings.yahoo_attempts
        return FetchFailure(request, "transient", f"{reason} (tried {tries} times)")

    def _ask(self, request: Request) -> Download | FetchFailure:
        import yfinance

        instrument = request.instrument
        ticker = yfinance.Ticker(instrument.symbol)
        # The exchange's zone is known; otherwise yfinance asks Yahoo for it first, every time.
        ticker._tz = time_zone(instrument.exchange)
        span: dict[str, Any] = {"start": request.start} if request.start else {"period": "max"}
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
        return Download(
            request,
            _normalised(frame),
            symbol=str(meta.get("symbol")),
            currency=str(meta.get("currency")),
            granularity=str(meta.get("dataGranularity")),
        )


def _normalised(frame: pd.DataFrame) -> pd.DataFrame:
    index = pd.DatetimeIndex(frame.index)
    if index.tz is not None:
        # The bar's date at the exchange is the session, whatever the host's zone.
        index = index.tz_localize(None)
    dates = index.to_numpy().astype("datetime64[D]").astype("datetime64[s]")
    values = np.zeros((len(frame), len(DOWNLOAD_COLUMNS)))
    for i, name in enumerate(DOWNLOAD_COLUMNS):
        column = _YAHOO_NAMES[name]
        if column in frame:  # only funds have capital gains
            values[:, i] = frame[column].to_numpy(dtype="float64")
    rows = pd.DataFrame(
        values, pd.DatetimeIndex(dates, name="date"), list(DOWNLOAD_COLUMNS), copy=False
    )
    return rows if rows.index.is_monotonic_increasing else rows.sort_index()


def _classify(error: Exception) -> tuple[str, str]:
    """`rate_limited`, `missing` or `transient`, and the reason in words."""
    from yfinance.exceptions import YFRateLimitError, YFTickerMissingError

    if isinstance(error, YFRateLimitError):
        return "rate_limited", "Yahoo answered 429 (too many requests)"
    if isinstance(error, YFTickerMissingError):
        text = str(error)
        if any(word in text.lower() for word in _MISSING_WORDS):
            return "missing", f"Yahoo has no prices for it ({text})"
        return "transient", f"Yahoo answered: {text}"
    if isinstance(error, json.JSONDecodeError) or "JSONDecodeError" in type(error).__name__:
        return "transient", "Yahoo's answer was not JSON (an error page, or cut short)"
    if isinstance(error, (KeyError, TypeError, IndexError, AttributeError, ValueError)):
        return "transient", f"Yahoo's answer was incomplete ({type(error).__name__}: {error})"
    return "transient", f"{type(error).__name__}: {error}"


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
