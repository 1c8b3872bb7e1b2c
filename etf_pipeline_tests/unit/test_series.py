"""Risk through time, by hand and against every pair of dates."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.risk.metrics import max_drawdown
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
    assert drawdowns(prices().rename("adj_close")).name == "drawdown"
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
    else:
        assert table.empty


def test_a_fall_begins_on_the_first_day_of_its_high():
    """Both falls are from the 100 of the first day, which the third one only meets again."""
    prices = of([100, 100, 90, 100, 80])
    day = list(prices.index)
    worst, other = drawdown_table(prices).to_dict("records")
    assert (worst["peak"], worst["trough"], worst["length"]) == (day[0], day[4], 4)
    assert pd.isna(worst["recovery"])
    assert (other["peak"], other["trough"], other["recovery"]) == (day[0], day[2], day[3])
    assert (other["length"], other["to_trough"]) == (3, 2)


def runs_below_the_high(values):
    """Positions of the sessions below the highest so far, by fall, one session after the other."""
    runs, high, under = [], 0.0, False
    for i, value in enumerate(values):
        if value >= high:
            high, under = value, False
        elif under:
            runs[-1].append(i)
        else:
            runs.append([i])
            under = True
    return runs


# few values, so that highs and lows are often equal
@given(st.lists(st.integers(1, 6), min_size=1, max_size=40) | st.lists(st.floats(1, 100)))
def test_every_session_below_its_high_belongs_to_one_fall(values):
    expected = set()
    for run in runs_below_the_high(values):
        peak = values.index(max(values[: run[0]]))
        trough = min(run, key=lambda i: (values[i] / values[peak], i))
        back = run[-1] + 1 if run[-1] + 1 < len(values) else None
        end = len(values) - 1 if back is None else back
        expected.add((peak, trough, back, end - peak, trough - peak))
    prices = of(values)
    at = {day: i for i, day in enumerate(prices.index)}
    found = {
        (at[r.peak], at[r.trough], at.get(r.recovery), r.length, r.to_trough)
        for r in drawdown_table(prices).itertuples()
    }
    assert found == expected


@given(st.lists(st.integers(1, 6), min_size=2, max_size=40))
def test_the_first_of_the_table_is_the_worst_fall_of_the_metrics(values):
    prices = of(values)
    depth, peak, trough, recovery = max_drawdown(prices.to_numpy())
    table = drawdown_table(prices)
    if depth == 0.0:
        assert table.empty
        return
    first = table.iloc[0]
    assert first["drawdown"] == depth
    assert (first["peak"], first["trough"]) == (prices.index[peak], prices.index[trough])
    if recovery is None:
        assert pd.isna(first["recovery"])
    else:
        assert first["recovery"] == prices.index[recovery]
