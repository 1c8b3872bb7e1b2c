"""Returns and falls from a peak: what every number about risk begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from etf_pipeline.model.windows import FLAT_SPREAD

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
FLAT = FLAT_SPREAD


@overload
def simple_returns(prices: Floats) -> Floats: ...
@overload
def simple_returns(prices: pd.Series) -> pd.Series: ...
@overload
def simple_returns(prices: pd.DataFrame) -> pd.DataFrame: ...
def simple_returns(prices: Any) -> Any:
    """P_t/P_{t−1} − 1, one row shorter than `prices`.

    Args:
        prices: positive, in order of date: shape (T+1,) or (T+1, N), or a series or frame, whose
            dates from the second on the returns keep.
    """
    after = prices[1:] if isinstance(prices, np.ndarray) else prices.iloc[1:]
    return after / np.asarray(prices)[:-1] - 1.0


@overload
def drawdowns(prices: Floats) -> Floats: ...
@overload
def drawdowns(prices: pd.Series) -> pd.Series: ...
def drawdowns(prices: Any) -> Any:
    """P_t / max_{s≤t} P_s − 1 (≤ 0) on every date of `prices`; NaN where there is no price.

    A series is named `drawdown`, as its values are no prices any more.
    """
    depths = prices / np.fmax.accumulate(np.asarray(prices)) - 1.0
    return depths if isinstance(depths, np.ndarray) else depths.rename("drawdown")


def from_paid_in(course: pd.Series, wealth: pd.Series) -> pd.Series:
    """A course from what was paid in on its first date, before the cost of what was bought then.

    Args:
        course: of 1 that is paid in on the first date of `wealth`, or of that wealth if it begins
            later; its first value is after costs.
        wealth: the course that it is beside, by date; itself for one that is beside none.
    """
    found, first = course.copy(), course.index[0]
    found.iloc[0] = 1.0 if first == wealth.index[0] else wealth.loc[first]
    return found


class Fall(NamedTuple):
    """A fall from a peak: how deep (< 0; 0 for none), and the positions of its dates.

    `peak` is the first session at the high that it falls from, `trough` the first at the lowest,
    `recovery` the first back at the high; None when there is none yet.
    """

    depth: float
    peak: int
    trough: int
    recovery: int | None


def fall_to(trough: int, prices: Floats, depths: Floats) -> Fall:
    """The fall whose trough is at that position.

    Args:
        trough: a position in `prices`.
        prices: shape (T+1,), positive, in order of date.
        depths: `drawdowns(prices)`.
    """
    peak = int(np.argmax(prices[: trough + 1]))
    depth = float(depths[trough])
    back = np.flatnonzero(prices[trough:] >= prices[peak])
    recovery = trough + int(back[0]) if len(back) and depth < 0 else None
    return Fall(depth, peak, trough, recovery)
