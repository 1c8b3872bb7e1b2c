"""What a backtest may be asked for, and how its events are called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

Calendar = Literal["monthly", "quarterly", "yearly", "never"]
# Decisions a year, by calendar; what is bought once and held has none after the first.
DECISIONS_PER_YEAR: dict[Calendar, int] = {
    "monthly": 12,
    "quarterly": 4,
    "yearly": 1,
    "never": 1,
}
# Whether a ticker takes part as soon as it has history enough, or only when all have.
Membership = Literal["as_listed", "all"]
BASIS_POINT = 1e-4
WIDEST_SPREAD = 1_000.0  # basis points: as wide as trading_cost may be
# Basis points: half a tick of a fund is more at any price; below, a fraction was meant.
NARROWEST_SPREAD = 0.05
_ROUNDING = 1e-9


class EventKind(StrEnum):
    """What happened to a backtest, or to one of its members."""

    ENTERED = "entered"  # a ticker has history enough from here on
    LEFT = "left"  # a ticker's prices ended; what was held became cash
    TRADED = "traded"  # the decision was traded
    NEAREST = "nearest"  # the nearest portfolio that can be had was traded in its place
    WITHIN_BAND = "within_band"  # nothing had drifted far enough to be traded
    SKIPPED = "skipped"  # the decision gave no weights; what was held was kept


def comparison_weights(asked: str | Mapping[str, float] | None) -> dict[str, float]:
    """What a course is compared with, as weights by ticker; none when nothing is."""
    if asked is None:
        return {}
    return {asked: 1.0} if isinstance(asked, str) else dict(asked)


def wrong_comparison(what: str, weights: Mapping[str, float]) -> str | None:
    """Why these weights are no portfolio to compare with; None when they are, or are none."""
    if not weights:
        return None
    if any(not (math.isfinite(w) and w >= 0) for w in weights.values()):
        return f"{what}: weights must not be negative"
    total = math.fsum(weights.values())
    if abs(total - 1.0) > _ROUNDING:
        return f"{what}: weights sum to {total:.12g}, not to 1"
    return None


def wrong_spreads(half_spreads: Mapping[str, float]) -> str | None:
    """The first half spread that cannot be; None when all can."""
    for ticker, spread in half_spreads.items():
        if not 0 <= spread <= WIDEST_SPREAD:
            return (
                f"half_spreads of {ticker}: {spread:g} is not within 0 to {WIDEST_SPREAD:g} "
                "basis points"
            )
        if 0 < spread < NARROWEST_SPREAD:
            return (
                f"half_spreads of {ticker}: {spread:g} basis points are less than any market has; "
                f"as a fraction of the price that is {spread / BASIS_POINT:g} basis points"
            )
    return None
