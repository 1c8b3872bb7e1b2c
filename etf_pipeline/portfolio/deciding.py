"""Decisions of a backtest: what the optimiser answers on a day, from what was known by then."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import BacktestError, EtfError, InsufficientDataError, ReasonCode
from etf_pipeline.model.backtesting import DECISIONS_PER_YEAR, EventKind
from etf_pipeline.model.benchmark_portfolios import measured_against
from etf_pipeline.model.objectives import never_whole
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.risk_budgets import budgets_among
from etf_pipeline.portfolio.answer import Answer, refused, refused_by
from etf_pipeline.portfolio.benchmarks import Followed
from etf_pipeline.portfolio.building import Columns, problem_of
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.membership import Days, Members
from etf_pipeline.portfolio.optimise import nearest_feasible, optimise
from etf_pipeline.risk.estimates import Estimates, estimate_of
from etf_pipeline.risk.prices import GRACE, PriceSeries, first_window_end
from etf_pipeline.risk.risk_free import Constant, RiskFree

_NO_MORE = 1.0 + 1e-7  # times the least turnover, which many portfolios may take
_MOST_NAMED = 3  # kinds of reasons that a message about many decisions quotes


@dataclass(frozen=True)
class Event:
    """Something that happened to a backtest on a session.

    Attributes:
        date: of the decision, of a ticker's first decision, or its last price.
        kind: what happened.
        subject: the portfolio's name, for decisions; else the ticker.
        reason: in words; None for a decision that was simply traded.
        code: to decide by; None when there is nothing to say.
        traded: session of the trade, for decisions that were.
    """

    date: dt.date
    kind: EventKind
    subject: str
    reason: str | None = None
    code: ReasonCode | None = None
    traded: dt.date | None = None


@dataclass
class Decider:
    """Decides for one portfolio, and keeps what there is to say of its decisions.

    `beside` are prices of what the benchmark holds besides, and `followed` the portfolio that it
    is, if it is one. `nearest` has the decisions, by position, whose weights are the nearest that
    could be had, and why those that were asked for could not.
    """

    spec: PortfolioSpec
    series: tuple[PriceSeries, ...]
    members: Members
    years: int
    risk_free: RiskFree
    columns: Columns
    periods_per_year: float | None = None
    beside: tuple[PriceSeries, ...] = ()
    followed: Followed | None = None
    events: list[Event] = field(default_factory=list)
    nearest: dict[int, str] = field(default_factory=dict)
    _entered: set[int] = field(default_factory=set)
    _done: bool = False

    def decide(self, at: int, held: Floats | None) -> Floats | None:
        """Weights (N,) on the session at a position, None to keep what is held (N,)."""
        if self._done:
            return None
        here = self._eligible(at)
        if not here.any() or (self.spec.members == "all" and not here.all()):
            return None
        day = self.members.days[at].item()
        chosen = [int(i) for i in np.flatnonzero(here)]
        self._enter(chosen, day)
        answer, why = self._answer(chosen, day, None if held is None else held[here])
        if not answer.success or answer.weights is None:
            self.events.append(
                Event(day, EventKind.SKIPPED, self.spec.name, answer.message, answer.code)
            )
            return None
        if why is not None:
            self.nearest[at] = why
        self._done = self.spec.rebalance == "never"
        weights = np.zeros(len(self.series))
        weights[chosen] = answer.weights
        return weights

    def no_course(self, decisions: npt.NDArray[np.intp]) -> EtfError:
        """Why there is none, when not one decision gave weights."""
        skipped = [e for e in self.events if e.kind is EventKind.SKIPPED]
        if not skipped:
            return self._too_short(len(decisions))
        counts = Counter(e.code or ReasonCode.UNEXPECTED for e in skipped)
        newest = {e.code: e for e in skipped}
        told = "; ".join(
            f"{n} {code.value}, last on {newest[code].date}: {newest[code].reason}"
            for code, n in counts.most_common(_MOST_NAMED)
        )
        return BacktestError(
            f"none of {len(skipped)} decisions from {skipped[0].date} to {skipped[-1].date} gave "
            f"weights: {told}",
            code=counts.most_common(1)[0][0],
        )

    def _too_short(self, decisions: int) -> InsufficientDataError:
        begins = {s.ticker: s.days[0].item() for s in self.series}
        ticker = (max if self.spec.members == "all" else min)(begins, key=lambda t: begins[t])
        days = self.members.days
        return InsufficientDataError(
            f"no rebalance had enough history to decide on: {ticker} begins on {begins[ticker]}, "
            f"and {self.years} years are asked for before each of {decisions} decisions, between "
            f"{days[0]} and {days[-1]}; ask for a shorter lookback_years"
        )

    def _eligible(self, at: int) -> npt.NDArray[np.bool_]:
        """Which members have a price on a session, and the history asked for before it."""
        return np.isfinite(self.members.prices[at]) & (self._since <= self.members.days[at])

    @cached_property
    def _priced(self) -> dict[str, PriceSeries]:
        """Prices by ticker, of its own and of its benchmark's."""
        own = dict(zip(self.spec.tickers, self.series, strict=True))
        return own | {s.ticker: s for s in self.beside}

    @cached_property
    def _since(self) -> Days:
        """The first day on which each member has the history asked for, shape (N,)."""
        first = [first_window_end(s.days[0].item(), self.years) for s in self.series]
        return np.array(first, dtype="datetime64[D]")

    def _enter(self, chosen: list[int], day: dt.date) -> None:
        for i in chosen:
            if i not in self._entered:
                self._entered.add(i)
                since = self.series[i].days[0]
                text = f"its prices begin on {since}: {self.years} years of history"
                self.events.append(Event(day, EventKind.ENTERED, self.series[i].ticker, text))

    def _answer(
        self, chosen: list[int], day: dt.date, held: Floats | None
    ) -> tuple[Answer, str | None]:
        """What the optimiser says, of the prices up to a day alone.

        Where the limit on turnover stands in the way of the others, it is the portfolio within
        them that takes the least, and of several the one that the objective asks for; then with
        why what was asked for cannot be had.
        """
        tickers = [self.spec.tickers[i] for i in chosen]
        try:
            asked = against_on(self.spec, self.followed, day)
            now, why = restricted(asked, tickers, self.columns)
            if why is not None:
                return refused(why, ReasonCode.INFEASIBLE), None
            now = now.model_copy(update=trading_limits(now, held))
            parts = [self.series[i].until(day) for i in chosen]
            estimates = estimate_of(
                now,
                parts,
                self.years,
                self.risk_free,
                self.columns,
                self.periods_per_year,
                beside=beside_until(now, self._priced, day, self.years),
            )
            rate = decision_rate(now, estimates, self.risk_free)
            problem = problem_of(now, estimates, rate, self.columns)
            answer = optimise(problem)
            if answer.code is not ReasonCode.INFEASIBLE or now.max_turnover is None:
                return answer, None
            nearest = nearest_feasible(problem)
            if nearest.success and nearest.weights is not None and held is not None:
                turned = float(np.abs(nearest.weights - held).sum()) / 2.0
                update = {"max_turnover": turned * _NO_MORE}
                best = optimise(
                    problem_of(now.model_copy(update=update), estimates, rate, self.columns)
                )
                nearest = best if best.success else nearest
        except (EtfError, ValueError) as error:
            return refused_by(error), None
        return (nearest, answer.message) if nearest.success else (answer, None)


