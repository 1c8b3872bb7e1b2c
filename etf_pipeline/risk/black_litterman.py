"""Returns that a market in equilibrium implies, and views on them (Black & Litterman, 1992)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# Parts of the whole below these are rounding: of a variance, and of a return.
_RANK, _ROUNDING = 1e-12, 1e-9


class ContradictionError(ValueError):
    """Views that no returns meet; `views` are their positions.

    They are certain and cannot all be true, or, where `riskless`, each is on what has no risk: what
    that earns is known, and the view says otherwise.
    """

    def __init__(self, views: list[int], *, riskless: bool) -> None:
        why = "are on what has no risk" if riskless else "contradict each other"
        super().__init__(f"views {', '.join(map(str, views))} {why}")
        self.views, self.riskless = views, riskless


@dataclass(frozen=True)
class Posterior:
    """Means (N,), and the covariance of their errors M (N, N), both in the unit of the inputs."""

    means: Floats
    uncertainty: Floats


def equilibrium(
    covariance: Floats, weights: Floats, risk_aversion: float, risk_free_rate: float
) -> Floats:
    """Π = rf + δ·Σw, shape (N,): the returns for which the market's investor holds the market.

    Reverse optimisation (Sharpe, 1974; He & Litterman, 1999, with rf = 0 for excess returns).

    Args:
        covariance: Σ a year, shape (N, N).
        weights: of the market, shape (N,), summing to 1.
        risk_aversion: δ.
        risk_free_rate: a year.
    """
    return np.asarray(risk_free_rate + risk_aversion * (covariance @ weights))


def market_risk_aversion(
    means: Floats, covariance: Floats, weights: Floats, risk_free_rate: float
) -> float:
    """δ = (w'μ̂ − rf)/w'Σw: the market's own Sharpe ratio over its volatility.

    Raises:
        ValueError: the market had no risk, or earned no more than the risk-free rate.
    """
    variance = float(weights @ covariance @ weights)
    excess = float(weights @ means) - risk_free_rate
    if variance <= 0 or excess <= 0:
        raise ValueError(
            f"the market earned {excess:.2%} a year over the risk-free rate with a volatility of "
            f"{max(variance, 0.0) ** 0.5:.2%}, from which no risk aversion follows"
        )
    return excess / variance


def idzorek(picks: Floats, covariance: Floats, tau: float, confidences: Floats) -> Floats:
    """ω of views by confidence, shape (K,): τ·pΣp'·(1 − c)/c; infinite for a confidence of 0.

    It is the variance by which the view, on its own, moves the unconstrained weights by c of what a
    certain one would (Idzorek, 2005; in closed form Walters, 2014, "The Black–Litterman Model in
    Detail"). With c = ½ it is He & Litterman's τ·pΣp'.

    Args:
        picks: P, shape (K, N).
        covariance: Σ, shape (N, N).
        tau: τ.
        confidences: c, from 0 to 1, shape (K,).
    """
    prior = tau * _variances(picks, covariance)
    odds = np.full(len(picks), np.inf)
    with np.errstate(over="ignore"):  # a confidence next to nothing is none
        np.divide(1.0 - confidences, confidences, out=odds, where=confidences > 0)
    certain = np.where(odds < np.inf, prior, 1.0)
    return np.asarray(certain * odds)


def black_litterman(
    prior: Floats,
    covariance: Floats,
    tau: float,
    picks: Floats,
    returns: Floats,
    variances: Floats,
) -> Posterior:
    """μ = Π + τΣP'(PτΣP' + Ω)⁻¹(Q − PΠ) and M = τΣ − τΣP'(PτΣP' + Ω)⁻¹PτΣ.

    He & Litterman, 1999, in the form that inverts neither Σ nor Ω, so that either may be singular.
    A view of variance 0 holds exactly; one of infinite variance says nothing. Views that disagree
    are weighed by their variances, unless they are certain.

    Args:
        prior: Π, shape (N,).
        covariance: Σ, shape (N, N), positive semidefinite.
        tau: τ.
        picks: P, shape (K, N).
        returns: Q, shape (K,), of the kind of Π: all in excess of the risk-free rate, or none.
        variances: the diagonal of Ω, shape (K,).

    Raises:
        ContradictionError: certain views that no returns meet, or on what has no risk.
    """
    spread = tau * covariance
    heard = np.flatnonzero(np.isfinite(variances))
    p, q = picks[heard], returns[heard]
    total = p @ spread @ p.T + np.diag(variances[heard])
    surprise = q - p @ prior
    size = np.abs(q) + np.abs(p) @ np.abs(prior)
    terms = tau * _scales(p, covariance) + variances[heard]
    still = np.diag(total) <= _RANK * terms
    if (wrong := still & (np.abs(surprise) > _ROUNDING * size)).any():
        raise ContradictionError(heard[wrong].tolist(), riskless=True)
    moving = np.flatnonzero(~still)
    scale = np.sqrt(np.diag(total)[moving])
    values, vectors = np.linalg.eigh(total[np.ix_(moving, moving)] / np.outer(scale, scale))
    along = vectors.T @ (surprise[moving] / scale)
    real = values > _RANK * len(moving) * values.max(initial=0.0)
    allowed = _ROUNDING * (np.abs(vectors).T @ (size[moving] / scale))
    if (broken := ~real & (np.abs(along) > allowed)).any():
        involved = (np.abs(vectors[:, broken]) > _ROUNDING).any(axis=1)
        raise ContradictionError(heard[moving][involved].tolist(), riskless=False)
    heard, p = heard[moving], p[moving]
    inverse = (vectors[:, real] / values[real]) @ vectors[:, real].T / np.outer(scale, scale)
    gain = spread @ p.T @ inverse
    # M in the form of Joseph, which rounding cannot make indefinite
    left = spread - gain @ (p @ spread)
    kept = left - (left @ p.T) @ gain.T
    uncertainty = kept + (gain * variances[heard]) @ gain.T
    pull = (vectors[:, real] @ (along[real] / values[real])) / scale
    means = prior + spread @ (pull @ p)
    return Posterior(means, (uncertainty + uncertainty.T) / 2.0)


def _variances(picks: Floats, covariance: Floats) -> Floats:
    """pΣp' of each view, shape (K,); 0 where it is rounding."""
    found = ((picks @ covariance) * picks).sum(axis=1)
    return np.where(found <= _RANK * _scales(picks, covariance), 0.0, found)


def _scales(picks: Floats, covariance: Floats) -> Floats:
    """The size of the terms that pΣp' is a sum of, shape (K,)."""
    return np.asarray((np.abs(picks) @ np.sqrt(np.diag(covariance))) ** 2)
