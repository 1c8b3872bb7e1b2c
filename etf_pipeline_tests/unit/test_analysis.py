"""What the library computes from values: comparisons and correlations, against pandas."""

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.library.analysis import (
    comparison,
    comparison_remarks,
    correlation_matrix,
    recent,
)
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline_tests.support import walk

DAYS = pd.bdate_range("2021-01-04", periods=600, name="date")
PRICES = pd.DataFrame({t: walk(600, seed=i) for i, t in enumerate("ABC")}, DAYS)
RETURNS = PRICES.pct_change().dropna()
RETURNS.attrs["start"] = DAYS[0].date()
YEARS = (DAYS[-1] - DAYS[0]).days / 365.25
EMPTY = np.array([], dtype="datetime64[D]")


def test_a_comparison_is_what_pandas_says():
    found = comparison(RETURNS)
    assert list(found) == ["A", "B", "C"]
    growth = PRICES.iloc[-1] / PRICES.iloc[0]
    correlation = RETURNS.corr()
    for name, row in found.items():
        assert row["growth_of_10000"] == pytest.approx(10_000 * growth[name], rel=1e-12)
        assert row["cagr"] == pytest.approx(growth[name] ** (1 / YEARS) - 1, rel=1e-12)
        deviation = RETURNS[name].std()
        assert row["volatility"] == pytest.approx(deviation * np.sqrt(599 / YEARS), rel=1e-12)
        assert comparison(RETURNS, 252)[name]["volatility"] == pytest.approx(
            deviation * np.sqrt(252), rel=1e-12
        )
        assert row["worst_return"] == RETURNS[name].min()
        assert row["correlation"] == pytest.approx(correlation[name].to_dict(), abs=1e-12)


def test_a_comparison_of_monthly_bars_has_twelve_of_them_a_year():
    index = pd.date_range("2020-01-31", periods=24, freq="ME")
    returns = pd.DataFrame({"A": [0.01, -0.005] * 12}, index)
    # without the date of the first price, the first return is taken for one of thirty days
    years = (index[-1] - index[0] + pd.Timedelta(days=30)).days / 365.25
    found = comparison(returns)
    assert found["A"]["cagr"] == pytest.approx((1.01 * 0.995) ** (12 / years) - 1, rel=1e-12)
    returns.attrs["start"] = pd.Timestamp("2019-12-31").date()
    assert comparison(returns)["A"]["cagr"] == pytest.approx(
        (1.01 * 0.995) ** (12 * 365.25 / 731) - 1, rel=1e-12
    )


def test_a_comparison_of_less_than_a_year_is_not_annualised():
    found = comparison(RETURNS.iloc[:200])
    assert found["A"]["cagr"] is None
    days = (RETURNS.index[199] - DAYS[0]).days
    (said,) = comparison_remarks(RETURNS.iloc[:200])
    assert said.startswith(f"{days} days are under a year")
    assert comparison_remarks(RETURNS) == []
    assert found["A"]["growth_of_10000"] > 0
    span = (RETURNS.index[199] - DAYS[0]).days / 365.25
    assert found["A"]["volatility"] == pytest.approx(
        RETURNS["A"].iloc[:200].std() * np.sqrt(200 / span)
    )


def test_a_comparison_across_exchanges_has_weekly_correlations():
    returns = RETURNS.copy()
    returns.attrs["correlation_period"] = "weekly"
    last = PRICES.groupby(DAYS.to_period("W")).last()
    # the first price is the base of the first week
    weeks = pd.concat([PRICES.iloc[:1], last]).pct_change().dropna()
    assert comparison(returns)["A"]["correlation"] == pytest.approx(weeks.corr()["A"].to_dict())


def test_too_few_returns_to_compare():
    with pytest.raises(InsufficientDataError, match="2 common returns are too few"):
        comparison(RETURNS.iloc[:2])


def test_recent_returns_are_those_after_the_anniversary():
    """A window begins with the price of the day a year ago: the next return is its first."""
    index = pd.DatetimeIndex(["2023-06-30", "2023-07-03", "2024-06-28", "2024-07-03"])
    returns = pd.DataFrame({"A": [0.1, 0.2, 0.3, 0.4]}, index)
    assert recent(returns, 1)["A"].tolist() == [0.3, 0.4]
    assert str(recent(returns, 1).attrs["start"]) == "2023-07-03"
    assert recent(returns, 2)["A"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert recent(returns, None) is returns


def series(name, prices):
    return PriceSeries(name, prices, EMPTY, EMPTY, "files", "AUD")


@pytest.mark.parametrize("method", ["listwise", "pairwise"])
def test_correlations_over_dates_that_differ(method):
    """B misses every seventh session. Those dates are left out before returns are made, so that
    both returns of a pair span the same days."""
    b = PRICES["B"].drop(PRICES.index[::7])
    found = correlation_matrix([series("A", PRICES["A"]), series("B", b)], None, method)
    expected = pd.concat([PRICES["A"], b], axis=1).dropna().pct_change().dropna()
    assert found.loc["A", "B"] == pytest.approx(expected.corr().loc["A", "B"], abs=1e-12)
    assert found.attrs["n_obs"][0, 1] == len(expected)
    assert found.attrs["least_eigenvalue"] == pytest.approx(1 - abs(found.loc["A", "B"]))


@pytest.mark.parametrize("method", ["listwise", "pairwise"])
def test_identical_prices_with_two_holes_in_one_go_together_wholly(method):
    b = PRICES["A"].drop(PRICES.index[[100, 350]])
    found = correlation_matrix([series("A", PRICES["A"]), series("B", b)], None, method)
    assert found.loc["A", "B"] == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("method", ["listwise", "pairwise"])
def test_weekly_correlations_on_request(method):
    both = [series(t, PRICES[t]) for t in "AB"]
    found = correlation_matrix(both, None, method, "weekly")
    weeks = PRICES[["A", "B"]].groupby(DAYS.to_period("W")).last().pct_change().dropna()
    assert found.loc["A", "B"] == pytest.approx(weeks.corr().loc["A", "B"], rel=1e-12)
    assert found.attrs["period"] == "weekly"
    assert found.attrs["n_obs"].tolist() == [[len(weeks)] * 2] * 2


def test_correlations_end_where_the_first_series_ends():
    short = PRICES["B"].iloc[:300]
    found = correlation_matrix([series("A", PRICES["A"]), series("B", short)], 1, "listwise")
    start = pd.Timestamp(short.index[-1]) - pd.DateOffset(years=1)
    both = PRICES[["A", "B"]].iloc[:300]
    first = both.index[both.index <= start][-1]
    expected = both[both.index >= first].pct_change().dropna()
    assert found.loc["A", "B"] == pytest.approx(expected.corr().loc["A", "B"], abs=1e-12)
    with pytest.raises(ValueError, match="listwise or pairwise"):
        correlation_matrix([series("A", PRICES["A"])], 1, "magic")
