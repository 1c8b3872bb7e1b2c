"""Text as numbers: one decimal sign for a whole file, found in all of its cells at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from etf_pipeline.model.reading.sheet import Floats, Sheet, Strings, shown

_EXPONENT = r"(?:[eE][+-]?\d+)?"
_INFINITE = r"[+-]?(?:inf|Inf|INF|infinity|Infinity)"


def _number(group: str, point: str) -> str:
    """A number with these signs between thousands and before decimals; Indian lakhs too."""
    whole = rf"(?:\d+|[1-9]\d{{0,2}}(?:{group}\d{{3}})+|[1-9]\d?(?:{group}\d{{2}})+{group}\d{{3}})"
    return rf"[+-]?(?:{whole}(?:{point}\d*)?|{point}\d+){_EXPONENT}|{_INFINITE}"


_CELL = {
    ".": re.compile(_number(",", r"\."), re.ASCII),
    ",": re.compile(_number(r"\.", ","), re.ASCII),
}
_COLUMN = {
    sign: re.compile(rf"(?:{one.pattern})?(?:\n(?:{one.pattern})?)*", re.ASCII)
    for sign, one in _CELL.items()
}
_MISSING = re.compile(
    r"(?im)^(?:null|none|nan|n/a|n\.a\.|na|#n/a|nil|<na>|nat|-{1,3}|[\u2013\u2014]|\.)$"
)
# Spaces and apostrophes between thousands can be nothing else.
_SPACED = re.compile(r"(?<=\d)[ \u00a0\u2009\u202f'\u2019](?=\d{3}(?!\d))")
_SIGN = r"(?:[A-Z]{1,3}\$|[$\u20ac\u00a3\u00a5\u20b9\u20a9\u20aa]|[A-Z]{3})"
_BEFORE = re.compile(rf"(?m)^([+-]?)({_SIGN})[ \u00a0\u202f]?(?=[+-]?[\d.,])")
_AFTER = re.compile(rf"(?m)(?<=[\d.,])[ \u00a0\u202f]?({_SIGN})$")
_LARGE = re.compile(r"(.*[\d.,])\s*([KMBT])", re.IGNORECASE)
_FACTOR = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*[:/]\s*(\d+(?:\.\d+)?)", re.ASCII)
_ROUNDED = ("close", "adj_close")
_PRICES = ("close", "open", "high", "low", "adj_close")
_PLAIN = frozenset("0123456789.eE+-\n")
_UNGROUPED = re.compile(r"(?m)^[+-]?\d{4}")
_WHOLE = re.compile(r"(?m)^\d{1,3}$")
_LEAP = 50.0


@dataclass(frozen=True)
class _Column:
    """One column on its way: its cells on a line each, and what was found on the way."""

    text: str
    factors: Floats | None = None


def read_numbers(
    sheet: Sheet, columns: Mapping[str, Strings], decimal: str | None
) -> tuple[dict[str, Floats], dict[str, Floats], frozenset[str]]:
    """The numbers of text columns.

    Args:
        sheet: where they are from, for errors.
        columns: cells by our name, all of one length.
        decimal: the decimal sign if it is declared.

    Returns:
        Numbers by name (NaN where there is none); by how much closes may be off, as they were
        rounded to the decimals that are written; and the signs or codes of currencies beside them.

    Raises:
        UnreadableFileError: a cell is no number, or the comma may be either sign.
    """
    seen: set[str] = set()
    ready = {name: _cleaned(name, cells, seen) for name, cells in columns.items()}
    joined = "\n".join(c.text for c in ready.values())
    sign = decimal or _decimal_sign(sheet, {n: c.text for n, c in ready.items()}, joined)
    values, doubts = {}, {}
    for name, column in ready.items():
        plain = sign == "." and _PLAIN.issuperset(column.text)  # float itself finds what is none
        if not plain and not _COLUMN[sign].fullmatch(column.text):
            raise _no_number(sheet, name, columns[name], column.text, sign)
        text = column.text.replace("," if sign == "." else ".", "")
        cells = (text if sign == "." else text.replace(",", ".")).split("\n")
        n = len(columns[name])
        try:
            found = np.array([float(c or "nan") for c in cells], "float64")[:n]
        except ValueError:
            raise _no_number(sheet, name, columns[name], column.text, sign) from None
        values[name] = found if column.factors is None else found * column.factors
        if name in _ROUNDED:
            doubts[name] = np.full(n, 0.5 * 10.0 ** -_decimals("\n".join(cells)))
    return values, doubts, frozenset(seen)


def _decimals(text: str) -> int:
    """The most decimals that any of the numbers is written with; all of them where one is 1e-5."""
    if "e" in text or "E" in text:
        return 17
    return max(map(len, re.findall(r"\.(\d+)", text)), default=0)


def ratios(cells: Strings) -> tuple[Floats, Strings]:
    """Splits written as `2:1` or `2/1` (new units for old ones), and the cells left to read."""
    found, rest = np.full(len(cells), np.nan), cells.copy()
    for i, cell in enumerate(cells):
        if (
            (":" in cell or "/" in cell)
            and (ratio := _RATIO.fullmatch(cell))
            and float(ratio[2]) > 0
        ):
            found[i], rest[i] = float(ratio[1]) / float(ratio[2]), ""
    return found, rest


def _cleaned(name: str, cells: Strings, seen: set[str]) -> _Column:
    factors = None
    if name == "volume" and len(cells) and any(c and c[-1] in "KMBTkmbt" for c in cells):
        pairs = [_LARGE.fullmatch(c) for c in cells]
        factors = np.array([_FACTOR[p[2].upper()] if p else 1.0 for p in pairs])
        cells = np.array([p[1] if p else c for p, c in zip(pairs, cells, strict=True)], object)
    text = "\n".join(cells)
    if text.isascii() and not any(c.isalpha() or c in "$#'-<" for c in set(text)):
        return _Column(_SPACED.sub("", text) if " " in text else text, factors)
    text = _SPACED.sub("", _MISSING.sub("", text).replace("\u2212", "-"))
    if name != "volume":
        seen.update(sign for _, sign in _BEFORE.findall(text))
        seen.update(_AFTER.findall(text))
        text = _AFTER.sub("", _BEFORE.sub(r"\1", text))
    return _Column(text, factors)


def _decimal_sign(sheet: Sheet, columns: Mapping[str, str], joined: str) -> str:
    """The decimal sign that every cell allows.

    Only `4,677`, or only `4.677` where semicolons part the cells, may be thousands or decimals:
    some other cell has to tell.
    """
    if "," not in joined and not sheet.semicolons and not _leaps(columns):
        return "."
    fits = {s: all(_COLUMN[s].fullmatch(t) for t in columns.values()) for s in _CELL}
    if fits["."] != fits[","]:
        return "." if fits["."] else ","
    if not fits["."]:  # neither: whichever sign more cells allow, for the message
        cells = joined.split("\n")
        return max(_CELL, key=lambda s: sum(bool(_CELL[s].fullmatch(c)) for c in cells))
    if "," not in joined and "." not in joined:
        return "."
    if "," not in joined and any("." in t and _UNGROUPED.search(t) for t in columns.values()):
        return "."  # a column that groups no thousands
    example = next(c for c in joined.split("\n") if "," in c or "." in c)
    raise sheet.refusal(
        f"{shown(example)} may be thousands or decimals, and no other cell tells which; declare it "
        'in a file of the same name with .json after it: {"decimal": "."} or {"decimal": ","}'
    )


def _leaps(columns: Mapping[str, str]) -> bool:
    """Whether prices such as 998 and 1.003 leap, unless the dot is between thousands."""
    for name in _PRICES:
        text = columns.get(name, "")
        if "." not in text or not _WHOLE.search(text) or not _COLUMN[","].fullmatch(text):
            continue
        for_dots, grouped = (
            np.array([float(c) for c in t.split("\n") if c], "float64")
            for t in (text, text.replace(".", ""))
        )
        if _spread(for_dots) > _LEAP > _spread(grouped):
            return True
    return False


def _spread(prices: Floats) -> float:
    prices = prices[prices > 0]
    return float(prices.max() / prices.min()) if len(prices) else 1.0


def _no_number(sheet: Sheet, name: str, cells: Strings, text: str, sign: str) -> Exception:
    for row, cell in enumerate(text.split("\n")):
        if cell and not _CELL[sign].fullmatch(cell):
            return sheet.refusal(f"{sheet.written[name]} {shown(cells[row])} is not a number", row)
    return sheet.refusal(f"{sheet.written[name]} holds what is not a number")
