"""Backtests of the portfolios of a file, as tables."""

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio.backtest_tables import backtest_tables
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
