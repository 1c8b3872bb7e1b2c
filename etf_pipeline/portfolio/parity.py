"""Portfolios from risk alone: equal risk contribution. See `hrp` for the hierarchical one."""

from __future__ import annotations

import numpy as np

from etf_pipeline.portfolio.hrp import hierarchical_risk_parity
from etf_pipeline.portfolio.problem import Floats
from etf_pipeline.risk.covariance import correlation_of

__all__ = ["equal_risk_contribution", "hierarchical_risk_parity"]
_STEPS = 200


def equal_risk_contribution(covariance: Floats) -> Floats:
    """Long-only weights whose risk contributions are equal, shape (N,).

    The unique minimum of x'Σx/2 − Σ ln(x_i)/N, scaled to sum 1, by damped Newton steps (Spinu,
    2013, "An Algorithm for Computing Risk Parity Weights").

    Raises:
        ValueError: an asset has no variance, so it cannot carry its share of the risk.
    """
    deviations = np.sqrt(np.diag(covariance))
    if np.any(deviations <= 0):
        raise ValueError("an asset without variance cannot contribute risk; leave it out")
    n = len(covariance)
    # Solved for correlations, so that units do not matter.
    correlation = correlation_of(covariance)
    share = 1.0 / n
    x = np.full(n, 1.0 / np.sqrt(max(float(correlation.sum()), 1e-12)))
    for _ in range(_STEPS):
        gradient = correlation @ x - share / x
        hessian = correlation + np.diag(share / x**2)
        step = np.linalg.solve(hessian, gradient)
        decrement = float(gradient @ step)
        if decrement < 1e-28:
            break
        # A full step inside the region where Newton converges, a damped one outside it.
        scale = float(np.max(np.abs(step / x)))
        x = x - step / (1.0 + scale) if scale > 0.25 else x - step
    weights = x / deviations
    return weights / weights.sum()
