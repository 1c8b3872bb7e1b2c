"""Annualised by the time that passed: one asset has one set of numbers, however it is sampled."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.model.calendars import sessions
from etf_pipeline.risk.annual import Span
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.tables import metrics_row, risk_table
from etf_pipeline_tests.support import walk

NONE = np.array([], dtype="datetime64[D]")
ANNUAL = ("mean_return", "cagr", "sharpe_ratio", "sortino_ratio", "calmar_ratio")


def series(days, values, ticker="A", holes=NONE, exchange="XASX"):
    prices = pd.Series(np.asarray(values, dtype="float64"), pd.DatetimeIndex(days))
    return PriceSeries(ticker, prices, holes, NONE, "files", "AUD", exchange)


def exchange_days(mic, first, last):
    found = sessions(mic)
    return found[(found >= np.datetime64(first)) & (found <= np.datetime64(last))]


@pytest.mark.parametrize("mic", ["XTKS", "XHKG", "XKRX", "XSHG", "XASX", "XNYS"])
@pytest.mark.parametrize("year", [2021, 2023, 2024])
def test_a_price_that_doubles_in_a_year_has_grown_by_a_hundred_per_cent(mic, year):
    """Whatever number of sessions the exchange had; a year is 365 days or so, not 365.25."""
    days = exchange_days(mic, f"{year - 1}-12-20", f"{year}-12-31")
    start = np.flatnonzero(days <= days[-1] - np.timedelta64(365, "D"))[-1]
    days = days[start:]
    row = metrics_row(series(days, 2.0 ** np.linspace(0, 1, len(days))), None)
    passed = int((days[-1] - days[0]).astype(int))
    assert passed - 365 in range(8)
    assert row["cagr"] == pytest.approx(2 ** (365.25 / passed) - 1, rel=1e-12)
    assert row["cagr"] == pytest.approx(1.0, abs=0.03)
    assert row["total_return"] == pytest.approx(1.0, rel=1e-12)
    assert row["periods_per_year"] == pytest.approx((len(days) - 1) * 365.25 / passed, rel=1e-12)


@pytest.mark.parametrize("mic", ["XTKS", "XHKG", "XKRX", "XSHG", "XASX", "XNYS"])
def test_the_same_day_a_year_later(mic):
    """From 2022-06-08 to 2023-06-08, sessions of all six: 365 days of 365.25 are a year."""
    days = exchange_days(mic, "2022-06-08", "2023-06-08")
    assert (str(days[0]), str(days[-1])) == ("2022-06-08", "2023-06-08")
    doubled = 2.0 ** np.linspace(0, 1, len(days))
    for back in (1, None):
        row = metrics_row(series(days, doubled, exchange=mic), back)
        assert row["n_obs"] == len(days) - 1
        assert row["cagr"] == pytest.approx(2 ** (365.25 / 365) - 1, rel=1e-12)
        assert row["cagr"] == pytest.approx(1.0, abs=1e-3)


def test_exactly_one_calendar_year():
    days = exchange_days("XNYS", "2022-11-11", "2023-11-10")
    assert (days[0], days[-1]) == (np.datetime64("2022-11-11"), np.datetime64("2023-11-10"))
    days[-1] = np.datetime64("2023-11-11")
    row = metrics_row(series(days, np.linspace(100, 200, len(days))), 1)
    assert row["cagr"] == pytest.approx(1.0, abs=0.001)
    assert row["start"] == dt.date(2022, 11, 11)


def test_by_hand():
    """Three returns over two years of 730.5 days each way: Σr/years, and n/years a year."""
    days = ["2020-01-01", "2020-06-01", "2021-06-01", "2022-01-01"]
    row = metrics_row(series(days, [100, 110, 99, 108.9]), None, 0.03)
    years = 731 / 365.25
    r = np.array([0.1, -0.1, 0.1])
    assert row["periods_per_year"] == pytest.approx(3 / years)
    assert row["mean_return"] == pytest.approx(0.1 / years)
    assert row["volatility"] == pytest.approx(np.sqrt(3 / years) * r.std(ddof=1))
    assert row["cagr"] == pytest.approx(1.089 ** (1 / years) - 1)
    excess = r - (1.03 ** (years / 3) - 1)
    assert row["sharpe_ratio"] == pytest.approx(np.sqrt(3 / years) * excess.mean() / r.std(ddof=1))
    assert row["total_return"] == pytest.approx(0.089)
    assert "the bars are spaced irregularly" in row["reason"]


SAMPLED = {
    "every second": (lambda index: index[::2], 126),
    "Tuesdays and Fridays": (
        lambda index: index[(index.day_of_week == 1) | (index.day_of_week == 4)],
        104,
    ),
    "month-ends": (lambda index: index[~index.to_period("M").duplicated(keep="last")], 12),
}


@pytest.mark.parametrize("how", SAMPLED)
def test_a_sample_of_the_sessions_has_the_mean_of_the_whole(how):
    """12.7 years of XASX: about 252 sessions a year, 126 with every second one, and so on."""
    index = pd.DatetimeIndex(exchange_days("XASX", "2012-01-01", "2024-08-30"))
    whole = pd.Series(walk(len(index), seed=5), index)
    chosen, annual = SAMPLED[how]
    a = metrics_row(series(index, whole), None)
    b = metrics_row(series(chosen(index), whole[chosen(index)]), None)
    assert b["periods_per_year"] == pytest.approx(annual, rel=0.03)
    years = (index[-1] - index[0]).days / 365.25
    error = a["volatility"] / np.sqrt(years)
    assert abs(a["mean_return"] - b["mean_return"]) < error / 2
    assert a["cagr"] == pytest.approx(b["cagr"], abs=0.005)
    assert a["volatility"] == pytest.approx(b["volatility"], rel=0.15)
    assert a["reason"] is None
    assert b["reason"]


@given(st.integers(0, 2**31), st.integers(0, 1))
def test_every_second_session_has_within_sampling_error_the_numbers_of_the_whole(seed, first):
    """Σ of returns over the years differs by the cross products alone; variances by √(2/n)."""
    index = pd.bdate_range("2010-01-04", periods=2001)
    moves = np.random.default_rng(seed).normal(0.0004, 0.01, 2001)
    values = 100 * np.exp(np.cumsum(moves))
    a = metrics_row(series(index, values), None)
    b = metrics_row(series(index[first::2], values[first::2]), None)
    assert b["periods_per_year"] == pytest.approx(a["periods_per_year"] / 2, rel=2e-3)
    # the mean of both estimates the same drift; each is off by less than 0.5 % a year of the other
    assert a["mean_return"] == pytest.approx(b["mean_return"], abs=0.02)
    # standard error of a deviation from 1,000 returns is 1/√2000 of it: five of those
    assert a["volatility"] == pytest.approx(b["volatility"], rel=5 / np.sqrt(2000))


@given(st.integers(0, 2**31), st.floats(1e-4, 1e4))
def test_a_currency_factor_changes_no_metric_of_returns(seed, factor):
    index = pd.bdate_range("2020-01-01", periods=400)
    values = walk(400, seed=seed)
    other = series(index, walk(400, seed=seed + 1), "B")
    a = metrics_row(series(index, values), 1, 0.02, other)
    b = metrics_row(series(index, values * factor), 1, 0.02, other)
    for name, value in a.items():
        if isinstance(value, float):
            assert b[name] == pytest.approx(value, rel=1e-8, abs=1e-12), name
        else:
            assert b[name] == value


def test_month_ends_and_then_daily_bars():
    """Eight years of month-ends, five of sessions: Σr/years, and √A of the deviation."""
    months = pd.date_range("2005-01-31", "2012-12-31", freq="ME")
    index = months.append(pd.bdate_range("2013-01-01", periods=1300))
    moves = np.r_[
        np.random.default_rng(1).normal(0.008, 0.04, len(months)),
        np.random.default_rng(2).normal(0.0004, 0.009, 1300),
    ]
    prices = 100 * np.cumprod(1 + moves)
    row = metrics_row(series(index, prices), None)
    r = prices[1:] / prices[:-1] - 1
    years, n = (index[-1] - index[0]).days / 365.25, len(r)
    assert row["mean_return"] == pytest.approx(r.sum() / years)
    squares = ((r - r.mean()) ** 2).sum()
    assert row["volatility"] ** 2 == pytest.approx(squares / years * n / (n - 1))
    assert "the spacing of the bars changed" in row["reason"]
    assert "2005-01-31 and 2012-12-31" in row["reason"]


def test_half_a_year_of_weeks_is_not_annualised():
    days = pd.date_range("2024-01-05", periods=27, freq="W-FRI")
    row = metrics_row(series(days, 100 * 1.006 ** np.arange(27)), None)
    assert row["periods_per_year"] == pytest.approx(26 * 365.25 / 182)
    assert row["total_return"] == pytest.approx(1.006**26 - 1)
    assert [row[name] for name in ANNUAL] == [None] * len(ANNUAL)
    assert row["reason"] == (
        "182 days are under a year: returns are not annualised; returns do not vary; "
        "the bars are weekly"
    )
    # Friday 5 January to Friday 5 July: February to June are whole, of four or five weeks
    assert row["n_months"] == 5
    assert (row["best_month"], row["worst_month"]) == pytest.approx((1.006**5 - 1, 1.006**4 - 1))
    assert row["volatility"] == pytest.approx(0.0, abs=1e-12)
    assert row["max_drawdown"] == 0.0
    assert row["var_95"] == pytest.approx(-0.006)


@pytest.mark.parametrize(("days", "annualised"), [(364, False), (365, True), (366, True)])
def test_a_year_begins_with_its_365th_day(days, annualised):
    index = pd.date_range("2023-03-01", periods=days + 1)
    other = series(index, walk(days + 1, seed=2), "B")
    row = metrics_row(series(index, walk(days + 1)), None, 0.0, other)
    names = (*ANNUAL, "information_ratio")
    assert [row[n] is not None for n in names] == [annualised] * 6
    r = np.diff(walk(days + 1)) / walk(days + 1)[:-1]
    assert row["volatility"] == pytest.approx(np.sqrt(365.25) * r.std(ddof=1))
    assert None not in (row["beta"], row["tracking_error"])
    assert ("under a year" in (row["reason"] or "")) is not annualised


@pytest.mark.parametrize("end", pd.date_range("2023-12-25", periods=8))
def test_a_window_of_a_year_is_always_annualised(end):
    """Its first price is on or before the anniversary, so it is never a few days short."""
    index = pd.bdate_range("2020-01-01", end)
    row = metrics_row(series(index, walk(len(index))), 1)
    assert row["start"] <= (index[-1] - pd.DateOffset(years=1)).date()
    assert row["cagr"] is not None


def test_a_convention_fixes_the_returns_a_year():
    """252, as before: holes count as sessions that passed."""
    index = pd.bdate_range("2020-01-01", periods=521)
    values = walk(521)
    hole = index[100].to_numpy().astype("datetime64[D]")
    held = series(index.delete(100), np.delete(values, 100), holes=np.array([hole]))
    row = metrics_row(held, None, periods_per_year=252)
    r = np.diff(np.delete(values, 100)) / np.delete(values, 100)[:-1]
    assert row["periods_per_year"] == 252
    assert row["mean_return"] == pytest.approx(252 * r.mean())
    assert row["volatility"] == pytest.approx(np.sqrt(252) * r.std(ddof=1))
    assert row["cagr"] == pytest.approx((values[-1] / values[0]) ** (252 / 520) - 1)
    table = risk_table([held], periods_per_year=252).to_pylist()
    assert {r["periods_per_year"] for r in table if r["n_obs"]} == {252}


def test_a_session_without_a_price_is_time_gone_by():
    index = pd.bdate_range("2020-01-01", periods=600)
    values = walk(600)
    lost = [200, 201, 202, 400]
    whole = metrics_row(series(index, values), None)
    holed = metrics_row(series(index.delete(lost), np.delete(values, lost)), None)
    assert holed["cagr"] == pytest.approx(whole["cagr"], rel=1e-12)
    assert holed["periods_per_year"] == pytest.approx(whole["periods_per_year"] * 595 / 599)


def test_a_gap_of_months_is_said():
    """91 sessions absent, 30 to 40: it is one return, and named."""
    one, two = (
        pd.bdate_range("2019-01-01", "2020-01-02"),
        pd.bdate_range("2020-06-01", "2021-06-01"),
    )
    prices = [*np.full(len(one), 30.0), *np.full(len(two), 40.0)]
    row = metrics_row(series(one.append(two), prices), None)
    assert "one return spans 2020-01-02 to 2020-06-01" in row["reason"]


def test_spans():
    assert Span.of(NONE) == Span.of(np.array(["2024-01-01"], "datetime64[D]")) == Span(0, 0)
    assert Span(0, 0).periods_per_year() is None
    one = Span.of(np.array(["2024-01-01", "2024-01-05", "2025-01-01"], "datetime64[s]"))
    assert (one.n, one.days, one.too_short) == (2, 366, None)
    assert one.periods_per_year(12) == 12
