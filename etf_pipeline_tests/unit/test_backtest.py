"""Walk-forward backtests: drift and costs by hand, and no look at the future."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.portfolio.backtest import rebalance_sessions, walk_forward
from etf_pipeline.portfolio.backtest_tables import backtest_portfolio
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline_tests.support import walk

DAYS = pd.bdate_range("2020-01-01", periods=700)
EMPTY = np.array([], dtype="datetime64[D]")


def frame(n=700, seeds=(1, 2)):
    return pd.DataFrame({f"T{s}": walk(700, seed=s)[:n] for s in seeds}, DAYS[:n])


def half(past, held):
    return np.array([0.5, 0.5])


def test_decisions_are_at_ends_of_periods_and_traded_a_session_later():
    found = walk_forward(frame(), half, "quarterly")
    decisions = DAYS[rebalance_sessions(DAYS, "quarterly")]
    assert decisions[0] == pd.Timestamp("2020-03-31")
    assert found.weights.index[0] == pd.Timestamp("2020-04-01")
    assert found.wealth.index[0] == pd.Timestamp("2020-04-01")
    assert found.wealth.iloc[0] == 1.0


def test_wealth_drifts_between_trades_and_pays_for_them():
    prices = frame()
    found = walk_forward(prices, half, "yearly", cost_rate=0.01)
    first, second = found.weights.index[:2]
    # bought for 1 less 1 % of the whole
    worth = 0.99
    growth = prices.loc[second] / prices.loc[first]
    before = worth * float((growth * 0.5).sum())
    drifted = (growth * 0.5) / (growth * 0.5).sum()
    moved = float((drifted - 0.5).abs().sum())
    assert found.turnover.loc[second] == pytest.approx(moved / 2)
    assert found.wealth.loc[second] == pytest.approx(before * (1 - 0.01 * moved))
    middle = prices.index[prices.index.get_loc(first) + 50]
    expected = worth * float((prices.loc[middle] / prices.loc[first] * 0.5).sum())
    assert found.wealth.loc[middle] == pytest.approx(expected)


def test_no_decision_keeps_what_is_held():
    def once(past, held):
        return np.array([1.0, 0.0]) if held is None else None

    prices = frame()
    found = walk_forward(prices, once, "monthly")
    assert len(found.weights) == 1
    assert len(found.skipped) > 20
    start = found.wealth.index[0]
    expected = prices["T1"].iloc[-1] / prices.loc[start, "T1"]
    assert found.wealth.iloc[-1] == pytest.approx(expected)
    with pytest.raises(InsufficientDataError):
        walk_forward(prices, lambda past, held: None)


SPEC = PortfolioSpec(
    name="p",
    tickers=["T1", "T2", "T3"],
    objective="max_return",
    risk_budget=0.12,
    rebalance="monthly",
    trading_cost=0.001,
)


def series(prices):
    return [PriceSeries(t, prices[t], EMPTY, EMPTY, "files", "AUD") for t in prices.columns]


@settings(max_examples=25)
@given(st.integers(300, 690), st.integers(0, 10_000), st.floats(0.2, 5))
def test_changing_the_future_never_changes_the_past(cut, seed, factor):
    """The course up to any session is the same whatever happens afterwards."""
    prices = frame(seeds=(1, 2, 3))
    other = prices.copy()
    noise = np.random.default_rng(seed).uniform(0.9, 1.1, (700 - cut, 3)) * factor
    other.iloc[cut:] = other.iloc[cut:].to_numpy() * noise
    one = backtest_portfolio(SPEC, series(prices), 1, 0.0)
    two = backtest_portfolio(SPEC, series(other), 1, 0.0)
    before = DAYS[cut - 1]
    pd.testing.assert_series_equal(one.wealth.loc[:before], two.wealth.loc[:before])
    pd.testing.assert_frame_equal(one.weights.loc[:before], two.weights.loc[:before])


def test_a_shorter_history_gives_the_same_beginning():
    """Adding sessions only appends to a backtest."""
    whole = backtest_portfolio(SPEC, series(frame(seeds=(1, 2, 3))), 1, 0.0)
    part = backtest_portfolio(SPEC, series(frame(500, seeds=(1, 2, 3))), 1, 0.0)
    pd.testing.assert_series_equal(whole.wealth.loc[: part.wealth.index[-1]], part.wealth)
