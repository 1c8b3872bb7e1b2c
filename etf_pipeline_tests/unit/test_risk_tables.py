"""The risk tables: windows, what is left out, and rows that do not depend on each other."""

import datetime as dt
import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from etf_pipeline.model.schemas import CORRELATIONS, RISK_METRICS
from etf_pipeline.risk.conversion import Conversion, Rates
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.tables import correlation_table, metrics_row, risk_table
from etf_pipeline.steps.table_checks import impossible_correlations
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


def test_correlations_of_every_pair_in_both_orders():
    three = [ONE, TWO, series("C", seed=3)]
    table = correlation_table(three, END)
    assert table.schema.equals(CORRELATIONS.arrow)
    found = rows(table, "ticker", "other", "window")
    assert {w for *_, w in found} == {"1y", "3y", "5y"}
    assert len(found) == 3 * 9
    start = pd.Timestamp(END) - pd.DateOffset(years=1)
    returns = pd.concat([s.prices for s in three], axis=1)
    first = returns.index[returns.index <= start][-1]
    expected = returns[returns.index >= first].pct_change().iloc[1:].corr().to_numpy()
    for i, a in enumerate("ABC"):
        for j, b in enumerate("ABC"):
            assert found[(a, b, "1y")]["correlation"] == pytest.approx(expected[i, j])
    assert list(found) == sorted(found)


def test_only_tickers_that_cover_a_window_and_still_trade_are_compared():
    young = series("Y", days=DAYS[-400:], seed=4)
    gone = series("G", days=DAYS[:-12], seed=5)
    found = rows(correlation_table([ONE, TWO, young, gone], END), "ticker", "other", "window")
    assert {(a, w) for a, b, w in found if a == b} == {
        ("A", "1y"),
        ("B", "1y"),
        ("Y", "1y"),
        ("A", "3y"),
        ("B", "3y"),
        ("A", "5y"),
        ("B", "5y"),
    }


def test_one_ticker_has_nobody_to_go_with():
    assert correlation_table([ONE], END).num_rows == 0
    assert correlation_table([], END).num_rows == 0


def test_a_ticker_that_does_not_move_has_no_correlation():
    flat = PriceSeries("F", pd.Series(50.0, DAYS), NONE, NONE, "files", "AUD")
    found = rows(correlation_table([ONE, flat], END), "ticker", "other", "window")
    assert found[("A", "F", "1y")]["correlation"] is None
    assert found[("F", "F", "1y")]["correlation"] is None
    assert found[("A", "A", "1y")]["correlation"] == 1.0
    assert found[("A", "F", "1y")]["reason"] == "the returns of F do not vary"
    assert found[("F", "A", "1y")]["reason"] == "the returns of F do not vary"
    assert found[("A", "A", "1y")]["reason"] is None


def test_tickers_with_too_little_in_common_are_null_and_cost_nobody_else():
    """Two that trade on other days; those of the other currency, and longer windows, are whole."""
    monthly = {t: DAYS[np.flatnonzero(DAYS.day == d)] for t, d in (("C", 27), ("D", 28))}
    odd = [dollars(series(t, days=days, seed=3)) for t, days in monthly.items()]
    table = correlation_table([ONE, TWO, *odd], END)
    found = rows(table, "ticker", "other", "window")
    for pair in (("C", "D"), ("D", "C"), ("C", "C")):
        row = found[(*pair, "1y")]
        assert (row["correlation"], row["n_obs"], row["start"]) == (None, 0, None)
        assert row["currency"] == "USD"
        assert "0 common dates are too few (C 20" in row["reason"]
    alone = rows(correlation_table([ONE, TWO], END), "ticker", "other", "window")
    assert {k: v for k, v in found.items() if k in alone} == alone
    assert impossible_correlations(table) == {}


def test_a_whole_market_with_too_little_in_common_is_null_and_names_the_sparsest():
    many = [series(f"T{i}", seed=i) for i in range(7)]
    odd = [
        series(t, days=DAYS[np.flatnonzero(DAYS.day == d)], seed=d)
        for t, d in (("C", 27), ("D", 28))
    ]
    found = correlation_table([*many, *odd], END).to_pylist()
    year = [r for r in found if r["window"] == "1y"]
    assert len(year) == 81
    assert {r["correlation"] for r in year} == {None}
    assert all("(C 20" in r["reason"] or "(D 20" in r["reason"] for r in year)
    assert all(r["reason"].endswith("; and 4 more)") for r in year)


def test_sources_of_a_pair_are_both_named():
    found = rows(
        correlation_table([ONE, series("B", seed=2, source="yahoo")], END),
        "ticker",
        "other",
        "window",
    )
    assert found[("A", "B", "1y")]["source"] == "files,yahoo"
    assert found[("A", "A", "1y")]["source"] == "files"


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


