"""Reading and validating `universe.csv`; every problem is reported with its line."""

from __future__ import annotations

import csv
import datetime as dt
import difflib
import math
import re
from pathlib import Path

from etf_pipeline.errors import UniverseError
from etf_pipeline.model.calendars import has_calendar, known_exchanges
from etf_pipeline.model.currencies import ASSET_CLASS, FX, ISO_4217, MINOR_UNITS, pair_of
from etf_pipeline.model.instruments import Instrument, Universe
from etf_pipeline.model.text_lines import numbered_lines

REQUIRED = ("ticker", "symbol", "exchange", "name", "asset_class", "issuer", "currency")
OPTIONAL = (
    "management_fee",
    "market_weight",
    "aliases",
    "last_session",
    "shards",
    "listed_since",
)
_WHOLE = re.compile(r"\d{1,3}(?:\.0*)?", re.ASCII)


def load_universe(path: Path) -> Universe:
    """Read a universe file.

    Columns: those of `REQUIRED`, then optionally `management_fee` (per cent a year),
    `market_weight` (size of the market it stands for, in one unit for all), `aliases` (former
    tickers, `;` between them), `last_session` (ISO date of a delisted ETF's last session),
    `shards` (how many partitions its exchange is split into) and `listed_since` (ISO date: rows
    before it are another security's). Lines that start with `#` are comments.

    Raises:
        UniverseError: with every bad line, what is wrong and what would be right.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UniverseError(
            f"universe file {path} does not exist; set ETF_UNIVERSE_FILE or create it with the "
            f"columns {','.join(REQUIRED)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UniverseError(f"universe file {path} cannot be read: {error}") from None
    lines = numbered_lines(text)
    rows = list(csv.reader(line for _, line in lines))
    if not rows:
        raise UniverseError(f"{path} is empty; the first line must name the columns")
    header = [h.strip() for h in rows[0]]
    problems = _header_problems(header)
    instruments: list[Instrument] = []
    if not problems:
        for (number, _), cells in zip(lines[1:], rows[1:], strict=True):
            try:
                instruments.append(_instrument(header, [c.strip() for c in cells]))
            except ValueError as error:
                problems.append(f"line {number}: {error}")
        numbers = [n for n, _ in lines[1:]]
        if not problems:
            problems = _cross_problems(instruments, numbers)
    if not problems and not instruments:
        problems = ["no instruments; add at least one line below the header"]
    if problems:
        raise UniverseError(f"{path} is not usable: " + "; ".join(problems))
    return Universe(tuple(instruments), origin=str(path))


def _header_problems(header: list[str]) -> list[str]:
    missing = [c for c in REQUIRED if c not in header]
    unknown = [c for c in header if c not in REQUIRED + OPTIONAL]
    problems = []
    if missing:
        problems.append(f"line 1: missing column {', '.join(missing)}")
    for column in unknown:
        near = difflib.get_close_matches(column, REQUIRED + OPTIONAL, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        problems.append(f"line 1: unknown column {column!r}{hint}")
    if len(set(header)) != len(header):
        problems.append("line 1: a column is named twice")
    return problems


def _instrument(header: list[str], cells: list[str]) -> Instrument:
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} cells where the header has {len(header)}")
    row = dict(zip(header, cells, strict=True))
    for name in REQUIRED:
        if not row[name]:
            raise ValueError(f"{name} is empty")
    exchange = row["exchange"]
    if not has_calendar(exchange):
        near = difflib.get_close_matches(exchange, known_exchanges(), n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"exchange {exchange!r} is not an ISO 10383 MIC with a calendar (or FX for a "
            f"currency pair, INDX for an index){hint}"
        )
    if row["currency"] not in ISO_4217 and row["currency"] not in MINOR_UNITS:
        raise ValueError(
            f"currency {row['currency']!r} is not an ISO 4217 code such as AUD, nor a unit of one "
            f"({', '.join(MINOR_UNITS)})"
        )
    _check_pair(row)
    return Instrument(
        **{name: row[name] for name in REQUIRED},
        management_fee=_fee(row.get("management_fee", "")),
        market_weight=_market_weight(row.get("market_weight", "")),
        aliases=tuple(a.strip() for a in row.get("aliases", "").split(";") if a.strip()),
        last_session=_date("last_session", row.get("last_session", "")),
        shards=_shards(row.get("shards", "")),
        listed_since=_date("listed_since", row.get("listed_since", "")),
    )


def _check_pair(row: dict[str, str]) -> None:
    """A currency pair is one in every column: others find it by its ticker."""
    pair = pair_of(row["ticker"]) or pair_of(row["symbol"])
    if row["exchange"] != FX:
        if pair is not None:
            raise ValueError(f"{pair.ticker} is a currency pair: its exchange is {FX}")
        return
    if pair is None:
        raise ValueError(f"ticker {row['ticker']!r} on {FX} is no currency pair such as AUDUSD=X")
    if pair.base == pair.quote:
        raise ValueError(f"{pair.ticker} is a pair of one currency")
    wanted = {
        "ticker": pair.ticker,
        "symbol": pair.ticker,
        "currency": pair.quote,
        "asset_class": ASSET_CLASS,
    }
    for column, value in wanted.items():
        if row[column] != value:
            raise ValueError(f"{column} of the currency pair {pair.ticker} must be {value}")


def _fee(text: str) -> float | None:
    if not text:
        return None
    try:
        fee = float(text)
    except ValueError:
        raise ValueError(f"management_fee {text!r} is not a number (per cent a year)") from None
    if not 0 <= fee < 20:
        raise ValueError(f"management_fee {text} is not between 0 and 20 per cent a year")
    return fee


def _market_weight(text: str) -> float | None:
    if not text:
        return None
    try:
        weight = float(text)
    except ValueError:
        raise ValueError(
            f"market_weight {text!r} is not a number (the size of its market, in one unit for all)"
        ) from None
    if not 0 <= weight < math.inf:
        raise ValueError(f"market_weight {text} is not 0 or more")
    return weight


def _date(column: str, text: str) -> dt.date | None:
    if not text:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{column} {text!r} is not a date such as 2025-01-29") from None


def _shards(text: str) -> int:
    if not text:
        return 1
    # Programs write 4.0 as soon as another row has none.
    if not _WHOLE.fullmatch(text) or not 1 <= float(text) <= 100:
        raise ValueError(f"shards {text!r} is not a whole number from 1 to 100")
    return int(float(text))


def _cross_problems(instruments: list[Instrument], numbers: list[int]) -> list[str]:
    problems: list[str] = []
    seen: dict[tuple[str, str], int] = {}
    shards: dict[str, tuple[int, int]] = {}
    for instrument, number in zip(instruments, numbers, strict=True):
        names = [("ticker", instrument.ticker), ("symbol", instrument.symbol)]
        names += [("ticker", alias) for alias in instrument.aliases]
        for kind, name in names:
            first = seen.setdefault((kind, name), number)
            if first != number:
                problems.append(f"line {number}: {kind} {name!r} is already on line {first}")
        count, first = shards.setdefault(instrument.exchange, (instrument.shards, number))
        if count != instrument.shards:
            problems.append(
                f"line {number}: {instrument.exchange} has {instrument.shards} shards here "
                f"and {count} on line {first}; use one number"
            )
    return problems
