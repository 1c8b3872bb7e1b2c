"""The risk tables: windows, what is left out, and rows that do not depend on each other."""

import datetime as dt
import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.model.schemas import RISK_METRICS
from etf_pipeline.risk.conversion import Conversion, Rates
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.tables import metrics_row, risk_table
from etf_pipeline_tests.support import walk

NONE = np.array([], dtype="datetime64[D]")
DAYS = pd.bdate_range("2019-12-02", periods=1500)
END = DAYS[-1].date()


def series(ticker="A", days=DAYS, seed=1, source="files", holes=NONE, excluded=NONE):
    prices = pd.Series(walk(len(DAYS), seed=seed), DAYS)[days]
    return PriceSeries(ticker, prices, holes, excluded, source, "AUD")


ONE, TWO = series(), series("B", seed=2)


def rows(table, *key):
    return {tuple(r[k] for k in key): r for r in table.to_pylist()}


def test_a_row_per_ticker_and_window_in_order():
    table = risk_table([TWO, ONE])
    assert table.schema.equals(RISK_METRICS.arrow)
    assert [(r["ticker"], r["window"]) for r in table.to_pylist()] == [
        (t, w) for t in "AB" for w in ("1y", "3y", "5y", "10y", "max")
    ]


def test_a_window_of_years_by_hand():
    """Σr over the years that passed, from the last price on or before the anniversary on."""
    anniversary = pd.Timestamp(END) - pd.DateOffset(years=3)
    first = ONE.prices.index[ONE.prices.index <= anniversary][-1]
    prices = ONE.prices[ONE.prices.index >= first]
    years = (prices.index[-1] - first).days / 365.25
    returns = [b / a - 1 for a, b in itertools.pairwise(prices)]
    row = metrics_row(ONE, 3)
    assert (row["start"], row["end"]) == (prices.index[0].date(), END)
    assert row["n_obs"] == len(returns)
    assert row["mean_return"] == pytest.approx(sum(returns) / years)
    growth = prices.iloc[-1] / prices.iloc[0]
    assert row["cagr"] == pytest.approx(growth ** (1 / years) - 1)
    assert row["total_return"] == pytest.approx(growth - 1)
    assert row["periods_per_year"] == pytest.approx(len(returns) / years)
    assert row["reason"] is None


def test_a_window_that_is_not_covered_is_never_filled_with_a_shorter_one():
    row = rows(risk_table([ONE]), "window")[("10y",)]
    assert row["volatility"] is None
    assert row["n_obs"] == 0
    held = (END - DAYS[0].date()).days / 365.25
    start = (pd.Timestamp(END) - pd.DateOffset(years=10)).date()
    assert row["reason"] == (
        f"history covers {held:.1f} of 10 years: it begins on {DAYS[0].date()}, "
        f"the window on {start}"
    )


@pytest.mark.parametrize(("later", "covered"), [(10, True), (11, False)])
def test_a_history_may_begin_ten_days_into_a_window(later, covered):
    start = (pd.Timestamp(END) - pd.DateOffset(years=1)).date() + dt.timedelta(days=later)
    days = pd.DatetimeIndex([pd.Timestamp(start), *DAYS[pd.Timestamp(start) < DAYS]])
    prices = pd.Series(walk(len(days)), days)
    row = metrics_row(PriceSeries("A", prices, NONE, NONE, "files", "AUD"), 1)
    assert (row["n_obs"] > 0) is covered


def test_a_ticker_does_not_depend_on_the_others():
    both = rows(risk_table([ONE, TWO], 0.03), "ticker", "window")
    for one in (ONE, TWO):
        alone = rows(risk_table([one], 0.03), "ticker", "window")
        assert alone == {k: v for k, v in both.items() if k[0] == one.ticker}


def test_the_rate_is_recorded_and_lowers_the_sharpe_ratio():
    plain, dear = metrics_row(ONE, 3), metrics_row(ONE, 3, 0.05)
    assert dear["risk_free_rate"] == 0.05
    annual = plain["periods_per_year"]
    fall = annual * (1.05 ** (1 / annual) - 1) / plain["volatility"]
    assert plain["sharpe_ratio"] - dear["sharpe_ratio"] == pytest.approx(fall)


