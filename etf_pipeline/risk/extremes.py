"""Correlation matrices too large to be kept: in blocks of rows, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import EtfError, ReasonCode

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]
ROWS = 512  # of a block
_DIGITS = 1e12  # correlations that differ by less than rounding are equal: names decide
_TOLERANCE = 1e-10
_TOGETHER = 1 << 20  # numbers; what is extreme of them is found with a dozen arrays of that size


class Block(NamedTuple):
    """Rows of a correlation matrix from the diagonal on: of assets `first`…, with `first`… to N."""

    first: int
    values: Floats

    @property
    def rows(self) -> slice:
        """Its rows in the whole matrix."""
        return slice(self.first, self.first + len(self.values))


def unit_rows(returns: Floats) -> Floats:
    """Returns less their mean, by their length, so that products are correlations; in place.

    Args:
        returns: shape (N, T), of which every row varies.
    """
    returns -= returns.mean(axis=1, keepdims=True)
    returns /= np.sqrt(np.einsum("ij,ij->i", returns, returns))[:, None]
    return returns


def blocks(unit: Floats, rows: int = ROWS) -> Iterator[Block]:
    """R = U·Uᵀ, the upper triangle, some rows at a time: never the whole matrix.

    Args:
        unit: U, shape (N, T), see `unit_rows`.
        rows: of a block.
    """
    for first in range(0, len(unit), rows):
        values = unit[first : first + rows] @ unit[first:].T
        np.clip(values, -1.0, 1.0, out=values)
        at = np.arange(len(values))
        square = values[:, : len(values)]
        # both halves of the square on the diagonal are the same numbers
        square[:] = np.triu(square) + np.triu(square, 1).T
        values[at, at] = 1.0
        yield Block(first, values)


def _slices(lines: int, width: int) -> Iterator[slice]:
    """Lines of so many numbers, some at a time."""
    step = max(1, _TOGETHER // max(width, 1))
    return (slice(first, first + step) for first in range(0, lines, step))


class Product:
    """Shows that what the blocks hold is U·Uᵀ, and so positive semidefinite.

    With v of random signs, R·v is summed up while the blocks go by, and compared with U·(Uᵀ·v),
    which costs next to nothing (Freivalds, 1977, "Probabilistic Machines Can Use Less Running
    Time"). A wrong number anywhere passes with a chance of a half at most for each v.
    """

    def __init__(self, unit: Floats, many: int = 4) -> None:
        """To be shown of `unit`, U, shape (N, T), with `many` vectors."""
        self._unit = unit
        self._signs = np.random.default_rng(7).choice([-1.0, 1.0], (len(unit), many))
        self._sum = np.zeros_like(self._signs)

    def add(self, block: Block) -> None:
        """Count a block and what it stands for below the diagonal."""
        below = block.first + len(block.values)
        right = block.values[:, len(block.values) :]
        self._sum[block.rows] += block.values @ self._signs[block.first :]
        self._sum[below:] += right.T @ self._signs[block.rows]

    def check(self) -> None:
        """Nothing, when all blocks have been added and are right.

        Raises:
            EtfError: they are not the correlations of the returns.
        """
        expected = self._unit @ (self._unit.T @ self._signs)
        off = np.abs(self._sum - expected).max(initial=0.0)
        if not off <= _TOLERANCE * max(len(self._unit), 1):
            raise EtfError(
                f"the blocks of a matrix of {len(self._unit)} correlations are not its returns' "
                f"products (off by {off:.3g}): memory or the BLAS library is at fault; "
                "correlations were not published, run `etf run` again",
                code=ReasonCode.OUR_MISTAKE,
            )


class Extremes:
    """The `k` greatest (or, with `sign` −1, least) numbers of each row, and whose they are.

    Of equal ones those of the first columns. Blocks are to be offered in order.
    """

    def __init__(self, n: int, k: int, sign: float = 1.0) -> None:
        """Of N = `n` rows."""
        self._k, self._sign = min(k, max(n - 1, 0)), sign
        self._values = np.full((n, self._k), -np.inf)
        self._others = np.full((n, self._k), -1, dtype=np.intp)

    def add(self, block: Block) -> None:
        """Take from a block what is extreme of its rows, and of its columns right of the square."""
        if self._k == 0:
            return
        rows = np.arange(block.first, block.first + len(block.values))
        for part in _slices(len(rows), block.values.shape[1]):
            values = block.values[part]
            own = self._better(rows[part], values, block.first)
            own[np.arange(len(values)), np.arange(len(rows))[part]] = False  # itself
            i, j = np.nonzero(own)
            self._take(rows[part][i], block.first + j, values[i, j])
        right = block.values[:, len(rows) :].T
        below = np.arange(block.first + len(rows), len(self._values))
        for part in _slices(len(below), len(rows)):
            j, i = np.nonzero(self._better(below[part], right[part], block.first))
            self._take(below[part][j], rows[i], right[part][j, i])

    def _better(self, rows: Positions, values: Floats, first: int) -> npt.NDArray[np.bool_]:
        """Which numbers come before the last that is kept of their row."""
        last = _key(self._values[rows].min(axis=1, initial=np.inf))
        bound = (last + 0.5) / _DIGITS
        return np.ascontiguousarray(
            values > bound[:, None] if self._sign > 0 else values < -bound[:, None]
        )

    def _take(self, rows: Positions, others: Positions, values: Floats) -> None:
        """Numbers (sorted by row, then column) beside those that are kept already."""
        lines, first, counts = np.unique(rows, return_index=True, return_counts=True)
        if not len(lines):
            return
        k, at = self._k, np.arange(len(rows)) - np.repeat(first, counts)
        line = np.repeat(np.arange(len(lines)), counts)
        wide = np.full((len(lines), k + int(counts.max())), -np.inf)
        names = np.full(wide.shape, -1, dtype=np.intp)
        wide[:, :k], names[:, :k] = self._values[lines], self._others[lines]
        wide[line, k + at], names[line, k + at] = self._sign * values, others
        keys = _key(wide)
        least = np.partition(keys, wide.shape[1] - k, axis=1)[:, wide.shape[1] - k, None]
        above, equal = keys > least, keys == least
        room = k - above.sum(axis=1, keepdims=True)
        kept = above | (equal & (np.cumsum(equal, axis=1) <= room))
        # Columns ascend from left to right, and stay so.
        self._values[lines] = wide[kept].reshape(-1, k)
        self._others[lines] = names[kept].reshape(-1, k)

    def ranked(self) -> tuple[Positions, Positions, Floats, npt.NDArray[np.int64]]:
        """Rows, columns, numbers and ranks from 1 on, of all that is kept."""
        order = np.argsort(-_key(self._values), axis=1, kind="stable")
        values = np.take_along_axis(self._values, order, axis=1)
        others = np.take_along_axis(self._others, order, axis=1)
        rows, at = np.nonzero(others >= 0)
        return rows, others[rows, at], self._sign * values[rows, at], at + 1


def _key(values: Floats) -> Floats:
    """What is compared: the number but for rounding."""
    return np.rint(values * _DIGITS)