def against_on(spec: PortfolioSpec, followed: Followed | None, day: dt.date) -> PortfolioSpec:
    """A portfolio beside what the one that it is measured against was on a day.

    Raises:
        InsufficientDataError: that one holds nothing yet, or any more.
    """
    return spec if followed is None else measured_against(spec, followed.on(day))


def beside_until(
    spec: PortfolioSpec, known: Mapping[str, PriceSeries], day: dt.date, years: int
) -> list[PriceSeries]:
    """Prices up to a day of what a benchmark holds besides, in the order of `spec.beside`.

    Args:
        spec: the portfolio, perhaps of some of its tickers alone.
        known: prices by ticker.
        day: of a decision.
        years: of history that it asks for.

    Raises:
        InsufficientDataError: one has too little history yet, or no prices any more.
    """
    for ticker in spec.beside:
        begins, ends = known[ticker].days[0].item(), known[ticker].end
        if day < first_window_end(begins, years):
            raise InsufficientDataError(
                f"benchmark: {ticker} has not {years} years of history up to {day}: its prices "
                f"begin on {begins}"
            )
        if day > ends + GRACE:
            raise InsufficientDataError(f"benchmark: the prices of {ticker} end on {ends}")
    return [known[ticker].until(day) for ticker in spec.beside]


