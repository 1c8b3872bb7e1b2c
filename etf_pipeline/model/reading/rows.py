"""A sheet as rows with our column names, by session."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.model.reading.claims import means
from etf_pipeline.model.reading.dates import read_dates
from etf_pipeline.model.reading.declared import Declared
from etf_pipeline.model.reading.numbers import ratios, read_numbers
from etf_pipeline.model.reading.sessions import Market, session_days
from etf_pipeline.model.reading.sheet import Floats, Numbers, Sheet, Stamps, Text
from etf_pipeline.model.schemas import EVENT_COLUMNS, VALUE_COLUMNS

_NAMES = (*VALUE_COLUMNS, "adj_close")
_SINGLE = float(np.finfo("float32").eps)  # what prices of Yahoo are exact to
_MOST_UNITS = 2.0**63


@dataclass(frozen=True)
class Reading:
    """What a file says.

    Attributes:
        sheet: where it is from, for errors.
        rows: indexed by session, ascending, equal ones once; those of `VALUE_COLUMNS` and
            `adj_close` that the file has, float64, NaN where it has nothing.
        doubts: by how much prices may be off for being rounded, by column, in row order.
        order: position in the sheet of each row.
        foreign: a sign or code beside prices that cannot be the currency asked for.
    """

    sheet: Sheet
    rows: pd.DataFrame
    doubts: Mapping[str, Floats]
    order: npt.NDArray[np.intp]
    foreign: str | None

    def refusal(self, why: str, row: int) -> Exception:
        """The error that names the file and the line of a row."""
        return self.sheet.refusal(why, int(self.order[row]))


def read_rows(
    sheet: Sheet,
    market: Market,
    said: Declared,
    today: dt.date,
    currency: str | None = None,
    several: bool = False,
) -> Reading:
    """Everything a sheet says, or a refusal that names the line.

    Args:
        sheet: the cells.
        market: the exchange that the prices are of.
        said: what is declared of the file.
        today: no session is later.
        currency: what prices should be in; None when nobody says.
        several: whether different bars of one date are left to whoever asks; else they are refused.

    Raises:
        UnreadableFileError: something cannot be read, or not beyond doubt.
    """
    values, doubts, signs = _values(sheet, said)
    stamps = read_dates(sheet, sheet.columns["date"], said, today)
    dated = ~np.isnat(stamps.written)
    filled = ~np.isnan(np.column_stack(list(values.values()))).all(axis=1)
    if (lost := ~dated & filled).any():
        raise sheet.refusal("prices without a date", int(np.argmax(lost)))
    keep = np.flatnonzero(dated)
    instants = stamps.instants[keep] if stamps.instants is not None else None
    stamps = Stamps(stamps.written[keep], instants)
    # days are looked at with the lines that they are on
    part = Sheet(sheet.origin, {}, {}, sheet.lines[keep], sheet.unit)
    days = session_days(part, stamps, market, said, today)
    order = np.argsort(days, kind="stable")
    rows = pd.DataFrame(
        {name: column[keep][order] for name, column in values.items()},
        pd.DatetimeIndex(days[order].astype("datetime64[s]"), name="date"),
    )
    once = _once(part, rows, order, several)
    kept = keep[order][once]
    foreign = None
    if currency is not None:
        said_signs = {*signs, *sheet.currencies, *sheet.claims.get("currency", ())}
        said_signs |= {said.currency} if said.currency else set()
        foreign = next((s for s in sorted(said_signs) if not means(s, currency)), None)
    return Reading(sheet, rows[once], {n: d[kept] for n, d in doubts.items()}, kept, foreign)


def _values(
    sheet: Sheet, said: Declared
) -> tuple[dict[str, Floats], dict[str, Floats], frozenset[str]]:
    values: dict[str, Floats] = {}
    doubts: dict[str, Floats] = {}
    texts = {}
    split: Floats | None = None
    for name in _NAMES:
        cells = sheet.columns.get(name)
        if isinstance(cells, Stamps):
            raise sheet.refusal(f"{sheet.written[name]} holds dates, not numbers")
        if isinstance(cells, Text):
            texts[name] = cells.values
            if name == "stock_splits":
                split, texts[name] = ratios(cells.values)
        elif isinstance(cells, Numbers):
            values[name] = cells.values
            doubts[name] = np.abs(cells.values) * _SINGLE
    found, rounded, signs = read_numbers(sheet, texts, said.decimal)
    values |= found
    doubts |= {n: np.maximum(d, np.abs(found[n]) * _SINGLE) for n, d in rounded.items()}
    if split is not None:
        values["stock_splits"] = np.where(np.isnan(split), values["stock_splits"], split)
    if "stock_splits" in values:  # one for one is none
        splits = values["stock_splits"]
        values["stock_splits"] = np.where(splits == 1.0, 0.0, splits)
    for name in set(EVENT_COLUMNS) & values.keys():
        if (endless := np.isinf(values[name])).any():
            row = int(np.argmax(endless))
            raise sheet.refusal(f"{sheet.written[name]} {values[name][row]:g} is no amount", row)
    if "volume" in values:
        many = np.abs(values["volume"]) >= _MOST_UNITS
        if many.any():
            row = int(np.argmax(many))
            raise sheet.refusal(f"volume {values['volume'][row]:g} is no number of units", row)
    return {n: values[n] for n in _NAMES if n in values}, doubts, signs


def _once(
    sheet: Sheet, rows: pd.DataFrame, order: npt.NDArray[np.intp], several: bool
) -> npt.NDArray[np.bool_]:
    """Which rows to keep of those that are there twice.

    Raises:
        UnreadableFileError: two different bars on one date.
    """
    if not rows.index.has_duplicates:
        return np.ones(len(rows), dtype=bool)
    once = ~rows.reset_index().duplicated().to_numpy()
    dates, positions = rows.index[once], order[once]
    if dates.has_duplicates and not several:
        i = int(np.argmax(dates.duplicated()))
        raise sheet.refusal(
            f"two different bars for {dates[i]:%Y-%m-%d}, the other in {sheet.unit} "
            f"{sheet.lines[positions[i - 1]]}; remove one",
            int(positions[i]),
        )
    return np.asarray(once, dtype=bool)
