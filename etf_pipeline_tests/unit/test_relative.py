"""Beside a benchmark: alpha, R² and captures, by arithmetic and by numpy's and scipy's own fits."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from etf_pipeline.risk.metrics import periodic_rate
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.relative import alpha, captures, relative_metrics
from etf_pipeline.risk.tables import metrics_row

NONE = np.array([], dtype="datetime64[D]")
RNG = np.random.default_rng(3)


def pair(n=800, beta=0.7, drift=2e-4, noise=0.003):
    other = RNG.normal(3e-4, 0.01, n)
    return drift + beta * other + RNG.normal(0, noise, n), other


def test_alpha_and_r_squared_are_those_of_the_regression():
    own, other = pair()
    fit = stats.linregress(other - 1e-4, own - 1e-4)
    assert alpha(own - 1e-4, other - 1e-4, 252) == pytest.approx(252 * fit.intercept, rel=1e-9)
    found = relative_metrics(own, other, 252)
    assert found.r_squared == pytest.approx(fit.rvalue**2, rel=1e-9)
    assert found.beta == pytest.approx(fit.slope, rel=1e-9)


def test_alpha_by_hand():
    """e = (3, 1, 2) %, b = (2, 0, 1) %: beta 1, so alpha is a period's 1 % times A."""
    own, other = np.array([0.03, 0.01, 0.02]), np.array([0.02, 0.0, 0.01])
    assert alpha(own, other, 12) == pytest.approx(0.12, rel=1e-12)


def test_morningstars_captures_by_hand():
    own = np.array([0.04, 0.02, -0.01, -0.03, 0.5])
    other = np.array([0.05, 0.01, -0.02, -0.04, 0.0])  # the last month is neither up nor down
    up = (np.sqrt(1.04 * 1.02) - 1) / (np.sqrt(1.05 * 1.01) - 1)
    down = (np.sqrt(0.99 * 0.97) - 1) / (np.sqrt(0.98 * 0.96) - 1)
    assert captures(own, other) == pytest.approx((up, down), rel=1e-12)
    assert captures(own[:2], other[:2])[1] is None
    assert captures(own[2:], other[2:])[0] is None


def test_a_fund_that_rises_while_the_benchmark_falls_has_a_negative_capture():
    assert captures(np.array([0.01]), np.array([-0.02]))[1] == pytest.approx(-0.5, rel=1e-12)


def series(days, prices, ticker="A"):
    return PriceSeries(ticker, pd.Series(prices, days), NONE, NONE, "files", "AUD")


def of(days, returns, ticker="A"):
    return series(days, 100 * np.cumprod(1 + np.r_[0.0, returns]), ticker)


DAYS = pd.bdate_range("2020-01-01", periods=801)


def test_a_row_of_the_table():
    own, other = pair()
    row = metrics_row(of(DAYS, own), None, 0.03, of(DAYS, other, "B"))
    annual = 800 * 365.25 / (DAYS[-1] - DAYS[0]).days
    free = periodic_rate(0.03, annual)
    fit = stats.linregress(other - free, own - free)
    assert row["alpha"] == pytest.approx(annual * fit.intercept, rel=1e-9)
    assert row["r_squared"] == pytest.approx(fit.rvalue**2, rel=1e-9)
    ends = DAYS.to_series().groupby(DAYS.to_period("M")).last().to_numpy()
    wealth = pd.DataFrame({"a": np.r_[0.0, own], "b": np.r_[0.0, other]}, DAYS).add(1).cumprod()
    months = wealth.loc[ends].pct_change().dropna().iloc[:-1]  # 25 January 2023 is the last day
    up, down = months[months.b > 0], months[months.b < 0]
    for part, name in ((up, "up_capture"), (down, "down_capture")):
        mean = (1 + part).prod() ** (1 / len(part)) - 1
        assert row[name] == pytest.approx(mean.a / mean.b, rel=1e-9)


def test_the_benchmark_beside_itself():
    own, _ = pair()
    row = metrics_row(of(DAYS, own), None, 0.03, of(DAYS, own))
    names = ("beta", "r_squared", "up_capture", "down_capture", "tracking_error")
    assert [row[n] for n in names] == pytest.approx([1, 1, 1, 1, 0], rel=1e-12)
    assert row["alpha"] == pytest.approx(0.0, abs=1e-12)
    assert row["information_ratio"] is None
    assert "it is the benchmark" in row["reason"]


def test_under_a_year_there_is_no_alpha_and_a_reason():
    own, other = pair(200)
    row = metrics_row(of(DAYS[:201], own), None, 0.0, of(DAYS[:201], other, "B"))
    assert (row["alpha"], row["information_ratio"]) == (None, None)
    assert None not in (row["r_squared"], row["up_capture"], row["down_capture"])
    assert "no alpha" in row["reason"]


def test_flat_returns_have_no_r_squared_and_say_why():
    _, other = pair()
    row = metrics_row(of(DAYS, np.zeros(800)), None, 0.0, of(DAYS, other, "B"))
    assert (row["r_squared"], row["beta"]) == (None, pytest.approx(0.0, abs=1e-12))
    assert "returns beside the benchmark do not vary" in row["reason"]


def test_a_benchmark_that_only_rose_has_no_down_capture_and_says_why():
    own, _ = pair()
    other = 0.001 + 0.0001 * np.sin(np.arange(800))
    row = metrics_row(of(DAYS, own), None, 0.0, of(DAYS, other, "B"))
    assert (row["up_capture"] is None, row["down_capture"]) == (False, None)
    assert "the benchmark fell in no whole calendar month" in row["reason"]


def test_captures_are_of_the_dates_of_the_coarser_bars():
    own, other = pair()
    daily, weekly = of(DAYS, own), of(DAYS, other, "B")
    fridays = weekly.prices[weekly.prices.index.day_of_week == 4]
    row = metrics_row(daily, None, 0.0, series(fridays.index, fridays.to_numpy(), "B"))
    wealth = pd.DataFrame({"a": daily.prices[fridays.index], "b": fridays})
    last = wealth.groupby(wealth.index.to_period("M")).last()
    months = last.pct_change().iloc[1:-1]
    up = months[months.b > 0]
    mean = (1 + up).prod() ** (1 / len(up)) - 1
    assert row["up_capture"] == pytest.approx(mean.a / mean.b, rel=1e-9)


@given(st.floats(1e-8, 1e4), st.integers(0, 50))
def test_alpha_scales_with_returns_and_r_squared_does_not(unit, seed):
    rng = np.random.default_rng(seed)
    other = rng.normal(0.0, 0.01, 60)
    own = 0.5 * other + rng.normal(1e-3, 0.01, 60)
    base = alpha(own, other, 12)
    assert alpha(own * unit, other * unit, 12) == pytest.approx(base * unit, rel=1e-9)
    if unit > 1e-6:
        found = relative_metrics(own * unit, other * unit, 12).r_squared
        assert found == pytest.approx(relative_metrics(own, other, 12).r_squared, rel=1e-9)
        assert 0 <= found <= 1
