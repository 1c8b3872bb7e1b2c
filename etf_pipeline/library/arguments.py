"""What an argument of the library means: one thing, the same in every method, or one clear error.

A ticker is a string; several are any iterable of strings, taken once, and a string alone is one
ticker. Years are whole; 0 and None are all history. Dates are those of exchange sessions, so they
have neither a time of day nor a zone. Rates, budgets and weights are fractions. Nothing is read
from text that is not text, and a truth value is no number.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from etf_pipeline.errors import ArgumentError, StoreError, nearest
from etf_pipeline.model.instants import aware
from etf_pipeline.model.instruments import repeated
from etf_pipeline.model.number_texts import number_meant
from etf_pipeline.model.objectives import HALFLIFE, wrong_halflife
from etf_pipeline.model.risk_free import HIGHEST, LOWEST, Asked, asked, is_number

if TYPE_CHECKING:
    from etf_pipeline.risk.together import Period

MOST_YEARS = 100
RATES = (LOWEST, HIGHEST)  # of a risk-free rate, both excluded; as ETF_RISK_FREE_RATE has them
MOST_PERIODS = 1000.0  # a year, as ETF_PERIODS_PER_YEAR has it
ESTIMATORS = ("sample", "ledoit_wolf", "ewma")
_WHOLE = 1e-6  # how far from 1 weights may sum
_YEARS_OF_DATES = (1700, 2200)
_AWARE = "an aware one, for example datetime(2025, 11, 1, tzinfo=UTC)"
_TIMED = re.compile(r"\d{4}-\d{2}-\d{2}[T ]")
_DAY = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")


def new_folder(value: str | PathLike[str], store: Path, name: str = "into") -> Path:
    """A folder to write into that holds nothing yet, outside of the store.

    Raises:
        ArgumentError: it holds something, is in the store, or is a file.
        StoreError: it cannot be written.
    """
    path = Path(value)
    found, root = path.resolve(), store.resolve()
    if found == root:
        raise ArgumentError(f"{name}={value}: must be another folder than the store")
    if found.is_relative_to(root):
        raise ArgumentError(f"{name}={value}: lies in the store {store}; give a folder outside")
    if found.exists() and not found.is_dir():
        raise ArgumentError(f"{name}={value}: is a file; give a folder")
    if found.is_dir() and any(found.iterdir()):
        raise ArgumentError(
            f"{name}={value}: holds something already, which would be taken for what is written "
            "now; give a new folder, or an empty one"
        )
    there = next(p for p in (found, *found.parents) if p.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise StoreError(f"{name}={value}: {there} cannot be written; give a folder that can")
    return path


def ticker_of(value: object, name: str = "ticker") -> str:
    """One ticker.

    Raises:
        ArgumentError: it is no string, or an empty one.
    """
    if isinstance(value, str) and value.strip():
        return str.__str__(value)
    if isinstance(value, list | tuple | set | frozenset):
        raise ArgumentError(f"{name} {_shown(value)}: give one ticker, a string such as 'VAS'")
    raise ArgumentError(f"{name} {_shown(value)}: is no ticker; give a string such as 'VAS'")


def tickers_of(value: object, name: str = "tickers") -> list[str]:
    """Tickers in their order, each once: a string is one, and any iterable of strings several.

    A set, which has no order, is sorted.

    Raises:
        ArgumentError: none, one twice, or something that is no ticker.
    """
    if isinstance(value, str):
        return [ticker_of(value)]
    if isinstance(value, Mapping):
        raise ArgumentError(f"{name} {_shown(value)}: a mapping is no list of tickers")
    if not isinstance(value, Iterable) or isinstance(value, bytes):
        raise ArgumentError(
            f"{name} {_shown(value)}: give a ticker or several, such as ['VAS', 'VGS']"
        )
    names = [ticker_of(one) for one in value]
    if isinstance(value, set | frozenset):
        names.sort()
    if not names:
        raise ArgumentError("no ticker given")
    if twice := repeated(names):
        raise ArgumentError(f"asked for twice: {', '.join(twice)}")
    return names


def folder_of(value: object, name: str = "data_dir") -> Path:
    """A folder.

    Raises:
        ArgumentError: it is no path, or an empty one, which would be the working folder.
    """
    if isinstance(value, str | PathLike) and str(value).strip():
        return Path(value)
    raise ArgumentError(f"{name} {_shown(value)}: is no folder; give a path such as 'data/etf'")


def weights_of(value: object, name: str = "weights") -> dict[str, float]:
    """Weights by ticker that sum to 1, those of 0 left out.

    Raises:
        ArgumentError: it is no mapping (or series) of tickers and numbers, or the sum is not 1.
    """
    if not hasattr(value, "items") or getattr(value, "ndim", 1) != 1:
        raise ArgumentError(
            f"{name} {_shown(value)}: give them by ticker, such as {{'VAS': 0.6, 'VAF': 0.4}}"
        )
    pairs = [(ticker_of(t), number(f"{name} of {t}", w)) for t, w in value.items()]
    tickers_of([t for t, _ in pairs], name)
    total = math.fsum(w for _, w in pairs)
    if abs(total - 1.0) > _WHOLE:
        raise ArgumentError(
            f"{name} sum to {total:.8g}, not to 1: divide each by their sum, and give fractions of "
            "the portfolio's value, not units, money or per cent"
        )
    return {t: w for t, w in pairs if w != 0.0}


def number(name: str, value: object) -> float:
    """A finite number.

    Raises:
        ArgumentError: it is none: text, a truth value, NaN or infinite.
    """
    if isinstance(value, str):
        raise ArgumentError(f"{name} {value!r}: is text; {number_meant(value)}")
    kind = getattr(value, "dtype", None)
    if isinstance(value, bool) or (kind is not None and kind.kind not in "iuf"):
        raise ArgumentError(f"{name} {_shown(value)}: is no number")
    if not hasattr(value, "__float__") or getattr(value, "ndim", None):
        raise ArgumentError(f"{name} {_shown(value)}: is no number")
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(f"{name} {_shown(value)}: is no number") from None
    if not math.isfinite(found):
        raise ArgumentError(f"{name} {found:g}: must be a finite number")
    return found


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included."""
    found = number(name, value)
    if found != int(found) or not low <= found <= high:
        raise ArgumentError(f"{name} {found:g}: must be a whole number from {low} to {high}")
    return int(found)


