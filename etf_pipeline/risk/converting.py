"""One series in another currency, by the rates of its sessions: how, and when not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import CurrencyError, ReasonCode
from etf_pipeline.model.currencies import Leg, Unit, unit_of
from etf_pipeline.risk.prices import GRACE, Days, PriceSeries
from etf_pipeline.risk.routes import OLDEST_RATE, days_of, ranked, rated, remarks_on

Floats = npt.NDArray[np.float64]


def unknown_currency(tickers: Sequence[str]) -> CurrencyError:
    """An error about tickers whose currency nothing says."""
    return CurrencyError(
        f"nothing says in which currency {', '.join(tickers)} is priced; list it in universe.csv "
        "with its currency",
        code=ReasonCode.MIXED_CURRENCIES,
    )


def converted(
    series: PriceSeries,
    base: str,
    rates: Mapping[str, PriceSeries],
    since: dt.date | None = None,
) -> PriceSeries:
    """A series in another currency.

    It begins where the rates do, when that is later: as the history of a younger fund would.

    Args:
        series: of known currency.
        base: what its prices are to be in.
        rates: histories of currency pairs by ticker.
        since: first day that is needed. Sessions before it may lack a rate; those after may not,
            but for the first days, as long as the series still covers the window.

    Raises:
        CurrencyError: the currency is not known, or a session that is needed has no rate; names the
            pair, the date and the command that gets it.
    """
    return best(series, base, rates, since).series


@dataclass(frozen=True)
class Converted:
    """A series in another currency, by which rates, and what is to be said of these."""

    series: PriceSeries
    legs: Sequence[Leg] = ()
    remarks: Sequence[str] = ()


def best(
    series: PriceSeries, base: str, rates: Mapping[str, PriceSeries], since: dt.date | None
) -> Converted:
    """By the best rates that are there for every session which needs one, see `ranked`."""
    if series.currency == base:
        return Converted(series)
    if series.currency is None:
        raise unknown_currency([series.ticker])
    source, target = unit_of(series.currency), unit_of(base)
    refusal: CurrencyError | None = None
    for legs in ranked(source.major, target.major, rates):
        try:
            done = _by(legs, series, base, rates, since)
        except CurrencyError as error:
            refusal = refusal or error
            continue
        said = remarks_on(legs, source.major, target.major, rates, done)
        return Converted(done, legs, said)
    raise refusal or unknown_currency([series.ticker])


def _by(
    legs: Sequence[Leg],
    series: PriceSeries,
    base: str,
    rates: Mapping[str, PriceSeries],
    since: dt.date | None,
) -> PriceSeries:
    source, target = unit_of(str(series.currency)), unit_of(base)
    days = days_of(series)
    factor = np.full(len(days), 1.0)
    first = 0
    for leg in legs:
        rate, lacks = _rates_on(leg, days, rates, series)
        first = max(first, _first_usable(leg, days, lacks, rates, series, since))
        factor = factor / rate if leg.divide else factor * rate
    return _scaled(series, factor, first, source, target, base)


def _scaled(
    series: PriceSeries, factor: Floats, first: int, source: Unit, target: Unit, base: str
) -> PriceSeries:
    """Every price times its factor, from the position `first` on."""
    old = series.prices.iloc[first:]
    values = old.to_numpy(dtype="float64") / source.per_major * factor[first:] * target.per_major
    prices = pd.Series(values, old.index, name=old.name)
    if first == 0:
        return replace(series, prices=prices, currency=base)
    day = old.index[0].to_numpy().astype("datetime64[D]")
    holes, excluded = (d[d >= day] for d in (series.holes, series.excluded))
    return replace(series, prices=prices, holes=holes, excluded=excluded, currency=base)


def _rates_on(
    leg: Leg, days: Days, rates: Mapping[str, PriceSeries], series: PriceSeries
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The last rate on or before each day, and on which days there is none that is new enough."""
    ticker = leg.pair.ticker
    if ticker not in rates:
        raise CurrencyError(
            f"{series.ticker} is in {series.currency}, and there is no history of {ticker}; "
            f"{_remedy(ticker)}",
            code=ReasonCode.MISSING_FX,
        )
    at, fresh = rated(days_of(rates[ticker]), days)
    return rates[ticker].prices.to_numpy(dtype="float64")[at], ~fresh


def _first_usable(
    leg: Leg,
    days: Days,
    lacks: npt.NDArray[np.bool_],
    rates: Mapping[str, PriceSeries],
    series: PriceSeries,
    since: dt.date | None,
) -> int:
    """Position of the first session that is kept.

    Raises:
        CurrencyError: one that is needed has no rate.
    """
    if not lacks.any():
        return 0
    begin = rates[leg.pair.ticker].prices.index[0].to_numpy().astype("datetime64[D]")
    allowed = begin  # whatever is before the first rate
    if since is not None:
        # The window must be covered still, as `PriceSeries.covers` has it.
        allowed = np.datetime64(since + GRACE if begin <= np.datetime64(since + GRACE) else since)
    needed = np.flatnonzero(lacks & (days >= allowed))
    if len(needed):
        raise _no_rate(leg, days[needed[0]], rates[leg.pair.ticker], series)
    first = int(np.flatnonzero(lacks)[-1]) + 1
    if first >= len(days):
        raise _no_rate(leg, days[-1], rates[leg.pair.ticker], series)
    return first


def _no_rate(leg: Leg, day: np.datetime64, rate: PriceSeries, series: PriceSeries) -> CurrencyError:
    first = rate.prices.index[0].date()
    remedy = _remedy(leg.pair.ticker)
    if day <= np.datetime64(rate.end):  # a daily run asks for what is new, and not for that
        remedy = _remedy(f"{leg.pair.ticker} --full")
    if day < np.datetime64(first):
        remedy += ", or ask for fewer years"
    return CurrencyError(
        f"{series.ticker} is in {series.currency}, and {leg.pair.ticker} has no rate of {day} nor "
        f"of the {OLDEST_RATE.days} days before (there are {first} to {rate.end}); {remedy}",
        code=ReasonCode.MISSING_FX,
    )


def _remedy(ticker: str) -> str:
    return f"run `etf run --tickers {ticker}`"
