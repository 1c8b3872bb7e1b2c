"""Portfolios from risk alone: equal risk contribution, and hierarchical risk parity."""

from __future__ import annotations

import numpy as np

from etf_pipeline.portfolio.problem import Floats
from etf_pipeline.risk.correlation import distance
from etf_pipeline.risk.covariance import correlation_of

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


def hierarchical_risk_parity(covariance: Floats, names: tuple[str, ...]) -> Floats:
    """Weights by recursive bisection of a correlation tree, shape (N,).

    López de Prado, 2016, "Building Diversified Portfolios that Outperform Out-of-Sample": distance
    √((1 − ρ)/2), single linkage, inverse-variance split. Assets enter the tree by name, so that
    the order of the request does not matter.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    n = len(covariance)
    if n == 1:
        return np.ones(1)
    by_name = np.argsort(np.array(names))
    sigma = covariance[np.ix_(by_name, by_name)]
    if np.any(np.diag(sigma) <= 0):
        raise ValueError("an asset without variance has no correlation; leave it out")
    apart = distance(np.clip(correlation_of(sigma), -1.0, 1.0))
    # The paper's metric: Euclidean distance between columns of the distance matrix.
    between = np.sqrt(np.maximum(((apart[:, :, None] - apart[:, None, :]) ** 2).sum(axis=0), 0.0))
    np.fill_diagonal(between, 0.0)
    order = leaves_list(linkage(squareform((between + between.T) / 2.0, checks=False), "single"))
    weights = np.ones(n)
    clusters = [[int(i) for i in order]]
    while clusters:
        cluster = clusters.pop()
        if len(cluster) < 2:
            continue
        left, right = cluster[: len(cluster) // 2], cluster[len(cluster) // 2 :]
        risks = [_inverse_variance_risk(sigma, part) for part in (left, right)]
        share = 1.0 - risks[0] / (risks[0] + risks[1])
        weights[left] *= share
        weights[right] *= 1.0 - share
        clusters += [left, right]
    placed = np.empty(n)
    placed[by_name] = weights
    return placed


def _inverse_variance_risk(sigma: Floats, part: list[int]) -> float:
    block = sigma[np.ix_(part, part)]
    inverse = 1.0 / np.diag(block)
    weights = inverse / inverse.sum()
    return float(weights @ block @ weights)
