"""Whole calendar months, by bars of any spacing, with holes and unfinished ends."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.risk.metrics import compute_metrics
from etf_pipeline.risk.months import whole_months


def rising(days):
    """A price that tells its date: 1.0001 to the power of the days since 1970."""
    at = pd.DatetimeIndex(days).to_numpy().astype("datetime64[D]")
    return 1.0001 ** at.astype("int64"), at


def lengths(months):
    """How many days each return spans."""
    return np.round(np.log1p(months.returns) / np.log(1.0001)).astype(int).tolist()


def test_a_month_runs_from_the_last_price_of_the_one_before_to_its_own():
    # Friday 31 January, Friday 28 February, Monday 31 March, Wednesday 30 April 2025
    found = whole_months(*rising(pd.bdate_range("2025-01-15", "2025-05-20")))
    assert lengths(found) == [28, 31, 30]
    assert found.left_out == 0


@pytest.mark.parametrize(
    ("end", "months"),
    [
        ("2025-04-29", 2),  # Wednesday the 30th is to come
        ("2025-04-30", 3),
        ("2025-05-01", 3),
    ],
)
def test_the_newest_month_counts_once_it_is_over(end, months):
    found = whole_months(*rising(pd.bdate_range("2025-01-15", end)))
    assert (len(found.returns), found.left_out) == (months, 0)


def test_a_month_is_over_before_a_weekend():
    """May 2025 ends on a Saturday."""
    found = whole_months(*rising(pd.bdate_range("2025-04-01", "2025-05-30")))
    assert lengths(found) == [30]


def test_a_holiday_at_the_end_of_a_month_does_not_matter():
    """Good Friday was 29 March 2024, and Easter Monday 1 April."""
    days = pd.bdate_range("2024-02-01", "2024-05-10").drop(["2024-03-29", "2024-04-01"])
    assert lengths(whole_months(*rising(days))) == [28, 33]


def test_months_without_a_price_near_an_end_are_left_out():
    days = pd.bdate_range("2024-01-02", "2024-08-09")
    hole = (days >= "2024-03-20") & (days <= "2024-04-05")
    found = whole_months(*rising(days[~hole]))
    # February, May, June, July; March has no end and April no beginning
    assert lengths(found) == [29, 31, 28, 33]
    assert found.left_out == 2


def test_a_hole_within_a_month_does_not_matter():
    days = pd.bdate_range("2024-01-02", "2024-08-09")
    hole = (days >= "2024-03-05") & (days <= "2024-03-22")
    assert lengths(whole_months(*rising(days[~hole]))) == lengths(whole_months(*rising(days)))


def test_a_month_without_any_price_is_not_filled():
    days = pd.bdate_range("2024-01-02", "2024-06-10")
    found = whole_months(*rising(days[days.month != 3]))
    assert lengths(found) == [29, 31]  # February and May
    assert found.left_out == 2


@pytest.mark.parametrize(
    ("freq", "expected"),
    [
        # Fridays: 26 January, 23 February, 29 March, 26 April; May is not over
        ("W-FRI", [28, 35, 28]),
        ("MS", [31, 29, 31]),  # stamped on the first, as Yahoo's are
        ("ME", [31, 29, 31, 30]),
    ],
)
def test_bars_of_weeks_and_months(freq, expected):
    days = pd.date_range("2023-12-30", "2024-05-17", freq=freq)
    assert lengths(whole_months(*rising(days))) == expected


@pytest.mark.parametrize("freq", ["QE", "YE"])
def test_bars_further_apart_than_months_make_none(freq):
    found = whole_months(*rising(pd.date_range("2010-01-01", "2024-05-17", freq=freq)))
    assert (len(found.returns), found.left_out) == (0, 0)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_price(n):
    prices, days = rising(pd.bdate_range("2024-01-31", periods=n))
    assert len(whole_months(prices, days).returns) == 0


def test_several_series_at_once():
    prices, days = rising(pd.bdate_range("2024-01-02", "2024-08-09"))
    both = whole_months(np.column_stack([prices, prices**2]), days).returns
    assert both[:, 0] == pytest.approx(whole_months(prices, days).returns)
    assert 1 + both[:, 1] == pytest.approx((1 + both[:, 0]) ** 2)


@given(
    st.integers(20, 900),
    st.integers(0, 2000),
    st.floats(1e-8, 1e4),
)
def test_pandas_agrees_on_every_month_without_holes(n, offset, unit):
    days = pd.bdate_range("2015-01-01", periods=n) + pd.Timedelta(days=7 * (offset // 7))
    prices = unit * np.exp(np.random.default_rng(offset).normal(0, 0.01, n).cumsum())
    series = pd.Series(prices, days)
    last = series.groupby(days.to_period("M")).last()
    expected = last.pct_change().iloc[1:]
    left = pd.bdate_range(days[-1] + pd.Timedelta(days=1), days[-1] + pd.offsets.MonthEnd(0))
    if len(left):
        expected = expected.iloc[:-1]
    found = whole_months(prices, days.to_numpy())
    assert found.returns == pytest.approx(expected.to_numpy(), rel=1e-9, abs=1e-12)
    assert found.left_out == 0


def test_best_worst_and_positive_months():
    days = pd.date_range("2023-12-31", periods=5, freq="ME")
    found = compute_metrics(
        100 * np.cumprod([1, 1.02, 0.95, 1.0, 1.01]), days.to_numpy().astype("datetime64[D]"), 12
    )
    assert (found.best_month, found.worst_month) == pytest.approx((0.02, -0.05))
    assert (found.positive_months, found.n_months) == (0.5, 4)  # a return of 0 is not positive
