"""Risk through time: rolling volatility, and the table of drawdowns."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from etf_pipeline.risk.returns import drawdowns, fall_to, simple_returns


def rolling_volatility(prices: pd.Series, window: int, periods_per_year: float) -> pd.Series:
    """√A · standard deviation (ddof 1) of the last `window` returns, fraction a year.

    The first value is at the `window`-th return; there is none before.
    """
    if window < 2:
        raise ValueError(f"window {window} must be at least 2 returns")
    rolled = simple_returns(prices).rolling(window).std(ddof=1)
    return (rolled * math.sqrt(periods_per_year)).dropna().rename("volatility")


def drawdown_table(prices: pd.Series, count: int | None = None) -> pd.DataFrame:
    """Every fall from a peak, worst first; the first row is the fall of `max_drawdown`.

    Columns: `peak`, `trough` and `recovery` (dates as in `returns.Fall`; NaT while not recovered),
    `drawdown` (< 0), `length` (sessions from peak to recovery, or to the end), `to_trough`
    (sessions from peak to trough). Falls from the same high, met again in between, share its peak.
    """
    values = prices.to_numpy(dtype="float64")
    depths = drawdowns(values)
    edges = np.flatnonzero(np.diff(np.r_[False, depths < 0, False].astype("int8")))
    rows = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        fall = fall_to(int(start + np.argmin(depths[start:end])), values, depths)
        last = len(values) - 1 if fall.recovery is None else fall.recovery
        rows.append(
            {
                "peak": prices.index[fall.peak],
                "trough": prices.index[fall.trough],
                "recovery": pd.NaT if fall.recovery is None else prices.index[fall.recovery],
                "drawdown": fall.depth,
                "length": last - fall.peak,
                "to_trough": fall.trough - fall.peak,
            }
        )
    columns = ["peak", "trough", "recovery", "drawdown", "length", "to_trough"]
    table = pd.DataFrame(rows, columns=columns).sort_values("drawdown", kind="stable")
    return (
        table.reset_index(drop=True) if count is None else table.head(count).reset_index(drop=True)
    )
