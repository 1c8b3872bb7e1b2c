"""Out-of-sample validation: which lookbacks and estimators would have served, decided in advance.

Every combination decides on the same sessions from the prices before them, is traded a purge later,
and is judged on the returns up to the next trade (see `splits`): all on the same returns, beside
equal weights, which few optimised portfolios have beaten beyond doubt (DeMiguel, Garlappi & Uppal,
2009, "Optimal Versus Naive Diversification").
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from etf_pipeline.errors import EtfError, InsufficientDataError
from etf_pipeline.model.backtesting import Calendar
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.portfolio.answer import Answer, refused_by
from etf_pipeline.portfolio.backtest import all_lost, assumed, cost_rates
from etf_pipeline.portfolio.benchmarks import Followed
from etf_pipeline.portfolio.building import Columns, problem_of
from etf_pipeline.portfolio.cash import cash_of
from etf_pipeline.portfolio.deciding import (
    against_on,
    beside_until,
    decision_rate,
    trading_limits,
)
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.judging import Days, Tried, judged
from etf_pipeline.portfolio.membership import rebalance_sessions
from etf_pipeline.portfolio.optimise import optimise
from etf_pipeline.portfolio.rebalancing import rebalanced
from etf_pipeline.portfolio.splits import Split, walk_forward_splits
from etf_pipeline.risk.annual import Span
from etf_pipeline.risk.conversion import Together
from etf_pipeline.risk.estimates import estimate_of
from etf_pipeline.risk.prices import PriceSeries, common_prices, first_window_end
from etf_pipeline.risk.risk_free import RiskFree, risk_free

EQUAL = {"objective": "equal_weights"}
Follow = Callable[[Sequence[dt.date]], Followed]


@dataclass(frozen=True)
class Validation:
    """What came of each combination, out of sample.

    Attributes:
        table: a row per combination, the first of equal weights; columns as in `judging.judged`.
        returns: simple returns of each by session, a column per row of `table`; NaN without any.
        splits: what each decision knew, and what it was judged on.
        dates: of the common prices, which `splits` are positions of.
        by_chance: the Sharpe ratio that the best of as many would show without skill.
        remarks: what a reader must know.
    """

    table: pd.DataFrame
    returns: pd.DataFrame
    splits: tuple[Split, ...]
    dates: pd.DatetimeIndex
    by_chance: float
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Walk:
    """What every combination is walked through: prices, splits, cash, and rates of costs."""

    values: Floats
    days: Days
    splits: list[Split]
    cash: Floats
    rates: Floats
    band: float | None

    def tried(
        self, label: Mapping[str, Any], decide: Callable[[Split, Floats | None], Answer | None]
    ) -> Tried:
        """The course of decisions; None stands for equal weights."""
        bad: list[Answer] = []
        by_decision = {s.trade - 1: s for s in self.splits}
        equal = np.full(self.values.shape[1], 1.0 / self.values.shape[1])

        def weights(at: int, held: Floats | None) -> Floats | None:
            answer = decide(by_decision[at], held)
            if answer is None:
                return equal
            if answer.success and answer.weights is not None:
                return answer.weights
            bad.append(answer)
            return equal if held is None else None

        course = rebalanced(
            self.values,
            np.array(list(by_decision)),
            weights,
            self.rates,
            band=self.band,
            cash_index=self.cash,
        )
        if course is None or len(bad) == len(self.splits):
            return Tried(label, None, unanswered=len(bad), reason=bad[0].message)
        if (why := all_lost(course, self.days)) is not None:
            return Tried(label, None, unanswered=len(bad), reason=why)
        years = Span.of(self.days).years
        later = course.trades[1:]
        return Tried(
            label,
            course.wealth,
            sum(t.turnover for t in later) / years,
            sum(t.cost for t in later) / years,
            len(bad),
            bad[0].message if bad else None,
        )


def validated(
    specs: Sequence[PortfolioSpec],
    together: Together,
    lookback_years: int,
    risk_free_rate: RiskFree | float,
    columns: Columns | None = None,
    periods_per_year: float | None = None,
    *,
    purge: int = 1,
    follow: Follow | None = None,
) -> Validation:
    """Walk every combination forward over the same sessions.

    Args:
        specs: the combinations, of the same tickers, calendar, band and costs.
        together: all history of the tickers, in their order and in one currency.
        lookback_years: for specifications that name none.
        risk_free_rate: annual effective rate, or returns without risk.
        columns: of the universe, each a value per ticker.
        periods_per_year: A, fixed by convention; by default what there was.
        purge: sessions between the last price known and the trade, at least one.
        follow: the portfolio that they are measured against, decided on each of some days;
            `together` has prices of its tickers. None for other benchmarks.

    Raises:
        InsufficientDataError: under a year is left to judge on after the longest lookback, or the
            benchmark's history is too short.
        ValueError: less than one session is purged.
    """
    spec, free = specs[0], risk_free(risk_free_rate).like(together.currency)
    if spec.rebalance == "never":
        raise ValueError("validation decides again and again: rebalance must not be never")
    prices = common_prices(together.series)
    dates = pd.DatetimeIndex(prices.index)
    longest = max(one.lookback(lookback_years) for one in specs)
    followed = None if follow is None else follow(_known_days(dates, spec.rebalance, purge))
    since = _since(dates, together.beside, longest, followed)
    splits = walk_forward_splits(dates, spec.rebalance, purge, since)
    days = dates[splits[0].trade :].to_numpy().astype("datetime64[D]")
    if Span.of(days).too_short:
        raise InsufficientDataError(
            f"after {longest} years to learn from, only {Span.of(days).days} days of the common "
            f"history ({dates[0].date()} to {dates[-1].date()}) are left to judge on, and a year "
            "is needed: ask for shorter lookbacks"
        )
    values = prices.to_numpy(dtype="float64")
    cash = cash_of(dates.to_numpy().astype("datetime64[D]"), free).index  # known, or not judged
    walk = _Walk(values, days, splits, cash, cost_rates(spec, spec.tickers), spec.band)
    tried = [walk.tried(EQUAL, lambda split, held: None)]
    for one in specs:
        years = one.lookback(lookback_years)
        decider = _Decider(one, together, dates, years, free, columns, periods_per_year, followed)
        tried.append(walk.tried(_label(one, years), decider.decide))
    found = judged(tried[0], tried[1:], days, free, periods_per_year)
    none = [np.nan] * (len(days) - 1)
    returns = {i: none if t.returns is None else t.returns for i, t in enumerate(tried)}
    frame = pd.DataFrame(returns, index=dates[splits[0].trade + 1 :])
    known = [said for one in specs for said in assumed(one, followed)]
    remarks = (*found.remarks, *dict.fromkeys([*known, *together.remarks]))
    return Validation(found.table, frame, tuple(splits), dates, found.by_chance, remarks)


def _known_days(dates: pd.DatetimeIndex, calendar: Calendar, purge: int) -> list[dt.date]:
    """The days that decisions know prices up to, of all that there may be; see `splits`."""
    trades = rebalance_sessions(dates, calendar)
    return [dates[t - purge].date() for t in trades if t >= purge]


def _since(
    dates: pd.DatetimeIndex,
    beside: Sequence[PriceSeries],
    years: int,
    followed: Followed | None,
) -> dt.date:
    """The first day on which the tickers' common history, and a benchmark's, is so long.

    Of a portfolio it is that of what it ever holds, and it must hold something.

    Raises:
        InsufficientDataError: the benchmark's is on none.
    """
    since = first_window_end(dates[0].date(), years)
    if followed is not None:
        since = max(since, followed.decided.index[0].date())
    for one in beside:
        if followed is not None and one.ticker not in followed.tickers:
            continue
        begins = one.days[0].item()
        if (enough := first_window_end(begins, years)) > dates[-1].date():
            raise InsufficientDataError(
                f"benchmark: the prices of {one.ticker} begin on {begins}, which leaves no "
                f"decision with {years} years of them by {dates[-1].date()}: ask for shorter "
                "lookbacks"
            )
        since = max(since, enough)
    return since


@dataclass(frozen=True)
class _Decider:
    """Decides as one specification asks, on what is known."""

    spec: PortfolioSpec
    together: Together
    dates: pd.DatetimeIndex
    lookback_years: int
    risk_free: RiskFree
    columns: Columns | None
    periods_per_year: float | None
    followed: Followed | None

    def decide(self, split: Split, held: Floats | None) -> Answer:
        """What the optimiser says of the prices up to the last one known."""
        day = self.dates[split.known].date()
        parts = [s.until(day) for s in self.together.series]
        others = {s.ticker: s for s in self.together.beside}
        try:
            asked = against_on(self.spec, self.followed, day)
            estimates = estimate_of(
                asked,
                parts,
                self.lookback_years,
                self.risk_free,
                self.columns,
                self.periods_per_year,
                beside=beside_until(asked, others, day, self.lookback_years),
            )
            now = asked.model_copy(update=trading_limits(asked, held))
            rate = decision_rate(now, estimates, self.risk_free)
            return optimise(problem_of(now, estimates, rate, self.columns))
        except (EtfError, ValueError) as error:
            return refused_by(error)


def _label(spec: PortfolioSpec, lookback_years: int) -> dict[str, Any]:
    """What a combination is told apart by."""
    return {
        "objective": spec.objective,
        "expected_returns": spec.expected_returns.method,
        "estimator": spec.estimator,
        "lookback_years": lookback_years,
    }
