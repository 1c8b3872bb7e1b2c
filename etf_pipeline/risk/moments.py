"""Moments of returns: what volatility, ratios and the shape of a distribution are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.risk.returns import FLAT

Floats = npt.NDArray[np.float64]
FOR_KURTOSIS = 4  # returns


@dataclass(frozen=True)
class Moments:
    """Moments of returns about their mean.

    Attributes:
        n: how many returns.
        mean: of them.
        deviation: with ddof 1; None for fewer than two.
        varies: whether they do.
        standard: mean third and fourth power of (r − mean)/σ, σ with ddof 0; None where σ is 0.
    """

    n: int
    mean: float
    deviation: float | None = None
    varies: bool = False
    standard: tuple[float, float] | None = None

    def shape(self) -> tuple[float | None, float | None]:
        """Skewness and excess kurtosis, see `metrics.shape`."""
        n = self.n
        if not self.varies or self.standard is None or n < FOR_KURTOSIS - 1:
            return None, None
        third, fourth = self.standard
        skewness = math.sqrt(n * (n - 1)) / (n - 2) * third
        if n < FOR_KURTOSIS:
            return skewness, None
        return skewness, (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (fourth - 3.0) + 6.0)


def moments_of(returns: Floats) -> Moments:
    """Those of returns, shape (n,)."""
    n = len(returns)
    if n < 2:
        return Moments(n, float(returns.mean()) if n else 0.0)
    mean = returns.mean()
    off = returns - mean
    squares = off * off
    total = float(squares.sum())
    deviation, standard = math.sqrt(total / (n - 1)), None
    if total > 0:
        # by the largest, as fourth powers of the returns of cash would have no digits left
        unit = float(squares.max())
        squares, off, scale = squares / unit, off / math.sqrt(unit), total / unit / n
        third, fourth = float(squares @ off) / n, float(squares @ squares) / n
        standard = third / scale**1.5, fourth / scale**2
    return Moments(n, float(mean), deviation, float(np.ptp(returns)) > FLAT, standard)
