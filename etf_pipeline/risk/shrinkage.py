"""Shrunk means: past means drawn towards one value, by how little they can be told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# Eigenvalues below this part of the greatest are rounding.
_RANK = 1e-12


@dataclass(frozen=True)
class Shrunk:
    """Means (N,), the value that they were drawn towards, and how far: from 0 to 1, all the way."""

    means: Floats
    target: float
    intensity: float


def james_stein(means: Floats, covariance: Floats, years: float) -> Shrunk:
    """Drawn towards their average (James & Stein, 1961, in the form of Jorion, 1986).

    μ̂ − α(μ̂ − b1) with the average b, α = (N − 2)/(T·d'Σ⁻¹d) kept within 0 and 1, and d = μ̂ − b1;
    nothing for fewer than three tickers. Distances are by Σ⁻¹, so that tickers of one market are
    shrunk too: where they are plain (Meucci, 2005) nothing is, once one factor carries more than
    half of all variance. Numbers of one unit of time: all a year, or all a period.

    Args:
        means: past means, shape (N,).
        covariance: Σ, shape (N, N), positive definite; of a sample as `scaled` has it.
        years: T, what time the means are over.

    Raises:
        ValueError: the covariance is singular.
    """
    target = float(means.mean())
    if len(means) < 3:
        return Shrunk(means.copy(), target, 0.0)
    d = means - target
    apart = float(d @ _Inverse.of(covariance).times(d))
    return _drawn(means, target, len(means) - 2.0, years * apart)


def bayes_stein(means: Floats, covariance: Floats, years: float) -> Shrunk:
    """Drawn towards the mean of the portfolio of least variance (Jorion, 1986).

    μ̂ − φ(μ̂ − μ₀1) with μ₀ = 1'Σ⁻¹μ̂ / 1'Σ⁻¹1, φ = (N + 2)/(N + 2 + T·d'Σ⁻¹d) and d = μ̂ − μ₀1.
    Numbers of one unit of time. One ticker alone is its own target.

    Args:
        means: past means, shape (N,).
        covariance: Σ, shape (N, N), positive definite; of a sample as `scaled` has it.
        years: T, what time the means are over.

    Raises:
        ValueError: the covariance is singular.
    """
    n = len(means)
    if n == 1:
        return Shrunk(means.copy(), float(means[0]), 0.0)
    inverse = _Inverse.of(covariance)
    ones = inverse.times(np.ones(n))
    target = float(ones @ means / ones.sum())
    d = means - target
    apart = float(d @ inverse.times(d))
    return _drawn(means, target, n + 2.0, years * apart + n + 2.0)


def scaled(covariance: Floats, n_obs: int) -> Floats:
    """Σ of Jorion (1986): the sample's times (T − 1)/(T − N − 2), whose inverse has no bias.

    Raises:
        ValueError: there are too few observations for it.
    """
    n = len(covariance)
    if n_obs <= n + 2:
        raise ValueError(f"{n_obs} returns of {n} tickers are too few")
    return covariance * ((n_obs - 1) / (n_obs - n - 2))


@dataclass(frozen=True)
class _Inverse:
    """Σ⁻¹ by the deviations and the eigenvectors of the correlations, which units do not touch."""

    deviations: Floats
    values: Floats
    vectors: Floats

    @classmethod
    def of(cls, covariance: Floats) -> _Inverse:
        deviations = np.sqrt(np.diag(covariance))
        if not (deviations == 0).any():
            values, vectors = np.linalg.eigh(covariance / np.outer(deviations, deviations))
            if values[0] > _RANK * len(values) * values[-1]:
                return cls(deviations, values, vectors)
        raise ValueError("the covariance is singular")

    def times(self, vector: Floats) -> Floats:
        along = self.vectors.T @ (vector / self.deviations) / self.values
        return np.asarray((self.vectors @ along) / self.deviations)


def _drawn(means: Floats, target: float, gain: float, size: float) -> Shrunk:
    """By gain/size; means that are all the same stay what they are."""
    if not (means != means[0]).any():
        return Shrunk(means.copy(), target, 0.0)
    intensity = min(max(gain / size, 0.0), 1.0) if size > 0 else float(gain > 0)
    return Shrunk(means + intensity * (target - means), target, intensity)
