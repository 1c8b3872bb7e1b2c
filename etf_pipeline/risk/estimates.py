"""Annualised estimates that portfolios are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.expected_returns import ExpectedReturns, Facts
from etf_pipeline.model.objectives import HALFLIFE
from etf_pipeline.model.spacing import is_long, spacing_remarks
from etf_pipeline.risk.annual import Span
from etf_pipeline.risk.beside import Beside, cut
from etf_pipeline.risk.expected import Past, expected
from etf_pipeline.risk.prices import GRACE, PriceSeries, common_prices, window_start
from etf_pipeline.risk.returns import simple_returns
from etf_pipeline.risk.risk_free import RiskFree, risk_free
from etf_pipeline.risk.sample import Own, Sample, Timed
from etf_pipeline.risk.together import (
    Period,
    Regular,
    calendars_differ,
    common_gaps,
    doubts,
    ended_early,
    period_for,
    weekly_prices,
)

if TYPE_CHECKING:
    from etf_pipeline.model.portfolios import PortfolioSpec

Floats = npt.NDArray[np.float64]
_FEWEST_RETURNS = 60
_FEWEST_WEEKS = 48  # a year, less what closed weeks and a late beginning may take


@dataclass(frozen=True)
class Terms:
    """What expected returns were asked for, over what rate, by what columns of the universe."""

    asked: ExpectedReturns
    risk_free_rate: float
    facts: Facts


@dataclass(frozen=True)
class Estimates:
    """Means and covariance of several tickers, annualised.

    Each ticker's mean and variance come from all its own sessions in the window, so that a hole or
    a holiday of one moves no other's; only the correlations come from common dates:
    Σ = D·R·D with the deviations D and the correlation matrix R, positive semidefinite as R is.

    `means` is A · mean(r) of each ticker, which is Σr over the years that passed, shape (N,);
    `covariance` is of shape (N, N) (Markowitz, 1952). `prices` are those of the common dates and
    `returns` the simple ones between them, but for those over holes, shape (T, N): the scenarios.
    `periods_per_year` is A of those. `correlation_period` is that of the returns behind R, daily or
    weekly, which has none over holes either. `remarks` say what a reader of the numbers must know.
    `sample` has the returns that means and covariance were estimated from, for drawing others, and
    `terms` the expected returns that were asked for; None where they are past means. `beside` is
    what a benchmark holds besides, estimated together with the tickers, so that the covariance of
    all is positive semidefinite; `sample` has its returns too, in the last columns.
    """

    prices: pd.DataFrame
    returns: Floats
    means: Floats
    covariance: Floats
    periods_per_year: float
    correlation_period: Period = "daily"
    remarks: tuple[str, ...] = ()
    sample: Sample | None = None
    terms: Terms | None = None
    beside: Beside | None = None

    def expecting(
        self,
        asked: ExpectedReturns,
        risk_free_rate: RiskFree | float,
        facts: Facts | None = None,
    ) -> Estimates:
        """These past ones with the expected returns that are asked for, which the remarks tell.

        Raises:
            InsufficientDataError: there is no risk-free rate, and one is needed.
            ValueError: they cannot be had; names the ticker or view.
        """
        rate = self.rate(risk_free_rate) if asked.of_market else 0.0
        behind = None if self.sample is None else (self.sample.weekly or self.sample.common)
        past = Past(
            tuple(self.prices.columns),
            self.means,
            self.covariance,
            self.n_obs / self.periods_per_year,
            self.n_obs if behind is None else len(behind.returns),
        )
        found = expected(asked, past, rate, facts or {})
        return replace(
            self,
            means=found.means,
            covariance=found.covariance,
            remarks=(*found.remarks, *self.remarks),
            terms=Terms(asked, rate, facts or {}),
        )

    def rate(self, risk_free_rate: RiskFree | float) -> float:
        """The annual risk-free rate over the common dates.

        Raises:
            InsufficientDataError: it is not known over all of them; names the gap.
            CurrencyError: it is of another currency.
        """
        dates = self.prices.index
        return risk_free(risk_free_rate).over(dates[0].date(), dates[-1].date())

    def of_drawn(self, drawn: Sample) -> Estimates:
        """What the same terms make of other returns; without remarks.

        Raises:
            InsufficientDataError: there are too few of them.
            ValueError: the expected returns that are asked for cannot be had from them.
        """
        others = () if self.beside is None else self.beside.tickers
        means, covariance, beside = cut(drawn.means(), drawn.covariance(), others)
        past = replace(
            self,
            means=means,
            covariance=covariance,
            beside=beside,
            returns=drawn.common.returns[:, : len(means)],
            sample=drawn,
            remarks=(),
        )
        if self.terms is None:
            return past
        return past.expecting(self.terms.asked, self.terms.risk_free_rate, self.terms.facts)

    @property
    def n_obs(self) -> int:
        """Number of common returns."""
        return len(self.returns)


def estimate(
    series: list[PriceSeries],
    lookback_years: int | None,
    estimator: str = "sample",
    halflife: float = HALFLIFE,
    fewest: int = _FEWEST_RETURNS,
    *,
    periods_per_year: float | None = None,
    correlation_period: Period | None = None,
    beside: Sequence[PriceSeries] = (),
) -> Estimates:
    """Means and covariance over the last `lookback_years`.

    The common window ends at the last common date; a ticker's own ends at its own last session,
    when that is at most `GRACE` later. A shorter history is used as it is, and remarked on.

    Args:
        series: one or more, of any spacing.
        lookback_years: None means all there is.
        estimator: as in `covariance`. Its value of one ticker alone is the variance.
        halflife: of `ewma`, in bars.
        fewest: common returns that are asked for; those of a year, where that has fewer.
        periods_per_year: A, fixed by convention; by default what there was.
        correlation_period: see `together.period_for`.
        beside: what a benchmark holds besides, of which the common dates and window are too.

    Raises:
        InsufficientDataError: fewer than `fewest` common returns.
        ValueError: no such estimator or period.
    """
    others, series = tuple(s.ticker for s in beside), [*series, *beside]
    period = period_for(series, correlation_period)
    start = window_start(min(s.end for s in series), lookback_years)
    prices = common_prices(series, start)
    common = Regular.of_frame(prices)
    n = len(common.returns)
    annual = common.periods_per_year if periods_per_year is None else periods_per_year
    _check_enough(series, n, min(fewest, round(annual)), "returns")
    parts = [_window(s, prices, lookback_years) for s in series]
    weekly = None
    if period == "weekly":
        weekly = _timed(weekly_prices(series, start))
        _check_enough(series, len(weekly.returns), min(fewest, _FEWEST_WEEKS), "weekly returns")
    ratio = 1.0 if weekly is None else len(weekly.returns) / n
    sample = Sample(
        _own(parts, periods_per_year), _timed(prices), weekly, estimator, halflife, ratio
    )
    means, sigma, of_others = cut(sample.means(), sample.covariance(), others)
    return Estimates(
        prices.iloc[:, : len(means)],
        common.returns[:, : len(means)],
        means,
        sigma,
        annual,
        period,
        tuple(_remarks(series, parts, prices, period, lookback_years)),
        sample,
        beside=of_others,
    )


def estimate_of(
    spec: PortfolioSpec,
    series: list[PriceSeries],
    lookback_years: int | None,
    risk_free_rate: RiskFree | float,
    facts: Facts | None,
    periods_per_year: float | None = None,
    *,
    beside: Sequence[PriceSeries] = (),
) -> Estimates:
    """What a portfolio's numbers rest on, as its specification asks; see `estimate`, `expected`.

    Args:
        spec: the portfolio.
        series: prices of its tickers, in its order.
        lookback_years: where it names none.
        risk_free_rate: annual effective rate, or returns without risk, which equilibrium returns
            are over.
        facts: columns of the universe, each a value per ticker.
        periods_per_year: A, fixed by convention; by default what there was.
        beside: prices of `spec.beside`, in its order.

    Raises:
        InsufficientDataError: there is too little history.
        ValueError: its expected returns cannot be had, or the benchmark's prices are not there.
    """
    if len(beside) != len(spec.beside):
        raise ValueError(f"benchmark: the prices of {', '.join(spec.beside)} are not those given")
    found = estimate(
        series,
        spec.lookback(lookback_years),
        spec.estimator,
        spec.halflife,
        periods_per_year=periods_per_year,
        correlation_period=spec.correlation_period,
        beside=beside,
    )
    return found.expecting(spec.expected_returns, risk_free_rate, facts)


def _own(parts: list[PriceSeries], fixed: float | None) -> tuple[Own, ...]:
    """The tickers' returns in their windows, and A: those on the same days together."""
    alike: dict[bytes, list[int]] = {}
    for i, part in enumerate(parts):
        alike.setdefault(part.days.tobytes(), []).append(i)
    found = []
    for columns in alike.values():
        days = parts[columns[0]].days
        prices = [parts[i].prices.to_numpy(dtype="float64") for i in columns]
        returns = simple_returns(np.column_stack(prices))
        annual = Span.of(days).periods_per_year(fixed) or 1.0
        found.append(Own(Timed(returns, days[1:]), np.array(columns), annual))
    return tuple(found)


