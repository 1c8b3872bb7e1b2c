"""Currencies: which there are, minor units by their factor, and pairs of currencies.

Rates are histories of their own, of tickers as Yahoo has them: `AUDUSD=X` is the price of one AUD
in USD. Two currencies are converted by a pair of them, or else through USD.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import combinations

FX = "FX"  # the partition that holds currency pairs, see `model/calendars.py`
ASSET_CLASS = "currency"
USD = "USD"
OLDEST_RATE_DAYS = 5  # a rate that is older than this is none
# Quoted as USD per unit; every other currency as units per USD.
_PER_UNIT = frozenset({"AUD", "EUR", "GBP", "NZD"})
# Units that prices are quoted in, each with its currency and how many of it make one of that.
# GBp, ZAc, ILA and KWF are what Yahoo calls pence, South African cents, agorot and Kuwaiti fils.
MINOR_UNITS = {
    "GBp": ("GBP", 100.0),
    "GBX": ("GBP", 100.0),
    "ZAc": ("ZAR", 100.0),
    "ILA": ("ILS", 100.0),
    "KWF": ("KWD", 1000.0),
}
_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN
BZD CAD CDF CHF CLF CLP CNH CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR
KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN
MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR
SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD
UYU UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
ISO_4217 = frozenset(_CODES.split())  # the currencies in circulation, and the units CLF and CNH
_PAIR = re.compile(r"([A-Z]{3})([A-Z]{3})=X")


@dataclass(frozen=True)
class Unit:
    """What prices are quoted in: `per_major` of it are one of `major`."""

    major: str
    per_major: float = 1.0


def unit_of(currency: str) -> Unit:
    """The currency that a quotation is in, and how many of its units make one of that."""
    return Unit(*MINOR_UNITS.get(currency, (currency, 1.0)))


def check_currency(code: str) -> str:
    """`code`, if returns can be in it.

    Raises:
        ValueError: it is no currency of ISO 4217; says what is near.
    """
    if code in ISO_4217:
        return code
    major = unit_of(code).major
    if major != code:
        raise ValueError(f"{code!r} is a part of {major}; use {major}")
    near = difflib.get_close_matches(code.upper(), sorted(ISO_4217), n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"{code!r} is not an ISO 4217 code such as AUD{hint}")


@dataclass(frozen=True)
class Pair:
    """The price of one `base` in `quote`."""

    base: str
    quote: str

    @property
    def ticker(self) -> str:
        """As the universe, the store and Yahoo call it."""
        return f"{self.base}{self.quote}=X"

    @property
    def inverse(self) -> Pair:
        """The price of one `quote` in `base`."""
        return Pair(self.quote, self.base)


def pair_of(ticker: str) -> Pair | None:
    """The pair that a ticker such as `AUDUSD=X` is; None for any other ticker."""
    found = _PAIR.fullmatch(ticker)
    return Pair(found[1], found[2]) if found else None


def dollar_pair(currency: str) -> Pair:
    """The pair in which a currency is quoted against USD, as the market quotes it."""
    return Pair(currency, USD) if currency in _PER_UNIT else Pair(USD, currency)


@dataclass(frozen=True)
class Leg:
    """One step of a conversion: prices are multiplied by the pair's rate, or divided by it."""

    pair: Pair
    divide: bool = False


def route(source: str, target: str, there: Collection[str]) -> list[Leg]:
    """The rates that lead from one currency to another, of those that are `there`.

    A pair of the two comes first, either way round, then both against USD.

    Args:
        source: major currency that prices are in.
        target: major currency that they are wanted in.
        there: tickers of the pairs that there are.

    Returns:
        None of them when both are one; the usual pairs, whether there or not, where none lead.
    """
    if source == target:
        return []
    direct = _leg(source, target, there)
    if direct is not None:
        return [direct]
    if USD in (source, target):
        return [_usual(source, target)]
    return [_leg(a, b, there) or _usual(a, b) for a, b in ((source, USD), (USD, target))]


def routes(source: str, target: str, there: Collection[str]) -> list[list[Leg]]:
    """Every way from one currency to another that rates which are there lead, as `route` prefers.

    One way without a leg when both are one; none where none lead.
    """
    if source == target:
        return [[]]
    ways = [[leg] for leg in _legs(source, target, there)]
    if USD not in (source, target):
        up, down = _legs(source, USD, there), _legs(USD, target, there)
        ways += [[a, b] for a in up for b in down]
    return ways


def _legs(source: str, target: str, there: Collection[str]) -> list[Leg]:
    """The legs between two currencies that are there, the market's own first."""
    usual = _usual(source, target)
    other = Leg(usual.pair.inverse, not usual.divide)
    return [leg for leg in (usual, other) if leg.pair.ticker in there]


def _leg(source: str, target: str, there: Collection[str]) -> Leg | None:
    return next(iter(_legs(source, target, there)), None)


def _usual(source: str, target: str) -> Leg:
    """The leg of two currencies as the market quotes them; one against USD as `dollar_pair`."""
    if USD in (source, target):
        pair = dollar_pair(source if target == USD else target)
    else:
        pair = Pair(source, target)
    return Leg(pair, divide=pair.base != source)


def needed_pairs(currencies: Iterable[str], there: Collection[str] = ()) -> list[Pair]:
    """The pairs that lack so that any of some currencies can be converted to any other.

    Args:
        currencies: of prices and of portfolios; minor units count as their currency.
        there: tickers of the pairs that there are.

    Returns:
        By ticker; none when the currencies are one.
    """
    majors = sorted({unit_of(c).major for c in currencies})
    legs = [leg for a, b in combinations(majors, 2) for leg in route(a, b, there)]
    lacking = {leg.pair for leg in legs if leg.pair.ticker not in there}
    return sorted(lacking, key=lambda p: p.ticker)
