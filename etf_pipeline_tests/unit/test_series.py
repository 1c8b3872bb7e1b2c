"""Risk through time, by hand and against every pair of dates."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.risk.returns import drawdowns
from etf_pipeline.risk.series import drawdown_table, rolling_volatility


def prices():
    index = pd.bdate_range("2024-01-01", periods=9)
    return pd.Series([100, 110, 99, 104.5, 121, 96.8, 108.9, 130, 117.0], index)


def test_drawdown_table():
    table = drawdown_table(prices())
    index = prices().index
    assert table["drawdown"].tolist() == pytest.approx([-0.2, -0.1, -0.1])
    worst = table.iloc[0]
    assert (worst["peak"], worst["trough"], worst["recovery"]) == (index[4], index[5], index[7])
    assert (worst["length"], worst["to_trough"]) == (3, 1)
    still = table[table["recovery"].isna()].iloc[0]
    assert (still["peak"], still["length"]) == (index[7], 1)
    assert len(drawdown_table(prices(), 1)) == 1
    assert drawdown_table(prices()[:2]).empty


def test_drawdown_series_and_rolling_volatility():
    assert drawdowns(prices()).min() == pytest.approx(-0.2)
    rolled = rolling_volatility(prices(), 3, 252)
    assert len(rolled) == 6
    last = prices().pct_change().iloc[-3:].std(ddof=1) * np.sqrt(252)
    assert rolled.iloc[-1] == pytest.approx(last)
    with pytest.raises(ValueError, match="at least 2"):
        rolling_volatility(prices(), 1, 252)


def of(values):
    return pd.Series(values, pd.bdate_range("2024-01-01", periods=len(values)), dtype="float64")


def test_rolling_volatility_by_hand():
    """Returns 0.1, −0.1, 0.1 of two at a time: each √2 · 0.1 apart from the mean, times √4."""
    found = rolling_volatility(of([100, 110, 99, 108.9]), 2, 4)
    assert found.tolist() == pytest.approx([0.2 * np.sqrt(2), 0.2 * np.sqrt(2)])
    assert list(found.index) == list(of([1] * 4).index[2:])


def test_a_window_longer_than_the_series_gives_nothing():
    assert rolling_volatility(of([100, 110, 99]), 3, 252).empty


@pytest.mark.parametrize("values", [[], [100], [100, 100, 100], [1, 2, 3]])
def test_without_a_fall_the_table_is_empty(values):
    assert drawdown_table(of(values)).empty


def test_a_new_low_lengthens_the_same_fall():
    (row,) = drawdown_table(of([100, 90, 95, 80, 99])).to_dict("records")
    assert row["drawdown"] == pytest.approx(-0.2)
    assert (row["to_trough"], row["length"]) == (3, 4)
    assert pd.isna(row["recovery"])


@given(st.lists(st.floats(1, 100), min_size=1, max_size=40))
def test_the_worst_of_the_table_is_the_worst_of_all_pairs(values):
    prices = of(values)
    worst = min(
        prices.iloc[j] / prices.iloc[i] - 1
        for i in range(len(prices))
        for j in range(i, len(prices))
    )
    table = drawdown_table(prices)
    assert drawdowns(prices).min() == pytest.approx(worst, abs=1e-12)
    if worst < 0:
        assert table["drawdown"].iloc[0] == pytest.approx(worst, abs=1e-12)
        assert table["drawdown"].is_monotonic_increasing
        # every session below its peak belongs to one fall
        below = int((prices < prices.cummax()).sum())
        recovered = table["recovery"].notna()
        assert int((table["length"] - recovered).sum()) == below
    else:
        assert table.empty
