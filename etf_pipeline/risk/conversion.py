"""Prices of several currencies in one: what everything that puts tickers side by side begins with.

A price is multiplied by the rate of its session, or by the last one before it: rates have their own
holidays. A rate that is older than `OLDEST_RATE` is none. Minor units (pence) need no rate.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import CurrencyError, ReasonCode
from etf_pipeline.model.currencies import Leg, unit_of
from etf_pipeline.model.outcomes import moves_in_words
from etf_pipeline.risk.converting import Converted, best, unknown_currency
from etf_pipeline.risk.prices import PriceSeries, sources
from etf_pipeline.risk.routes import ranked

Floats = npt.NDArray[np.float64]
_HASH_DIGITS = 12


@dataclass(frozen=True)
class Rates:
    """Histories of currency pairs, the content hash of each, and why others cannot be read.

    All are by ticker.
    """

    series: Mapping[str, PriceSeries] = field(default_factory=dict)
    hashes: Mapping[str, str | None] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def inputs(self, pairs: Sequence[str]) -> str | None:
        """Pairs as tables and manifests name them: `AUDUSD=X:0123456789ab`, comma-joined."""
        named = [
            f"{p}:{digest[:_HASH_DIGITS]}" if (digest := self.hashes.get(p)) else p for p in pairs
        ]
        return ",".join(named) or None


@dataclass(frozen=True)
class Together:
    """Series of one currency, in the order that was asked for.

    Attributes:
        series: the prices.
        currency: what they are all in; None when no file says it.
        fx: the rates they were converted with, as `Rates.inputs` names them.
        rates: the histories of those.
        remarks: what a reader of numbers from them must know of the conversion.
        beside: prices of what a benchmark holds besides, in the same currency.
    """

    series: list[PriceSeries]
    currency: str | None = None
    fx: str | None = None
    rates: tuple[PriceSeries, ...] = ()
    remarks: tuple[str, ...] = ()
    beside: tuple[PriceSeries, ...] = ()

    @property
    def source(self) -> str:
        """Where prices and rates came from, several sources joined by commas."""
        return sources((*self.series, *self.beside, *self.rates))


@dataclass(frozen=True)
class Conversion:
    """What it takes to bring series to one currency.

    Attributes:
        rates: histories of currency pairs.
        known: the universe's currency by ticker, for files that do not say theirs.
        default: the currency when nobody asks for one; None for the one that all share.
    """

    rates: Rates = field(default_factory=Rates)
    known: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    def together(
        self, series: Sequence[PriceSeries], base: str | None = None, since: dt.date | None = None
    ) -> Together:
        """Series in one currency; those that are in it already are as they were, bit for bit.

        Args:
            series: one or more.
            base: ISO 4217 code; the default, else the currency that all share, when None.
            since: first day that is needed; None for as much as the rates allow.

        Raises:
            CurrencyError: the currencies differ and none is asked for, or one is not known, or a
                rate lacks.
        """
        named = [self.named(s) for s in series]
        target = self.target(named, base)
        if target is None:
            return Together(named, remarks=_not_known(named))
        found = [self._converted(s, target, since) for s in named]
        done = [one.series for one in found]
        used = sorted({leg.pair.ticker for one in found for leg in one.legs})
        rates = tuple(self.rates.series[pair] for pair in used)
        said = [] if since is not None else list(_cut_off(named, done))
        said += [*(text for one in found for text in one.remarks), *self._odd(series)]
        first = min(one.days[0] for one in done).item()
        said += [
            f"{rate.ticker}: {text}"
            for rate in rates
            for text in moves_in_words(rate.since(max(first, since or first)).doubtful_moves())
        ]
        return Together(done, target, self.rates.inputs(used), rates, tuple(said))

    def beside(
        self,
        series: list[PriceSeries],
        others: list[PriceSeries],
        base: str | None = None,
        since: dt.date | None = None,
    ) -> tuple[Together, list[PriceSeries]]:
        """Series as `together` has them, and others in their currency, which have no say in it.

        Raises:
            CurrencyError: as `together`.
        """
        found = self.together(series, base, since)
        if not others:
            return found, []
        if found.currency is None:
            return found, [self.like(one, found.series[0], since) for one in others]
        whole = self.together([*series, *others], found.currency, since)
        n = len(series)
        return replace(whole, series=whole.series[:n]), whole.series[n:]

    def shared(self, currencies: Iterable[str | None]) -> str | None:
        """What series of these currencies are brought to, as far as that goes; None for nothing.

        Without a default, those of several currencies stay in theirs.
        """
        found = set(currencies)
        if self.default is not None or len(found) < 2:
            return self.default
        majors = {unit_of(c).major for c in found if c is not None}
        return majors.pop() if len(majors) == 1 else None

    def by_window(
        self, one: PriceSeries, starts: Sequence[dt.date]
    ) -> list[PriceSeries | CurrencyError]:
        """A series in the default currency, for windows that it covers; or why it cannot be.

        One without a currency, and any where there is no default, stays as it is.

        Args:
            one: with its currency, see `named`.
            starts: first days of the windows, ascending.
        """
        if self.default is None or one.currency is None:
            return [one] * len(starts)
        usual, found = self._legs(one, self.default), list[PriceSeries | CurrencyError]()
        done: Converted | None = None
        for start in starts:
            # What the first choice of rates converts for a longer window, it does for all.
            if done is None or list(done.legs) != usual:
                try:
                    done = self._converted(one, self.default, start)
                except CurrencyError as error:
                    done = None
                    found.append(error)
                    continue
            found.append(done.series)
        return found

    def used_between(self, one: PriceSeries, other: PriceSeries) -> str | None:
        """The rates that `like` converts with, as `Rates.inputs` names them."""
        one, other = self.named(one), self.named(other)
        if one.currency is None or other.currency is None:
            return None
        legs: Sequence[Leg] = self._legs(one, other.currency)
        with contextlib.suppress(CurrencyError):  # some other window may have its rates
            legs = self._converted(one, other.currency, None).legs
        pairs = {leg.pair.ticker for leg in legs}
        return self.rates.inputs(sorted(pairs & self.rates.series.keys()))

    def like(
        self, one: PriceSeries, other: PriceSeries, since: dt.date | None = None
    ) -> PriceSeries:
        """`one` in the currency of `other`, so that the two can be compared.

        Raises:
            CurrencyError: as `together`.
        """
        one, other = self.named(one), self.named(other)
        if one.currency == other.currency:
            return one
        _all_known([one, other])
        return self._converted(one, str(other.currency), since).series

    def _converted(self, one: PriceSeries, target: str, since: dt.date | None) -> Converted:
        """See `converted`; a rate that is there and cannot be read is told as that."""
        if one.currency is not None and one.currency != target:
            for pair in (leg.pair.ticker for leg in self._legs(one, target)):
                if pair not in self.rates.series and pair in self.rates.unreadable:
                    raise CurrencyError(
                        f"{one.ticker} is in {one.currency}, and the history of {pair} converts "
                        f"nothing: {self.rates.unreadable[pair]}",
                        code=ReasonCode.MISSING_FX,
                    )
        return best(one, target, self.rates.series, since)

    def _odd(self, series: Sequence[PriceSeries]) -> list[str]:
        """Whose own file and the universe name two currencies."""
        return [
            f"{s.ticker}: its file says {s.currency}, and universe.csv {self.known[s.ticker]}; it "
            f"is taken to be in {s.currency}: correct one of them"
            for s in series
            if s.currency is not None and self.known.get(s.ticker, s.currency) != s.currency
        ]

    def currency_of(self, series: PriceSeries) -> str | None:
        """What its prices are in, by its file or else the universe; None when neither says it."""
        return series.currency or self.known.get(series.ticker)

    def named(self, series: PriceSeries) -> PriceSeries:
        """A series with the universe's currency, where its file says none."""
        if series.currency is not None or series.ticker not in self.known:
            return series
        return replace(series, currency=self.known[series.ticker])

    def target(self, series: Sequence[PriceSeries], base: str | None = None) -> str | None:
        """What series are to be in, see `together`; None when nothing says any currency.

        Raises:
            CurrencyError: the currencies differ and none is asked for, or one is not known.
        """
        series = [self.named(s) for s in series]
        currencies = {s.currency for s in series}
        if currencies == {None} and base is None:
            return None  # nothing says that they differ, and nothing could be converted
        _all_known(series)
        if base or self.default:
            return base or self.default
        if len(currencies) == 1:
            return currencies.pop()
        majors = {unit_of(c).major for c in currencies if c is not None}
        if len(majors) == 1:
            return majors.pop()
        told = ", ".join(f"{s.ticker} in {s.currency}" for s in series)
        raise CurrencyError(
            f"{told}: returns in several currencies are no returns of one portfolio; name a "
            f"base_currency, or set ETF_BASE_CURRENCY, to one of {', '.join(sorted(majors))}",
            code=ReasonCode.MIXED_CURRENCIES,
        )

    def _legs(self, series: PriceSeries, target: str) -> list[Leg]:
        source, wanted = unit_of(str(series.currency)).major, unit_of(target).major
        return ranked(source, wanted, self.rates.series)[0]


# Without rates: what is in several currencies is refused.
OWN_CURRENCY = Conversion()
NO_PRICES = Together([])


def _not_known(series: Sequence[PriceSeries]) -> tuple[str, ...]:
    """That several are taken to be of one currency, where nothing says any."""
    if len(series) < 2:
        return ()
    names = ", ".join(s.ticker for s in series)
    return (f"nothing says in which currency {names} are priced: they are taken to share one",)


def _cut_off(before: Sequence[PriceSeries], after: Sequence[PriceSeries]) -> list[str]:
    """Whose prices begin later than they would without the rates."""
    return [
        f"{b.ticker} begins on {a.days[0]}, as its rates to {a.currency} do: there are prices from "
        f"{b.days[0]} on"
        for b, a in zip(before, after, strict=True)
        if a.days[0] > b.days[0]
    ]


def _all_known(series: Sequence[PriceSeries]) -> None:
    unknown = [s.ticker for s in series if s.currency is None]
    if unknown:
        raise unknown_currency(unknown)
