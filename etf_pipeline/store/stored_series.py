"""Prices of many tickers that are never in memory at once: footers first, rows one at a time."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from etf_pipeline.errors import CorruptFileError, StoreError, UnreadableFileError
from etf_pipeline.model.reading.declared import SUFFIX
from etf_pipeline.model.schemas import QUARANTINE
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.hashing import file_hash
from etf_pipeline.store.inventory import footer_range
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.origins import ORIGIN_KEYS
from etf_pipeline.store.prices import cached_prices
from etf_pipeline.store.reader import FileInfo, file_footer, file_info

_FACTS = "history_facts"  # in the cache; an error for a file that is damaged further in
_FACTS_SIZE = 2_000  # bytes


@dataclass(frozen=True)
class HistoryFacts:
    """What is known of a ticker's prices without a row of them.

    Attributes:
        ticker: whose they are.
        rows: how many prices; of a user's own file those that can be used.
        first_date: date of the oldest.
        last_date: date of the newest, None where there is none.
        source: `yahoo`, `files`, `simulated` or `user`.
        currency: what they are in, None where the file does not say.
        exchange: MIC, None where the file does not say.
        content_hash: of the history, as its footer has it; None for a user's own file.
        version: SHA-256 (hex) over all that a `PriceSeries` is made of: two files of the same
            version give the same one. None where nobody can tell.
        findings: how many its quarantine has; None where the footer does not say.
    """

    ticker: str
    rows: int
    first_date: dt.date | None
    last_date: dt.date | None
    source: str
    currency: str | None
    exchange: str | None
    content_hash: str | None = None
    version: str | None = None
    findings: int | None = None

    @classmethod
    def of_series(
        cls, series: PriceSeries, content_hash: str | None = None, version: str | None = None
    ) -> HistoryFacts:
        """The same of prices that are in memory."""
        days = series.days
        first, last = (days[0].item(), days[-1].item()) if len(days) else (None, None)
        said = series.source, series.currency, series.exchange
        return cls(series.ticker, len(days), first, last, *said, content_hash, version)


def read_facts(layout: Layout, ticker: str, cache: FileCache) -> HistoryFacts:
    """What a history's footer says, through a cache; of a user's own file, what its rows come to.

    Raises:
        CorruptFileError: the footer, or that of its quarantine, is damaged.
        UnreadableFileError: the file is a user's own and cannot be read beyond doubt.
        FileNotFoundError: there is no history.
    """
    path = layout.find_history(ticker)
    found: HistoryFacts | StoreError | None = cache.get(_FACTS, path)
    if isinstance(found, StoreError):
        raise found.with_traceback(None)
    if found is None:
        stamp = cache.stamp(path)
        found = _read_facts(layout, ticker, path, cache)
        cache.put(_FACTS, path, stamp, found, _FACTS_SIZE)
    return found


def _read_facts(layout: Layout, ticker: str, path: Path, cache: FileCache) -> HistoryFacts:
    info, footer = file_footer(path)
    if not info.ours:
        series = cached_prices(layout, ticker, cache)
        sidecar = path.with_name(path.name + SUFFIX)
        said = file_hash(sidecar) if sidecar.is_file() else ""
        version = hashlib.sha256(f"{file_hash(path)} {said}".encode()).hexdigest()
        return HistoryFacts.of_series(series, version=version)
    first, last = footer_range(footer)
    currency, exchange = (info.meta.get(name) for name in ("currency", "exchange"))
    told = info.source, currency, exchange, info.content_hash
    more = _version(layout, ticker, info), info.meta.get("findings")
    return HistoryFacts(ticker, info.num_rows, first, last, *told, *more)


def _version(layout: Layout, ticker: str, info: FileInfo) -> str:
    """Over the footer, but for which batches the rows came in, and the quarantine beside it.

    The footer names its quarantine by hash; after a kill between the two that is another one.
    """
    told = {key: value for key, value in info.meta.items() if key not in ORIGIN_KEYS}
    if info.meta.get("findings") != 0:
        try:
            told["quarantine_hash"] = file_info(layout.of(QUARANTINE, ticker)).content_hash
        except FileNotFoundError:
            told["quarantine_hash"] = None
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class StoredSeries(Mapping[str, PriceSeries]):
    """Prices by ticker, in order, each read when it is asked for, and kept by a bounded cache.

    `damaged` has those that cannot be read, with why; it grows when a file whose footer is whole
    turns out damaged further in, and that ticker is none of these prices from then on.
    """

    def __init__(self, layout: Layout, tickers: Iterable[str], cache: FileCache) -> None:
        """Of those tickers that have a history; reads their footers."""
        self._layout, self._cache = layout, cache
        self.facts: dict[str, HistoryFacts] = {}
        self.damaged: dict[str, StoreError] = {}
        for ticker in sorted(tickers):
            try:
                self.facts[ticker] = read_facts(layout, ticker, cache)
            except FileNotFoundError:
                continue
            except (CorruptFileError, UnreadableFileError) as error:
                self.damaged[ticker] = error

    def __getitem__(self, ticker: str) -> PriceSeries:
        """One ticker's prices.

        Raises:
            KeyError: there is no history of it, or none that can be read.
            CorruptFileError: its file is found damaged just now.
            UnreadableFileError: so is a user's own.
        """
        if ticker not in self.facts:
            raise KeyError(ticker)
        try:
            return cached_prices(self._layout, ticker, self._cache)
        except (CorruptFileError, UnreadableFileError) as error:
            self.set_aside(ticker, error)
            raise

    def set_aside(self, ticker: str, error: StoreError) -> None:
        """Count a ticker whose file could not be read among the `damaged`.

        The steps that come after in this process know it by the cache.
        """
        path = self._layout.find_history(ticker)
        if path.exists():
            self._cache.put(_FACTS, path, self._cache.stamp(path), error, _FACTS_SIZE)
        self.damaged[ticker] = error
        self.facts.pop(ticker, None)

    def __contains__(self, ticker: object) -> bool:
        """Without reading a row."""
        return ticker in self.facts

    def __iter__(self) -> Iterator[str]:
        """Tickers, sorted."""
        return iter(tuple(self.facts))

    def __len__(self) -> int:
        """How many tickers."""
        return len(self.facts)
