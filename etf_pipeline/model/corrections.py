"""Reading and validating `corrections.csv`: what somebody declares right, with reason and name."""

from __future__ import annotations

import csv
import datetime as dt
import difflib
import math
import re
from dataclasses import dataclass
from pathlib import Path

from etf_pipeline.errors import CorrectionsError, UnknownTickerError
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.schemas import VALUE_COLUMNS
from etf_pipeline.model.text_lines import numbered_lines

COLUMNS = ("ticker", "date", "field", "value", "reason", "author")
ACCEPT = "accept"
VOID = "void"
FIELDS = (*VALUE_COLUMNS, ACCEPT, VOID)
# What to do when a right answer is refused because of what is known, for errors.
VOID_REMEDY = (
    "If the known history was wrong in whole, declare it void in the corrections file (field "
    "void, the time now as value; see docs/quality.md) and run again"
)
_RULE = re.compile(r"[a-z][a-z_]*")
_PRICES = frozenset({"open", "high", "low", "close"})


@dataclass(frozen=True, order=True)
class Correction:
    """One declared correction of one ticker's session.

    Attributes:
        field: a column of `VALUE_COLUMNS`, `accept` or `void`.
        value: of that column, on the basis of prices on the day that it was declared; NaN for
            `accept` and `void`.
        rule: the quality rule whose finding is accepted; empty otherwise.
        declared: the day from which it counts; None until it is kept.
        before: with `void`, what was collected of the ticker before it is void; aware, UTC.
    """

    ticker: str
    date: dt.date
    field: str
    rule: str
    value: float
    reason: str
    author: str
    declared: dt.date | None = None
    before: dt.datetime | None = None

    @property
    def what(self) -> tuple[str | float, ...]:
        """What it says is right, whoever says so and why."""
        return self.identity[:5]

    @property
    def identity(self) -> tuple[str | float, ...]:
        """What makes it this correction, whenever it was declared."""
        value = 0.0 if math.isnan(self.value) else self.value
        day = self.date.isoformat()
        instant = () if self.before is None else (self.before.isoformat(),)
        return (self.ticker, day, self.field, self.rule, value, self.reason, self.author, *instant)


def load_corrections(
    path: Path, universe: Universe, now: dt.datetime | None = None
) -> tuple[Correction, ...]:
    """Read a corrections file; there are none where there is no file.

    Columns are those of `COLUMNS`; lines that start with `#` are comments.

    Args:
        path: the file.
        universe: which tickers there are.
        now: aware; nothing can be void that is collected after it. None lets that pass.

    Raises:
        CorrectionsError: with every bad line, what is wrong and what would be right.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise CorrectionsError(f"corrections file {path} cannot be read: {error}") from None
    lines = numbered_lines(text)
    if not lines:
        return ()
    rows = list(csv.reader((line for _, line in lines), skipinitialspace=True))
    header = [h.strip() for h in rows[0]]
    if sorted(header) != sorted(COLUMNS):
        raise CorrectionsError(
            f"{path} is not usable: line {lines[0][0]}: the columns must be {','.join(COLUMNS)}"
        )
    if len(rows) != len(lines):
        raise CorrectionsError(f"{path} is not usable: a cell spans lines; keep one to a line")
    problems: list[str] = []
    found: dict[tuple[str, dt.date, str, str], int] = {}
    corrections: list[Correction] = []
    for (number, _), cells in zip(lines[1:], rows[1:], strict=True):
        try:
            one = _correction(header, [c.strip() for c in cells], universe, now)
            key = (one.ticker, one.date, one.field, one.rule)
            if key in found:
                raise ValueError(
                    f"{one.field} of {one.ticker} on {one.date} is on line {found[key]} already"
                )
            found[key] = number
            corrections.append(one)
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise CorrectionsError(f"{path} is not usable: " + "; ".join(problems))
    return tuple(sorted(corrections))


def _correction(
    header: list[str], cells: list[str], universe: Universe, now: dt.datetime | None
) -> Correction:
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} cells where the header has {len(header)}")
    row = dict(zip(header, cells, strict=True))
    for name in COLUMNS:
        if not row[name]:
            raise ValueError(f"{name} is empty")
    try:
        ticker = universe.get(row["ticker"]).ticker
    except UnknownTickerError as error:
        raise ValueError(str(error)) from None
    try:
        day = dt.date.fromisoformat(row["date"])
    except ValueError:
        raise ValueError(f"date {row['date']!r} is not a date such as 2025-01-29") from None
    field, value, rule, before = row["field"], math.nan, "", None
    if field not in FIELDS:
        near = difflib.get_close_matches(field, FIELDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it must be one of {', '.join(FIELDS)}"
        raise ValueError(f"field {field!r}: {hint}")
    if field == ACCEPT:
        rule = row["value"]
        if not _RULE.fullmatch(rule):
            raise ValueError(f"value {rule!r} is not the name of a quality rule such as zero_open")
    elif field == VOID:
        before = _instant(row["value"], day, now)
    else:
        value = _number(field, row["value"])
    said = (row["reason"], row["author"])
    return Correction(ticker, day, field, rule, value, *said, before=before)


def _instant(text: str, day: dt.date, now: dt.datetime | None) -> dt.datetime:
    try:
        instant = dt.datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise ValueError(f"value {text!r} is not a time with its zone such as 2025-01-29T14:05Z")
    if instant.date() != day:
        raise ValueError(f"date {day}: it must be {instant.date()}, the day of its value {text}")
    if now is not None and instant > now:
        raise ValueError(
            f"value {text} is in the future: only what is collected already can be void, and it "
            f"is {now.astimezone(dt.UTC):%Y-%m-%dT%H:%MZ} now"
        )
    return instant.astimezone(dt.UTC)


def _number(field: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"value {text!r} is not a number such as 12.34") from None
    least = "positive" if field in _PRICES else "0 or more"
    possible = value > 0 if field in _PRICES else value >= 0
    if not (math.isfinite(value) and possible):
        raise ValueError(f"value {text}: {field} must be {least}")
    if field == "volume" and value != int(value):
        raise ValueError(f"value {text}: volume must be a whole number")
    return value
