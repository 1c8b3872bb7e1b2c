"""Which column is which, by the name that somebody gave it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from etf_pipeline.errors import UnreadableFileError

# Names without the blanks and signs between their words, in lower case.
_SPELLINGS = {
    "date": "date datetime timestamp",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close close/last closeclosepriceadjustedforsplits",
    "adj_close": "adjclose adjustedclose adjcloseprice adjustedcloseprice adjclosingprice "
    "adjustedclosingprice closeadj closeadjusted adjprice adjustedprice priceadj priceadjusted "
    "adjcloseadjustedclosepriceadjustedforsplitsanddividendand/orcapitalgaindistributions",
    "volume": "volume vol",
    "dividends": "dividends dividend div divs dividendamount divamount dividendcash divcash "
    "cashdividend cashdividends dividendspaid dividendpaid exdividend distribution distributions "
    "distributionamount cashdistribution cashdistributions",
    "stock_splits": "stocksplits stocksplit splits split splitfactor splitratio splitcoefficient",
    "capital_gains": "capitalgains capitalgain",
}
_NAMES = {name: ours for ours, names in _SPELLINGS.items() for name in names.split()}
# Of whom and in what the prices are: what such a column says is compared, never read as numbers.
_CLAIMS = {
    "symbol": "ticker symbol tickersymbol",
    "code": "code ric asxcode stockcode securitycode tickercode fundcode",
    "label": "instrument security stock name securityname stockname instrumentname fund fundname "
    "shortname longname",
    "isin": "isin",
    "currency": "currency ccy curr currencycode pricecurrency tradingcurrency quotecurrency",
}
_SAID_BY = {name: kind for kind, names in _CLAIMS.items() for name in names.split()}
# Left out beside an adjusted close, which is all that is needed of its kind.
_WITH_ADJUSTED = {
    f"{first}{second}"
    for a in ("adj", "adjusted")
    for n in ("open", "high", "low", "volume", "vol")
    for first, second in ((a, n), (n, a))
}
# Whatever has such a word in its name changes what a close means, unless it is one of these facts.
_TELLING = re.compile(
    r"\b(?:un)?adj|\bdividend|\bdivs?\b|\bdistrib|\bsplit|\bdps\b|\btotal ?return|\bcap(?:ital)? ?"
    r"gain|\breinvest"
)
_A_FACT = re.compile(r"\b(?:yield|date|frequency)\b")
# Taken only where nothing else is what they would be.
_ELSE = {"time": "date", "price": "close", "last": "close"}
# What pandas and others call an index that has no name.
_NAMELESS = ("", "__index_level_0__", "index", "unnamed: 0")
_UNIT = re.compile(r"\s*[(\[]\s*([^)\]]*?)\s*[)\]]\s*$")
_CURRENCY = re.compile(r"[A-Z]{2}[A-Za-z]")
_PLAIN_UNITS = ("units", "shares", "local")
_NUMBERED = re.compile(r"^\d+\.\s*")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
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
        claims: positions of columns that say whose prices these are, or in what: by `symbol`,
            `code`, `label`, `isin` and `currency`.
        unclear: names of columns that may tell distributions, splits or an adjusted close.
    """

    at: dict[str, list[int]]
    written: Sequence[str]
    currencies: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()
    claims: dict[str, list[int]] = field(default_factory=dict)
    unclear: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether there are a date and a close."""
        return "date" in self.at and "close" in self.at

    @property
    def missing(self) -> str | None:
        """The first of the columns that must be there and is not."""
        return next((n for n in ("date", "close") if n not in self.at), None)

    def check(self, origin: str) -> None:
        """Refuse a file whose close cannot be understood by the names of its columns.

        Raises:
            UnreadableFileError: no date or close, or a column that is not known but would change
                what the close means.
        """
        if self.missing is not None:
            raise UnreadableFileError(
                f"{origin} has no {self.missing!r} column; columns of yfinance are expected"
            )
        if self.unclear:
            raise UnreadableFileError(
                f"{origin}: what column {self.unclear[0]!r} tells is not known here, and returns "
                "may depend on it; name it Adj Close, Dividends, Stock Splits or Capital Gains if "
                "it is that, or take it out"
            )


def understood(written: Sequence[str]) -> Names:
    """What columns of these names are to us.

    `flag` is not among them: only our own rules flag a row.
    """
    at: dict[str, list[int]] = {}
    spare: dict[str, list[int]] = {}
    claims: dict[str, list[int]] = {}
    currencies, symbols, unclear = set(), set(), []
    for i, name in enumerate(written):
        if pair := _PAIR.fullmatch(name.strip()):
            name = pair[1]
            symbols |= {pair[2]} - {""}
        plain = True
        if (unit := _UNIT.search(name)) is not None:
            if _CURRENCY.fullmatch(unit[1]):
                currencies.add(unit[1])
                name = name[: unit.start()]
            elif unit[1].lower() in _PLAIN_UNITS:
                name = name[: unit.start()]
            else:  # such as `Close (adj.)`
                name, plain = f"{name[: unit.start()]} {unit[1]}", False
        words = _words(name)
        key = words.replace(" ", "")
        if key in _NAMES and (plain or _TELLING.search(words)):
            at.setdefault(_NAMES[key], []).append(i)
        elif key in _SAID_BY and plain:
            claims.setdefault(_SAID_BY[key], []).append(i)
        elif key in _ELSE and plain:
            spare.setdefault(_ELSE[key], []).append(i)
        elif _TELLING.search(words) and not _A_FACT.search(words):
            unclear.append((key, written[i].strip()))
    nameless = [i for i, n in enumerate(written) if n.strip().lower() in _NAMELESS]
    if "date" not in at and ("date" in spare or nameless[:1]):
        at["date"] = spare.get("date") or nameless[:1]
    if "close" not in at and "close" in spare and {"open", "high", "low"} <= at.keys():
        at["close"] = spare["close"]
    return Names(
        at,
        list(written),
        frozenset(currencies),
        frozenset(symbols),
        claims,
        tuple(n for key, n in unclear if "adj_close" not in at or key not in _WITH_ADJUSTED),
    )


def _words(name: str) -> str:
    """A name's words, in lower case with one blank between: `7. adjClose` is `adj close`."""
    spaced = _CAMEL.sub(" ", _NUMBERED.sub("", name.strip()))
    return re.sub(r"[\s_.*\-]+", " ", spaced).strip().lower()