def years_of(value: object, name: str = "lookback_years") -> int | None:
    """Whole years of history; None, which is all of it, for 0 and None.

    Raises:
        ArgumentError: a part of a year, less than none, or more than 100.
    """
    if value is None:
        return None
    found = number(name, value)
    if found != int(found):
        raise ArgumentError(
            f"{name} {found:g}: must be whole years; get_returns takes any start and end"
        )
    if not 0 <= found <= MOST_YEARS:
        raise ArgumentError(
            f"{name} {found:g}: must be from 1 to {MOST_YEARS}, or 0 (or None) for all history"
        )
    return int(found) or None


def risk_free_of(value: object, name: str = "risk_free_rate") -> Asked | None:
    """What is free of risk: an annual rate, a ticker, or a path of rates; None when none is given.

    Raises:
        ArgumentError: it is none of these, or a number that is text.
    """
    if isinstance(value, Path) or (isinstance(value, str) and not is_number(value)):
        try:
            return asked(value)
        except ValueError as error:
            raise ArgumentError(f"{name} {_shown(value)}: {error}") from None
    return rate_of(value, name)


def rate_of(value: object, name: str = "risk_free_rate") -> float | None:
    """An annual effective rate as a fraction; None when none is given.

    Raises:
        ArgumentError: it is no number, or not between −1 and 1: 4 is 400 %, not 4 %.
    """
    if value is None:
        return None
    found = number(name, value)
    if not RATES[0] < found < RATES[1]:
        raise ArgumentError(
            f"{name} {found:g}: is {found * 100:g} % a year; give a fraction between "
            f"{RATES[0]:g} and {RATES[1]:g}{_as_fraction(found, *RATES)}"
        )
    return found


def periods_of(value: object, name: str = "periods_per_year") -> float | None:
    """A, the returns a year, where a convention fixes it; None when none is given."""
    if value is None:
        return None
    found = number(name, value)
    if not 0 < found <= MOST_PERIODS:
        raise ArgumentError(
            f"{name} {found:g}: must be a positive number up to {MOST_PERIODS:g}, such as 252"
        )
    return found


def halflife_of(value: object, estimator: str) -> float:
    """Bars after which an observation of the estimator `ewma` counts half.

    Raises:
        ArgumentError: it is given to another estimator, which would not obey it, or out of range.
    """
    if value is None:
        return HALFLIFE
    found = number("halflife", value)
    if (why := wrong_halflife(found)) is not None:
        raise ArgumentError(f"halflife {why}")
    if estimator != "ewma":
        raise ArgumentError(f"halflife goes with estimator='ewma', not with {estimator!r}")
    return found


