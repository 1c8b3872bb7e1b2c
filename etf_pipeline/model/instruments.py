"""An instrument and the set of them."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from etf_pipeline.errors import unknown_ticker


@dataclass(frozen=True)
class Instrument:
    """One ETF: how we call it, how the source calls it, where and in what it trades.

    `listed_since` is set where the symbol meant another security before that day.
    """

    ticker: str
    symbol: str
    exchange: str
    name: str
    asset_class: str
    issuer: str
    currency: str
    management_fee: float | None = None
    aliases: tuple[str, ...] = ()
    last_session: dt.date | None = None
    shards: int = 1
    listed_since: dt.date | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The ticker and its former ones."""
        return (self.ticker, *self.aliases)

    @property
    def partition(self) -> str:
        """Dagster partition: the exchange, or a shard of it by a stable hash of the ticker."""
        if self.shards == 1:
            return self.exchange
        return f"{self.exchange}-{zlib.crc32(self.ticker.encode()) % self.shards:02d}"


@dataclass(frozen=True)
class Universe:
    """Instruments by ticker; looks aliases up too."""

    instruments: tuple[Instrument, ...]
    origin: str = "the universe"
    _by_name: dict[str, Instrument] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {alias: i for i in self.instruments for alias in i.aliases}
        by_name |= {i.ticker: i for i in self.instruments}
        object.__setattr__(self, "_by_name", by_name)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self.instruments)

    def __len__(self) -> int:
        return len(self.instruments)

    def __contains__(self, ticker: object) -> bool:
        return ticker in self._by_name

    def get(self, ticker: str) -> Instrument:
        """The instrument with this ticker or alias.

        Raises:
            UnknownTickerError: naming the nearest tickers.
        """
        try:
            return self._by_name[ticker]
        except KeyError:
            raise unknown_ticker(ticker, self._by_name, self.origin) from None

    def columns(self) -> dict[str, dict[str, str]]:
        """The columns that portfolios may group by, each a value per ticker."""
        names = ("asset_class", "issuer", "currency", "exchange")
        return {n: {i.ticker: getattr(i, n) for i in self.instruments} for n in names}

    def partitions(self) -> list[str]:
        """Partition keys, sorted; an exchange gives one, or as many as it has shards."""
        return sorted({key for i in self.instruments for key in shard_keys(i.exchange, i.shards)})

    def in_partition(
        self, partition: str, tickers: Iterable[str] | None = None
    ) -> list[Instrument]:
        """Instruments of a partition (only the named ones, if any are), by ticker."""
        chosen = self.instruments if tickers is None else {self.get(t) for t in tickers}
        return sorted((i for i in chosen if i.partition == partition), key=lambda i: i.ticker)


def shard_keys(exchange: str, shards: int) -> list[str]:
    """Partition keys of one exchange."""
    return [exchange] if shards == 1 else [f"{exchange}-{n:02d}" for n in range(shards)]


def repeated(tickers: Iterable[str]) -> list[str]:
    """Tickers that are there more than once, sorted."""
    seen: set[str] = set()
    twice: set[str] = set()
    for ticker in tickers:
        (twice if ticker in seen else seen).add(ticker)
    return sorted(twice)
