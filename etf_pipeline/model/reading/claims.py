"""What a file itself says of whose prices it holds, and in what currency."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from etf_pipeline.model.currencies import ISO_4217, MINOR_UNITS, unit_of
from etf_pipeline.model.reading.sheet import Sheet

# A symbol with that of its exchange, as Yahoo and Reuters write it.
_SUFFIXED = re.compile(r"(?<![\w.])[A-Z0-9]{2,6}\.[A-Z]{1,2}(?![\w.])")
_CODE = re.compile(r"[A-Z][A-Z0-9]{1,5}")
_ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
_SYMBOL = re.compile(
    r"(?i)^\W*(?:symbol|ticker(?: symbol)?|ric)\W*[:=,;|\t]\W*([A-Z0-9^][\w.:=^-]*)"
)
_CURRENCY = re.compile(
    r"(?i)\b(?:currency|ccy|(?:prices|values|quoted) (?=in ))(?:\s+is\b|\s+in\b|in\b)?"
    r"[\s:=,;|\"']*([A-Za-z]{3})\b"
)
_MEANT = {
    "$": "USD AUD CAD NZD HKD SGD TWD MXN CLP ARS COP BMD FJD JMD TTD NAD",
    "US$": "USD",
    "A$": "AUD",
    "AU$": "AUD",
    "C$": "CAD",
    "CA$": "CAD",
    "NZ$": "NZD",
    "HK$": "HKD",
    "S$": "SGD",
    "NT$": "TWD",
    "\u20ac": "EUR",
    "\u00a3": "GBP",
    "\u00a5": "JPY CNY",
    "\u20b9": "INR",
    "\u20a9": "KRW",
    "\u20aa": "ILS",
}
_NO_SYMBOLS = frozenset({"ETF", "ETFS", "ETP", "STOCK", "FUND", "EQUITY", "INDEX"})


def means(sign: str, currency: str) -> bool:
    """Whether a sign or code beside a price can be that currency; GBX and GBp are one."""
    if sign in _MEANT:
        return currency in _MEANT[sign].split()
    if sign not in MINOR_UNITS and sign.upper() in ISO_4217 | MINOR_UNITS.keys():
        sign = sign.upper()
    return unit_of(sign) == unit_of(currency)


def before_the_header(lines: Iterable[str]) -> dict[str, set[str]]:
    """What lines before a header say, by `symbol`, `label` and `currency`."""
    found: dict[str, set[str]] = {"symbol": set(), "label": set(), "currency": set()}
    for line in lines:
        if (symbol := _SYMBOL.match(line)) is not None:
            found["symbol"].add(symbol[1])
        else:
            found["label"] |= set(_SUFFIXED.findall(line))
        for code in _CURRENCY.findall(line):
            if code in MINOR_UNITS or code.upper() in ISO_4217 | MINOR_UNITS.keys():
                found["currency"].add(code)
    return found


def merged(*parts: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """Claims of several kinds of origin as one, without empty ones."""
    kinds = {kind for part in parts for kind in part}
    out = {k: frozenset(c for part in parts for c in part.get(k, ())) - {""} for k in kinds}
    return {kind: said for kind, said in out.items() if said}


def other_security(sheet: Sheet, names: tuple[str, ...], any_exchange: bool = False) -> str | None:
    """A name in the file that beyond doubt is of a security with none of these names.

    Args:
        sheet: what the file says.
        names: of the security, upper or lower case.
        any_exchange: whether a symbol that differs by its exchange only is the same.

    Returns:
        None when it says nothing, or nothing that is certain, such as a name in words.
    """
    own = {n.upper() for n in names}
    bases = own | {n.partition(".")[0] for n in own}
    for symbol in sorted(sheet.claims.get("symbol", ())):
        words = symbol.upper().replace(":", " ").split()
        if any_exchange:
            words += [w.rpartition(".")[0] or w for w in words]
        if not own & {symbol.upper(), *words}:
            return symbol
    for code in sorted(sheet.claims.get("code", ())):
        words = code.upper().replace(":", " ").split()
        certain = _SUFFIXED.fullmatch(code) or _CODE.fullmatch(code)
        if certain and code not in _NO_SYMBOLS and not bases & {w.partition(".")[0] for w in words}:
            return code
    labels = [label for label in sorted(sheet.claims.get("label", ())) if _SUFFIXED.search(label)]
    told = [symbol for label in labels for symbol in _SUFFIXED.findall(label)]
    if told and not bases & {t.partition(".")[0] for t in told}:
        return told[0]
    isins = sorted(c for c in sheet.claims.get("isin", ()) if _ISIN.fullmatch(c.upper()))
    if len(isins) > 1:
        return " and ".join(isins[:2])
    suffixed = sorted(c for c in sheet.claims.get("isin", ()) if _SUFFIXED.fullmatch(c))
    return next((c for c in suffixed if c.partition(".")[0] not in bases), None)
