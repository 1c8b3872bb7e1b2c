"""Walk-forward backtests: each decision sees the past alone, and is traded a session later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.spacing import MONTHS_AND_LONGER
from etf_pipeline.portfolio.problem import Floats

# (prices up to and including the decision's session, weights held) -> new weights, or None
Decide = Callable[[pd.DataFrame, Floats | None], Floats | None]


@dataclass(frozen=True)
class Backtest:
    """A backtest's course.

    `wealth` starts at 1 (less the cost of the first purchase) on the first trade's session.
    `weights` has a row per trade; `turnover` (Σ|w − held|/2) and `cost` (fraction of wealth) are
    indexed by it. `skipped` are decisions that gave no weights: the holdings were kept.
    """

    wealth: pd.Series
    weights: pd.DataFrame
    turnover: pd.Series
    cost: pd.Series
    skipped: list[pd.Timestamp]


def rebalance_sessions(dates: pd.DatetimeIndex, calendar: str) -> npt.NDArray[np.intp]:
    """Positions of each period's last session; the last date is none, as its period may go on."""
    bins = dates.to_period(MONTHS_AND_LONGER[calendar])
    return np.flatnonzero(np.asarray(bins[1:] != bins[:-1]))


def walk_forward(
    prices: pd.DataFrame, decide: Decide, calendar: str = "quarterly", cost_rate: float = 0.0
) -> Backtest:
    """Rebalance by the calendar and let the holdings drift in between.

    A decision made with the prices of a period's last session is traded at the close of the
    session after it, so no result can depend on a price that was not known.

    Args:
        prices: adjusted closes, a column per ticker, ascending dates, no gaps.
        decide: gives weights from past prices; None keeps what is held (before the first weights:
            stays out).
        calendar: `monthly`, `quarterly` or `yearly`.
        cost_rate: cost of trading one unit of wealth, for Σ|w − held|.

    Raises:
        InsufficientDataError: no decision gave weights.
    """
    dates = pd.DatetimeIndex(prices.index)
    values = prices.to_numpy(dtype="float64")
    trades: list[tuple[int, Floats, float, float]] = []
    skipped: list[pd.Timestamp] = []
    wealth = np.full(len(prices), np.nan)
    held: Floats | None = None
    since, worth = -1, 1.0
    for decision in rebalance_sessions(dates, calendar):
        trade = int(decision) + 1
        chosen = decide(prices.iloc[: decision + 1], _drifted(held, values, since, int(decision)))
        if chosen is None:
            skipped.append(dates[decision])
            continue
        if held is not None:
            wealth[since : trade + 1] = worth * _growth(held, values, since, trade)
            worth = float(wealth[trade])
        before = _drifted(held, values, since, trade)
        moved = float(np.abs(chosen - (0.0 if before is None else before)).sum())
        cost = cost_rate * moved
        worth *= 1.0 - cost
        trades.append((trade, chosen, moved / 2.0, cost))
        held, since = chosen, trade
        wealth[trade] = worth
    if held is None:
        raise InsufficientDataError("no rebalance had enough history to decide on")
    wealth[since:] = worth * _growth(held, values, since, len(values) - 1)
    first = trades[0][0]
    index = dates[[t for t, *_ in trades]]
    return Backtest(
        pd.Series(wealth[first:], dates[first:], name="wealth"),
        pd.DataFrame([w for _, w, *_ in trades], index, prices.columns),
        pd.Series([m for *_, m, _ in trades], index, name="turnover"),
        pd.Series([c for *_, c in trades], index, name="cost"),
        skipped,
    )


def _growth(held: Floats, values: Floats, start: int, end: int) -> Floats:
    """Growth of a holding bought at `start`, on every session from there to `end`."""
    return (values[start : end + 1] / values[start]) @ held


def _drifted(held: Floats | None, values: Floats, since: int, now: int) -> Floats | None:
    """What the weights have become by `now`."""
    if held is None:
        return None
    grown = held * values[now] / values[since]
    return np.asarray(grown / grown.sum(), dtype="float64")