def one_of(name: str, value: object, allowed: Collection[str]) -> str:
    """One of some words.

    Raises:
        ArgumentError: it is none of them; names them all, and the nearest.
    """
    if isinstance(value, str) and value in allowed:
        return str.__str__(value)
    near = nearest(value, allowed) if isinstance(value, str) else ""
    raise ArgumentError(f"{name} {_shown(value)}: must be one of {', '.join(allowed)}{near}")


def flag_of(value: object, name: str) -> bool | None:
    """A truth value; None when none is given.

    Raises:
        ArgumentError: it is neither; nothing is taken for true or false because it is not empty.
    """
    if value is None or isinstance(value, bool):
        return value
    raise ArgumentError(f"{name} {_shown(value)}: must be True, False or None")


def correlation_period_of(value: object, name: str = "correlation_period") -> Period | None:
    """`daily` or `weekly`; None for what suits the tickers' exchanges."""
    if value is None:
        return None
    return "daily" if one_of(name, value, ("daily", "weekly")) == "daily" else "weekly"


def currency_of(value: object, name: str = "base_currency") -> str | None:
    """An ISO 4217 code; None when none is given."""
    from etf_pipeline.model.currencies import check_currency

    if value is None:
        return None
    if not isinstance(value, str):
        raise ArgumentError(f"{name} {_shown(value)}: give an ISO 4217 code such as 'AUD'")
    try:
        return check_currency(value)
    except ValueError as error:
        raise ArgumentError(f"{name}: {error}") from None


def instant_of(value: object, name: str = "instant") -> dt.datetime:
    """A point in time; one without a zone is taken as UTC, with a `UserWarning`."""
    if not isinstance(value, dt.datetime) or value != value:
        raise ArgumentError(f"{name} {_shown(value)}: is no time; give {_AWARE}")
    return aware(value, name, _warn)


def span_of(start: object, end: object) -> tuple[dt.date | None, dt.date | None]:
    """First and last session date, both included; None for no limit.

    Raises:
        ArgumentError: one is no date, or the first is after the last.
    """
    first, last = _day(start, "start", last=False), _day(end, "end", last=True)
    if first is not None and last is not None and first > last:
        raise ArgumentError(f"start {first} is after end {last}")
    return first, last


def _day(value: object, name: str, *, last: bool) -> dt.date | None:
    """A session date: a date, a datetime at midnight without a zone, or text as in ISO 8601.

    A year or a month alone stands for its first day, and for its last where it is the `end`.
    """
    if value is None:
        return None
    if not isinstance(value, dt.date):  # NumPy's datetimes are written as ISO 8601 has it
        is_numpy = getattr(getattr(value, "dtype", None), "kind", None) == "M"
        text = value if isinstance(value, str) else str(value) if is_numpy else None
        value = None if text is None else _read_day(text.strip(), last)
        if value is None:
            raise ArgumentError(
                f"{name} {_shown(text)}: is no date; write 2025-06-30"
                if text is not None
                else f"{name}: is no date; give a date, or text such as '2025-06-30'"
            )
    if value != value:  # NaT
        raise ArgumentError(f"{name} NaT: is no date; give a date, or None for no limit")
    day = value
    if isinstance(day, dt.datetime):
        if day.tzinfo is not None:
            raise ArgumentError(
                f"{name} {day}: has a time zone; sessions are dates of their exchange, so give the "
                f"date alone, such as {day.date()}"
            )
        if day.time() != dt.time():
            raise ArgumentError(
                f"{name} {day}: has a time of day; a session is a date, so give {day.date()}"
            )
        day = day.date()
    if not _YEARS_OF_DATES[0] <= day.year <= _YEARS_OF_DATES[1]:
        raise ArgumentError(f"{name} {day}: must be from the years {_YEARS_OF_DATES[0]} to 2200")
    return day


def _read_day(text: str, last: bool) -> dt.date | None:
    """Text as a date or a datetime; None when it is neither."""
    found = _DAY.fullmatch(text)
    try:
        if found is None:
            return dt.datetime.fromisoformat(text) if _TIMED.match(text) else None
        year, month, day = (None if part is None else int(part) for part in found.groups())
        if year is None or day is not None:
            return dt.date.fromisoformat(text)
        if not last:
            return dt.date(year, month or 1, 1)
        after = (
            dt.date(year + 1, 1, 1) if month in (None, 12) else dt.date(year, (month or 1) + 1, 1)
        )
        return after - dt.timedelta(days=1)
    except (ValueError, OverflowError):
        return None


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=5)  # where the method of the library was called


def _as_fraction(value: float, low: float, high: float) -> str:
    """That a percentage was given for a fraction, where dividing by 100 mends it."""
    mended = value / 100.0
    return f": {value:g} % is {mended:g}" if low < mended < high else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
