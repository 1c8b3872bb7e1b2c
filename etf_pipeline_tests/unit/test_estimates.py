"""Annualised estimates over common dates, by arithmetic."""

import datetime as dt
import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.library.analysis import comparison, comparison_remarks, correlation_matrix
from etf_pipeline.risk.correlation_table import correlation_table
from etf_pipeline.risk.covariance import correlation_of
from etf_pipeline.risk.estimates import estimate
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline_tests.support import walk

NONE = np.array([], dtype="datetime64[D]")
DAYS = pd.bdate_range("2020-01-01", periods=800)


def series(ticker="A", days=DAYS, seed=1, exchange="XASX"):
    prices = pd.Series(walk(len(days), seed=seed), days)
    return PriceSeries(ticker, prices, NONE, NONE, "files", "AUD", exchange)


def years(days):
    return (days[-1] - days[0]).days / 365.25


def by_hand(parts):
    """Returns from a dictionary of dates, one at a time."""
    common = sorted(set.intersection(*(set(p.index) for p in parts)))
    return np.array([[p[b] / p[a] - 1 for p in parts] for a, b in itertools.pairwise(common)])


def test_means_and_covariance_are_annual():
    one, two = series(), series("B", seed=2)
    found = estimate([one, two], None)
    returns = by_hand([one.prices, two.prices])
    assert found.n_obs == 799
    annual = 799 / years(DAYS)
    assert found.periods_per_year == pytest.approx(annual)
    assert found.means == pytest.approx(returns.sum(0) / years(DAYS))
    deviations = returns - returns.mean(0)
    assert found.covariance == pytest.approx(deviations.T @ deviations / 798 * annual)
    assert (found.correlation_period, found.remarks) == ("daily", ())


def test_the_window_ends_at_the_last_common_date():
    one, two = series(days=DAYS[:700]), series("B", seed=2)
    found = estimate([one, two], 1)
    last = DAYS[699]
    assert found.prices.index[-1] == last
    anniversary = last - pd.DateOffset(years=1)
    assert found.prices.index[0] == DAYS[anniversary >= DAYS][-1]


def test_a_shorter_common_history_is_used_as_it_is():
    one, two = series(), series("B", days=DAYS[600:], seed=2)
    found = estimate([one, two], 3)
    assert found.prices.index[0] == DAYS[600]
    assert found.n_obs == 199
    assert "B has 0.8 of 3 years" in found.remarks
    assert any(r.startswith("B: its numbers a year come from") for r in found.remarks)


def test_one_ticker():
    found = estimate([series()], None)
    assert found.covariance.shape == (1, 1)
    assert found.covariance[0, 0] == pytest.approx(
        np.var(by_hand([series().prices]), ddof=1) * 799 / years(DAYS)
    )


@pytest.mark.parametrize(("rule", "annual", "n"), [("W-FRI", 52, 53), ("ME", 12, 13)])
def test_weekly_and_monthly_bars_need_a_year_and_are_annualised_as_such(rule, annual, n):
    days = pd.date_range("2020-01-01", periods=n, freq=rule)
    found = estimate([series(days=days)], None)
    assert found.periods_per_year == pytest.approx((n - 1) / years(days))
    assert found.periods_per_year == pytest.approx(annual, rel=0.005)
    assert found.means[0] == pytest.approx(by_hand([series(days=days).prices]).sum() / years(days))
    with pytest.raises(InsufficientDataError, match=f"{annual - 1} common returns of A are fewer"):
        estimate([series(days=days[1:])], None)


def test_too_few_daily_returns():
    assert estimate([series(days=DAYS[:61])], None).n_obs == 60
    with pytest.raises(InsufficientDataError, match="59 common returns of A are fewer than 60"):
        estimate([series(days=DAYS[:60])], None)
    assert estimate([series(days=DAYS[:6])], None, fewest=5).n_obs == 5


def test_bars_of_different_spacing_have_their_own_means_and_common_correlations():
    """Daily bars and Fridays of the same asset: correlation 1, each its own variance."""
    one = series()
    weekly = PriceSeries(
        "B", one.prices[one.prices.index.day_of_week == 4], NONE, NONE, "files", "AUD", "XASX"
    )
    found = estimate([one, weekly], None)
    for i, s in enumerate((one, weekly)):
        alone = estimate([s], None)
        assert found.means[i] == pytest.approx(alone.means[0], rel=1e-12)
        assert found.covariance[i, i] == pytest.approx(alone.covariance[0, 0], rel=1e-12)
    assert correlation_of(found.covariance)[0, 1] == pytest.approx(1.0)
    assert "B: the bars are weekly" in found.remarks


