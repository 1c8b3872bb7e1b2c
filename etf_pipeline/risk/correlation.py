"""Correlation matrices: listwise (always positive semidefinite) or pairwise, on request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.spacing import is_long
from etf_pipeline.risk.returns import FLAT

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """A matrix and the observations behind each pair, both of shape (N, N).

    A pair that cannot be computed (no variance, fewer than two common observations) is NaN.
    """

    matrix: Floats
    n_obs: npt.NDArray[np.int64]

    @cached_property
    def least_eigenvalue(self) -> float | None:
        """Least eigenvalue; None when any pair is NaN.

        Below 0, the matrix is no correlation matrix and must not be optimised with.
        """
        if np.isnan(self.matrix).any():
            return None
        return float(np.linalg.eigvalsh(self.matrix)[0])


def listwise(returns: Floats) -> Correlation:
    """Every pair on the rows without any NaN.

    Args:
        returns: shape (T, N), NaN where missing.

    Raises:
        InsufficientDataError: fewer than two complete rows.
    """
    complete = returns[~np.isnan(returns).any(axis=1)]
    enough_rows(len(complete), len(returns))
    varies = np.ptp(complete, axis=0) > FLAT
    n = returns.shape[1]
    matrix = np.full((n, n), np.nan)
    if varies.any():
        found = np.atleast_2d(np.corrcoef(complete[:, varies], rowvar=False))
        matrix[np.ix_(varies, varies)] = np.clip(found, -1.0, 1.0)
    matrix[np.diag_indices(n)] = np.where(varies, 1.0, np.nan)
    return Correlation(matrix, np.full((n, n), len(complete)))


def enough_rows(complete: int, rows: int) -> None:
    """Nothing, where there are two returns of them all.

    Raises:
        InsufficientDataError: there are fewer.
    """
    if complete < 2:
        raise InsufficientDataError(
            f"{complete} of {rows} rows have every ticker; listwise correlation "
            "needs two: leave out a ticker, or ask for pairwise"
        )


def pairwise(returns: Floats) -> Correlation:
    """Each pair on its own common rows; the result need not be positive semidefinite."""
    n = returns.shape[1]
    there = ~np.isnan(returns)
    n_obs = there.astype("int64").T @ there.astype("int64")
    matrix = np.full((n, n), np.nan)
    for i in range(n):
        for j in range(i, n):
            both = there[:, i] & there[:, j]
            a, b = returns[both, i], returns[both, j]
            if len(a) >= 2 and np.ptp(a) > FLAT and np.ptp(b) > FLAT:
                value = 1.0 if i == j else float(np.clip(np.corrcoef(a, b)[0, 1], -1.0, 1.0))
                matrix[i, j] = matrix[j, i] = value
    return Correlation(matrix, n_obs)


def pairwise_of_prices(prices: Floats, days: npt.NDArray[np.datetime64]) -> Correlation:
    """Each pair on the dates that both have a price, so that both returns span the same days.

    Returns over holes of those dates are left out, see `together.Regular`.

    Args:
        prices: shape (T+1, N), NaN where missing. The result need not be positive semidefinite.
        days: of the prices, ascending, shape (T+1,).
    """
    n = prices.shape[1]
    there = ~np.isnan(prices)
    matrix, n_obs = np.full((n, n), np.nan), np.zeros((n, n), dtype="int64")
    for i in range(n):
        for j in range(i, n):
            at = there[:, i] & there[:, j]
            both = prices[at][:, [i, j]]
            found = pairwise((both[1:] / both[:-1] - 1.0)[~is_long(days[at])])
            matrix[i, j] = matrix[j, i] = found.matrix[0, 1]
            n_obs[i, j] = n_obs[j, i] = found.n_obs[0, 1]
    return Correlation(matrix, n_obs)


def distance(matrix: Floats) -> Floats:
    """√((1 − ρ)/2), shape (N, N): 0 for assets that move together, 1 for opposite ones.

    López de Prado, 2016, "Building Diversified Portfolios that Outperform Out-of-Sample".
    """
    found = np.sqrt(np.clip((1.0 - matrix) / 2.0, 0.0, None))
    np.fill_diagonal(found, 0.0)
    return found
