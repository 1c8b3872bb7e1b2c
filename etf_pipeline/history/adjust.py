"""Closing prices adjusted for distributions, computed by us so that updates equal a download."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]


def distributions(dividends: Floats, capital_gains: Floats) -> Floats:
    """Cash paid per unit at each ex-date, counted once; shape (n,), currency per unit.

    Yahoo reports a fund's capital gain inside the dividend of the same date as well as on its
    own; a gain no larger than that dividend is therefore part of it.

    Args:
        dividends: shape (n,), currency per unit, 0 where there is none.
        capital_gains: likewise, of the same dates.
    """
    return income(dividends, capital_gains) + capital_gains


def income(dividends: Floats, capital_gains: Floats) -> Floats:
    """The part of a source's dividends that is not capital gain; shape (n,), currency per unit.

    Args:
        dividends: as a source answers them, a gain of the same date inside.
        capital_gains: likewise, of the same dates.
    """
    with np.errstate(invalid="ignore"):  # infinite ones are refused later
        rest = dividends - capital_gains
    inside = (capital_gains > 0) & (rest >= 0)
    # What is left of equal amounts by rounding is nothing.
    rest = np.where(rest > 1e-9 * np.abs(dividends), rest, 0.0)
    return np.where(inside, rest, dividends)


def adjusted_close(closes: pd.Series, paid: pd.Series) -> Floats:
    """Close adjusted backwards for distributions, shape (n,), same currency as `closes`.

    Each distribution D with ex-date d multiplies every earlier price by 1 − D/C, where C is the
    last close before d (CRSP price adjustment factor; CRSP Data Definitions, "Factor to Adjust
    Prices"). `closes` are split-adjusted already, as Yahoo publishes them. A distribution that
    no price has followed yet adjusts nothing: the latest adjusted close is the latest close.

    Args:
        closes: shape (n,), indexed by ascending session date, all positive.
        paid: distributions in the same currency, indexed by ex-date, which need not be a date of
            `closes`.

    Raises:
        ValueError: a distribution is as large as the price it was paid from.
    """
    return adjusted(
        closes.to_numpy(dtype="float64"),
        closes.index.to_numpy(),
        paid.to_numpy(dtype="float64"),
        paid.index.to_numpy(),
    )


def adjusted(prices: Floats, days: Days, paid: Floats, ex_dates: Days) -> Floats:
    """The same of arrays: prices by `days`, shape (n,), and what was paid by `ex_dates`."""
    factors = np.ones(len(prices) + 1)
    some = paid > 0
    amounts, ex_dates = paid[some], ex_dates[some]
    positions = np.searchsorted(days, ex_dates, side="left")
    inside = (positions > 0) & (positions < len(prices))
    amounts, ex_dates, positions = amounts[inside], ex_dates[inside], positions[inside]
    previous = prices[positions - 1]
    if np.any(amounts >= previous):
        k = int(np.argmax(amounts >= previous))
        raise ValueError(
            f"distribution {amounts[k]:g} of {ex_dates[k].astype('datetime64[D]')} is not below "
            f"the close {previous[k]:g} before it"
        )
    # Two events may fall before the same price, when a session between them is missing.
    np.multiply.at(factors, positions, 1.0 - amounts / previous)
    # The factor of an ex-date applies to every row before it.
    cumulative = np.cumprod(factors[::-1])[::-1]
    return prices * cumulative[1:]


def unadjusted(adjusted: pd.Series, dividends: pd.Series, capital_gains: pd.Series) -> pd.Series:
    """The closes that `adjusted_close` would turn into `adjusted`: its exact inverse.

    With F the product of the factors of all later ex-dates, the last close before an ex-date is
    C = A/F + D, since A = C (1 − D/C) F.

    Args:
        adjusted: dividend-adjusted closes by ascending date, shape (n,), currency per unit.
        dividends: distributions on the same dates; NaN counts as none.
        capital_gains: capital gains on the same dates, likewise.

    Returns:
        Closes by the same dates, in the same currency.
    """
    values = adjusted.to_numpy(dtype="float64")
    paid = distributions(
        np.nan_to_num(dividends.to_numpy(dtype="float64")),
        np.nan_to_num(capital_gains.to_numpy(dtype="float64")),
    )
    closes = values.copy()
    later = 1.0
    last = len(values)
    for i in np.flatnonzero(paid > 0)[::-1]:
        closes[i:last] = values[i:last] / later
        last = i
        if i > 0:
            close_before = values[i - 1] / later + paid[i]
            later *= 1.0 - paid[i] / close_before
    closes[:last] = values[:last] / later
    return pd.Series(closes, adjusted.index)
