"""A text file of interest rates, as central banks publish them, as dates and annual rates."""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import UnreadableFileError
from etf_pipeline.model.currencies import check_currency
from etf_pipeline.model.reading.dates import read_dates
from etf_pipeline.model.reading.declared import Declared, fields_of
from etf_pipeline.model.reading.numbers import read_numbers
from etf_pipeline.model.reading.sheet import Floats, Sheet, Stamps, Strings, Text, shown
from etf_pipeline.model.reading.text import DELIMITERS, decoded, filled_rows
from etf_pipeline.model.risk_free import HIGHEST, LOWEST

Days = npt.NDArray[np.datetime64]
Row = tuple[int, list[str]]
_FIELDS = ("unit", "column", "currency", "date_format", "decimal")
_UNITS = {"percent": 100.0, "fraction": 1.0}
_DATE = re.compile(
    r"(?:\d{1,4}[-/. ]\s?\w{1,9}[-/., ]\s?\d{2,4}|\d{8}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4})"
    r"(?:[T ]\d{1,2}:\d{2}.*)?",
    re.ASCII,
)
_SAYS = {
    "percent": re.compile(r"per\s?cent|%|\bpct\b", re.IGNORECASE),
    "fraction": re.compile(r"\bfraction|\bdecimal\b", re.IGNORECASE),
}
_NONE = re.compile(r"nd|n\.d\.|\.{1,3}", re.IGNORECASE)  # besides what is no number anywhere
_NUMERIC = re.compile(r"[+-]?[\d.,]*\d[\d.,]*\s*%?", re.ASCII)
_MOST_NAMED = 8


@dataclass(frozen=True)
class InterestRates:
    """Annual rates, fractions, each from its date on; ascending, shape (n,)."""

    days: Days
    rates: Floats
    currency: str | None


@dataclass(frozen=True)
class _Table:
    """What stands in a file: the rows above the first date, and those from it on."""

    above: Sequence[Row]
    body: Sequence[Row]
    date: int
    delimiter: str

    def names(self, column: int) -> list[str]:
        """Whatever is written above a column."""
        return [c[column].strip() for _, c in self.above if len(c) > max(column, 1) and c[column]]


def read_interest(
    content: bytes, origin: str, sidecar: bytes | None, today: dt.date
) -> InterestRates:
    """The rates of a file: a column of dates, and one of annual rates.

    Rows above the first date are its header: they name the columns and may say the unit, as
    `Rate (%)` or `Units, Per cent` do. A date without a rate is left out.

    Args:
        content: of the file.
        origin: its name, for errors.
        sidecar: of the file of the same name with .json after it, which may declare `unit`
            (percent or fraction), `column`, `currency`, `date_format` and `decimal`.
        today: no date is later than the day after it, which it is in the east already.

    Raises:
        UnreadableFileError: it cannot be read beyond doubt; names the line, and what to declare.
    """
    said = fields_of(sidecar, f"{origin}.json", _FIELDS)
    table = _table(decoded(content, origin), origin)
    column = _column(table, origin, said.get("column"))
    cells = _cells(table, column)
    lines = np.array([line for line, _ in table.body], dtype="int64")
    name = next(iter(table.names(column)), "rate")
    text = {"date": Text(_cells(table, table.date)), "rate": Text(cells)}
    written = {"date": "date", "rate": name}
    sheet = Sheet(origin, text, written, lines, semicolons=table.delimiter in ";\t")
    factor = _UNITS[_unit(table, column, cells, sheet, said.get("unit"))]
    plain = np.array([_bare(c) for c in cells], dtype=object)
    values = read_numbers(sheet, {"rate": plain}, said.get("decimal"))[0]["rate"] / factor
    stamps = read_dates(sheet, text["date"], Declared(date_format=said.get("date_format")), today)
    days = _checked(sheet, stamps, values, today)
    try:
        currency = check_currency(said["currency"]) if "currency" in said else None
    except ValueError as error:
        raise UnreadableFileError(f"{origin}.json: {error}") from None
    return _once(sheet, days, values, currency)


def _table(text: str, origin: str) -> _Table:
    for delimiter in DELIMITERS:
        try:
            rows = list(filled_rows(text, delimiter))
        except csv.Error as error:
            raise UnreadableFileError(f"{origin}: {error}") from None
        for i, (_, cells) in enumerate(rows):
            dates = [j for j, c in enumerate(cells) if _DATE.fullmatch(c.strip())]
            if dates and len(cells) > 1 and any(_NUMERIC.fullmatch(c.strip()) for c in cells):
                return _Table(rows[:i], rows[i:], dates[0], delimiter)
    raise UnreadableFileError(
        f"{origin} has no row of a date and a rate; a CSV such as `date,rate (%)` is expected"
    )