def test_correlations_are_of_one_currency():
    """Corr in AUD is that of prices converted by hand, not that of the two currencies' prices."""
    mixed = [ONE, dollars(TWO)]
    found = rows(
        correlation_table(mixed, END, Conversion(RATES, default="AUD")),
        "ticker",
        "other",
        "window",
    )
    start = (pd.Timestamp(END) - pd.DateOffset(years=1)).date()
    used = found[("A", "B", "1y")]
    days = DAYS[pd.Timestamp(used["start"]) <= DAYS]
    a, b = ONE.prices[days], (TWO.prices / IN_AUD.to_numpy())[days]
    expected = np.corrcoef(a.pct_change().dropna(), b.pct_change().dropna())[0, 1]
    assert abs(used["start"] - start) < dt.timedelta(days=5)
    assert used["correlation"] == pytest.approx(expected, rel=1e-9)
    assert (used["currency"], used["reason"]) == ("AUD", None)


def test_pairs_of_two_currencies_without_a_base_are_null_with_a_reason():
    three = [ONE, dollars(TWO), dollars(series("C", seed=3))]
    table = correlation_table(three, END, Conversion(RATES))
    found = rows(table, "ticker", "other", "window")
    for pair in (("A", "B"), ("C", "A")):
        row = found[(*pair, "1y")]
        assert (row["correlation"], row["currency"], row["n_obs"]) == (None, None, 0)
        assert "ETF_BASE_CURRENCY" in row["reason"]
        assert f"{pair[0]} is in" in row["reason"]
    # those of one currency are as if the others were not there
    alone = rows(correlation_table(three[1:], END), "ticker", "other", "window")
    assert {k: v for k, v in found.items() if k in alone} == alone
    assert found[("B", "C", "1y")]["currency"] == "USD"
    assert impossible_correlations(table) == {}


def test_a_ticker_without_its_rate_costs_its_own_pairs_only():
    three = [ONE, dollars(TWO), series("C", seed=3)]
    found = rows(
        correlation_table(three, END, Conversion(default="AUD")), "ticker", "other", "window"
    )
    assert found[("A", "C", "1y")]["correlation"] is not None
    assert found[("A", "B", "1y")]["correlation"] is None
    assert "etf run --tickers AUDUSD=X" in found[("A", "B", "1y")]["reason"]


def test_a_matrix_that_cannot_be_is_found_in_its_currency():
    table = correlation_table([ONE, dollars(TWO), dollars(series("C", seed=3))], END)
    wrong = [
        r | {"correlation": 1.5} if (r["ticker"], r["other"]) in (("B", "C"), ("C", "B")) else r
        for r in table.to_pylist()
    ]
    found = impossible_correlations(pa.Table.from_pylist(wrong, schema=CORRELATIONS.arrow))
    assert set(found) == {"1y", "3y", "5y"}


def test_a_market_of_several_exchanges_is_compared_by_weeks():
    """A day's news reaches the one that closes later a session later: here, half of it."""
    news = np.random.default_rng(8).normal(0, 0.01, len(DAYS))
    early = np.cumprod(1 + news)
    late = np.cumprod(1 + np.r_[0, news[:-1]] / 2 + news / 2)
    many = [
        PriceSeries(t, pd.Series(p, DAYS), NONE, NONE, "files", "AUD", mic)
        for t, p, mic in (("A", early, "XASX"), ("B", late, "XNYS"), ("C", early, "XASX"))
    ]
    found = rows(correlation_table(many, END), "ticker", "other", "window")
    assert {r["period"] for r in found.values()} == {"weekly"}
    row = found[("A", "B", "3y")]
    frame = pd.DataFrame({"A": early, "B": late}, DAYS)
    fridays = frame.groupby(DAYS.to_period("W")).last()
    ends = pd.Series(DAYS, DAYS).groupby(DAYS.to_period("W")).last()
    start = pd.Timestamp(END) - pd.DateOffset(years=3)
    first = int(np.flatnonzero(ends <= start)[-1])
    expected = fridays.iloc[first:].pct_change().dropna()
    assert row["correlation"] == pytest.approx(expected.corr().loc["A", "B"], rel=1e-12)
    assert (row["n_obs"], row["start"]) == (len(expected), ends.iloc[first].date())
    assert row["correlation"] > 0.85 > 0.75 > frame.pct_change().corr().loc["A", "B"]
    assert found[("A", "C", "3y")]["correlation"] == pytest.approx(1.0)
    alone = rows(correlation_table(many[::2], END), "ticker", "other", "window")
    assert {r["period"] for r in alone.values()} == {"daily"}
