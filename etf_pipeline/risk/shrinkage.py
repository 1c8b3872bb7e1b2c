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
    """Drawn towards their average: μ̂ − α(μ̂ − b), b the average of the means.

    α = (Σλ − 2·λ₁) / (T·(μ̂ − b)'(μ̂ − b)) with the eigenvalues λ of the covariance, λ₁ the greatest,
    kept within 0 and 1: the positive part (James & Stein, 1961; for correlated assets as in
    Meucci, 2005, "Risk and Asset Allocation", 4.4). It is 0 where one factor carries more than
    half of all variance. Numbers of one unit of time: all a year, or all a period.

    Args:
        means: past means, shape (N,).
        covariance: of returns, shape (N, N), positive semidefinite; may be singular.
        years: T, what time the means are over.
    """
    target = float(means.mean())
    eigenvalues = np.linalg.eigvalsh(covariance)
    gain = float(eigenvalues.sum() - 2.0 * eigenvalues[-1])
    apart = float(((means - target) ** 2).sum())
    return _drawn(means, target, gain, years * apart)


def bayes_stein(means: Floats, covariance: Floats, years: float) -> Shrunk:
    """Drawn towards the mean of the portfolio of least variance (Jorion, 1986).

    μ̂ − φ(μ̂ − μ₀1) with μ₀ = 1'Σ⁻¹μ̂ / 1'Σ⁻¹1, φ = (N + 2)/(N + 2 + T·d'Σ⁻¹d) and d = μ̂ − μ₀1.
    Numbers of one unit of time. One ticker alone is its own target.

    Args:
        means: past means, shape (N,).
        covariance: Σ, shape (N, N), positive definite. Jorion scales the sample's covariance by
            (T − 1)/(T − N − 2), see `scaled`.
        years: T, what time the means are over.

    Raises:
        ValueError: the covariance is singular.
    """
    n = len(means)
    if n == 1:
        return Shrunk(means.copy(), float(means[0]), 0.0)
    deviations = np.sqrt(np.diag(covariance))
    if (deviations == 0).any():
        raise ValueError("the covariance is singular")
    values, vectors = np.linalg.eigh(covariance / np.outer(deviations, deviations))
    if values[0] <= _RANK * n * values[-1]:
        raise ValueError("the covariance is singular")
    ones = (vectors.T @ (1.0 / deviations)) / values
    inverse_ones = (vectors @ ones) / deviations
    target = float(inverse_ones @ means / inverse_ones.sum())
    d = vectors.T @ ((means - target) / deviations)
    apart = float((d**2 / values).sum())
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


def _drawn(means: Floats, target: float, gain: float, size: float) -> Shrunk:
    """By gain/size; means that are all the same stay what they are."""
    if not (means != means[0]).any():
        return Shrunk(means.copy(), target, 0.0)
    intensity = min(max(gain / size, 0.0), 1.0) if size > 0 else float(gain > 0)
    return Shrunk(means + intensity * (target - means), target, intensity)
