"""The backtest tables: every model portfolio, walked forward over its members' history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from etf_pipeline.errors import BacktestError, EtfError
from etf_pipeline.model.backtesting import EventKind
from etf_pipeline.model.benchmark_portfolios import (
    benchmark_portfolio,
    benchmarks_first,
    without_benchmark,
)
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import BACKTEST_EVENTS, BACKTEST_WEIGHTS, BACKTESTS
from etf_pipeline.portfolio.answer import Answer, refused_by
from etf_pipeline.portfolio.backtest import Backtest, backtest_portfolio, beside
from etf_pipeline.portfolio.benchmarks import Followed
from etf_pipeline.portfolio.building import Columns
from etf_pipeline.portfolio.tables import beside_of, series_of
from etf_pipeline.risk.conversion import OWN_CURRENCY, Conversion, Together
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.returns import drawdowns, from_paid_in
from etf_pipeline.risk.risk_free import RiskFree, risk_free


@dataclass(frozen=True)
class BacktestTables:
    """Three tables, the backtests, the refusal of each that there is not, and others' prices."""

    courses: pa.Table
    weights: pa.Table
    events: pa.Table
    backtests: Mapping[str, Backtest]
    failures: Mapping[str, Answer]
    inputs: Mapping[str, Together]


@dataclass(frozen=True)
class Walked:
    """A backtest, its members' prices in its currency, and the benchmark's beside it."""

    backtest: Backtest
    together: Together
    benchmark: pd.Series | None


def walked(
    spec: PortfolioSpec,
    series: Mapping[str, PriceSeries],
    lookback_years: int,
    risk_free_rate: RiskFree | float,
    columns: Columns | None = None,
    benchmark: PriceSeries | None = None,
    conversion: Conversion = OWN_CURRENCY,
    periods_per_year: float | None = None,
    followed: Followed | None = None,
    on: Sequence[dt.date] = (),
    newest: dt.date | None = None,
) -> Walked:
    """Walk one portfolio forward in its currency, which the benchmark has no say in.

    Args:
        spec: the portfolio.
        series: prices by ticker, of the portfolio and of what it is compared with.
        lookback_years: for a specification that names none.
        risk_free_rate: annual effective rate, or returns without risk, which cash earns too.
        columns: universe columns for the groups, each a value per ticker.
        benchmark: prices to put beside the course.
        conversion: brings prices to one currency.
        periods_per_year: A, fixed by convention; by default what there was.
        followed: the portfolio that it is measured against, walked forward; None for others.
        on: ascending days to decide on, in place of its calendar's.
        newest: the newest session known of anything; that of `series` by default.

    Raises:
        InsufficientDataError: too little history, or none of a ticker.
        CurrencyError: the prices cannot be brought to one currency.
        BacktestError: no decision gave weights; says why.
    """
    held, active = series_of(spec, series), beside_of(spec, series, followed)
    others = [series[t] for t in spec.comparison if t in series]
    besides = [*active, *others, *([] if benchmark is None else [benchmark])]
    together, found = conversion.beside(held, besides, spec.base_currency)
    together = replace(together, beside=tuple(found[: len(active)]))
    others_too = found[len(active) :]
    free = risk_free(risk_free_rate).like(together.currency)
    done = backtest_portfolio(
        spec,
        together.series,
        lookback_years,
        free,
        columns,
        periods_per_year,
        comparison=others_too[: len(others)],
        newest=newest or _newest(series.values()),
        beside=together.beside,
        followed=followed,
        on=on,
    )
    said = free.remarks(done.wealth.index[0].date(), done.wealth.index[-1].date())
    done = replace(done, remarks=(*done.remarks, *together.remarks, *said))
    course = None if benchmark is None else _course_of(others_too[-1], done.wealth)
    return Walked(done, together, course)


