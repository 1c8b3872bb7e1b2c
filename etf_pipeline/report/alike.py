"""What each ticker moves most and least alike with, out of the table of correlations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

MOST = 5  # nearest and farthest others of a ticker that a page shows
PAIRS = 10  # pairs of all tickers that a page shows, at either end
NOBODY = -1  # in place of a position, where a ticker has fewer others


@dataclass(frozen=True)
class Alike:
    """Others of each ticker, shape (N, k): positions among the tickers, and correlations.

    `NOBODY` and NaN fill up. The nearest begin with the highest correlation, the farthest with the
    lowest; equal ones are in order of position.
    """

    nearest: npt.NDArray[np.int64]
    nearest_by: npt.NDArray[np.float64]
    farthest: npt.NDArray[np.int64]
    farthest_by: npt.NDArray[np.float64]


def alike(pairs: pa.Table, tickers: Sequence[str], count: int) -> Alike:
    """The `count` nearest and farthest others of each ticker.

    Args:
        pairs: `ticker`, `other`, `correlation` of one window, in both orders: all pairs, or at
            least the `count` highest and lowest of each ticker.
        tickers: N of them; pairs with any other are left out.
        count: k.
    """
    one, two, values = _known(pairs, tickers)
    high = _first(one, two, -values, len(tickers), count)
    low = _first(one, two, values, len(tickers), count)
    return Alike(high[0], -high[1], *low)


def pairs_at_ends(
    pairs: pa.Table, tickers: Sequence[str]
) -> tuple[list[tuple[int, int, float]], list[tuple[int, int, float]]]:
    """The `PAIRS` most alike of all pairs, and the least alike: two positions and a correlation.

    A pair is in either once. Where a table keeps fewer than `PAIRS` places of each ticker, only as
    many pairs are surely those at the end, and no more are told.

    Args:
        pairs: as of `alike`, with the `PAIRS` highest and lowest of each ticker, or as many as
            its column `nearest` has places.
        tickers: pairs with any other are left out.
    """
    one, two, values = _known(pairs, tickers)
    low, high = np.minimum(one, two), np.maximum(one, two)
    once = np.unique(low * len(tickers) + high, return_index=True)[1]
    low, high, values = low[once], high[once], values[once]
    places = pc.max(pairs["nearest"]).as_py() if "nearest" in pairs.column_names else None
    sure = PAIRS if places is None else min(PAIRS, int(places))
    most, least = (
        [(int(low[i]), int(high[i]), float(values[i])) for i in order[:sure]]
        for order in (np.argsort(-values, kind="stable"), np.argsort(values, kind="stable"))
    )
    return most, least


def _known(
    pairs: pa.Table, tickers: Sequence[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Both positions and the correlation of those pairs of the tickers that have one."""
    known = pa.array(tickers, pa.string())
    one, two = (_positions(pairs[name], known) for name in ("ticker", "other"))
    values = pairs["correlation"].to_numpy().astype("float64")
    use = (one != NOBODY) & (two != NOBODY) & (one != two) & ~np.isnan(values)
    return one[use], two[use], values[use]


def _positions(column: pa.ChunkedArray, known: pa.Array) -> npt.NDArray[np.int64]:
    found = pc.fill_null(pc.index_in(column.cast(pa.string()), value_set=known), NOBODY)
    return found.to_numpy().astype("int64")


def _first(
    one: npt.NDArray[np.int64],
    two: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    n: int,
    count: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The `count` lowest values of each of `n`, and whose they are."""
    order = np.lexsort((two, values, one))
    one, two, values = one[order], two[order], values[order]
    place = np.arange(len(one)) - np.searchsorted(one, one)  # within its ticker
    use = place < count
    who, by = np.full((n, count), NOBODY), np.full((n, count), np.nan)
    who[one[use], place[use]], by[one[use], place[use]] = two[use], values[use]
    return who, by
