"""Walk-forward backtests: each decision sees the past alone, and is traded a session later."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import BacktestError, ReasonCode
from etf_pipeline.model.backtesting import BASIS_POINT, EventKind
from etf_pipeline.model.exposures import lent
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.portfolio.benchmarks import Followed
from etf_pipeline.portfolio.building import Columns
from etf_pipeline.portfolio.cash import cash_of
from etf_pipeline.portfolio.comparing import compared
from etf_pipeline.portfolio.deciding import Decider, Event
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.membership import Days, Members, members_of, rebalance_sessions
from etf_pipeline.portfolio.rebalancing import Course, Trade, rebalanced
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.risk_free import RiskFree, risk_free


@dataclass(frozen=True)
class Backtest:
    """A backtest's course, from the session of its first trade on.

    At every session wealth = Σ units · price + cash, and 1 was in cash before the first trade.

    Attributes:
        wealth: by session; after costs where there is a trade.
        cash: part of the wealth that is in cash, by session.
        units: held at the end of each session, a column per ticker.
        weights: a row per trade, a column per ticker: fractions after trading, the rest in cash.
        turnover: Σ|w − held|/2, by trade.
        cost: fraction of the wealth before the trade, by trade.
        nearest: trades that are the nearest that could be had to a decision that could not.
        events: decisions, entries and exits, in order of time.
        comparison: course of `compare_with`, by session, see `beside`; None when nothing is
            compared.
        remarks: what a reader of the numbers must know.
        decided: a row per trade, by the day of its decision: the weights that were decided.
        held: a row per session: what each ticker is of the wealth, after trading.
    """

    wealth: pd.Series
    cash: pd.Series
    units: pd.DataFrame
    weights: pd.DataFrame
    turnover: pd.Series
    cost: pd.Series
    nearest: tuple[pd.Timestamp, ...] = ()
    events: tuple[Event, ...] = ()
    comparison: pd.Series | None = None
    remarks: tuple[str, ...] = ()
    decided: pd.DataFrame = field(default_factory=pd.DataFrame)
    held: pd.DataFrame = field(default_factory=pd.DataFrame)

    def followed(self, name: str) -> Followed:
        """This course as what another portfolio is measured against."""
        return Followed(name, self.decided, pd.DatetimeIndex(self.weights.index), self.held)

    @property
    def skipped(self) -> list[pd.Timestamp]:
        """Sessions of decisions that gave no weights: what was held was kept."""
        return [pd.Timestamp(e.date) for e in self.events if e.kind is EventKind.SKIPPED]


def backtest_portfolio(
    spec: PortfolioSpec,
    series: Sequence[PriceSeries],
    lookback_years: int,
    risk_free_rate: RiskFree | float,
    columns: Columns | None = None,
    periods_per_year: float | None = None,
    *,
    comparison: Sequence[PriceSeries] = (),
    newest: dt.date | None = None,
    beside: Sequence[PriceSeries] = (),
    followed: Followed | None = None,
    on: Sequence[dt.date] = (),
) -> Backtest:
    """One portfolio, decided anew at each rebalance from the `lookback_years` before it.

    A ticker takes part from the first decision at which it has `lookback_years` of history, and
    until its prices end; what was held of it is paid out at its last price and stays in cash
    until the next trade. Cash earns `risk_free_rate`. Only a decision with `success` is traded.

    Args:
        spec: the portfolio; limits on turnover and costs are against what is held then.
        series: adjusted closes of its tickers, in its order, of one currency. Distributions are
            in them, so that they are re-invested in what paid them.
        lookback_years: for a specification that names none.
        risk_free_rate: annual effective rate, or returns without risk.
        columns: universe columns for the groups, each a value per ticker.
        periods_per_year: A, fixed by convention; by default what there was.
        comparison: adjusted closes of the tickers of `spec.compare_with`, in the same currency;
            without one of them nothing is compared, which is remarked on.
        newest: newest session known of anything; that of the tickers by default.
        beside: adjusted closes of what the benchmark holds besides, in the same currency.
        followed: the portfolio that it is measured against, walked forward; None for others.
        on: ascending days to decide on, each at the last session by then, in place of its
            calendar's.

    Raises:
        InsufficientDataError: too little history for a single decision.
        BacktestError: no decision gave weights, or all was lost; says why.
    """
    free = risk_free(risk_free_rate)
    members = members_of(series, newest=newest, together=spec.members == "all")
    years = spec.lookback(lookback_years)
    own, others, facts = tuple(series), tuple(beside), columns or {}
    decider = Decider(spec, own, members, years, free, facts, periods_per_year, others, followed)
    course = _walked(decider, on)
    other, said = compared(
        spec,
        comparison,
        members.days[course.trades[0].decided :],
        free,
        cost_rates(spec, list(spec.comparison)),
    )
    remarks = (*assumed(spec, followed), *members.remarks, *said)
    return _backtest(spec, members, course, decider, other, remarks)


def assumed(spec: PortfolioSpec, followed: Followed | None) -> list[str]:
    """What any course of a portfolio takes for granted, which its reader must know."""
    said = (
        spec.expected_returns.hindsight,
        lent(spec.net_exposure, spec.gross_exposure),
        None if followed is None else followed.said,
    )
    return [text for text in said if text]


def _sessions(members: Members, on: Sequence[dt.date]) -> npt.NDArray[np.intp]:
    """Positions of the last sessions by each of some days, but for the last session of all."""
    days = np.array(on, dtype="datetime64[D]")
    found = np.unique(np.searchsorted(members.days, days, side="right") - 1)
    return found[(found >= 0) & (found < len(members.days) - 1)]


def _walked(decider: Decider, on: Sequence[dt.date]) -> Course:
    """What became of the decisions.

    Raises:
        InsufficientDataError: too little history for a single decision, or cash is held while
            what it earns is not known.
        CurrencyError: cash is held, and what is free of risk is in another currency.
        BacktestError: no decision gave weights, or all was lost.
    """
    spec, members = decider.spec, decider.members
    calendar = rebalance_sessions(members.dates, spec.rebalance)
    decisions = _sessions(members, on) if on else calendar
    cash = cash_of(members.days, decider.risk_free)
    course = rebalanced(
        members.prices,
        decisions,
        decider.decide,
        cost_rates(spec, spec.tickers),
        band=spec.band,
        cash_index=cash.index,
        final=members.final,
    )
    if course is None:
        raise decider.no_course(decisions)
    cash.check(course.first, course.cash)
    if (why := all_lost(course, members.days[course.first :])) is not None:
        raise BacktestError(why, code=ReasonCode.INFEASIBLE)
    return course


def all_lost(course: Course, days: Days) -> str | None:
    """On which of its days (S,) a course came to nothing, in words; None when it did not."""
    lost = np.flatnonzero(~(course.wealth > 0))
    if not len(lost):
        return None
    return (
        f"all of it was lost on {days[lost[0]]}: what was short or borrowed came to more than what "
        "was held; ask for a lower gross_exposure"
    )


def beside(other: pd.Series, wealth: pd.Series) -> pd.Series:
    """Another course of 1, by the sessions of `wealth`: from the wealth then, if it begins later.

    NaN on sessions that it does not have.
    """
    found = other.reindex(wealth.index)
    first = found.first_valid_index()
    late = first is not None and first > wealth.index[0]
    return found * wealth.loc[first] if late else found


def cost_rates(spec: PortfolioSpec, tickers: Sequence[str]) -> Floats:
    """What buying or selling an amount of 1 of each costs in a backtest, shape (N,).

    `trading_cost`, and where it is not given `cost_rate`; with the half spread of each besides.
    """
    flat = spec.cost_rate if spec.trading_cost is None else spec.trading_cost
    return np.array([flat + spec.half_spreads.get(t, 0.0) * BASIS_POINT for t in tickers])


def _backtest(
    spec: PortfolioSpec,
    members: Members,
    course: Course,
    decider: Decider,
    comparison: pd.Series | None,
    remarks: tuple[str, ...],
) -> Backtest:
    dates, tickers = members.dates, spec.tickers
    sessions = dates[course.first :]
    index = dates[[t.at for t in course.trades]]
    wealth = pd.Series(course.wealth, sessions, name="wealth")
    if comparison is not None:
        comparison = beside(comparison, wealth)
    prices = np.where(course.units != 0.0, members.prices[course.first :], 0.0)
    decided = dates[[t.decided for t in course.trades]]
    return Backtest(
        wealth,
        pd.Series(course.cash / course.wealth, sessions, name="cash"),
        pd.DataFrame(course.units, sessions, tickers),
        pd.DataFrame([t.weights for t in course.trades], index, tickers),
        pd.Series([t.turnover for t in course.trades], index, name="turnover"),
        pd.Series([t.cost for t in course.trades], index, name="cost"),
        tuple(dates[t.at] for t in course.trades if t.decided in decider.nearest),
        tuple(_events(members, course, decider, tickers)),
        comparison,
        remarks,
        pd.DataFrame([t.wanted for t in course.trades], decided, tickers),
        pd.DataFrame(course.units * prices / course.wealth[:, None], sessions, tickers),
    )


def _events(
    members: Members, course: Course, decider: Decider, tickers: Sequence[str]
) -> list[Event]:
    """Decisions, entries and exits, in order of time."""
    found = list(decider.events)
    for trade in course.trades:
        found.append(_traded(members, trade, decider, tickers))
    for at in course.within:
        text = "no weight was further than the band from what was wanted"
        found.append(Event(members.days[at].item(), EventKind.WITHIN_BAND, decider.spec.name, text))
    paid = {e.asset: course.wealth[e.at - course.first] for e in course.exits}
    amounts = {e.asset: e.amount for e in course.exits}
    for i, end in enumerate(members.ended):
        if end is None or end >= members.days[-1].item():
            continue
        text = f"its prices end on {end}"
        if i in paid:
            text += f"; what was held, {amounts[i] / paid[i]:.2%} of the wealth, became cash"
        found.append(Event(end, EventKind.LEFT, tickers[i], text, ReasonCode.MEMBER_LEFT))
    return sorted(found, key=lambda e: (e.date, list(EventKind).index(e.kind), e.subject))


def _traded(members: Members, trade: Trade, decider: Decider, tickers: Sequence[str]) -> Event:
    why = decider.nearest.get(trade.decided)
    text = "" if why is None else why
    if trade.untraded:
        names = ", ".join(tickers[i] for i in trade.untraded)
        text += f"{'; ' if text else ''}{names} could not be bought any more, and stays in cash"
    return Event(
        members.days[trade.decided].item(),
        EventKind.TRADED if why is None else EventKind.NEAREST,
        decider.spec.name,
        text or None,
        None if why is None else ReasonCode.INFEASIBLE,
        members.days[trade.at].item(),
    )