def _timed(prices: pd.DataFrame) -> Timed:
    """Returns between the rows of a frame, but for those over holes."""
    days = prices.index.to_numpy().astype("datetime64[D]")
    return Timed(Regular.of(prices.to_numpy(), days).returns, days[1:][~is_long(days)])


def _window(series: PriceSeries, prices: pd.DataFrame, years: int | None) -> PriceSeries:
    """The window of one ticker."""
    last = prices.index[-1].date()
    end = series.end if series.end <= last + GRACE else last
    return series.until(end).since(window_start(end, years))


def _check_enough(series: list[PriceSeries], n: int, needed: int, what: str) -> None:
    if n < needed:
        raise InsufficientDataError(
            f"{n} common {what} of {', '.join(s.ticker for s in series)} are fewer than {needed}"
        )


def _remarks(
    series: list[PriceSeries],
    parts: list[PriceSeries],
    prices: pd.DataFrame,
    period: Period,
    years: int | None,
) -> list[str]:
    """What the numbers rest on, where that is not what one would take for granted."""
    said = ended_early(series)
    if period == "weekly":
        why = calendars_differ(series)
        said.append(f"correlations are of weekly returns{f', {why}' if why else ''}")
    for part in parts:
        span = Span.of(part.days)
        begin = window_start(part.end, years)
        if begin is not None and not part.covers(begin):
            said.append(f"{part.ticker} has {span.years:.1f} of {years} years")
        if span.too_short:
            said.append(f"{part.ticker}: its numbers a year come from {span.days} days")
        said += [f"{part.ticker}: {remark}" for remark in spacing_remarks(part.days)]
    said += doubts(parts)
    if len(series) > 1:
        dates = prices.index.to_numpy().astype("datetime64[D]")
        said += common_gaps(dates)
    return said
