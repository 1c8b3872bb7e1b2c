"""What a backtest's course is put beside: fixed weights, rebalanced by the same calendar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from etf_pipeline.errors import CurrencyError, InsufficientDataError
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.portfolio.cash import cash_of
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.membership import Days, Members, members_of, rebalance_sessions
from etf_pipeline.portfolio.rebalancing import rebalanced
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.risk_free import RiskFree


def compared(
    spec: PortfolioSpec,
    series: Sequence[PriceSeries],
    days: Days,
    free: RiskFree,
    rates: Floats,
) -> tuple[pd.Series | None, list[str]]:
    """The course of `spec.compare_with`, and what is to be said of it.

    It is bought with the portfolio's first trade, or at the calendar's first decision at which
    all of it has prices, and pays for its trades as the portfolio does. Where a ticker's prices
    have ended, its part stays in cash.

    Args:
        spec: the portfolio.
        series: adjusted closes of the tickers compared with, in the portfolio's currency.
        days: the portfolio's sessions, from its first decision that was traded on.
        free: what cash earns.
        rates: cost of buying or selling an amount of 1, in the order of `spec.comparison`.
    """
    asked = spec.comparison
    if not asked:
        return None, []
    by_ticker = {s.ticker: s for s in series}
    if absent := [t for t in asked if t not in by_ticker]:
        return None, [f"nothing is compared: there are no prices of {', '.join(absent)}"]
    try:
        members = members_of([by_ticker[t] for t in asked], sessions=days)
        found = _bought(spec, members, days, free, rates)
    except (CurrencyError, InsufficientDataError) as error:
        return None, [f"nothing is compared: {error}"]
    if found is None:
        names = ", ".join(asked)
        return None, [f"nothing is compared: no decision finds prices of all of {names}"]
    late = found.index[0] > pd.Timestamp(days[min(1, len(days) - 1)])
    said = [f"compared from {found.index[0].date()} on, from the wealth then"] if late else []
    said += [
        f"{ticker}, which is compared with, ends on {end}; its part is cash from then on"
        for ticker, end in zip(asked, members.ended, strict=True)
        if end is not None and pd.Timestamp(end) < found.index[-1]
    ]
    return found, [*said, *members.remarks]


def _bought(
    spec: PortfolioSpec,
    members: Members,
    days: Days,
    free: RiskFree,
    rates: Floats,
) -> pd.Series | None:
    """The course of fixed weights on those of `days` that they have; None if never bought."""
    shared = np.isin(members.days, days)
    before = np.flatnonzero(members.days <= days[0])
    shared[before[-1:]] = True  # what is fixed can be decided on any earlier session
    prices, dates = members.prices[shared], members.dates[shared]
    if len(dates) < 2:
        return None
    weights = np.array(list(spec.comparison.values()))
    bought = False

    def decide(at: int, held: Floats | None) -> Floats | None:
        nonlocal bought
        priced = np.isfinite(prices[at])
        if bought:
            return None if spec.rebalance == "never" else np.where(priced, weights, 0.0)
        bought = bool(priced.all())
        return weights if bought else None

    first, cash = [0] if len(before) else [], cash_of(members.days[shared], free)
    course = rebalanced(
        prices,
        np.union1d(first, rebalance_sessions(dates, spec.rebalance)).astype("intp"),
        decide,
        rates,
        band=spec.band,
        cash_index=cash.index,
        final=members.final,
    )
    if course is None:
        return None
    cash.check(course.first, course.cash)
    return pd.Series(course.wealth, dates[course.first :], name="comparison")
