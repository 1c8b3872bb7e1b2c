"""The stationary bootstrap: other histories that might have been, in blocks of the one there is.

Politis & Romano, 1994, "The Stationary Bootstrap". Blocks keep what returns of neighbouring days
have to do with each other; their lengths are geometric, and a block that runs over the end goes on
at the beginning, so that every day is drawn as often as any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from etf_pipeline.risk.returns import FLAT
from etf_pipeline.risk.sample import Sample

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]
_FEWEST_LAGS = 5
_BAND = 2.0  # standard errors that an autocorrelation is small within


def stationary_draws(n: int, length: float, seed: int) -> Iterator[Positions]:
    """Positions 0 … n − 1 in blocks, shape (n,) each, without end.

    Args:
        n: how many positions there are.
        length: mean length of the blocks, at least 1; 1 draws each position by itself.
        seed: equal seeds give equal draws, of which fewer are the first ones of more.

    Raises:
        ValueError: there are no positions, or the length is under 1.
    """
    if n < 1 or not 1 <= length < math.inf:
        raise ValueError(f"blocks of mean length {length:g} of {n}: both must be 1 or more")
    generator = np.random.default_rng(seed)
    steps = np.arange(n)
    while True:
        begins = generator.random(n) < 1.0 / length
        begins[0] = True
        firsts = generator.integers(0, n, n)
        since = np.maximum.accumulate(np.where(begins, steps, 0))
        yield (firsts[since] + steps - since) % n


def block_length(series: Floats) -> float:
    """The mean length of blocks that estimates the error of a mean best, at least 1.

    (2 G²/D)^(1/3) · n^(1/3) with D = 2 g(0)², where g(0) is the long-run variance and G the
    autocovariances weighted by their lags, by a flat-top window (Politis & White, 2004, "Automatic
    Block-Length Selection for the Dependent Bootstrap", with the correction of Patton, Politis &
    White, 2009). At most 3√n and n/3.

    Args:
        series: shape (n,), in order of time.
    """
    n = len(series)
    if n < 3 or float(np.ptp(series)) <= FLAT * float(np.abs(series).max()):
        return 1.0
    x = series - series.mean()
    most = min(math.ceil(math.sqrt(n)) + max(_FEWEST_LAGS, int(math.log10(n))), n - 1)
    covariances = np.array([float(x[k:] @ x[: n - k]) / n for k in range(most + 1)])
    lags = _lags(covariances / covariances[0], n, most)
    k = np.arange(1, lags + 1)
    taper = np.where(k <= lags / 2, 1.0, 2.0 * (1.0 - k / lags))
    weighted = 2.0 * taper * covariances[1 : lags + 1]
    long_run = covariances[0] + float(weighted.sum())
    if long_run <= 0:
        return 1.0
    found = (abs(float((k * weighted).sum())) / long_run) ** (2 / 3) * n ** (1 / 3)
    return min(max(found, 1.0), max(3.0 * math.sqrt(n), 1.0), max(n / 3.0, 1.0))


def _lags(correlations: Floats, n: int, most: int) -> int:
    """Twice the first lag after which several autocorrelations in a row are small."""
    row = max(_FEWEST_LAGS, int(math.log10(n)))
    small = np.abs(correlations[1:]) < _BAND * math.sqrt(math.log10(n) / n)
    for lag in range(max(len(small) - row + 1, 0)):
        if small[lag : lag + row].all():
            return min(2 * max(lag, 1), most)
    return most


def length_for(sample: Sample) -> float:
    """The mean length of blocks for a sample, in its days, whatever the order of its tickers.

    For each ticker the longer one of those for its returns and for their squares, as returns
    hardly go with those before them but their size does; then the median of the tickers'. A bar of
    a ticker counts for as many days as the sample has for each of its bars, while it has any.
    """
    found = []
    for own in sample.own:
        mine = own.timed.days
        within = np.searchsorted(sample.days, mine[-1:], "right") - np.searchsorted(
            sample.days, mine[:1]
        )
        per_bar = float(within.sum()) / max(len(mine), 1)
        for returns in own.timed.returns.T:
            squares = (returns - returns.mean()) ** 2
            found.append(max(block_length(returns), block_length(squares)) * per_bar)
    return min(max(float(np.median(found)), 1.0), float(len(sample.days)))