def test_a_ticker_that_lacks_sessions_moves_nobody_else():
    """A's returns alternate .11 % and −.05 % for 756 sessions; C lacks 60 in the middle."""
    days = pd.bdate_range("2022-01-03", periods=757)
    moves = np.tile([0.0011, -0.0005], 378)
    a = PriceSeries(
        "A", pd.Series(100 * np.r_[1, np.cumprod(1 + moves)], days), NONE, NONE, "f", "AUD"
    )
    c = series("C", days=days.delete(range(350, 410)), seed=3, exchange=None)
    found = estimate([a, c], None)
    assert found.n_obs == 757 - 60 - 1 - 1  # but for the one over the hole
    annual = 756 / years(days)
    assert found.means[0] == pytest.approx(0.0003 * annual, rel=1e-9)
    assert found.covariance[0, 0] == pytest.approx(0.0008**2 * 756 / 755 * annual, rel=1e-9)
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(0.0129, abs=5e-5)


@given(
    st.integers(0, 2**31),
    st.sampled_from(["sample", "ledoit_wolf", "ewma"]),
    st.sampled_from([1, 2, None]),
    st.sampled_from(["XASX", "XNYS"]),
    st.floats(0, 0.3),
)
@settings(deadline=None, max_examples=40)
def test_another_ticker_changes_no_estimate_of_those_there_are(seed, estimator, back, mic, lost):
    rng = np.random.default_rng(seed)
    end = int(rng.integers(797, 801))  # it may end some days before the others
    other = DAYS[:end][(rng.random(end) >= lost) | (np.arange(end) >= end - 2)]
    held = [series(seed=seed), series("B", seed=seed + 1)]
    alone = estimate(held, back, estimator)
    more = estimate([*held, series("C", other, seed + 2, mic)], back, estimator)
    assert more.means[:2] == pytest.approx(alone.means, rel=1e-12)
    assert np.diag(more.covariance)[:2] == pytest.approx(np.diag(alone.covariance), rel=1e-12)
    assert np.linalg.eigvalsh(more.covariance)[0] >= -1e-12 * np.trace(more.covariance)
    assert more.correlation_period == ("daily" if mic == "XASX" else "weekly")


def test_a_ticker_that_ended_long_ago_takes_the_window_with_it():
    one, two = series(), series("B", days=DAYS[:500], seed=2)
    found = estimate([one, two], 1)
    until = estimate([one.until(DAYS[499].date()), two], 1)
    assert found.means == pytest.approx(until.means, rel=1e-12)
    assert found.covariance == pytest.approx(until.covariance, rel=1e-12)
    ended = DAYS[499].date()
    assert f"B ends on {ended}: nothing after that is in numbers of them all" in found.remarks
    assert not any("ends on" in remark for remark in until.remarks)


def test_what_is_doubtful_of_a_member_is_said():
    day, paid, long_ago = (DAYS[i].date() for i in (700, 600, 10))
    one = replace(series(), large_moves=(day,), withheld=(long_ago, paid))
    said = estimate([one, series("B", seed=2)], 2).remarks
    assert [text.partition(": ")[0] for text in said] == ["A", "A"]
    assert str(paid) in said[0]
    assert str(long_ago) not in said[0]
    assert str(day) in said[1]


def test_a_hole_that_only_the_common_dates_have_is_named():
    """Each lacks three weeks, one after the other: five weeks have no common date."""
    days = DAYS.to_series()
    one = series(days=DAYS[(days < "2022-03-07") | (days > "2022-03-25")])
    two = series("B", days=DAYS[(days < "2022-03-28") | (days > "2022-04-15")], seed=2)
    (said,) = estimate([one, two], 2).remarks
    assert said == "on common dates, one return spans 2022-03-04 to 2022-04-18"
    assert estimate([one], 2).remarks == ()