def decision_rate(spec: PortfolioSpec, estimates: Estimates, free: RiskFree) -> float:
    """The risk-free rate behind a decision on weights: 0 where the objective does not ask for it.

    What is known of the past may begin after the first decisions, which need not fail for that.

    Raises:
        InsufficientDataError: it is asked for, and not known.
        CurrencyError: it is of another currency.
    """
    asked = spec.objective == "max_sharpe" or not spec.invested  # what is in cash earns it
    if not asked and not isinstance(free, Constant):
        return 0.0
    return estimates.rate(free)


def restricted(
    spec: PortfolioSpec, tickers: list[str], columns: Columns
) -> tuple[PortfolioSpec, str | None]:
    """What a specification asks of some of its tickers, and why that cannot be, if it cannot.

    Limits on tickers that are not there, and ceilings on groups without a member, say nothing.
    """
    if tickers == spec.tickers:
        return spec, None
    limits = [spec.limits(t) for t in tickers]
    low, high = (sum(side) for side in zip(*limits, strict=True))
    if problem := never_whole(low, high, spec.net_exposure):
        return spec, f"there is only {', '.join(tickers)} yet, or still, and {problem}"
    groups: dict[Any, dict[str, tuple[float, float]]] = {}
    for column, values in spec.groups.items():
        there = {columns.get(column, {}).get(t) for t in tickers}
        for value, (low, high) in values.items():
            if value in there:
                groups.setdefault(column, {})[value] = (low, high)
            elif low > 0:
                return spec, (
                    f"groups.{column}.{value}: at least {low:g} is asked for, and none of its "
                    "tickers has history enough yet, or prices still"
                )
    update = {
        "tickers": tickers,
        "bounds": _of(spec.bounds, tickers),
        "holdings": _of(spec.holdings, tickers),
        "risk_budgets": budgets_among(spec.risk_budgets, tickers),
        "groups": groups,
        "expected_returns": spec.expected_returns.among(tickers),
    }
    now = spec.model_copy(update=update)
    if now.max_active_weight is not None and now.beside:
        return spec, (
            f"max_active_weight: the benchmark holds {', '.join(now.beside)}, of which there is "
            "not history enough yet, or no price any more"
        )
    return now, None


def _of(by_ticker: Mapping[str, Any], tickers: list[str]) -> dict[str, Any]:
    return {t: value for t, value in by_ticker.items() if t in tickers}


def trading_limits(spec: PortfolioSpec, held: Floats | None) -> dict[str, Any]:
    """Turnover and costs are against what is held; before the first purchase nothing is.

    Returns are those of a year, and a trade is made anew at every decision: what one costs counts
    as often as there are decisions in a year.
    """
    if spec.max_turnover is None and spec.cost_rate == 0.0:
        return {}
    if held is None:
        return {"max_turnover": None, "cost_rate": 0.0, "holdings": {}}
    return {
        "holdings": dict(zip(spec.tickers, held.tolist(), strict=True)),
        "cost_rate": spec.cost_rate * DECISIONS_PER_YEAR[spec.rebalance],
    }
