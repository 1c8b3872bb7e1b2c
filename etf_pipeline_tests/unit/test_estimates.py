"""Annualised estimates over common dates, by arithmetic."""

import datetime as dt
import itertools

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.risk.estimates import estimate
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline_tests.support import walk

NONE = np.array([], dtype="datetime64[D]")
DAYS = pd.bdate_range("2020-01-01", periods=800)


def series(ticker="A", days=DAYS, seed=1):
    return PriceSeries(
        ticker, pd.Series(walk(len(days), seed=seed), days), NONE, NONE, "files", "AUD"
    )


def by_hand(parts):
    """Returns from a dictionary of dates, one at a time."""
    common = sorted(set.intersection(*(set(p.index) for p in parts)))
    return np.array([[p[b] / p[a] - 1 for p in parts] for a, b in itertools.pairwise(common)])


def test_means_and_covariance_are_annual():
    one, two = series(), series("B", seed=2)
    found = estimate([one, two], None)
    returns = by_hand([one.prices, two.prices])
    assert found.n_obs == 799
    assert found.periods_per_year == 252
    assert found.means == pytest.approx(returns.sum(0) / 799 * 252)
    deviations = returns - returns.mean(0)
    assert found.covariance == pytest.approx(deviations.T @ deviations / 798 * 252)


def test_the_window_ends_at_the_last_common_date():
    one, two = series(days=DAYS[:700]), series("B", seed=2)
    found = estimate([one, two], 1)
    last = DAYS[699]
    assert found.prices.index[-1] == last
    assert found.prices.index[0] >= last - pd.DateOffset(years=1)
    assert found.prices.index[0] < last - pd.DateOffset(years=1) + pd.Timedelta(days=4)


def test_a_shorter_common_history_is_used_as_it_is():
    one, two = series(), series("B", days=DAYS[600:], seed=2)
    found = estimate([one, two], 3)
    assert found.prices.index[0] == DAYS[600]
    assert found.n_obs == 199


def test_one_ticker():
    found = estimate([series()], None)
    assert found.covariance.shape == (1, 1)
    assert found.covariance[0, 0] == pytest.approx(np.var(by_hand([series().prices]), ddof=1) * 252)


@pytest.mark.parametrize(("rule", "annual", "n"), [("W-FRI", 52, 53), ("ME", 12, 13)])
def test_weekly_and_monthly_bars_need_a_year_and_are_annualised_as_such(rule, annual, n):
    days = pd.date_range("2020-01-01", periods=n, freq=rule)
    found = estimate([series(days=days)], None)
    assert found.periods_per_year == annual
    assert found.means[0] == pytest.approx(by_hand([series(days=days).prices]).mean() * annual)
    with pytest.raises(InsufficientDataError, match=f"{annual - 1} common returns of A are fewer"):
        estimate([series(days=days[1:])], None)


def test_too_few_daily_returns():
    assert estimate([series(days=DAYS[:61])], None).n_obs == 60
    with pytest.raises(InsufficientDataError, match="59 common returns of A are fewer than 60"):
        estimate([series(days=DAYS[:60])], None)
    assert estimate([series(days=DAYS[:6])], None, fewest=5).n_obs == 5


def test_bars_of_different_spacing_are_not_mixed():
    weekly = series("B", days=pd.date_range("2020-01-03", periods=100, freq="W-FRI"))
    with pytest.raises(InsufficientDataError, match="spaced differently"):
        estimate([series(), weekly], None)


def test_estimators_are_passed_on():
    many = [series(), series("B", seed=2)]
    sample = estimate(many, None).covariance
    shrunk = estimate(many, None, "ledoit_wolf").covariance
    recent = estimate(many, None, "ewma", halflife=20).covariance
    assert np.trace(shrunk) == pytest.approx(np.trace(sample))
    assert abs(shrunk[0, 1]) < abs(sample[0, 1])
    assert recent != pytest.approx(sample, rel=1e-3)
    same = estimate(many, None, "ewma", halflife=1e9).covariance
    assert same == pytest.approx(sample, rel=1e-4)


def test_the_window_is_the_same_whichever_ticker_is_named_first():
    one, two = series(days=DAYS[:700]), series("B", seed=2)
    a, b = estimate([one, two], 2), estimate([two, one], 2)
    assert a.prices.index.equals(b.prices.index)
    assert a.means == pytest.approx(b.means[::-1])
    assert a.prices.index[-1].date() == dt.date(2022, 9, 6)
