"""Text and numbers as points in time: one format for a whole column, or none."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np
import pandas as pd

from etf_pipeline.model.reading.declared import HOW, Declared
from etf_pipeline.model.reading.sheet import (
    Cells,
    Numbers,
    Seconds,
    Sheet,
    Stamps,
    Strings,
    Text,
    shown,
)

_STAMP = re.compile(
    r"(?P<date>.*?\d)"
    r"(?:(?:[T ]|,\s*)\s*(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2})(?:[.,]\d+)?)?"
    r"\s*(?P<half>[AaPp][Mm])?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?(?::\d{2})?)?)?",
    re.ASCII,
)
_ISO = re.compile(r"(?:\d{4}-\d{2}-\d{2})(?:\n\d{4}-\d{2}-\d{2})*", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_WEEKDAY = re.compile(r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+", re.IGNORECASE)
_MISSING = frozenset({"", "null", "none", "nan", "nat", "n/a", "na", "#n/a", "-", "<na>"})
# By the shape of a date: the formats that it may have. Digits are 9, a word is a.
_SHAPES = {
    "9999 9 9": ("%Y %m %d",),
    "9 9 9999": ("%d %m %Y", "%m %d %Y"),
    "9 9 9": ("%d %m %y", "%m %d %y", "%y %m %d"),
    "a 9 9999": ("%b %d %Y", "%B %d %Y"),
    "9 a 9999": ("%d %b %Y", "%d %B %Y"),
    "9999 a 9": ("%Y %b %d", "%Y %B %d"),
    "9 a 9": ("%d %b %y", "%d %B %y"),
}
_IN_WORDS = {
    "%d %m %Y": "day first (%d/%m/%Y)",
    "%m %d %Y": "month first (%m/%d/%Y)",
    "%d %m %y": "day first (%d/%m/%y)",
    "%m %d %y": "month first (%m/%d/%y)",
    "%y %m %d": "year first (%y/%m/%d)",
}
_EXCEL_EPOCH = np.datetime64("1899-12-30", "s")
_EXCEL = (10_000, 100_000)  # 1927 to 2173
_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (np.inf, 1e9))


def read_dates(sheet: Sheet, cells: Cells, said: Declared, today: dt.date) -> Stamps:
    """A column of dates.

    Args:
        sheet: where it is from, for errors.
        cells: the column.
        said: what is declared of it.
        today: no date is later, which helps to tell what a number or a short year is.

    Raises:
        UnreadableFileError: a cell is no date, or may be two.
    """
    if isinstance(cells, Stamps):
        return cells
    if isinstance(cells, Numbers):
        return _of_numbers(sheet, cells.values)
    values = cells.values
    there = np.array([v.lower() not in _MISSING for v in values], dtype=bool)
    present = values[there]
    if not len(present):
        return Stamps(np.full(len(values), np.datetime64("NaT"), "datetime64[s]"))
    found = _declared(sheet, Text(values), there, said)
    if found is None and all(map(_NUMBER.fullmatch, present)):
        numbers = np.full(len(values), np.nan)
        numbers[there] = [float(v) for v in present]
        found = _of_numbers(sheet, numbers)
    if found is None:
        found = _of_text(sheet, values, there, today)
    return found


def _spread(there: np.ndarray, part: Seconds) -> Seconds:
    out = np.full(len(there), np.datetime64("NaT"), "datetime64[s]")
    out[there] = part
    return out


def _declared(sheet: Sheet, cells: Text, there: np.ndarray, said: Declared) -> Stamps | None:
    """The column in the format that is declared; None where none is, or the usual one misfits."""
    present = cells.values[there]
    for form, must in ((said.date_format, True), (said.usual_date_format, False)):
        if form is None:
            continue
        try:
            parsed = pd.to_datetime(pd.Series(present), format=form, errors="coerce", utc=True)
        except ValueError as error:
            raise sheet.refusal(f"date format {form!r}: {error}") from None
        bad = parsed.isna().to_numpy()
        if not bad.any():
            utc = _spread(there, parsed.dt.tz_localize(None).to_numpy().astype("datetime64[s]"))
            return Stamps(utc, utc if "%z" in form else None)
        if must:
            row = int(np.flatnonzero(there)[np.argmax(bad)])
            text = f"date {shown(cells.values[row])} is not in the declared format {form!r}"
            raise sheet.refusal(text, row)
    return None


def _of_numbers(sheet: Sheet, values: np.ndarray) -> Stamps:
    """Days as `20231121`, days since 1899-12-30 as Excel has them, or time since 1970 in UTC."""
    there = np.isfinite(values)
    present = values[there]
    out = np.full(len(values), np.datetime64("NaT"), "datetime64[s]")
    if not len(present):
        return Stamps(out)
    whole = np.all(present == np.floor(present))
    low, high = present.min(), present.max()
    if whole and low >= 19000101 and high <= 21001231:
        days = pd.to_datetime(
            pd.Series(present.astype("int64").astype(str)), format="%Y%m%d", errors="coerce"
        )
        if not days.isna().any():
            out[there] = days.to_numpy().astype("datetime64[s]")
            return Stamps(out)
    if low >= _EXCEL[0] and high < _EXCEL[1]:
        out[there] = _EXCEL_EPOCH + np.round(present * 86400).astype("timedelta64[s]")
        return Stamps(out)
    largest = float(np.abs(present).max())
    if largest >= 1e8:
        factor = next(f for limit, f in _UNITS if largest < limit)
        seconds = np.floor(present / factor)
        if np.abs(seconds).max() < 1e11:
            out[there] = seconds.astype("int64").astype("datetime64[s]")
            return Stamps(out, out)
    row = int(np.argmax(there))
    raise sheet.refusal(f"date {values[row]:.15g} is neither a day nor a time that is known", row)


def _of_text(sheet: Sheet, values: Strings, there: np.ndarray, today: dt.date) -> Stamps:
    present = values[there]
    midnights = all(v.endswith(" 00:00:00") for v in present)
    dates = [v[:-9] for v in present] if midnights else list(present)
    if _ISO.fullmatch("\n".join(dates)):
        try:
            days = np.array(dates, dtype="datetime64[D]")
            return Stamps(_spread(there, days.astype("datetime64[s]")))
        except ValueError:
            pass  # such as 2024-02-30: found below, with its line
    rows = np.flatnonzero(there)
    parts = [_STAMP.fullmatch(v) for v in present]
    for row, part in zip(rows, parts, strict=True):
        if part is None:
            raise sheet.refusal(f"{shown(values[row])} is not a date", int(row))
    dates = [_plain(part["date"]) for part in parts if part is not None]
    days = _days(sheet, dates, rows, values, today)
    clock = np.array([_seconds_of_day(part) for part in parts if part is not None])
    zones = [part["zone"] for part in parts if part is not None]
    written = days + clock.astype("timedelta64[s]")
    if all(z is None for z in zones):
        return Stamps(_spread(there, written))
    if any(z is None for z in zones):
        row = rows[zones.index(None)]
        raise sheet.refusal(f"{shown(values[row])} names no zone, others do", int(row))
    offsets = np.array([_offset(z) for z in zones if z is not None])
    instants = written - offsets.astype("timedelta64[s]")
    return Stamps(_spread(there, written), _spread(there, instants))


def _plain(date: str) -> str:
    """A date with blanks between its parts, and without the name of the weekday."""
    return re.sub(r"[\s,./-]+", " ", _WEEKDAY.sub("", date.strip())).strip()


def _shape(date: str) -> str:
    digits = re.sub(r"\d+", lambda m: "9" if len(m[0]) < 3 else "9" * len(m[0]), date)
    return re.sub(r"[A-Za-z]+", "a", digits)


def _days(
    sheet: Sheet, dates: list[str], rows: np.ndarray, values: Strings, today: dt.date
) -> Seconds:
    """Midnights of dates, in the one format that all of them allow."""
    compact = [f"{d[:4]} {d[4:6]} {d[6:]}" if len(d) == 8 and d.isdigit() else d for d in dates]
    shapes = [_shape(d) for d in compact]
    first = shapes[0]
    for row, shape in zip(rows, shapes, strict=True):
        if shape not in _SHAPES:
            raise sheet.refusal(f"{shown(values[row])} is not a date", int(row))
        if shape != first:
            why = f"date {shown(values[row])} is not written as {shown(values[rows[0]])} is"
            raise sheet.refusal(why, int(row))
    latest = np.datetime64(today) + np.timedelta64(1, "D")
    series = pd.Series(compact)
    possible: dict[str, Seconds] = {}
    nearest: tuple[int, int] | None = None  # dates that a format allows, and the first it does not
    for form in _SHAPES[first]:
        parsed = pd.to_datetime(series, format=form, errors="coerce")
        bad = parsed.isna().to_numpy()
        found = parsed.to_numpy().astype("datetime64[s]")
        short_year = form == "%y %m %d"
        if not bad.any() and (not short_year or (_ordered(found) and found.max() <= latest)):
            possible[form] = found
        elif not short_year and (nearest is None or (~bad).sum() > nearest[0]):
            nearest = (int((~bad).sum()), int(np.argmax(bad)))
    if not possible:
        row = int(rows[nearest[1] if nearest is not None else 0])
        raise sheet.refusal(f"{shown(values[row])} is not a date as the others are", row)
    answers = list(possible.values())
    if any(not np.array_equal(answers[0], other) for other in answers[1:]):
        ways = " or ".join(_IN_WORDS[f] for f in possible)
        raise sheet.refusal(
            f"{shown(values[rows[0]])} may be {ways}, and none of the {len(dates)} dates tells "
            f"which; {HOW}",
            int(rows[0]),
        )
    return answers[0]


def _ordered(days: Seconds) -> bool:
    steps = np.diff(days).astype("int64")
    return bool(np.all(steps > 0) or np.all(steps < 0))


def _seconds_of_day(part: re.Match[str]) -> int:
    if part["h"] is None:
        return 0
    hour = int(part["h"])
    if part["half"]:
        hour = hour % 12 + (12 if part["half"].lower() == "pm" else 0)
    return hour * 3600 + int(part["m"]) * 60 + int(part["s"] or 0)


def _offset(zone: str) -> int:
    if zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "").ljust(6, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + int(digits[4:6])
    return -seconds if zone[0] == "-" else seconds
