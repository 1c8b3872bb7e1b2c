"""The table of correlations: what is compared, what is kept of it, and why the rest is null."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.library.analysis import comparison, correlation_matrix
from etf_pipeline.model.schemas import CORRELATIONS
from etf_pipeline.risk.conversion import Conversion, Rates
from etf_pipeline.risk.correlation_table import correlation_table
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.steps.table_checks import impossible_correlations, not_correlated
from etf_pipeline_tests.support import walk

NONE = np.array([], dtype="datetime64[D]")
DAYS = pd.bdate_range("2019-12-02", periods=1500)
END = DAYS[-1].date()


def series(ticker="A", days=DAYS, seed=1, source="files", exchange=None):
    prices = pd.Series(walk(len(DAYS), seed=seed), DAYS)[days]
    return PriceSeries(ticker, prices, NONE, NONE, source, "AUD", exchange)


ONE, TWO = series(), series("B", seed=2)


def rows(table, *key):
    return {tuple(r[k] for k in key): r for r in table.to_pylist()}


def table_of(*given, **more):
    return correlation_table(*given, **more).table


def dollars(one):
    return replace(one, currency="USD")


RATE = pd.Series(walk(2200, seed=9, start=0.7), pd.date_range("2019-11-25", periods=2200))
IN_AUD = RATE.reindex(DAYS, method="ffill")
RATES = Rates({"AUDUSD=X": PriceSeries("AUDUSD=X", RATE, NONE, NONE, "files", "USD")})


def test_correlations_of_every_pair_in_both_orders():
    three = [ONE, TWO, series("C", seed=3)]
    table = table_of(three, END)
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
    found = rows(table_of([ONE, TWO, young, gone], END), "ticker", "other", "window")
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
    assert table_of([ONE], END).num_rows == 0
    assert table_of([], END).num_rows == 0


def test_a_ticker_that_does_not_move_has_no_correlation():
    flat = PriceSeries("F", pd.Series(50.0, DAYS), NONE, NONE, "files", "AUD")
    found = rows(table_of([ONE, flat], END), "ticker", "other", "window")
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
    table = table_of([ONE, TWO, *odd], END)
    found = rows(table, "ticker", "other", "window")
    for pair in (("C", "D"), ("D", "C"), ("C", "C")):
        row = found[(*pair, "1y")]
        assert (row["correlation"], row["n_obs"], row["start"]) == (None, 0, None)
        assert row["currency"] == "USD"
        assert "0 common dates are too few (C 20" in row["reason"]
    alone = rows(table_of([ONE, TWO], END), "ticker", "other", "window")
    assert {k: v for k, v in found.items() if k in alone} == alone
    assert impossible_correlations(table) == {}


def test_tickers_whose_holes_would_cost_the_others_most_dates_are_left_out_by_name():
    """Seven trade daily, and two once a month on other days: no date is common to all nine."""
    many = [series(f"T{i}", seed=i) for i in range(7)]
    odd = [
        series(t, days=DAYS[np.flatnonzero(DAYS.day == d)], seed=d)
        for t, d in (("C", 27), ("D", 28))
    ]
    done = correlation_table([*many, *odd], END)
    found = rows(done.table, "ticker", "other", "window")
    alone = rows(table_of(many, END), "ticker", "other", "window")
    assert {k: v for k, v in found.items() if k in alone} == alone
    assert len({k for k in found if k[2] == "1y"}) == 81
    first = (pd.Timestamp(END) - pd.DateOffset(years=1)).date()
    usual = DAYS[DAYS[pd.Timestamp(first) >= DAYS][-1] <= DAYS]
    for ticker, day in (("C", 27), ("D", 28)):
        why = f"{ticker} has prices on {(usual.day == day).sum()} of the {len(usual)} dates that"
        assert done.left_out["1y"][ticker].startswith(why)
        for pair in ((ticker, "T1"), ("T1", ticker), (ticker, ticker)):
            row = found[(*pair, "1y")]
            assert (row["correlation"], row["n_obs"], row["start"]) == (None, 0, None)
            assert row["reason"] == done.left_out["1y"][ticker]
    assert done.dates["1y AUD"].startswith(f"7 of 9 tickers on {len(usual)} dates")


def test_sources_of_a_pair_are_both_named():
    found = rows(
        table_of([ONE, series("B", seed=2, source="yahoo")], END),
        "ticker",
        "other",
        "window",
    )
    assert found[("A", "B", "1y")]["source"] == "files,yahoo"
    assert found[("A", "A", "1y")]["source"] == "files"


def test_correlations_are_of_one_currency():
    """Corr in AUD is that of prices converted by hand, not that of the two currencies' prices."""
    mixed = [ONE, dollars(TWO)]
    found = rows(
        table_of(mixed, END, Conversion(RATES, default="AUD")),
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
    table = table_of(three, END, Conversion(RATES))
    found = rows(table, "ticker", "other", "window")
    for pair in (("A", "B"), ("C", "A")):
        row = found[(*pair, "1y")]
        assert (row["correlation"], row["currency"], row["n_obs"]) == (None, None, 0)
        assert "ETF_BASE_CURRENCY" in row["reason"]
        assert f"{pair[0]} is in" in row["reason"]
    # those of one currency are as if the others were not there
    alone = rows(table_of(three[1:], END), "ticker", "other", "window")
    assert {k: v for k, v in found.items() if k in alone} == alone
    assert found[("B", "C", "1y")]["currency"] == "USD"
    assert impossible_correlations(table) == {}


def test_a_ticker_without_its_rate_costs_its_own_pairs_only():
    three = [ONE, dollars(TWO), series("C", seed=3)]
    found = rows(table_of(three, END, Conversion(default="AUD")), "ticker", "other", "window")
    assert found[("A", "C", "1y")]["correlation"] is not None
    assert found[("A", "B", "1y")]["correlation"] is None
    assert "etf run --tickers AUDUSD=X" in found[("A", "B", "1y")]["reason"]


def test_a_matrix_that_cannot_be_is_found_in_its_currency():
    table = table_of([ONE, dollars(TWO), dollars(series("C", seed=3))], END)
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
    found = rows(table_of(many, END), "ticker", "other", "window")
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
    alone = rows(table_of(many[::2], END), "ticker", "other", "window")
    assert {r["period"] for r in alone.values()} == {"daily"}


def market(n, seed=5):
    """Prices of n tickers with something in common, a column each."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 0.01, (len(DAYS), n)) + rng.normal(0, 0.008, (len(DAYS), 1))
    names = [f"T{i:03d}" for i in range(n)]
    return pd.DataFrame(100 * np.cumprod(1 + moves, axis=0), DAYS, names)


def each(frame, exchange="XASX"):
    """A series of each column, without the dates on which it has no price."""
    return [
        PriceSeries(t, prices.dropna(), NONE, NONE, "files", "AUD", exchange)
        for t, prices in frame.items()
    ]


def from_anniversary(frame, years):
    start = pd.Timestamp(END) - pd.DateOffset(years=years)
    return frame[frame.index >= frame.index[frame.index <= start][-1]]


def test_of_many_the_nearest_the_farthest_and_those_of_portfolios_are_kept():
    """Of twenty tickers with three kept each way; against a sort of pandas' matrix."""
    frame = market(20)
    mixes = [["T001", "T002", "T003", "GONE"], ["T003", "T019"]]
    table = table_of(each(frame), END, portfolios=mixes, kept=3)
    found = rows(table, "ticker", "other", "window")
    assert list(found) == sorted(found)
    for window, years in (("1y", 1), ("3y", 3), ("5y", 5)):
        prices = from_anniversary(frame, years)
        matrix = prices.pct_change().iloc[1:].corr()
        within = {(a, b) for m in mixes for a in m for b in m if a != b and "GONE" not in (a, b)}
        expected = {(t, t) for t in frame} | within
        for ticker in frame:
            others = matrix[ticker].drop(ticker).sort_values()
            near, far = others.index[::-1][:3], others.index[:3]
            expected |= {(ticker, o) for o in (*near, *far)}
            for rank, names in (("nearest", near), ("farthest", far)):
                told = {o: found[(ticker, o, window)][rank] for o in names}
                assert told == {o: i for i, o in enumerate(names, start=1)}
        mine = {k[:2]: row for k, row in found.items() if k[2] == window}
        assert set(mine) == expected
        for (a, b), row in mine.items():
            assert row["correlation"] == pytest.approx(matrix.loc[a, b], abs=1e-12)
            assert (row["n_obs"], row["end"]) == (len(prices) - 1, END)
        placed = {k for k, row in mine.items() if row["nearest"] or row["farthest"]}
        assert set(mine) - placed == within - placed | {(t, t) for t in frame}
    assert impossible_correlations(table, mixes) == {}


def test_the_table_is_what_etf_compare_says_of_the_same_dates():
    frame = market(5)
    found = rows(table_of(each(frame), END), "ticker", "other", "window")
    returns = from_anniversary(frame, 3).pct_change().iloc[1:]
    returns.attrs["start"] = from_anniversary(frame, 3).index[0].date()
    for ticker, said in comparison(returns).items():
        for other, value in said["correlation"].items():
            assert found[(ticker, other, "3y")]["correlation"] == pytest.approx(value, abs=1e-12)


def test_every_pair_of_a_small_universe_is_kept_with_its_ranks():
    found = rows(table_of(each(market(7)), END, kept=3), "ticker", "other", "window")
    assert len(found) == 3 * 49
    for (a, b, _), row in found.items():
        assert (row["nearest"] is None and row["farthest"] is None) == (a == b)
    assert len(table_of(each(market(8)), END, kept=3).to_pylist()) == 3 * (8 + 8 * 6)


def test_more_tickers_than_a_block_has_rows():
    """600, so that the matrix is made in two blocks; every number against numpy's."""
    frame = market(600).iloc[-300:]
    table = table_of(each(frame), END, portfolios=[["T001", "T599"]])
    prices = from_anniversary(frame, 1)
    matrix = np.corrcoef(prices.pct_change().iloc[1:].to_numpy(), rowvar=False)
    expected = pd.DataFrame(matrix, frame.columns, frame.columns)
    got = table.to_pandas()
    right = expected.to_numpy()[
        expected.index.get_indexer(got["ticker"]), expected.index.get_indexer(got["other"])
    ]
    assert np.abs(got["correlation"] - right).max() < 1e-12
    twice = got.merge(got, left_on=["ticker", "other"], right_on=["other", "ticker"])
    assert (twice["correlation_x"] == twice["correlation_y"]).all()  # to the last digit
    ten = got[(got["ticker"] == "T001") & (got["nearest"] <= 10)].sort_values("nearest")
    order = expected["T001"].drop("T001").sort_values(ascending=False).index[:10]
    assert list(ten["other"]) == list(order)
    pairs = set(zip(got["ticker"], got["other"], strict=True))
    assert {("T001", "T599"), ("T599", "T001")} <= pairs
    assert got.groupby("ticker").size().min() >= 101
    assert impossible_correlations(table, [["T001", "T599"]]) == {}


def test_equal_correlations_are_ranked_by_name():
    """Copies of a ticker, at other prices: nearest in the order of their names."""
    frame = market(6)
    for copy, factor in (("T002", 2.0), ("T004", 3.7), ("T005", 0.1)):
        frame[copy] = factor * frame["T000"]
    found = rows(table_of(each(frame), END, kept=2), "ticker", "other", "window")
    for window in ("1y", "3y", "5y"):
        near = {k[1]: r["nearest"] for k, r in found.items() if (k[0], k[2]) == ("T000", window)}
        assert {t: rank for t, rank in near.items() if rank} == {"T002": 1, "T004": 2}
    shuffled = table_of(each(frame[list(frame)[::-1]]), END, kept=2)
    assert shuffled.equals(table_of(each(frame), END, kept=2))


def test_pairs_without_a_correlation_are_not_multiplied():
    """Of twenty with three kept, a flat one, one in dollars and one with holes have a row each."""
    frame = market(20)
    frame["T005"] = 50.0
    frame.loc[frame.index[-250:-100], "T006"] = np.nan
    many = [dollars(s) if s.ticker == "T007" else s for s in each(frame)]
    mix = ["T004", "T005", "T006", "T007"]
    table = table_of(many, END, portfolios=[mix], kept=3)
    found = rows(table, "ticker", "other", "window")
    for ticker, why in (
        ("T005", "the returns of T005 do not vary"),
        ("T006", "T006 has prices on"),
        ("T007", "no other ticker is in USD: set ETF_BASE_CURRENCY"),
    ):
        held = {k[1]: r for k, r in found.items() if k[0] == ticker and k[2] == "1y"}
        assert set(held) == set(mix)  # of the portfolio, itself among them
        assert held[ticker]["reason"].startswith(why)
        assert {r["correlation"] for t, r in held.items() if t != ticker} == {None}
        assert all(r["reason"] for r in held.values())
    without = rows(table_of(many, END, kept=3), "ticker", "other", "window")
    assert [k for k in without if "T005" in k[:2] and k[2] == "1y"] == [("T005", "T005", "1y")]
    assert set(not_correlated(table)) == {"T005", "T006", "T007"}
    assert impossible_correlations(table, [mix]) == {}


def test_where_single_holes_would_leave_out_many_weeks_are_compared():
    """Each of 150 lacks a day of its own, and none a week."""
    frame = market(150)
    for i, ticker in enumerate(frame):
        frame.loc[frame.index[-i - 8], ticker] = np.nan
    done = correlation_table(each(frame), END)
    found = rows(done.table, "ticker", "other", "window")
    assert done.left_out == {}
    # k of them lose k of the dates: the next is worth its date while (k + 1)(T − 1) >= k·T
    dates = len(from_anniversary(frame, 1))
    entered = next(k for k in range(dates) if (k + 1) * (dates - k - 1) < k * (dates - k))
    assert f"weekly, as daily returns would leave out {150 - entered}" in done.dates["1y AUD"]
    assert {r["period"] for k, r in found.items() if k[2] == "1y"} == {"weekly"}
    last = frame.groupby(DAYS.to_period("W")).last()
    ends = pd.Series(DAYS, DAYS).groupby(DAYS.to_period("W")).last()
    first = int(np.flatnonzero(ends <= pd.Timestamp(END) - pd.DateOffset(years=1))[-1])
    expected = last.iloc[first:].pct_change().iloc[1:].corr()
    row = next(r for k, r in found.items() if k[2] == "1y" and r["nearest"] == 1)
    right = expected.loc[row["ticker"], row["other"]]
    assert row["correlation"] == pytest.approx(right, abs=1e-12)
    assert row["n_obs"] == len(last) - first - 1


def test_dates_that_holes_cost_are_told_with_whose_they_are():
    """A quarter's dates of one in four: worth it, and said."""
    frame = market(4)
    frame.loc[frame.index[-130:-70], "T002"] = np.nan
    done = correlation_table(each(frame), END)
    usual = len(from_anniversary(frame, 1))
    assert done.left_out == {}
    assert done.dates["1y AUD"] == (
        f"4 of 4 tickers on {usual - 60} dates, {from_anniversary(frame, 1).index[0]:%Y-%m-%d} to "
        f"{END}; most have {usual}, of which lack most: T002 60"
    )


def test_a_rate_that_covers_fewer_windows_than_the_prices():
    """In AUD the rates reach back two years: one year is converted, three are told why not."""
    rate = RATE[RATE.index >= DAYS[-500]]
    rates = Rates({"AUDUSD=X": PriceSeries("AUDUSD=X", rate, NONE, NONE, "files", "USD")})
    conversion = Conversion(rates, default="AUD")
    found = rows(table_of([ONE, dollars(TWO)], END, conversion), "ticker", "other", "window")
    both = pd.concat([ONE.prices, TWO.prices / IN_AUD.to_numpy()], axis=1)
    expected = from_anniversary(both, 1).pct_change().iloc[1:].corr().iloc[0, 1]
    assert found[("A", "B", "1y")]["correlation"] == pytest.approx(expected, abs=1e-12)
    assert found[("A", "B", "3y")]["correlation"] is None
    assert "AUDUSD=X has no rate of" in found[("A", "B", "3y")]["reason"]
    assert found[("B", "B", "3y")]["currency"] == "USD"


@given(st.integers(0, 2**31), st.integers(2, 6), st.booleans(), st.booleans())
@settings(max_examples=30)
def test_the_table_is_what_the_library_says_of_those_that_are_compared(seed, n, two, sparse):
    """Whatever holes, beginnings and bars: the listwise matrix of the same tickers and window."""
    rng = np.random.default_rng(seed)
    frame = market(n, seed)
    for ticker in frame:
        frame.loc[rng.random(len(DAYS)) < rng.choice([0, 0.01, 0.2]), ticker] = np.nan
        frame.loc[frame.index[: rng.choice([0, 700, 1230, 1480])], ticker] = np.nan
        if sparse:
            frame.loc[frame.index.day_of_week != 2, ticker] = np.nan
    many = each(frame)
    if two:
        many[0] = replace(many[0], exchange="XNYS")
    many = [s for s in many if s.end == max(o.end for o in many)]
    table = table_of(many, max(s.end for s in many))
    for window, part in table.to_pandas().groupby("window"):
        own = part[part["correlation"].notna()]
        if own.empty:
            continue
        names = sorted(own["ticker"].unique())
        chosen = [s for s in many if s.ticker in names]
        said = correlation_matrix(chosen, int(window[0]), "listwise", own["period"].iloc[0])
        matrix = own.pivot_table(index="ticker", columns="other", values="correlation")
        assert np.abs(matrix.to_numpy() - said.loc[names, names].to_numpy()).max() < 1e-12
        assert set(own["n_obs"]) == {int(said.attrs["n_obs"][0, 0])}
