"""Hierarchical risk parity: weights by recursive bisection of a correlation tree, within bounds.

López de Prado, 2016, "Building Diversified Portfolios that Outperform Out-of-Sample"; bounds as in
Pfitzinger & Katzke, 2019, "A Constrained Hierarchical Risk Parity Algorithm with Cluster-based
Capital Allocation". The paper leaves open in which order assets enter the tree, though weights
depend on it, as a list is cut in the middle: here by variance, then by correlations, so that
neither names nor the order of a request matter; names tell apart only what these cannot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from etf_pipeline.model.objectives import never_whole
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.inside import whole
from etf_pipeline.risk.correlation import distance
from etf_pipeline.risk.covariance import correlation_of

# Correlations, distances and logarithms of variances closer than this differ by rounding only.
_ROUNDING = 1e-12
# Part of the greatest variance that is none; of a deviation it is the square root.
_FLAT = 1e-24

CANCELLED = (
    "some assets cancel out each other's risk, so none can be shared by it; leave one of them out, "
    "or shrink the covariance"
)
Indices = npt.NDArray[np.intp]


def hierarchical_risk_parity(
    covariance: Floats,
    names: tuple[str, ...],
    lower: Floats | None = None,
    upper: Floats | None = None,
) -> Floats:
    """Weights by recursive bisection of a correlation tree, shape (N,).

    Distance √((1 − ρ)/2), Euclidean distance between its columns, single linkage, inverse-variance
    split. With bounds, a part gets no less and no more than its assets may have together.

    Args:
        covariance: shape (N, N), any unit.
        names: N distinct names.
        lower: least weights, shape (N,); 0 where negative, as nothing is sold short. None for 0.
        upper: greatest weights, shape (N,); None for 1.

    Raises:
        ValueError: an asset has no variance, or the bounds allow no sum of 1.
    """
    n = len(names)
    low = np.zeros(n) if lower is None else np.maximum(lower, 0.0)
    high = np.ones(n) if upper is None else np.minimum(upper, 1.0)
    if problem := never_whole(float(low.sum()), float(high.sum())):
        raise ValueError(problem)
    if flat := without_variance(covariance, names):
        raise ValueError(f"without variance there is no correlation; leave out {flat}")
    correlation = _snapped(np.clip(correlation_of(covariance), -1.0, 1.0))
    entering = _entering(np.diag(covariance), correlation, names)
    placed = entering[_leaves(correlation[np.ix_(entering, entering)])]
    found = np.empty(n)
    found[placed] = bisected(covariance[np.ix_(placed, placed)], low[placed], high[placed])
    return whole(found, low, high)


def without_variance(covariance: Floats, names: tuple[str, ...]) -> str:
    """Names of assets whose prices do not move, in words; empty when there are none."""
    variances = np.diag(covariance)
    flat = variances <= _FLAT * max(float(variances.max()), 0.0)
    return ", ".join(name for name, still in zip(names, flat, strict=True) if still)


def _snapped(values: Floats) -> Floats:
    """Values in which those that differ by rounding only are equal, of the same shape.

    In descending order, a value within 1e-12 of the one before it is the same as that.
    """
    flat = values.ravel()
    order = np.argsort(-flat, kind="stable")
    descending = flat[order]
    first = np.r_[True, np.diff(descending) < -_ROUNDING]
    found = np.empty_like(flat)
    found[order] = descending[np.flatnonzero(first)][np.cumsum(first) - 1]
    return found.reshape(values.shape)


def _entering(variances: Floats, correlation: Floats, names: tuple[str, ...]) -> Indices:
    """The order in which assets enter the tree, shape (N,): by variance, correlations, name."""
    keys: list[Any] = [np.array(names), *np.sort(correlation, axis=1).T]
    keys.append(_snapped(np.log(variances)))
    return np.lexsort(keys)


def _leaves(correlation: Floats) -> Indices:
    """Assets in the order of the tree's leaves, shape (N,)."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import pdist

    if len(correlation) == 1:
        return np.zeros(1, dtype="intp")
    between = _snapped(pdist(distance(correlation)))
    return np.asarray(leaves_list(linkage(between, "single")), dtype="intp")


def bisected(sigma: Floats, low: Floats, high: Floats) -> Floats:
    """Weights of assets in the order of the tree's leaves, halving their list until each is alone.

    All of the arguments are in that order; the bounds allow a sum of 1.

    Raises:
        ValueError: both halves of a part are without risk, so that nothing says how to split it.
    """
    n = len(sigma)
    least, most = np.r_[0.0, np.cumsum(low)], np.r_[0.0, np.cumsum(high)]
    weights = np.empty(n)
    parts = [(0, n, 1.0)]
    while parts:
        start, end, share = parts.pop()
        if end - start == 1:
            weights[start] = share
            continue
        middle = start + (end - start) // 2
        left, right = _risk(sigma[start:middle, start:middle]), _risk(sigma[middle:end, middle:end])
        if left + right == 0.0:
            raise ValueError(CANCELLED)
        # What is left over must suit the other part as well.
        floor = max(least[middle] - least[start], share - (most[end] - most[middle]))
        ceiling = min(most[middle] - most[start], share - (least[end] - least[middle]))
        given = min(max(share * right / (left + right), floor), ceiling)
        parts += [(start, middle, given), (middle, end, share - given)]
    return weights


def _risk(block: Floats) -> float:
    """Variance of the inverse-variance portfolio of a part; 0 where rounding is all there is."""
    inverse = 1.0 / np.diag(block)
    weights = inverse / inverse.sum()
    variance = float(weights @ block @ weights)
    together = float(weights @ np.sqrt(np.diag(block))) ** 2
    return variance if variance > _ROUNDING * together else 0.0
