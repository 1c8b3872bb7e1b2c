"""The backtest tables: every model portfolio, walked forward over its common history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from etf_pipeline.errors import EtfError
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import BACKTEST_WEIGHTS, BACKTESTS
from etf_pipeline.portfolio.answer import Answer, refused_by
from etf_pipeline.portfolio.backtest import Backtest, walk_forward
from etf_pipeline.portfolio.building import Columns, problem_of
from etf_pipeline.portfolio.optimise import optimise
from etf_pipeline.portfolio.problem import Floats
from etf_pipeline.portfolio.tables import series_of
from etf_pipeline.risk.conversion import OWN_CURRENCY, Conversion, Together
from etf_pipeline.risk.estimates import estimate_of
from etf_pipeline.risk.prices import PriceSeries, common_prices, first_window_end
from etf_pipeline.risk.returns import drawdowns

_NO_DAYS = np.array([], dtype="datetime64[D]")


@dataclass(frozen=True)
class BacktestTables:
    """Courses and weights, the refusal of each portfolio that has none, and the others' prices."""

    courses: pa.Table
    weights: pa.Table
    failures: Mapping[str, Answer]
    inputs: Mapping[str, Together]


def backtest_tables(
    specs: Iterable[PortfolioSpec],
    series: Mapping[str, PriceSeries],
    lookback_years: int,
    risk_free_rate: float,
    columns: Columns | None = None,
    benchmark: PriceSeries | None = None,
    conversion: Conversion = OWN_CURRENCY,
    periods_per_year: float | None = None,
) -> BacktestTables:
    """Walk every portfolio forward; one that cannot be is a failure that says why.

    Each is in its own currency, the benchmark beside it too.
    """
    courses: list[dict[str, Any]] = []
    weights: list[dict[str, Any]] = []
    failures: dict[str, Answer] = {}
    inputs: dict[str, Together] = {}
    for spec in sorted(specs, key=lambda s: s.name):
        try:
            held = series_of(spec, series)
            years = spec.lookback(lookback_years)
            together, against = _together(spec, held, benchmark, conversion)
            done = backtest_portfolio(
                spec, together.series, years, risk_free_rate, columns, periods_per_year
            )
        except (EtfError, ValueError) as error:
            failures[spec.name] = refused_by(error)
            continue
        inputs[spec.name] = together
        base = {"portfolio": spec.name, "source": together.source}
        courses += [base | row for row in _course_rows(done, against)]
        weights += [
            base | {"date": date.date(), "ticker": ticker, "weight": float(weight)}
            for date, row in zip(
                pd.DatetimeIndex(done.weights.index), done.weights.to_dict("records"), strict=True
            )
            for ticker, weight in sorted(row.items())
        ]
    return BacktestTables(
        pa.Table.from_pylist(courses, schema=BACKTESTS.arrow),
        pa.Table.from_pylist(weights, schema=BACKTEST_WEIGHTS.arrow),
        failures,
        inputs,
    )


def _together(
    spec: PortfolioSpec,
    held: list[PriceSeries],
    benchmark: PriceSeries | None,
    conversion: Conversion,
) -> tuple[Together, PriceSeries | None]:
    """A portfolio's prices in its currency, and the benchmark's, which has no say in which.

    Raises:
        CurrencyError: they cannot be brought to one currency.
    """
    together = conversion.together(held, spec.base_currency)
    if benchmark is None:
        return together, None
    if together.currency is None:
        return together, conversion.like(benchmark, together.series[0])
    whole = conversion.together([*held, benchmark], together.currency)
    return replace(whole, series=whole.series[:-1]), whole.series[-1]


def backtest_portfolio(
    spec: PortfolioSpec,
    series: list[PriceSeries],
    lookback_years: int,
    risk_free_rate: float,
    columns: Columns | None = None,
    periods_per_year: float | None = None,
) -> Backtest:
    """One portfolio, decided anew at each rebalance from the `lookback_years` before it.

    It starts when there are `lookback_years` of common history. Limits on turnover are against
    what is held then.

    Raises:
        InsufficientDataError: the common history is too short.
    """
    prices = common_prices(series)
    first = first_window_end(prices.index[0].date(), lookback_years)

    def decide(past: pd.DataFrame, held: Floats | None) -> Floats | None:
        if past.index[-1].date() < first:
            return None
        parts = [
            replace(s, prices=past[s.ticker], holes=_NO_DAYS, excluded=_NO_DAYS) for s in series
        ]
        estimates = estimate_of(
            spec, parts, lookback_years, risk_free_rate, columns, periods_per_year
        )
        now = spec.model_copy(update=_holdings(spec, held))
        return optimise(problem_of(now, estimates, risk_free_rate, columns)).weights

    return walk_forward(prices, decide, spec.rebalance, spec.trading_cost)


def _holdings(spec: PortfolioSpec, held: Floats | None) -> dict[str, Any]:
    """Turnover and costs are against what is held; before the first purchase nothing is."""
    if spec.max_turnover is None and spec.cost_rate == 0.0:
        return {}
    if held is None:
        return {"max_turnover": None, "cost_rate": 0.0, "holdings": {}}
    return {"holdings": dict(zip(spec.tickers, held.tolist(), strict=True))}


def _course_rows(done: Backtest, benchmark: PriceSeries | None) -> list[dict[str, Any]]:
    wealth = done.wealth
    fall = drawdowns(wealth)
    other: pd.Series | None = None
    if benchmark is not None:
        prices = benchmark.prices.reindex(wealth.index)
        known = prices.dropna()
        other = prices / known.iloc[0] if len(known) else None
    return [
        {
            "date": date.date(),
            "wealth": float(value),
            "drawdown": float(fall.iloc[i]),
            "benchmark_wealth": _number(other, date),
            "turnover": _number(done.turnover, date),
            "cost": _number(done.cost, date),
        }
        for i, (date, value) in enumerate(zip(pd.DatetimeIndex(wealth.index), wealth, strict=True))
    ]


def _number(values: pd.Series | None, date: Any) -> float | None:
    if values is None or date not in values.index:
        return None
    value = float(values.loc[date])
    return None if np.isnan(value) else value
