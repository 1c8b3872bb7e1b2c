"""Series side by side: calendar weeks, and the coarser of two spacings."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.tables import metrics_row
from etf_pipeline.risk.together import all_prices, beside, doubts, period_for, weekly_prices
from etf_pipeline_tests.support import walk

NONE = np.array([], dtype="datetime64[D]")
DAYS = pd.bdate_range("2020-01-01", periods=800)


def series(ticker, prices, exchange=None):
    return PriceSeries(ticker, prices.dropna(), NONE, NONE, "files", "AUD", exchange)


def of(ticker, days, seed=1, exchange=None):
    return series(ticker, pd.Series(walk(len(days), seed=seed), days), exchange)


@pytest.mark.parametrize(
    ("mics", "period"),
    [
        (["XASX", "XASX"], "daily"),
        (["XASX", "XNYS"], "weekly"),
        (["XASX", None], "daily"),
        (["XASX", "INDX"], "weekly"),
        ([None, None], "daily"),
        (["XASX", None, "XLON"], "weekly"),
    ],
)
def test_weekly_where_exchanges_differ(mics, period):
    held = [of(str(i), DAYS, i, mic) for i, mic in enumerate(mics)]
    assert period_for(held) == period
    assert period_for(held, "daily") == "daily"


def test_weeks_by_hand():
    """Two weeks; B's Friday is a holiday, A has a Sunday; the third week is A's alone."""
    a = pd.Series(
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        pd.DatetimeIndex(
            ["2024-01-05", "2024-01-08", "2024-01-12", "2024-01-14", "2024-01-15", "2024-01-26"]
        ),
    )
    b = pd.Series(
        [10.0, 20.0, 30.0, 40.0, 50.0],
        pd.DatetimeIndex(["2024-01-04", "2024-01-08", "2024-01-11", "2024-01-17", "2024-01-24"]),
    )
    found = weekly_prices([series("A", a), series("B", b)])
    assert found["A"].tolist() == [1, 4, 5, 6]
    assert found["B"].tolist() == [10, 30, 40, 50]
    assert [str(d.date()) for d in found.index] == [
        "2024-01-05",
        "2024-01-14",
        "2024-01-17",
        "2024-01-26",
    ]
    rest = weekly_prices([series("A", a), series("B", b)], dt.date(2024, 1, 15))
    assert rest.index[0] == pd.Timestamp("2024-01-14")
    every = all_prices("weekly", [series("A", a), series("B", b.iloc[:3])])
    assert every["B"].isna().tolist() == [False, False, True, True]
    with pytest.raises(InsufficientDataError, match=r"2 common weeks .*B 2024-01-04 to 2024-01-11"):
        weekly_prices([series("A", a), series("B", b.iloc[:3])])
    with pytest.raises(InsufficientDataError, match="0 common weeks"):
        weekly_prices([series("A", a.iloc[:1]), series("B", b.iloc[3:])])


@given(st.integers(0, 2**31), st.floats(0, 0.8))
def test_weeks_are_those_of_pandas(seed, lost):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({t: walk(400, seed=seed + i) for i, t in enumerate("AB")}, DAYS[:400])
    frame = frame.mask(rng.random((400, 2)) < lost)
    expected = frame.groupby(frame.index.to_period("W")).last().dropna()
    found = weekly_prices([series(t, frame[t]) for t in "AB"])
    assert np.array_equal(found.to_numpy(), expected.to_numpy())
    assert found.index.to_period("W").equals(expected.index)


def test_a_daily_ticker_and_a_weekly_benchmark_meet_on_the_weekly_dates():
    """The same asset, one with noise: on weeks, √A · std of the differences."""
    ticker = of("A", DAYS)
    fridays = DAYS[DAYS.day_of_week == 4]
    weekly = of("B", fridays, seed=2)
    row = metrics_row(ticker, None, benchmark=weekly)
    a, b = (s.prices[fridays].pct_change().dropna() for s in (ticker, weekly))
    annual = len(a) * 365.25 / (fridays[-1] - fridays[0]).days
    assert annual == pytest.approx(52.18, abs=0.01)
    assert row["tracking_error"] == pytest.approx(np.sqrt(annual) * (a - b).std(), rel=1e-12)
    assert row["beta"] == pytest.approx(np.cov(a, b)[0, 1] / b.var(), rel=1e-12)
    assert row["periods_per_year"] == pytest.approx(260.8, abs=0.1)  # the ticker's own
    assert "on the dates of the coarser bars" in row["reason"]
    # a convention of daily bars is none of weekly ones
    fixed = metrics_row(ticker, None, benchmark=weekly, periods_per_year=252)
    assert fixed["tracking_error"] == pytest.approx(row["tracking_error"], rel=1e-12)
    # and the other way round
    turned = metrics_row(weekly, None, benchmark=ticker)
    assert turned["tracking_error"] == pytest.approx(row["tracking_error"], rel=1e-12)
    assert turned["beta"] == pytest.approx(np.cov(a, b)[0, 1] / a.var(), rel=1e-12)


def test_month_ends_meet_the_last_price_before_them_if_it_is_not_old():
    months = pd.date_range("2020-01-31", "2022-12-31", freq="ME")
    daily = of("A", DAYS.delete(range(100, 130)))  # 2020-05-20 to 2020-06-30 is a hole
    found = beside(of("B", months, 2), daily)
    kept = [d for d in months if str(d.date()) not in ("2020-05-31", "2020-06-30")]
    assert list(pd.DatetimeIndex(found.days)) == kept
    assert found.prices[:, 1].tolist() == [daily.prices.asof(d) for d in kept]


def test_benchmarks_of_another_exchange_are_compared_by_weeks():
    one, two = of("A", DAYS, 1, "XASX"), of("B", DAYS.delete([7, 99]), 2, "XNYS")
    row = metrics_row(one, None, benchmark=two)
    weeks = weekly_prices([one, two]).pct_change().dropna()
    a, b = weeks["A"], weeks["B"]
    assert row["beta"] == pytest.approx(np.cov(a, b)[0, 1] / b.var(), rel=1e-12)
    assert "on weekly prices, as the calendars of XASX and XNYS differ" in row["reason"]


def test_a_hole_of_the_benchmark_alone_is_named():
    """One of the returns on common dates spans three months; the ticker has them all."""
    lost = (DAYS >= "2022-03-01") & (DAYS <= "2022-05-31")
    one, two = of("A", DAYS), of("B", DAYS[~lost], 2)
    row = metrics_row(one, 1, benchmark=two)
    said = "beside the benchmark, one return spans 2022-02-28 to 2022-06-01: left out"
    assert row["reason"] == said
    frame = pd.DataFrame({"A": one.prices, "B": two.prices}).dropna()
    frame = frame[frame.index >= DAYS[DAYS[-1] - pd.DateOffset(years=1) >= DAYS][-1]]
    returns = frame.pct_change().drop([frame.index[0], pd.Timestamp("2022-06-01")])
    days = (frame.index[-1] - frame.index[0]).days - (31 + 30 + 31 + 1)
    active = returns["A"] - returns["B"]
    annual = len(active) * 365.25 / days
    assert row["tracking_error"] == pytest.approx(np.sqrt(annual) * active.std(), rel=1e-12)
    assert row["beta"] == pytest.approx(returns.cov().loc["A", "B"] / returns["B"].var(), rel=1e-9)
    # of the ticker's own metrics it is a part, and said to be
    both = metrics_row(of("A", DAYS[~lost]), 1, benchmark=of("B", DAYS[~lost], 2))
    assert both["reason"].endswith(f"; one return spans 2022-02-28 to 2022-06-01; {said}")


@pytest.mark.parametrize("weekday", range(5))
def test_a_window_beside_a_weekly_benchmark_begins_as_any_other(weekday):
    """With the last common date on or before the anniversary: so a year of it is a year."""
    fine = of("A", DAYS)
    weekly = of("B", DAYS[DAYS.day_of_week == weekday], 2)
    row = metrics_row(fine, 1, benchmark=weekly)
    anniversary = pd.Timestamp(fine.end) - pd.DateOffset(years=1)
    at = weekly.prices.index
    at = at[int(np.flatnonzero(at <= anniversary)[-1]) :]
    a, b = (s.prices[at].pct_change().dropna() for s in (fine, weekly))
    annual = len(a) * 365.25 / (at[-1] - at[0]).days
    assert row["tracking_error"] == pytest.approx(np.sqrt(annual) * (a - b).std(), rel=1e-12)
    if (at[-1] - at[0]).days >= 365:
        expected = np.sqrt(annual) * (a - b).mean() / (a - b).std()
        assert row["information_ratio"] == pytest.approx(expected, rel=1e-9)
    else:
        assert f"{(at[-1] - at[0]).days} days in common" in row["reason"]


def test_a_benchmark_that_ends_a_little_early_makes_no_ratio_and_says_so():
    row = metrics_row(of("A", DAYS), 1, benchmark=of("B", DAYS[:-5], 2))
    assert (row["tracking_error"] is None, row["information_ratio"]) == (False, None)
    n = (DAYS[-6] - (DAYS[-1] - pd.DateOffset(years=1))).days
    assert f"{n} days in common with the benchmark make no information ratio" in row["reason"]


def test_nothing_is_doubtful_of_no_prices():
    one = of("A", DAYS)
    held = replace(one, withheld=(DAYS[5].date(),), large_moves=(DAYS[9].date(),))
    assert len(doubts([held])) == 2
    assert doubts([held.since((DAYS[-1] + pd.Timedelta(days=30)).date())]) == []
