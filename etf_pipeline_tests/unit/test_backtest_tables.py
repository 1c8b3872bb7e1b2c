"""Backtests of the portfolios of a file, as tables."""

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio.backtest_tables import backtest_tables
from etf_pipeline.risk.conversion import Conversion
from etf_pipeline_tests.fx_support import BY_HAND, FX, IN_AUD, MIXED, NAMED, VGB, alike
from etf_pipeline_tests.portfolio_file import DAYS, SERIES, UNIVERSE, specs


def test_backtests_of_the_file(tmp_path):
    text = "    objective: min_volatility\n    trading_cost: 0.001\n    rebalance: monthly\n"
    tables = backtest_tables(
        specs(tmp_path, text), SERIES, 5, 0.0, UNIVERSE.columns(), SERIES["VAS"]
    )
    rows = tables.courses.to_pylist()
    assert tables.failures == {}
    assert rows[0]["wealth"] == pytest.approx(1 - 0.001)
    assert rows[0]["cost"] == pytest.approx(0.001)
    last, first = rows[-1], rows[0]
    prices = SERIES["VAS"].prices
    expected = prices.loc[pd.Timestamp(last["date"])] / prices.loc[pd.Timestamp(first["date"])]
    assert last["benchmark_wealth"] == pytest.approx(expected)
    weights = tables.weights.to_pandas().groupby("date")["weight"].sum()
    assert np.allclose(weights, 1.0)


def test_a_backtest_without_enough_history_says_so(tmp_path):
    short = {t: s.since(DAYS[-200].date()) for t, s in SERIES.items()}
    tables = backtest_tables(specs(tmp_path, "    objective: max_sharpe\n"), short, 5, 0.0)
    assert "enough history" in tables.failures["p"].message
    assert tables.failures["p"].code is ReasonCode.TOO_FEW_RETURNS
    assert tables.courses.num_rows == 0


def walked(tmp_path, series, benchmark, conversion):
    asked = specs(tmp_path, "    objective: min_volatility\n    rebalance: yearly\n")
    return backtest_tables(asked, series, 5, 0.0, None, benchmark, conversion)


def test_a_backtest_is_in_the_currency_of_the_portfolio_and_so_is_its_benchmark(tmp_path):
    found = walked(tmp_path, MIXED, MIXED["VGB"], IN_AUD)
    right = walked(tmp_path, BY_HAND, BY_HAND["VGB"], Conversion())
    assert found.courses.num_rows == right.courses.num_rows > 200
    assert alike(found.courses.to_pylist(), right.courses.to_pylist())
    assert (found.inputs["p"].currency, found.inputs["p"].fx) == ("AUD", NAMED)
    # the benchmark alone may be what needs a rate; the portfolio's currency is its members'
    alone = walked(tmp_path, SERIES, MIXED["VGB"], Conversion(FX))
    assert (alone.inputs["p"].currency, alone.inputs["p"].fx) == ("AUD", NAMED)
    wealth = [r["benchmark_wealth"] for r in found.courses.to_pylist()]
    assert [r["benchmark_wealth"] for r in alone.courses.to_pylist()] == pytest.approx(wealth)
    unconverted = walked(tmp_path, SERIES, VGB, Conversion()).courses.to_pylist()
    assert unconverted[-1]["benchmark_wealth"] != pytest.approx(wealth[-1], rel=1e-3)


def test_a_backtest_without_its_rates_says_so(tmp_path):
    for series, benchmark in ((MIXED, None), (SERIES, MIXED["VGB"])):
        failures = walked(tmp_path, series, benchmark, Conversion(default="AUD")).failures
        assert failures["p"].code is ReasonCode.MISSING_FX
        assert "AUDUSD=X" in failures["p"].message
