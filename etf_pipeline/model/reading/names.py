"""Which column is which, by the name that somebody gave it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NAMES = {
    "date": "date",
    "datetime": "date",
    "timestamp": "date",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "close/last": "close",
    "adj close": "adj_close",
    "adjclose": "adj_close",
    "adjusted close": "adj_close",
    "volume": "volume",
    "vol": "volume",
    "dividends": "dividends",
    "stock splits": "stock_splits",
    "splits": "stock_splits",
    "capital gains": "capital_gains",
    "ticker": "symbol",
    "symbol": "symbol",
}
# Taken only where nothing else is what they would be.
_ELSE = {"time": "date", "price": "close", "last": "close"}
# What pandas and others call an index that has no name.
_NAMELESS = ("", "__index_level_0__", "index", "unnamed: 0")
_UNIT = re.compile(r"\s*[(\[]\s*([^)\]]*?)\s*[)\]]\s*$")
_CURRENCY = re.compile(r"[A-Z]{2}[A-Za-z]")
_PLAIN_UNITS = ("units", "shares", "local")
# A column of `yfinance.download`, as its two levels are written to Parquet.
_PAIR = re.compile(r"\('([^']*)', '([^']*)'\)")


@dataclass(frozen=True)
class Names:
    """The columns that are read.

    Attributes:
        at: positions by our name; more than one where several columns claim a name.
        written: the names as written, by position.
        currencies: what the names say that prices are in, such as `Close (AUD)`.
        symbols: whose prices the names say that they are, as `yfinance.download` does.
    """

    at: dict[str, list[int]]
    written: Sequence[str]
    currencies: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()

    @property
    def usable(self) -> bool:
        """Whether there are a date and a close."""
        return "date" in self.at and "close" in self.at

    @property
    def missing(self) -> str | None:
        """The first of the columns that must be there and is not."""
        return next((n for n in ("date", "close") if n not in self.at), None)


def understood(written: Sequence[str]) -> Names:
    """What columns of these names are to us.

    `flag` is not among them: only our own rules flag a row.
    """
    at: dict[str, list[int]] = {}
    spare: dict[str, list[int]] = {}
    currencies, symbols = set(), set()
    for i, name in enumerate(written):
        if pair := _PAIR.fullmatch(name.strip()):
            name = pair[1]
            symbols |= {pair[2]} - {""}
        if (unit := _UNIT.search(name)) is not None:
            if _CURRENCY.fullmatch(unit[1]):
                currencies.add(unit[1])
            elif unit[1].lower() not in _PLAIN_UNITS:
                continue
            name = name[: unit.start()]
        key = re.sub(r"[\s_.*]+", " ", name).strip().lower()
        if key in _NAMES:
            at.setdefault(_NAMES[key], []).append(i)
        elif key in _ELSE:
            spare.setdefault(_ELSE[key], []).append(i)
    nameless = [i for i, n in enumerate(written) if n.strip().lower() in _NAMELESS]
    if "date" not in at and ("date" in spare or nameless[:1]):
        at["date"] = spare.get("date") or nameless[:1]
    if "close" not in at and "close" in spare and {"open", "high", "low"} <= at.keys():
        at["close"] = spare["close"]
    return Names(at, list(written), frozenset(currencies), frozenset(symbols))
