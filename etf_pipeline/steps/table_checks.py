"""What is wrong with a derived table: rules that any correct one obeys, whatever the prices.

Each gives the problems by ticker, window or portfolio; none when all is good.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etf_pipeline.portfolio.check import FEASIBLE

_ENDS = ("ticker", "other")  # of a pair
_ROUNDING = 1e-12
_NOT_POSITIVE = 1e-8

_JUDGED = ["ticker", "window", "volatility", "max_drawdown", "var_95", "cvar_95"]


def impossible_metrics(table: pa.Table) -> dict[str, list[str]]:
    """Volatility below 0, drawdown outside −1 and 0, CVaR below VaR; by ticker and window."""
    problems: dict[str, list[str]] = {}
    for row in table.select(_JUDGED).to_pylist():
        rules = {
            "volatility < 0": row["volatility"] is None or row["volatility"] >= 0,
            "max_drawdown outside [-1, 0]": row["max_drawdown"] is None
            or -1 <= row["max_drawdown"] <= 0,
            "cvar_95 < var_95": row["var_95"] is None or row["cvar_95"] >= row["var_95"] - 1e-12,
        }
        wrong = [rule for rule, obeyed in rules.items() if not obeyed]
        if wrong:
            problems[f"{row['ticker']} {row['window']}"] = wrong
    return problems


def impossible_correlations(
    table: pa.Table, portfolios: Iterable[Collection[str]] = ()
) -> dict[str, str]:
    """By window: numbers that are no correlations, or sets that no assets could have.

    Each is within −1 and 1, 1 with itself, and the same in both orders. Of every set that is there
    whole, the least eigenvalue is not below −1e-8: of all tickers of a currency where every pair is
    kept, else of each portfolio's. Pairs that are not compared belong to no set.
    """
    pairs = table.select(["ticker", "other", "window", "currency", "correlation"])
    pairs = pairs.filter(pc.is_valid(pairs["correlation"]))
    problems: dict[str, list[str]] = {}
    for window in pc.unique(pairs["window"]).to_pylist():
        part = pairs.filter(pc.equal(pairs["window"], window))
        wrong = _wrong_pairs(part)
        currencies = part["currency"].fill_null("")
        for currency in pc.unique(currencies).to_pylist():
            matrix = _Sparse.of(part.filter(pc.equal(currencies, currency)))
            wrong += matrix.not_positive(portfolios)
        if wrong:
            problems[window] = wrong
    return {window: "; ".join(dict.fromkeys(wrong)) for window, wrong in problems.items()}


def _wrong_pairs(pairs: pa.Table) -> list[str]:
    """Pairs of one window that are out of range or not the same in both orders."""
    found = _Sparse.of(pairs)
    rules = {
        "outside [-1, 1]": ~(np.abs(found.values) <= 1.0),
        "not 1 with itself": (found.rows == found.columns)
        & ~(np.abs(found.values - 1.0) <= _ROUNDING),
        "not the same in both orders": ~(np.abs(found.values - found.turned()) <= _ROUNDING),
    }
    told = []
    for rule, wrong in rules.items():
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            i, j = found.names[found.rows[at]], found.names[found.columns[at]]
            told.append(f"{int(wrong.sum())} {rule}, first {i} with {j}: {found.values[at]:.12g}")
    return told


class _Sparse(NamedTuple):
    """Some pairs of a matrix: positions in `names`, values, and the codes they are found by."""

    names: list[str]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    codes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, pairs: pa.Table) -> _Sparse:
        """Pairs whose correlation is known, sorted by row and column."""
        names = pc.unique(pa.chunked_array([*pairs["ticker"].chunks, *pairs["other"].chunks]))
        i, j = (pc.index_in(pairs[n], names).to_numpy().astype("int64") for n in _ENDS)
        codes = i * len(names) + j
        order = np.argsort(codes, kind="stable")
        values = pairs["correlation"].to_numpy()
        return cls(names.to_pylist(), i[order], j[order], values[order], codes[order])

    def turned(self) -> npt.NDArray[np.float64]:
        """The value in the other order, of pairs that have it there; else their own."""
        at, there = self._found(self.columns * len(self.names) + self.rows)
        return np.where(there, self.values[at], self.values)

    def _found(
        self, codes: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        at = np.minimum(np.searchsorted(self.codes, codes), max(len(self.codes) - 1, 0))
        return at, self.codes[at] == codes if len(self.codes) else np.zeros(len(codes), "bool")

    def not_positive(self, portfolios: Iterable[Collection[str]]) -> list[str]:
        """Sets with an eigenvalue below 0."""
        n = len(self.names)
        if len(self.values) == n * n:
            sets: Iterable[Collection[str]] = [self.names]
        else:
            sets = portfolios
        place = {name: i for i, name in enumerate(self.names)}
        told = []
        for one in sets:
            held = np.array(sorted(place[t] for t in one if t in place), dtype="int64")
            at, there = self._found((held[:, None] * n + held).ravel())
            if len(held) and there.all():
                matrix = self.values[at].reshape(len(held), len(held))
                least = float(np.linalg.eigvalsh(matrix)[0])
                if not least >= -_NOT_POSITIVE:
                    told.append(f"least eigenvalue {least:.3g}")
        return told


def not_correlated(table: pa.Table) -> dict[str, str]:
    """By ticker that goes with no other in some window: in which, and why."""
    own = table.filter(pc.equal(table["ticker"], table["other"]))
    found: dict[str, dict[str, list[str]]] = {}
    for row in own.filter(pc.is_valid(own["reason"])).to_pylist():
        found.setdefault(row["ticker"], {}).setdefault(row["reason"], []).append(row["window"])
    return {
        ticker: "; ".join(f"{', '.join(windows)}: {why}" for why, windows in told.items())
        for ticker, told in found.items()
    }


def wrong_weights(weights: pa.Table, summary: pa.Table) -> dict[str, str]:
    """By portfolio: what is wrong with its weights, by more than a proof allows.

    With its cash they sum to 1, and none is below 0 unless its gross exposure was limited, which
    they keep to. Summaries of before there was cash have none.
    """
    asked = {row["portfolio"]: row for row in summary.to_pylist()}
    problems: dict[str, str] = {}
    for name, part in weights.to_pandas().groupby("portfolio"):
        held, row = part["weight"].to_numpy(), asked.get(str(name), {})
        total, gross = float(held.sum()) + (row.get("cash") or 0.0), row.get("gross_exposure")
        wrong = [f"sum {total:.12g}"] if abs(total - 1) > FEASIBLE else []
        if gross is None and (held < -FEASIBLE).any():
            wrong.append(f"short by {-held.min():.12g}")
        if gross is not None and float(np.abs(held).sum()) > gross + FEASIBLE * max(1.0, gross):
            wrong.append(f"gross exposure {float(np.abs(held).sum()):.12g} of {gross:g}")
        if wrong:
            problems[str(name)] = ", ".join(wrong)
    return problems


def not_optimised(table: pa.Table) -> dict[str, str]:
    """By portfolio that has no proven answer: why."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return {row["portfolio"]: row["message"] for row in rows if not row["success"]}