def test_a_benchmark_is_compared_on_common_dates():
    days = DAYS.delete([500, 700, 900])
    row = metrics_row(series(days=days), None, benchmark=TWO)
    returns = pd.concat([ONE.prices[days], TWO.prices[days]], axis=1).pct_change().iloc[1:]
    a, b = returns.to_numpy().T
    annual = len(a) * 365.25 / (days[-1] - days[0]).days
    assert row["beta"] == pytest.approx(np.cov(a, b)[0, 1] / np.var(b, ddof=1))
    assert row["tracking_error"] == pytest.approx(np.std(a - b, ddof=1) * np.sqrt(annual))
    assert row["benchmark"] == "B"


def test_the_benchmark_itself_has_a_beta_of_1():
    row = metrics_row(TWO, 3, benchmark=TWO)
    assert (row["beta"], row["tracking_error"], row["information_ratio"]) == (1.0, 0.0, None)
    assert "it is the benchmark" in row["reason"]


def test_quarantined_sessions_are_counted_in_the_window_they_are_in():
    lost = np.array([DAYS[10], DAYS[-20], DAYS[-10]], dtype="datetime64[D]")
    held = series(days=DAYS.delete([10, -20, -10]), holes=lost, excluded=lost)
    by_window = rows(risk_table([held]), "window")
    assert by_window[("1y",)]["n_excluded"] == 2
    assert by_window[("max",)]["n_excluded"] == 3
    assert "2 quarantined sessions left out" in by_window[("1y",)]["reason"]


def test_bars_of_any_spacing_have_metrics_and_a_reason():
    row = metrics_row(series(days=DAYS[::60]), None)
    prices = ONE.prices[DAYS[::60]]
    years = (prices.index[-1] - prices.index[0]).days / 365.25
    assert row["periods_per_year"] == pytest.approx(24 / years)
    assert row["mean_return"] == pytest.approx(prices.pct_change().sum() / years)
    assert row["reason"] == ("there is no whole calendar month; the bars are spaced irregularly")


@pytest.mark.parametrize(("start", "end"), [(100, None), (None, -30)])
def test_a_benchmark_that_does_not_reach_as_far_is_not_compared_with(start, end):
    other = series("B", days=DAYS[start:end], seed=2)
    row = metrics_row(ONE, None, benchmark=other)
    assert (row["beta"], row["tracking_error"]) == (None, None)
    assert row["volatility"] is not None
    assert "do not cover 2019-12-02 to" in row["reason"]


def dollars(one):
    return replace(one, currency="USD")


RATE = pd.Series(walk(2200, seed=9, start=0.7), pd.date_range("2019-11-25", periods=2200))
IN_AUD = RATE.reindex(DAYS, method="ffill")
RATES = Rates({"AUDUSD=X": PriceSeries("AUDUSD=X", RATE, NONE, NONE, "files", "USD")})


def test_a_row_is_in_the_ticker_s_own_currency_and_so_is_its_benchmark():
    """Against B in AUD, converted by pandas; the ticker's own metrics do not move."""
    by_hand = replace(TWO, prices=TWO.prices / IN_AUD.to_numpy())
    right = metrics_row(ONE, 3, benchmark=by_hand)
    found = metrics_row(ONE, 3, benchmark=dollars(TWO), conversion=Conversion(RATES))
    for name, value in right.items():
        same = value == found[name]
        assert same or found[name] == pytest.approx(value, rel=1e-9), name
    assert found["currency"] == "AUD"
    assert metrics_row(dollars(ONE), 3, benchmark=TWO)["currency"] == "USD"
    wrong = metrics_row(ONE, 3, benchmark=TWO)
    assert wrong["beta"] != pytest.approx(found["beta"], rel=1e-3)


def test_a_benchmark_without_its_rate_is_a_reason_and_no_number():
    row = metrics_row(ONE, 3, benchmark=dollars(TWO))
    assert row["volatility"] is not None
    assert (row["beta"], row["tracking_error"], row["information_ratio"]) == (None, None, None)
    assert "etf run --tickers AUDUSD=X" in row["reason"]
