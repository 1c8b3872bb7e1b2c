"""Short positions and leverage: what a portfolio may ask of its weights, net and gross exposure.

Weights are within 0 and 1 unless somebody says how much may be exposed in all, so that per cent or
a slip of the sign is never taken for leverage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

WIDEST = 5.0  # of a weight or an exposure: beyond, per cent were meant
SHORTS = "short positions and leverage need a gross_exposure, such as 1.6 for 130/30"
Range = tuple[float, float]
_WHOLE: Range = (1.0, 1.0)
_ROUNDING = 1e-12
_QUOTED = 1e4  # four digits of what is quoted, rounded towards what works


def wrong_range(what: str, given: Range, net: Range, gross: float | None) -> str | None:
    """Why a range of weights cannot be asked for; None when it can.

    Args:
        what: its name.
        given: least and greatest.
        net: least and greatest sum of all weights.
        gross: greatest sum of their sizes; None where nothing may be short.
    """
    low, high = given
    if low > high:
        return f"{what}: the least, {low:g}, is above the greatest, {high:g}"
    least, most = (0.0, max(1.0, net[1])) if gross is None else (-WIDEST, WIDEST)
    if least <= low <= high <= most:
        return None
    beyond = f"{what}: {low:g} to {high:g} is not within {least:g} to {most:g}"
    if gross is not None or not -WIDEST <= low <= high <= WIDEST:
        return beyond
    percent = f"; {high:g} % is {high / 100:g}" if high > most else ""
    return f"{beyond}; {SHORTS}{percent}"


def lent(net: Range, gross: float | None) -> str | None:
    """What a course with short positions or borrowed cash leaves out; None without either."""
    if gross is None and net[1] <= 1.0:
        return None
    return (
        "what is lent and borrowed costs the risk-free rate here: no fee for short positions, no "
        "margin on loans"
    )


def wrong_exposures(net: Range, gross: float | None, ranges: Iterable[Range]) -> str | None:
    """Why net and gross exposure make no sense beside the bounds; None when they do.

    Args:
        net: least and greatest sum of all weights.
        gross: greatest sum of their sizes, None when not asked for.
        ranges: least and greatest weight of each ticker.
    """
    low, high = net
    if low > high:
        return f"net_exposure: the least, {low:g}, is above the greatest, {high:g}"
    if not -WIDEST <= low <= high <= WIDEST:
        return f"net_exposure: {low:g} to {high:g} is not within {-WIDEST:g} to {WIDEST:g}"
    if gross is None:
        below = "net_exposure: below 0 there are short positions; give a gross_exposure"
        return below if low < 0 else None
    if gross < (least := max(low, -high, 0.0)):
        return (
            f"gross_exposure {gross:g} is below {least:g}, the size of the least net_exposure: "
            f"give {least:g} or more"
        )
    if gross >= high and all(least >= 0 for least, _ in ranges):
        return (
            f"gross_exposure {gross:g} limits nothing: without a min_weight or bounds below 0 it "
            "is the net exposure"
        )
    return None


def wrong_turnover(
    most: float | None, net: Range, gross: float | None, holdings: Mapping[str, float]
) -> str | None:
    """Why a ceiling on turnover, Σ|w − held|/2, limits nothing; None when it may, or is not asked.

    From holdings of a gross exposure h to weights of one of g it is (g + h)/2 at most.
    """
    if most is None:
        return None
    exposed = max(1.0, net[1]) if gross is None else gross
    held = sum(abs(w) for w in holdings.values())
    whole = (exposed + max(exposed, held)) / 2.0 * _QUOTED
    reach = math.floor(whole * (1.0 + _ROUNDING)) / _QUOTED
    if most <= reach:
        return None
    percent = f"; fractions are meant: {most:g} % is {most / 100:g}" if most / 100 <= reach else ""
    return (
        f"max_turnover {most:g} limits nothing: with a gross exposure of {exposed:g} no more than "
        f"{reach:g} can change hands; give that or less{percent}"
    )


def wrong_holdings(holdings: Mapping[str, float], net: Range, tolerance: float) -> str | None:
    """Why these are no current weights; None when they are, or there are none.

    Where some of the portfolio may be in cash, or more than all of it invested, so may it be now.
    """
    if not holdings:
        return None
    total = sum(holdings.values())
    least, most = (1.0, 1.0) if net == _WHOLE else (min(0.0, net[0]), max(1.0, net[1]))
    if least - tolerance <= total <= most + tolerance:
        return None
    to = "to 1" if least == most else f"within {least:g} to {most:g}"
    return (
        f"holdings sum to {total:g}, not {to}: give weights, each holding's value as a "
        "fraction of the whole portfolio's, not units, money or per cent"
    )
