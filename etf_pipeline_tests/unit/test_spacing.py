"""How far apart bars are, with the holidays and holes of real histories."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.spacing import (
    PERIODS_PER_YEAR,
    bar_spacing,
    periods_per_year,
    spacing_remarks,
)


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


def test_the_returns_a_year_that_there_were():
    assert periods_per_year(26, 182) == pytest.approx(52.178571428571)  # 26 · 365.25 / 182
    assert periods_per_year(731, 1461) == 182.75


@pytest.mark.parametrize("mic", ["XTKS", "XHKG", "XKRX", "XSHG", "XASX", "XNYS"])
def test_nothing_is_said_of_the_sessions_of_an_exchange(mic):
    """Golden weeks, new years and typhoons are no gaps."""
    found = sessions(mic)
    found = found[(found >= np.datetime64("2005-01-01")) & (found <= np.datetime64("2024-12-31"))]
    assert spacing_remarks(found) == []


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (slice(None, None, 2), ["the bars are sparse: 131 returns a year"]),
        (slice(None, None, 5), ["the bars are weekly"]),
        (slice(None, 2), []),
    ],
)
def test_sparse_bars_are_remarked_on(kept, said):
    assert spacing_remarks(days("B", 1000)[kept]) == said


@pytest.mark.parametrize(("rule", "kind"), [("ME", "monthly"), ("QE", "spaced irregularly")])
def test_other_bars_than_daily_are_remarked_on(rule, kind):
    assert spacing_remarks(days(rule, 40)) == [f"the bars are {kind}"]


def test_a_change_of_spacing_is_found_and_dated():
    months = pd.date_range("2005-01-31", "2012-12-31", freq="ME")
    dates = months.append(pd.bdate_range("2013-01-01", periods=1300)).to_numpy()
    changed = "the spacing of the bars changed: they are {}, but not between {} and {}"
    assert spacing_remarks(dates) == [changed.format("daily", "2005-01-31", "2012-12-31")]
    weeks = pd.date_range("2020-01-03", periods=100, freq="W-FRI")
    dates = weeks.append(pd.bdate_range("2021-12-06", periods=20)).to_numpy()
    assert spacing_remarks(dates) == [changed.format("weekly", "2021-12-06", "2021-12-31")]


def test_a_long_gap_is_named_with_its_dates():
    """Five months without a price; a week of holidays is none."""
    one = pd.bdate_range("2019-06-03", "2020-01-02")
    two = pd.bdate_range("2020-06-01", "2020-12-24").append(pd.bdate_range("2021-01-04", periods=9))
    found = spacing_remarks(one.append(two).to_numpy())
    assert found[-1] == "one return spans 2020-01-02 to 2020-06-01"
    ends = pd.date_range("2020-01-01", periods=6, freq="60D")
    many = pd.DatetimeIndex(np.concatenate([pd.bdate_range(d, periods=9) for d in ends]))
    *named, more = spacing_remarks(many.to_numpy())
    assert [n for n in named if n.startswith("one return spans")] == named[-3:]
    assert more == "2 more returns span over 30 days"
