"""From a benchmark's weights by ticker to what a problem measures active risk against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from etf_pipeline.model.objectives import strangers
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.problem import Benchmark
from etf_pipeline.risk.estimates import Estimates


def benchmark_of(
    weights: Mapping[str, float], tickers: Sequence[str], estimates: Estimates
) -> Floats | Benchmark | None:
    """A vector over the tickers, or covariances with a benchmark that holds others too.

    Args:
        weights: by ticker; none stand for no benchmark.
        tickers: the portfolio's, N of them.
        estimates: over the tickers in their order, with the benchmark's others beside them.

    Raises:
        ValueError: nothing was estimated of a ticker that the benchmark holds.
    """
    if not weights:
        return None
    beside = estimates.beside
    others = () if beside is None else beside.tickers
    if unknown := strangers((t for t, w in weights.items() if w), (*tickers, *others)):
        raise ValueError(f"benchmark: there are no estimates of {', '.join(unknown)}")
    inside = np.array([weights.get(t, 0.0) for t in tickers])
    if beside is None or not any(weights.get(t) for t in others):
        return inside
    held = np.concatenate([inside, [weights.get(t, 0.0) for t in others]])
    means, covariance = beside.joint(estimates.means, estimates.covariance)
    along, n = covariance @ held, len(tickers)
    return Benchmark(along[:n], float(held @ along), float(means @ held))