@pytest.mark.parametrize("mic", ["XASX", "XNYS"])
@pytest.mark.parametrize("estimator", ["sample", "ledoit_wolf", "ewma"])
def test_a_hole_of_years_decides_over_no_correlation(estimator, mic):
    """Two that have nothing to do with each other, both of which rose while one was not told."""
    long = pd.bdate_range("2018-01-01", periods=2000)
    lost = (long >= "2021-01-01") & (long <= "2023-06-30")
    rise = np.where(lost, 0.003, 0.0)
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(np.exp(np.cumsum(rng.normal(0, 0.01, (2000, 2)) + rise[:, None], 0)), long)
    one, two = (
        PriceSeries(t, frame[i], NONE, NONE, "files", "AUD", m)
        for i, (t, m) in enumerate((("A", "XASX"), ("B", mic)))
    )
    holed = replace(two, prices=two.prices[~lost])
    found = estimate([one, holed], None, estimator)
    assert abs(correlation_of(found.covariance)[0, 1]) < 0.1
    assert found.returns.max() < 0.06  # the scenarios are of one bar each
    assert found.n_obs == (~lost).sum() - 2
    if estimator == "sample" and mic == "XASX":
        common = frame[~lost].pct_change().drop([long[0], long[long > "2023-06-30"][0]])
        expected = common.corr().loc[0, 1]
        assert correlation_of(found.covariance)[0, 1] == pytest.approx(expected, rel=1e-9)
        table = correlation_table([one, holed], long[-1].date()).table.to_pylist()
        for row in table:
            if (row["ticker"], row["other"]) == ("A", "B"):
                assert abs(row["correlation"]) < 0.1
        for method in ("listwise", "pairwise"):
            matrix = correlation_matrix([one, holed], None, method)
            assert matrix.loc["A", "B"] == pytest.approx(expected, rel=1e-9)
            assert matrix.attrs["n_obs"][0, 1] == found.n_obs
        # growth is of all the time; how much prices vary is of the dates that both have
        returns = frame[~lost].set_axis(["A", "B"], axis=1).pct_change().dropna()
        returns.attrs["start"] = long[0].date()
        side = comparison(returns)
        growth = 10_000 * frame[0].iloc[-1] / frame[0].iloc[0]
        assert side["A"]["growth_of_10000"] == pytest.approx(growth, rel=1e-9)
        own = frame[0].pct_change().std() * np.sqrt(261)
        assert side["A"]["volatility"] == pytest.approx(own, rel=0.05)
        assert side["A"]["correlation"]["B"] == pytest.approx(expected, rel=1e-9)
        assert len(comparison_remarks(returns)) == 1


@pytest.mark.parametrize("estimator", ["sample", "ledoit_wolf", "ewma"])
def test_weekly_correlations_go_with_daily_variances(estimator):
    """By default where exchanges differ, and on request."""
    one, two = series(), series("B", seed=2, exchange="XNYS")
    found = estimate([one, two], None, estimator)
    assert found.correlation_period == "weekly"
    assert found.remarks == (
        "correlations are of weekly returns, as the calendars of XASX and XNYS differ",
    )
    assert found.n_obs == 799  # the scenarios stay daily
    for i, s in enumerate((one, two)):
        assert found.covariance[i, i] == pytest.approx(
            estimate([s], None, estimator).covariance[0, 0], rel=1e-12
        )
    asked = estimate([one, two], None, estimator, correlation_period="daily")
    assert (asked.correlation_period, asked.remarks) == ("daily", ())
    if estimator == "sample":
        last = pd.concat([one.prices, two.prices], axis=1).groupby(DAYS.to_period("W")).last()
        expected = last.pct_change().dropna().corr().to_numpy()
        assert correlation_of(found.covariance) == pytest.approx(expected, rel=1e-9)
    same = [one, series("B", seed=2)]
    assert estimate(same, None, correlation_period="weekly").remarks == (
        "correlations are of weekly returns",
    )
    with pytest.raises(ValueError, match="must be daily or weekly"):
        estimate(same, None, correlation_period="hourly")


def test_weekly_correlations_need_a_year_of_weeks():
    few = [series(days=DAYS[:150]), series("B", DAYS[:150], 2, "XNYS")]
    with pytest.raises(InsufficientDataError, match="common weekly returns of A, B are fewer"):
        estimate(few, None)
    assert estimate(few, None, correlation_period="daily").n_obs == 149


def test_a_convention_scales_means_and_variances():
    found = estimate([series(), series("B", seed=2)], None, periods_per_year=252)
    returns = by_hand([series().prices, series("B", seed=2).prices])
    assert found.means == pytest.approx(252 * returns.mean(0))
    assert found.covariance == pytest.approx(252 * np.cov(returns, rowvar=False))


def test_shrunk_correlations_do_not_depend_on_a_tickers_volatility():
    one, two = series(), series("B", seed=2)
    geared = PriceSeries(
        "B",
        pd.Series(100 * np.r_[1, np.cumprod(1 + two.prices.pct_change().iloc[1:] / 5)], DAYS),
        NONE,
        NONE,
        "files",
        "AUD",
    )
    plain, less = (estimate([one, o], None, "ledoit_wolf").covariance for o in (two, geared))
    assert correlation_of(plain) == pytest.approx(correlation_of(less), rel=1e-9)
    assert less[1, 1] == pytest.approx(plain[1, 1] / 25, rel=1e-9)


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
