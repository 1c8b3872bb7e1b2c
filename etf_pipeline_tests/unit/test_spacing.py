"""How far apart bars are, with the holidays and holes of real histories."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.spacing import PERIODS_PER_YEAR, bar_spacing


def days(rule, n):
    return pd.date_range("2023-01-02", periods=n, freq=rule).to_numpy()


@pytest.mark.parametrize(
    ("rule", "spacing"),
    [
        ("D", "daily"),
        ("B", "daily"),
        ("2D", "daily"),
        ("4D", "daily"),
        ("5D", "weekly"),
        ("W-FRI", "weekly"),
        ("9D", "weekly"),
        ("10D", None),
        ("2W", None),
        ("24D", None),
        ("25D", "monthly"),
        ("ME", "monthly"),
        ("MS", "monthly"),
        ("35D", "monthly"),
        ("36D", None),
        ("QE", None),
        ("YE", None),
    ],
)
def test_spacing(rule, spacing):
    assert bar_spacing(days(rule, 30)) == spacing


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_bars_cannot_tell(n):
    assert bar_spacing(days("B", n)) is None
    assert bar_spacing(days("B", 3)) == "daily"


def test_real_sessions_are_daily_over_any_holiday():
    all_days = sessions("XASX")
    year = all_days[(all_days >= np.datetime64("2024-12-20"))][:10]
    assert bar_spacing(year) == "daily"


@given(
    st.sampled_from([("B", "daily"), ("W-FRI", "weekly"), ("ME", "monthly")]), st.integers(0, 2**31)
)
def test_a_tenth_of_the_bars_missing_changes_nothing(kind, seed):
    rule, spacing = kind
    whole = days(rule, 60)
    kept = np.sort(np.random.default_rng(seed).choice(60, 54, replace=False))
    assert bar_spacing(whole[kept]) == spacing


@given(st.lists(st.integers(1, 60), min_size=2, max_size=40))
def test_the_median_gap_decides(gaps):
    dates = np.datetime64("2020-01-01") + np.r_[0, np.cumsum(gaps)]
    middle = float(np.median(gaps))
    ranges = {"daily": (0, 4), "weekly": (5, 9), "monthly": (25, 35)}
    expected = [name for name, (low, high) in ranges.items() if low <= middle <= high]
    assert bar_spacing(dates) == (expected[0] if expected else None)


def test_every_spacing_has_a_number_of_periods():
    assert PERIODS_PER_YEAR == {"daily": 252, "weekly": 52, "monthly": 12}
