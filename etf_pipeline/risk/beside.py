"""What a benchmark holds beside a portfolio's own tickers, estimated together with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Beside:
    """K others beside N tickers, annualised as these are.

    Attributes:
        tickers: of the others.
        means: shape (K,).
        cross: covariances of the N tickers with the others, shape (N, K).
        covariance: of the others, shape (K, K).
    """

    tickers: tuple[str, ...]
    means: Floats
    cross: Floats
    covariance: Floats

    def joint(self, means: Floats, covariance: Floats) -> tuple[Floats, Floats]:
        """Means (N + K,) and covariance (N + K, N + K) of all, given those of the N.

        Positive semidefinite where these are at least what they were estimated as, which expected
        returns that add to a covariance keep to.
        """
        whole = np.block([[covariance, self.cross], [self.cross.T, self.covariance]])
        return np.concatenate([means, self.means]), whole


def cut(
    means: Floats, covariance: Floats, others: tuple[str, ...]
) -> tuple[Floats, Floats, Beside | None]:
    """Means and covariance of all as those of the first, and of the others beside them.

    Args:
        means: shape (N + K,).
        covariance: shape (N + K, N + K).
        others: the last K tickers.
    """
    if not others:
        return means, covariance, None
    n = len(means) - len(others)
    beside = Beside(others, means[n:], covariance[:n, n:], covariance[n:, n:])
    return means[:n], covariance[:n, :n], beside
