"""A text file with cells between commas, semicolons, tabs or bars, as a sheet."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from etf_pipeline.errors import UnreadableFileError
from etf_pipeline.model.reading.claims import before_the_header, merged
from etf_pipeline.model.reading.names import Names, understood
from etf_pipeline.model.reading.sheet import Sheet, Text, shown

DELIMITERS = (",", ";", "\t", "|")
_HEADER_WITHIN = 40
_MARKS = (  # the longer ones first: one begins as the other does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_KINDS = {
    b"PK\x03\x04": "an Excel workbook or zip file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed with gzip",
    b"PAR1": "Parquet",
    b"%PDF": "a PDF",
}
# A comment, and no error of a spreadsheet, such as #N/A or #DIV/0!.
_COMMENT = re.compile(r"\s*(?:#(?!N/A|NA\b|[A-Z]+(?:/0)?[!?])|//)", re.IGNORECASE)
_SPACE = re.compile(r"\s")
_CLOSING = ("total", "totals", "sum", "average", "mean", "count")


@dataclass(frozen=True)
class _Header:
    """The row with the names, where it is, and how many rows it takes."""

    delimiter: str
    row: int
    names: Names
    rows: int = 1


def read_text(content: bytes, origin: str) -> Sheet:
    """The cells of a text file.

    Comments (`#`, `//`), empty rows, whatever stands before the header, repeated headers and a
    last row that is called a total are left out.

    Raises:
        UnreadableFileError: it is no such text, has no date or close, two columns of one meaning,
            or a row with more or fewer cells than the header.
    """
    text = decoded(content, origin)
    try:
        header = _header(text, origin)
        rows = list(islice(filled_rows(text, header.delimiter), header.row, None))
    except csv.Error as error:
        raise UnreadableFileError(f"{origin}: {error}") from None
    names = header.names
    names.check(origin)
    needed = 1 + max(i for found in names.at.values() for i in found)
    width = max((i + 1 for i, n in enumerate(names.written) if n.strip()), default=0)
    first, body = rows[0][1], rows[header.rows :]
    body = [r for r in body if r[1] != first]
    date = names.at["date"][0]
    while body and len(body[-1][1]) > date and body[-1][1][date].strip().lower() in _CLOSING:
        body.pop()
    most = max(width, needed)
    for line, cells in body:
        n = len(cells)
        if n < needed or (n > most and any(c.strip() for c in cells[most:])):
            raise UnreadableFileError(
                f"{origin} line {line}: {len(cells)} cells, the header has {width}"
            )
    lines = np.array([line for line, _ in body], dtype="int64")
    columns, written = {}, {}
    for name, positions in names.at.items():
        found = [_column(body, i) for i in positions]
        if any(not np.array_equal(found[0], other) for other in found[1:]):
            twice = " and ".join(shown(names.written[i]) for i in positions)
            raise UnreadableFileError(f"{origin}: columns {twice} are both {name!r}; keep one")
        columns[name], written[name] = Text(found[0]), names.written[positions[0]]
    return Sheet(
        origin,
        columns,
        written,
        lines,
        semicolons=header.delimiter in ";\t",
        currencies=names.currencies,
        claims=merged(
            {"symbol": names.symbols},
            {kind: _distinct(body, at) for kind, at in names.claims.items()},
            before_the_header(_first_lines(text, rows[0][0] - 1)),
        ),
    )


def _first_lines(text: str, n: int) -> list[str]:
    return re.split(r"\r\n|\r|\n", text, maxsplit=n)[:n] if n else []


def _distinct(body: Sequence[tuple[int, list[str]]], positions: Sequence[int]) -> set[str]:
    return {cells[i].strip() for _, cells in body for i in positions if i < len(cells)}


def _column(body: Sequence[tuple[int, list[str]]], i: int) -> np.ndarray:
    out = np.empty(len(body), dtype=object)
    text = "\0".join([cells[i] for _, cells in body])
    found = text.split("\0")
    if len(found) != len(body) or not text.isascii() or _SPACE.search(text):
        found = [" ".join(cells[i].strip().splitlines()) for _, cells in body]
    out[:] = found
    return out


def decoded(content: bytes, origin: str) -> str:
    """The text of a file in UTF-8, UTF-16, UTF-32 or Windows-1252.

    Raises:
        UnreadableFileError: it is none, or another kind of file.
    """
    kind = next((k for start, k in _OTHER_KINDS.items() if content.startswith(start)), None)
    if kind is not None:
        raise UnreadableFileError(f"{origin} is {kind}, whatever its name says; save it as CSV")
    marked = next((e for mark, e in _MARKS if content.startswith(mark)), None)
    head = content[:4096]
    if marked is not None:
        encodings: tuple[str, ...] = (marked,)
    elif head[1::2].count(0) * 2 > len(head[1::2]):
        encodings = ("utf-16-le",)
    elif head[::2].count(0) * 2 > len(head[::2]):
        encodings = ("utf-16-be",)
    else:
        # What no UTF-8 is comes from a Windows programme; digits are the same in all of them.
        encodings = ("utf-8", "cp1252")
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UnreadableFileError(f"{origin} is not text in UTF-8, UTF-16 or Windows-1252")


def filled_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with anything in them, each with the number of its last line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    for cells in reader:
        usual = bool(cells) and cells[0][:1].isdecimal()
        if usual or (any(map(_filled, cells)) and not _COMMENT.match(cells[0])):
            yield reader.line_num, cells


def _filled(cell: str) -> bool:
    return bool(cell) and not cell.isspace()


def _header(text: str, origin: str) -> _Header:
    best: tuple[int, Names] | None = None
    for delimiter in DELIMITERS:
        top = [cells for _, cells in islice(filled_rows(text, delimiter), _HEADER_WITHIN)]
        for row, cells in enumerate(top):
            names = understood(cells)
            if (two := _of_yfinance(top[row : row + 3])) is not None:
                return _Header(delimiter, row, two, 3)
            if names.usable and len(cells) > 1:
                return _Header(delimiter, row, names)
            if best is None or len(names.at) > best[0]:
                best = (len(names.at), names)
    missing = (best[1].missing if best is not None else None) or "date"
    raise UnreadableFileError(
        f"{origin} has no {missing!r} column; columns of yfinance are expected"
        if best is not None
        else f"{origin} is empty"
    )


def _of_yfinance(rows: Sequence[list[str]]) -> Names | None:
    """The three rows in which `yfinance.download` names its columns: price, ticker, date."""
    starts = [cells[0].strip().lower() for cells in rows]
    if starts != ["price", "ticker", "date"]:
        return None
    names = understood(["Date", *rows[0][1:]])
    symbols = frozenset(c.strip() for c in rows[1][1:]) - {""}
    return replace(names, symbols=symbols) if names.usable else None
