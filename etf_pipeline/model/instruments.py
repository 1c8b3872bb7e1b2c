"""An instrument and the set of them."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from etf_pipeline.errors import unknown_ticker
from etf_pipeline.model.currencies import ASSET_CLASS, FX, Pair, needed_pairs, route, unit_of


@dataclass(frozen=True)
class Instrument:
    """One ETF, or a currency pair: how we and the source call it, where and in what it trades.

    `management_fee` is in per cent a year, `market_weight` the size of the market that it stands
    for, in any unit that is the same for all. `listed_since` is set where the symbol meant another
    security before that day.
    """

    ticker: str
    symbol: str
    exchange: str
    name: str
    asset_class: str
    issuer: str
    currency: str
    management_fee: float | None = None
    market_weight: float | None = None
    aliases: tuple[str, ...] = ()
    last_session: dt.date | None = None
    shards: int = 1
    listed_since: dt.date | None = None

    @classmethod
    def of_pair(cls, pair: Pair, shards: int = 1) -> Instrument:
        """The instrument whose prices are the rates of a currency pair."""
        return cls(
            pair.ticker,
            pair.ticker,
            FX,
            f"{pair.base} in {pair.quote}",
            ASSET_CLASS,
            "market",
            pair.quote,
            shards=shards,
        )

    @property
    def is_rate(self) -> bool:
        """Whether it is a currency pair, and no ETF."""
        return self.exchange == FX

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

    @property
    def etfs(self) -> list[Instrument]:
        """All but the currency pairs."""
        return [i for i in self.instruments if not i.is_rate]

    def with_rates(self, bases: Iterable[str] = ()) -> Universe:
        """This universe, and the currency pairs that it takes to convert its prices.

        Args:
            bases: currencies that prices are wanted in besides.

        Returns:
            The same when all currencies are one.
        """
        listed = {i.ticker for i in self.instruments if i.is_rate}
        return self.with_pairs(needed_pairs([*(i.currency for i in self.etfs), *bases], listed))

    def with_pairs(self, pairs: Iterable[Pair]) -> Universe:
        """This universe, and those pairs that it lacks."""
        shards = next((i.shards for i in self.instruments if i.is_rate), 1)
        more = [Instrument.of_pair(p, shards) for p in pairs if p.ticker not in self]
        return replace(self, instruments=(*self.instruments, *more)) if more else self

    def rates_for(self, tickers: Iterable[str], bases: Iterable[str] = ()) -> list[str]:
        """Currency pairs, of those that are here, that some tickers need to be compared with all.

        Empty when they are in the one currency that everything is in.
        """
        chosen = {unit_of(i.currency).major for i in map(self.get, tickers) if not i.is_rate}
        others = {unit_of(c).major for c in (*(i.currency for i in self.etfs), *bases)}
        rates = {i.ticker for i in self.instruments if i.is_rate}
        legs = [leg for c in chosen for o in others for leg in route(c, o, rates)]
        return sorted({leg.pair.ticker for leg in legs} & rates)

    def columns(self) -> dict[str, dict[str, str]]:
        """The columns that portfolios may group by, each a value per ticker."""
        names = ("asset_class", "issuer", "currency", "exchange")
        return {n: {i.ticker: getattr(i, n) for i in self.instruments} for n in names}

    def facts(self) -> dict[str, dict[str, Any]]:
        """The same, and the columns of numbers, each a value per ticker that has one."""
        names = ("management_fee", "market_weight")
        numbers = {
            n: {i.ticker: v for i in self.etfs if (v := getattr(i, n)) is not None} for n in names
        }
        return {**self.columns(), **numbers}

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