def backtest_tables(
    specs: Iterable[PortfolioSpec],
    series: Mapping[str, PriceSeries],
    lookback_years: int,
    risk_free_rate: RiskFree | float,
    columns: Columns | None = None,
    benchmark: PriceSeries | None = None,
    conversion: Conversion = OWN_CURRENCY,
    periods_per_year: float | None = None,
    newest: dt.date | None = None,
) -> BacktestTables:
    """Walk every portfolio forward; one that cannot be is a failure that says why.

    The arguments are those of `walked`. Portfolios that others are measured against are walked
    first.
    """
    rows: dict[str, list[dict[str, Any]]] = {"courses": [], "weights": [], "events": []}
    failures: dict[str, Answer] = {}
    done: dict[str, Walked] = {}
    known = {s.name: s for s in specs}
    for spec in benchmarks_first(known.values()):
        try:
            followed = _followed(spec, known, done, failures)
            done[spec.name] = walked(
                spec,
                series,
                lookback_years,
                risk_free_rate,
                columns,
                benchmark,
                conversion,
                periods_per_year,
                followed,
                newest=newest,
            )
        except (EtfError, ValueError) as error:
            failures[spec.name] = refused_by(error)
    found = {name: done[name] for name in sorted(done)}
    for name, one in found.items():
        base = {"portfolio": name, "source": one.together.source}
        rows["courses"] += [base | row for row in _course_rows(one)]
        rows["weights"] += [base | row for row in _weight_rows(one.backtest)]
        rows["events"] += [base | row for row in _event_rows(one.backtest)]
    return BacktestTables(
        pa.Table.from_pylist(rows["courses"], schema=BACKTESTS.arrow),
        pa.Table.from_pylist(rows["weights"], schema=BACKTEST_WEIGHTS.arrow),
        pa.Table.from_pylist(rows["events"], schema=BACKTEST_EVENTS.arrow),
        {name: one.backtest for name, one in found.items()},
        {name: failures[name] for name in sorted(failures)},
        {name: one.together for name, one in found.items()},
    )


def _followed(
    spec: PortfolioSpec,
    known: Mapping[str, PortfolioSpec],
    done: Mapping[str, Walked],
    failures: Mapping[str, Answer],
) -> Followed | None:
    """The portfolio that one is measured against, as it was walked; None for other benchmarks.

    Raises:
        BacktestError: it has no course.
    """
    other = benchmark_portfolio(spec, known)
    if other is None:
        return None
    if other.name in failures:
        refused = failures[other.name]
        why = without_benchmark(spec, other.name, "backtest", refused.message)
        raise BacktestError(why, code=refused.code)
    return done[other.name].backtest.followed(other.name)


def _newest(series: Iterable[PriceSeries]) -> dt.date | None:
    return max((s.end for s in series), default=None)


def _course_of(benchmark: PriceSeries, wealth: pd.Series) -> pd.Series | None:
    """The benchmark by the sessions of a course, from 1; None when they share none."""
    known = benchmark.prices.reindex(wealth.index).dropna()
    return beside(known / known.iloc[0], wealth) if len(known) else None


def _course_rows(one: Walked) -> list[dict[str, Any]]:
    done = one.backtest
    columns = {
        "wealth": done.wealth,
        "drawdown": drawdowns(from_paid_in(done.wealth, done.wealth)),
        "benchmark_wealth": one.benchmark,
        "turnover": done.turnover,
        "cost": done.cost,
        "cash": done.cash,
        "comparison_wealth": done.comparison,
    }
    dates = pd.DatetimeIndex(done.wealth.index)
    values = {name: _numbers(column, dates) for name, column in columns.items()}
    return [
        {"date": date.date()} | {name: column[i] for name, column in values.items()}
        for i, date in enumerate(dates)
    ]


def _numbers(values: pd.Series | None, dates: pd.DatetimeIndex) -> list[float | None]:
    """By date; None where there is no number."""
    if values is None:
        return [None] * len(dates)
    found = values.reindex(dates).to_numpy(dtype="float64")
    return [None if np.isnan(v) else float(v) for v in found]


def _weight_rows(done: Backtest) -> list[dict[str, Any]]:
    nearest = set(done.nearest)
    return [
        {
            "date": date.date(),
            "ticker": ticker,
            "weight": float(weight),
            "decision": (EventKind.NEAREST if date in nearest else EventKind.TRADED).value,
        }
        for date, row in zip(
            pd.DatetimeIndex(done.weights.index), done.weights.to_dict("records"), strict=True
        )
        for ticker, weight in sorted(row.items())
    ]


def _event_rows(done: Backtest) -> list[dict[str, Any]]:
    rows = [
        {
            "date": event.date,
            "event": event.kind.value,
            "subject": event.subject,
            "traded_on": event.traded,
            "code": None if event.code is None else event.code.value,
            "reason": event.reason,
        }
        for event in done.events
    ]
    return sorted(rows, key=lambda r: (r["date"], r["event"], r["subject"]))
