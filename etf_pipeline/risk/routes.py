"""Which exchange rates convert what, where several lead there: those that say most, said so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.model.currencies import OLDEST_RATE_DAYS, Leg, route, routes
from etf_pipeline.risk.prices import Days, PriceSeries

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
OLDEST_RATE = dt.timedelta(days=OLDEST_RATE_DAYS)
# Closes of two pairs are not of one minute; what is further apart than this is no accident of that.
_APART = 0.02


def ranked(source: str, target: str, rates: Mapping[str, PriceSeries]) -> list[list[Leg]]:
    """The ways from one currency to another, best first.

    Of those that reach the newest day that any does (within `OLDEST_RATE`), the one that rates the
    most days; of those that rate as many (within as much), the market's own pair. It depends on the
    rates alone, so that all prices and all windows are converted by the same; SQL does as much.

    Args:
        source: major currency that prices are in.
        target: major currency that they are wanted in.
        rates: histories of currency pairs by ticker.

    Returns:
        One or more; the usual pairs, whether there or not, where none lead.
    """
    ways = routes(source, target, rates)
    if len(ways) < 2:
        return ways or [route(source, target, rates)]
    held = {leg.pair.ticker: days_of(rates[leg.pair.ticker]) for way in ways for leg in way}
    first, last = min(d[0] for d in held.values()), max(d[-1] for d in held.values())
    days = np.arange(first, last + np.timedelta64(OLDEST_RATE_DAYS + 1, "D"))
    told = {pair: rated(known, days)[1] for pair, known in held.items()}
    both = [np.logical_and.reduce([told[leg.pair.ticker] for leg in way]) for way in ways]
    many = [int(flags.sum()) for flags in both]
    ends = [int(np.flatnonzero(flags)[-1]) if flags.any() else -1 for flags in both]
    current = [end >= max(ends) - OLDEST_RATE_DAYS for end in ends]
    most = max(n for n, there in zip(many, current, strict=True) if there)

    def worse(i: int) -> tuple[bool, int, int]:
        lacks = most - many[i]
        return not current[i], lacks if lacks > OLDEST_RATE_DAYS else 0, i

    return [ways[i] for i in sorted(range(len(ways)), key=worse)]


def days_of(rate: PriceSeries) -> Days:
    """The days that a rate is of."""
    return rate.prices.index.to_numpy().astype("datetime64[D]")


def rated(known: Days, days: Days) -> tuple[npt.NDArray[np.intp], Flags]:
    """Position of the last rate on or before each day, and whether there is one new enough."""
    at = np.searchsorted(known, days, side="right") - 1
    there = np.maximum(at, 0)
    fresh = days - known[there] <= np.timedelta64(OLDEST_RATE_DAYS, "D")
    return there, (at >= 0) & fresh


@dataclass(frozen=True)
class Factors:
    """What prices are multiplied by, for each of some days, and on which of them that is known."""

    legs: Sequence[Leg]
    values: Floats
    known: Flags

    @classmethod
    def by(cls, legs: Sequence[Leg], rates: Mapping[str, PriceSeries], days: Days) -> Factors:
        """By legs whose rates are all there."""
        values, known = np.full(len(days), 1.0), np.full(len(days), True)
        for leg in legs:
            rate = rates[leg.pair.ticker]
            at, there = rated(days_of(rate), days)
            one = rate.prices.to_numpy(dtype="float64")[at]
            values = values / one if leg.divide else values * one
            known &= there
        return cls(legs, values, known)

    @property
    def name(self) -> str:
        """Its pairs."""
        return " and ".join(leg.pair.ticker for leg in self.legs)


def remarks_on(
    taken: Sequence[Leg],
    source: str,
    target: str,
    rates: Mapping[str, PriceSeries],
    series: PriceSeries,
) -> list[str]:
    """What is to be said of a conversion that several ways lead to.

    Args:
        taken: the way that was taken.
        source: major currency that prices were in.
        target: major currency that they are in now.
        rates: histories of currency pairs by ticker.
        series: what was converted, the days that are left of it.

    Returns:
        That the market's own pair was not taken, and which ways contradict each other, with the
        day on which they do most.
    """
    ways = routes(source, target, rates)
    if len(ways) < 2:
        return []
    days, said = days_of(series), []
    mine = Factors.by(taken, rates, days)
    if ways[0] != list(taken):
        other = Factors.by(ways[0], rates, days)
        said.append(
            f"{series.ticker} is converted by {mine.name}, whose rates are more complete than "
            f"those of {other.name}"
        )
    for way in ways:
        if way == list(taken):
            continue
        other = Factors.by(way, rates, days)
        both = mine.known & other.known
        apart = np.where(both, np.abs(np.log(mine.values / other.values)), 0.0)
        worst = int(np.argmax(apart))
        if apart[worst] > _APART:
            said.append(
                f"{mine.name} and {other.name} contradict each other: one {source} is "
                f"{mine.values[worst]:.6g} or {other.values[worst]:.6g} {target} on "
                f"{days[worst]}; prices of {series.ticker} are by the former"
            )
    return said
