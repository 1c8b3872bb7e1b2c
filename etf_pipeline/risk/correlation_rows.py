"""Rows of the table of correlations, kept as arrays of numbers until Arrow columns are made."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from etf_pipeline.model.schemas import CORRELATIONS

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]
_NONE = -1


class Constants(NamedTuple):
    """What all rows of a matrix share; of pairs that are not compared, what is known of them."""

    window: str
    period: str | None
    currency: str | None
    n_obs: int = 0
    start: dt.date | None = None
    end: dt.date | None = None


class _Part(NamedTuple):
    """Rows with the same constants; names, reasons and sources by their numbers."""

    constants: int
    ticker: Positions
    other: Positions
    value: Floats
    nearest: Positions
    farthest: Positions
    reason: Positions
    source: Positions


class _Numbered(dict[Any, int]):
    """Values by the order in which they were first seen."""

    def of(self, value: Any) -> int:
        return self.setdefault(value, len(self))


class Rows:
    """The table while it is being made."""

    def __init__(self, tickers: Sequence[str]) -> None:
        """Of these tickers, sorted."""
        self._tickers = tickers
        self._parts: list[_Part] = []
        self._constants, self._reasons, self._sources = _Numbered(), _Numbered(), _Numbered()
        self._nulls: list[tuple[int, int, int, int, int]] = []

    def add(
        self,
        constants: Constants,
        ticker: Positions,
        other: Positions,
        values: Floats,
        nearest: Positions,
        farthest: Positions,
        source_of: Callable[[int], str],
        reason: str | None = None,
    ) -> None:
        """Pairs of one matrix, with their ranks; 0 for none."""
        why = _NONE if reason is None else self._reasons.of(reason)
        self._parts.append(
            _Part(
                self._constants.of(constants),
                ticker.astype("int32"),
                other.astype("int32"),
                values,
                nearest.astype("int32"),
                farthest.astype("int32"),
                np.full(len(ticker), why, dtype="int32"),
                self._sources_of(ticker, other, source_of),
            )
        )

    def add_diagonal(
        self,
        constants: Constants,
        tickers: Positions,
        source_of: Callable[[int], str],
        reason: str | None = None,
    ) -> None:
        """Every ticker of a matrix with itself; `reason` says why it goes with no other."""
        none = np.zeros(len(tickers), dtype=np.intp)
        ones = np.ones(len(tickers))
        self.add(constants, tickers, tickers, ones, none, none, source_of, reason)

    def add_null(
        self, constants: Constants, one: int, other: int, reason: str, source: str
    ) -> None:
        """A pair that there is no correlation of."""
        numbers = self._constants.of(constants), self._reasons.of(reason)
        self._nulls.append((numbers[0], one, other, numbers[1], self._sources.of(source)))

    def _sources_of(
        self, ticker: Positions, other: Positions, source_of: Callable[[int], str]
    ) -> Positions:
        """Where the prices of each pair come from."""
        names, held = _Numbered(), np.zeros(len(self._tickers), dtype=np.intp)
        for i in np.unique(np.concatenate([ticker, other])).tolist():
            held[i] = names.of(source_of(i))
        said = list(names)
        numbers = np.array(
            [[self._sources.of(joined(a, b)) for b in said] for a in said], dtype="int32"
        ).reshape(len(said), len(said))
        return numbers[held[ticker], held[other]]

    def table(self) -> pa.Table:
        """All rows, by ticker, other and window."""
        parts, nulls = self._parts, np.array(self._nulls, dtype=np.intp).reshape(-1, 5)
        self._parts = []
        none = np.zeros(len(nulls), dtype="int32")
        sizes = [len(p.ticker) for p in parts]
        constants = np.r_[np.repeat([p.constants for p in parts], sizes), nulls[:, 0]].astype(
            "int32"
        )
        whole = {
            name: np.concatenate([*(getattr(p, name) for p in parts), more])
            for name, more in (
                ("ticker", nulls[:, 1].astype("int32")),
                ("other", nulls[:, 2].astype("int32")),
                ("value", np.full(len(nulls), np.nan)),
                ("nearest", none),
                ("farthest", none),
                ("reason", nulls[:, 3].astype("int32")),
                ("source", nulls[:, 4].astype("int32")),
            )
        }
        del parts
        order = self._order(whole["ticker"], whole["other"], constants)
        whole = {name: values[order] for name, values in whole.items()}
        return self._columns(whole, constants[order])

    def _order(self, ticker: Positions, other: Positions, constants: Positions) -> Positions:
        windows = [c.window for c in self._constants]
        places = {w: i for i, w in enumerate(sorted(set(windows)))}
        at = np.array([places[w] for w in windows], dtype="int64")
        n, many = len(self._tickers), max(len(places), 1)
        code = (ticker.astype("int64") * n + other) * many + (at[constants] if len(at) else 0)
        return np.argsort(code, kind="stable")

    def _columns(self, rows: dict[str, npt.NDArray[Any]], constants: Positions) -> pa.Table:
        shared = list(self._constants)
        types = {field.name: field.type for field in CORRELATIONS.arrow}
        columns: dict[str, pa.Array] = {
            name: _named([getattr(c, name) for c in shared], constants, types[name])
            for name in Constants._fields
        }
        for name in ("ticker", "other"):
            columns[name] = _named(self._tickers, rows[name], types[name])
        value = rows["value"]
        columns["correlation"] = pa.array(value, types["correlation"], mask=np.isnan(value))
        for name in ("nearest", "farthest"):
            columns[name] = pa.array(rows[name], types[name], mask=rows[name] == 0)
        columns["reason"] = _named(list(self._reasons), rows["reason"], types["reason"])
        columns["source"] = _named(list(self._sources), rows["source"], types["source"])
        return pa.table([columns[name] for name in CORRELATIONS.names], schema=CORRELATIONS.arrow)


def _named(values: Sequence[Any], numbers: Positions, kind: pa.DataType) -> pa.Array:
    """The value of each number; null where it is −1, or where the value is."""
    at = pa.array(numbers, pa.int32(), mask=numbers == _NONE)
    return pa.array(values, kind).take(at)


def joined(one: str, other: str) -> str:
    """Where the prices of a pair come from, the ticker's first."""
    return one if one == other else f"{one},{other}"
