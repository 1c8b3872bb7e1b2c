"""Walk-forward splits: what a decision may know, and the sessions that it is judged on."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.portfolio.membership import rebalance_sessions


@dataclass(frozen=True)
class Split:
    """Positions of prices: the last one known, the one traded at, and the last one judged on.

    The returns judged are those from `trade` to `end`; none that ends after `known` is learnt from.
    """

    known: int
    trade: int
    end: int


def walk_forward_splits(
    dates: pd.DatetimeIndex, calendar: str, purge: int, since: dt.date
) -> list[Split]:
    """Trades at each period's last session, decided on prices of `purge` sessions before.

    The returns in between are purged (López de Prado, 2018, "Advances in Financial Machine
    Learning", 7.4): they are of no training and no test. One is what a decision at a close that is
    traded at the next one needs; more leave out what news of a decision's last days goes on doing
    to prices. His embargo drops training data that follow a test; here none does, as all training
    is before its test.

    Args:
        dates: of the prices, ascending.
        calendar: `monthly`, `quarterly` or `yearly`.
        purge: sessions, at least one.
        since: the first day on which a decision has history enough.

    Raises:
        ValueError: less than one session is purged.
        InsufficientDataError: there is no split.
    """
    if purge < 1:
        raise ValueError(
            f"purge {purge}: must be 1 or more: what is decided at a close cannot be traded at it"
        )
    known = dates >= pd.Timestamp(since)
    trades = [t for t in rebalance_sessions(dates, calendar) if t >= purge and known[t - purge]]
    if not trades:
        raise InsufficientDataError(
            f"no {calendar} decision from {since} on is followed by a session to judge it on: the "
            f"common history is from {dates[0].date()} to {dates[-1].date()}; ask for shorter "
            "lookbacks"
        )
    ends = np.r_[trades[1:], len(dates) - 1]
    return [Split(int(t) - purge, int(t), int(e)) for t, e in zip(trades, ends, strict=True)]
