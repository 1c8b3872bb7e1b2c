"""Covariance estimators. Input: returns of shape (T, N); output (N, N) per period, ddof 1 scale."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.objectives import HALFLIFE

Floats = npt.NDArray[np.float64]
ESTIMATORS = ("sample", "ledoit_wolf", "ewma")


def covariance(returns: Floats, estimator: str = "sample", halflife: float = HALFLIFE) -> Floats:
    """Covariance by name: `sample`, `ledoit_wolf` or `ewma`.

    Raises:
        InsufficientDataError: fewer than two observations.
        ValueError: no such estimator.
    """
    if len(returns) < 2:
        raise InsufficientDataError(f"{len(returns)} returns are too few for a covariance")
    if estimator == "sample":
        return sample_covariance(returns)
    if estimator == "ledoit_wolf":
        return ledoit_wolf(returns)
    if estimator == "ewma":
        return ewma_covariance(returns, halflife)
    raise ValueError(f"estimator {estimator!r}: must be one of {', '.join(ESTIMATORS)}")


def variances(returns: Floats, estimator: str = "sample", halflife: float = HALFLIFE) -> Floats:
    """Each asset's variance by itself, as `covariance` has it of one asset; shape (N,).

    That of Ledoit and Wolf is the sample's then.

    Raises:
        InsufficientDataError: fewer than two observations.
        ValueError: no such estimator, or `halflife` is not positive.
    """
    if len(returns) < 2:
        raise InsufficientDataError(f"{len(returns)} returns are too few for a variance")
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator {estimator!r}: must be one of {', '.join(ESTIMATORS)}")
    if estimator != "ewma":
        return np.asarray(by_asset(returns).var(axis=1, ddof=1))
    weights, rows = _by_age(len(returns), halflife), by_asset(returns)
    x = rows - (rows * weights).sum(axis=1, keepdims=True)
    return np.asarray((x**2 * weights).sum(axis=1) / (1.0 - float(weights @ weights)))


def by_asset(returns: Floats) -> Floats:
    """Returns of shape (T, N) as (N, T), each asset's in one piece.

    A sum over each row then is the same to the last bit, whatever the other rows are.
    """
    return np.ascontiguousarray(returns.T)


def sample_covariance(returns: Floats) -> Floats:
    """(1/(T − 1)) Σ (r_t − r̄)(r_t − r̄)', shape (N, N), per period."""
    return np.atleast_2d(np.cov(returns, rowvar=False, ddof=1))


def ledoit_wolf(returns: Floats) -> Floats:
    """Shrinkage towards a multiple of the identity, with the optimal intensity.

    Ledoit & Wolf, 2004, "A well-conditioned estimator for large-dimensional covariance matrices".
    The paper's estimator has the scale 1/T; it is multiplied by T/(T − 1), so that its trace is
    the sample covariance's.
    """
    t, n = returns.shape
    x = returns - returns.mean(axis=0)
    sample = x.T @ x / t
    target = float(np.trace(sample)) / n
    distance = float(((sample - target * np.eye(n)) ** 2).sum()) / n
    # Σ_t ‖x_t x_t' − S‖² = Σ_t (x_t'x_t)² − T ‖S‖²
    spread = float(((x**2).sum(axis=1) ** 2).sum()) / t**2 - float((sample**2).sum()) / t
    intensity = min(spread / n / distance, 1.0) if distance > 0 else 1.0
    shrunk = (1.0 - intensity) * sample + intensity * target * np.eye(n)
    return shrunk * t / (t - 1)


def ewma_covariance(returns: Floats, halflife: float = HALFLIFE) -> Floats:
    """Exponentially weighted, weight ½ for an observation `halflife` periods ago.

    Weighted means are taken out, and Σ w = 1 is corrected by 1/(1 − Σ w²), as for reliability
    weights, so that equal weights give the sample covariance (J.P. Morgan, 1996, "RiskMetrics
    Technical Document", for the weights).

    Raises:
        ValueError: `halflife` is not positive.
    """
    weights = _by_age(len(returns), halflife)
    x = returns - weights @ returns
    return np.atleast_2d((x * weights[:, None]).T @ x) / (1.0 - float(weights @ weights))


def _by_age(n: int, halflife: float) -> Floats:
    """Weights of n observations, the newest last; they sum to 1.

    Raises:
        ValueError: `halflife` is not positive, or so short that one observation has all weight.
    """
    if halflife <= 0:
        raise ValueError(f"halflife {halflife:g} must be positive")
    weights = 0.5 ** (np.arange(n)[::-1] / halflife)
    weights /= weights.sum()
    if float(weights @ weights) >= 1.0:
        raise ValueError(f"halflife {halflife:g} leaves one observation, which has no variance")
    return np.asarray(weights)


def correlation_of(matrix: Floats) -> Floats:
    """Σ_ij / (σ_i σ_j), shape (N, N); 0 where an asset has no variance."""
    deviations = np.sqrt(np.diag(matrix))
    scale = np.outer(deviations, deviations)
    return np.divide(matrix, scale, out=np.zeros_like(scale), where=scale > 0)


def risk_contributions(weights: Floats, matrix: Floats) -> Floats:
    """Each asset's share of the variance, w_i (Σw)_i / w'Σw, shape (N,); they sum to 1."""
    marginal = matrix @ weights
    return weights * marginal / float(weights @ marginal)