def _column(table: _Table, origin: str, declared: str | None) -> int:
    """The column of the rates: the one that is declared, or the only one of numbers."""
    width = max(len(cells) for _, cells in table.body)
    others = [j for j in range(width) if j != table.date]
    if declared is not None:
        found = [j for j in others if declared.strip() in table.names(j)]
        if len(found) == 1:
            return found[0]
        raise UnreadableFileError(
            f"{origin}: {'no column' if not found else 'more than one column'} is called "
            f"{shown(declared)}; there are {_named(table, others)}"
        )
    numeric = [j for j in others if _of_numbers(_cells(table, j))]
    if len(numeric) == 1:
        return numeric[0]
    if not numeric:
        raise UnreadableFileError(f"{origin}: no column holds rates beside its dates")
    raise UnreadableFileError(
        f"{origin} has several columns of numbers: {_named(table, numeric)}; declare which in "
        f'{origin}.json: {{"column": "…"}}'
    )


def _named(table: _Table, columns: Sequence[int]) -> str:
    names = [shown(next(iter(table.names(j)), f"column {j + 1}")) for j in columns[:_MOST_NAMED]]
    more = len(columns) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _cells(table: _Table, column: int) -> Strings:
    out = np.empty(len(table.body), dtype=object)
    out[:] = [cells[column].strip() if column < len(cells) else "" for _, cells in table.body]
    return out


def _bare(cell: str) -> str:
    return "" if _NONE.fullmatch(cell) else cell.removesuffix("%").rstrip()


def _of_numbers(cells: Strings) -> bool:
    there = [c for c in cells if _bare(c) and any(map(str.isdigit, c))]
    return bool(there) and all(_NUMERIC.fullmatch(c) for c in there)


def _unit(table: _Table, column: int, cells: Strings, sheet: Sheet, declared: str | None) -> str:
    """`percent` or `fraction`, as the file or somebody says it.

    Raises:
        UnreadableFileError: nobody does, or not the same.
    """
    if declared is not None and declared not in _UNITS:
        raise UnreadableFileError(f"{sheet.origin}.json: unit must be percent or fraction")
    words = table.names(column) + [c[0] for _, c in table.above if len([x for x in c if x]) == 1]
    said = {unit for unit, how in _SAYS.items() if any(how.search(w) for w in words)}
    signs = np.array([c.endswith("%") for c in cells], dtype=bool)
    if signs.any():
        said.add("percent")
        bare = np.array([bool(_bare(c)) for c in cells]) & ~signs
        if bare.any():
            row = int(np.argmax(bare))
            raise sheet.refusal(f"{shown(cells[row])} has no % sign, others do", row)
    said |= {declared} if declared is not None else set()
    if len(said) == 1:
        return said.pop()
    how = f'declare it in {sheet.origin}.json: {{"unit": "percent"}} or {{"unit": "fraction"}}'
    if not said:
        first = next(c for c in cells if _bare(c))
        raise UnreadableFileError(
            f"{sheet.origin}: nothing says whether {shown(first)} is per cent or a fraction; {how}"
        )
    raise UnreadableFileError(
        f"{sheet.origin}: rates are said to be per cent and fractions; {how}, and have the column "
        "say the same"
    )


def _checked(sheet: Sheet, stamps: Stamps, values: Floats, today: dt.date) -> Days:
    days = stamps.written.astype("datetime64[D]")
    there = ~np.isnan(values)
    wrong = (
        (there & np.isnat(days), "a rate without a date"),
        (days > np.datetime64(today) + 1, "a date in the future"),
        (there & ~((values > LOWEST) & (values < HIGHEST)), "no annual rate: it must be below 1"),
    )
    for bad, what in wrong:
        if bad.any():
            row = int(np.argmax(bad))
            rate = sheet.columns["rate"]
            cell = shown(rate.values[row]) if isinstance(rate, Text) else ""
            raise sheet.refusal(f"{cell} on {days[row]}: {what}", row)
    return days


def _once(sheet: Sheet, days: Days, values: Floats, currency: str | None) -> InterestRates:
    """Those that there are, in order of date, equal ones once."""
    kept = np.flatnonzero(~np.isnan(values))
    if len(kept) == 0:
        raise UnreadableFileError(f"{sheet.origin} holds no rate")
    kept = kept[np.argsort(days[kept], kind="stable")]
    same = days[kept][1:] == days[kept][:-1]
    differ = same & (values[kept][1:] != values[kept][:-1])
    if differ.any():
        row = int(kept[1:][np.argmax(differ)])
        raise sheet.refusal(f"two different rates for {days[row]}; remove one", row)
    kept = kept[np.r_[True, ~same]]
    return InterestRates(days[kept], values[kept], currency)
