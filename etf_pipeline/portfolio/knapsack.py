"""Least of a separable, piecewise linear function over bounds and a range of the sum: exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from etf_pipeline.portfolio.functions import Floats, Kink


def lowest(
    low: Floats,
    high: Floats,
    total: tuple[float, float],
    slope: Floats,
    kinks: Sequence[Kink] = (),
) -> Floats:
    """Weights (N,) of least slope'x + kinks within bounds and with Σ x within `total`.

    Each asset's cost is convex and piecewise linear, so the cheapest pieces are taken first
    (Dantzig, 1957, "Discrete-variable extremum problems", on the continuous knapsack). Equal
    pieces go by position.
    """
    n = len(low)
    centres = [np.clip(k.centre, low, high) for k in kinks if k.rate]
    points = np.sort(np.vstack([low, *centres, high]), axis=0)
    lengths = np.diff(points, axis=0)
    middles = (points[1:] + points[:-1]) / 2.0
    prices = np.broadcast_to(slope, lengths.shape).copy()
    for kink in kinks:
        prices += kink.rate * np.sign(middles - kink.centre)
    order = np.argsort(prices, axis=None, kind="stable")
    sizes, costs = lengths.ravel()[order], prices.ravel()[order]
    started = float(low.sum())
    before = np.concatenate([[0.0], np.cumsum(sizes)[:-1]])
    needed, most = total[0] - started, total[1] - started
    taken = np.clip(np.where(costs < 0, most, needed) - before, 0.0, sizes)
    pieces = np.empty(lengths.size)
    pieces[order] = taken
    return low + pieces.reshape(lengths.shape).sum(axis=0) if n else low


def filled(low: Floats, high: Floats, gradient: Floats) -> Floats:
    """Full investment within bounds that gives the best assets as much as they may have (N,)."""
    return lowest(low, high, (1.0, 1.0), -gradient)
