"""Walk-forward backtests: what is decided when, by whom, and what is traded of it."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.errors import BacktestError, InsufficientDataError, ReasonCode
from etf_pipeline.model.backtesting import EventKind
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.portfolio.backtest import backtest_portfolio
from etf_pipeline.portfolio.building import problem_of
from etf_pipeline.portfolio.membership import members_of, rebalance_sessions
from etf_pipeline.portfolio.optimise import optimise
from etf_pipeline.risk.estimates import estimate_of
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline_tests.support import walk

DAYS = pd.bdate_range("2020-01-01", periods=700)
EMPTY = np.array([], dtype="datetime64[D]")


def one(ticker, seed, first=0, last=700, days=DAYS):
    prices = pd.Series(walk(len(days), seed=seed), days)
    return PriceSeries(ticker, prices.iloc[first:last], EMPTY, EMPTY, "files", "AUD")


def three(n=700):
    return [one(f"T{i}", i, last=n) for i in (1, 2, 3)]


def spec(**asked):
    base = {"name": "p", "tickers": ["T1", "T2", "T3"], "objective": "min_volatility"}
    return PortfolioSpec.model_validate(base | {"rebalance": "monthly"} | asked)


BUDGET = {"objective": "max_return", "risk_budget": 0.12, "trading_cost": 0.001}


def kinds(done, *wanted):
    return [(e.date, e.subject) for e in done.events if e.kind in wanted]


def test_decisions_are_at_ends_of_periods_and_traded_a_session_later():
    found = backtest_portfolio(spec(rebalance="quarterly"), three(), 1, 0.0)
    decisions = DAYS[rebalance_sessions(DAYS, "quarterly")]
    assert decisions[0] == pd.Timestamp("2020-03-31")
    assert found.weights.index[0] == pd.Timestamp("2021-01-01")  # after a year of history
    assert found.wealth.index[0] == pd.Timestamp("2021-01-01")
    assert found.wealth.iloc[0] == pytest.approx(1.0, rel=1e-12)
    traded = [e for e in found.events if e.kind is EventKind.TRADED]
    assert [e.date for e in traded] == [
        d.date() for d in decisions if d.year > 2020 or d.month > 11
    ]
    assert [e.traded for e in traded] == [d.date() for d in found.weights.index]


def test_the_course_is_that_of_a_plain_loop_over_a_frame():
    """Decided, costed and valued a session at a time, with pandas."""
    series = three()
    frame = pd.concat({s.ticker: s.prices for s in series}, axis=1)
    asked = spec(**BUDGET, half_spreads={"T1": 20.0, "T3": 5.0})
    found = backtest_portfolio(asked, series, 1, 0.03)
    rates = pd.Series({"T1": 0.003, "T2": 0.001, "T3": 0.0015})
    amounts, wanted, wealth = None, None, {}
    for i, (day, prices) in enumerate(frame.iterrows()):
        if amounts is not None:
            amounts = amounts * prices / frame.iloc[i - 1]
        if wanted is not None:
            amounts, before = _bought(wanted, amounts, rates)
            wealth[day] = amounts.sum()
            assert found.cost.loc[day] == pytest.approx(1 - wealth[day] / before)
            wanted = None
        elif amounts is not None:
            wealth[day] = amounts.sum()
        last = i + 1 < len(frame) and frame.index[i + 1].month != day.month
        if last and day >= pd.Timestamp("2020-12-22"):  # a year, less ten days of grace
            parts = [s.until(day.date()) for s in series]
            estimates = estimate_of(asked, parts, 1, 0.03, None)
            wanted = pd.Series(optimise(problem_of(asked, estimates, 0.03)).weights, frame.columns)
    pd.testing.assert_series_equal(
        found.wealth,
        pd.Series(wealth, name="wealth"),
        check_freq=False,
        check_index_type=False,
        rtol=1e-9,
    )


def _bought(wanted, amounts, rates):
    """Amounts after the trade, by repeating it with what is left until that is the same."""
    before = 1.0 if amounts is None else amounts.sum()
    held = wanted * 0.0 if amounts is None else amounts
    left = before
    for _ in range(100):
        left = before - float((rates * (wanted * left - held).abs()).sum())
    return wanted * left, before


def test_a_decision_is_what_is_optimal_on_that_day():
    """The newest weights are those of the same portfolio, asked for on the day of the decision."""
    series = three()
    found = backtest_portfolio(spec(**BUDGET), series, 1, 0.02)
    day = [e.date for e in found.events if e.kind is EventKind.TRADED][-1]
    estimates = estimate_of(spec(**BUDGET), [s.until(day) for s in series], 1, 0.02, None)
    answer = optimise(problem_of(spec(**BUDGET), estimates, 0.02))
    assert found.weights.iloc[-1].to_numpy() == pytest.approx(answer.weights, abs=1e-12)


@settings(max_examples=10)
@given(st.integers(300, 690), st.integers(0, 10_000), st.floats(0.2, 5))
def test_changing_the_future_never_changes_the_past(cut, seed, factor):
    """The course up to any session is the same whatever happens afterwards."""
    series = [one("T1", 1), one("T2", 2, first=150), one("T3", 3, last=500)]
    noise = np.random.default_rng(seed).uniform(0.9, 1.1, (700, 3)) * factor
    other = []
    for i, s in enumerate(series):
        later = s.prices.index >= DAYS[cut]
        changed = s.prices * np.where(later, noise[DAYS.get_indexer(s.prices.index), i], 1.0)
        other.append(replace(s, prices=changed))
    ours, theirs = (backtest_portfolio(spec(**BUDGET), list(x), 1, 0.0) for x in (series, other))
    before = DAYS[cut - 1]
    for name in ("wealth", "cash"):
        one_, two = getattr(ours, name).loc[:before], getattr(theirs, name).loc[:before]
        pd.testing.assert_series_equal(one_, two)
    pd.testing.assert_frame_equal(ours.weights.loc[:before], theirs.weights.loc[:before])
    past = [[e for e in x.events if e.date <= before.date()] for x in (ours, theirs)]
    kept = [[(e.date, e.kind, e.subject) for e in x if e.kind is not EventKind.LEFT] for x in past]
    assert kept[0] == kept[1]


def test_a_shorter_history_gives_the_same_beginning():
    """Adding sessions only appends to a backtest."""
    whole = backtest_portfolio(spec(**BUDGET), three(), 1, 0.0)
    part = backtest_portfolio(spec(**BUDGET), three(500), 1, 0.0)
    pd.testing.assert_series_equal(whole.wealth.loc[: part.wealth.index[-1]], part.wealth)


def test_what_is_not_proven_is_not_traded():
    """Budgets that no portfolio keeps are skipped; what was held is kept."""
    moves = np.r_[np.tile([1.001, 0.9995], 200), np.tile([1.04, 0.97], 150)]
    wild = pd.Series(100 * np.cumprod(moves), DAYS)
    series = [
        replace(one("T1", 1), prices=wild * np.linspace(1, 1.1, 700)),
        replace(one("T2", 2), prices=wild),
    ]
    asked = spec(tickers=["T1", "T2"], objective="max_return", risk_budget=0.10)
    found = backtest_portfolio(asked, series, 1, 0.0)
    skipped = [e for e in found.events if e.kind is EventKind.SKIPPED]
    assert found.skipped == [pd.Timestamp(e.date) for e in skipped]
    assert len(skipped) > 5
    assert {e.code for e in skipped} == {ReasonCode.INFEASIBLE}
    assert "below the least attainable volatility" in skipped[0].reason
    last_trade = found.weights.index[-1]
    assert last_trade.date() < skipped[-1].date
    after = found.units.loc[last_trade:]
    assert (after == after.iloc[0]).all().all()


def test_infeasible_throughout_says_why():
    with pytest.raises(BacktestError) as raised:
        backtest_portfolio(spec(objective="target_return", target_return=4.5), three(), 1, 0.0)
    assert raised.value.code is ReasonCode.INFEASIBLE
    message = str(raised.value)
    assert "none of 21 decisions from 2020-12-31 to 2022-08-31 gave weights" in message
    assert "21 infeasible, last on 2022-08-31: target return 4.5 is out of reach" in message


def test_too_little_history_throughout_says_whose():
    with pytest.raises(InsufficientDataError) as raised:
        backtest_portfolio(spec(), three(), 5, 0.0)
    assert raised.value.code is ReasonCode.TOO_FEW_RETURNS
    assert "enough history" in str(raised.value)
    assert "T1 begins on 2020-01-01, and 5 years" in str(raised.value)


def test_a_ticker_enters_with_the_first_decision_that_has_its_lookback():
    series = [one("T1", 1), one("T2", 2), one("T3", 3, first=200)]
    found = backtest_portfolio(spec(max_weight=0.5), series, 1, 0.0)
    listed = DAYS[200].date()
    first = next(
        d.date()
        for d in DAYS[rebalance_sessions(DAYS, "monthly")]
        if d.date()
        >= (pd.Timestamp(listed) + pd.DateOffset(years=1)).date() - dt.timedelta(days=10)
    )
    entered = {e.subject: e for e in found.events if e.kind is EventKind.ENTERED}
    assert entered["T3"].date == first
    assert str(listed) in entered["T3"].reason
    assert entered["T1"].date == entered["T2"].date == dt.date(2020, 12, 31)
    before = found.weights.loc[: pd.Timestamp(first)]
    assert len(before) > 5
    assert (before["T3"] == 0).all()
    assert (found.weights.loc[pd.Timestamp(first) + pd.Timedelta(days=1) :]["T3"] > 0).all()
    # while it is not there, the course is that of the others alone
    alone = backtest_portfolio(spec(tickers=["T1", "T2"], max_weight=0.5), series[:2], 1, 0.0)
    pd.testing.assert_series_equal(
        found.wealth.loc[: pd.Timestamp(first)], alone.wealth.loc[: pd.Timestamp(first)]
    )


def test_a_delisted_ticker_is_paid_out_and_what_it_brought_is_invested_again():
    series = [one("T1", 1), one("T2", 2), one("T3", 3, last=495)]
    found = backtest_portfolio(spec(min_weight=0.2), series, 1, 0.05)
    gone, after = DAYS[494], DAYS[495]
    assert kinds(found, EventKind.LEFT) == [(gone.date(), "T3")]
    held = found.units.loc[gone, "T3"]
    assert held > 0
    assert found.units.loc[after, "T3"] == 0
    paid = held * series[2].prices.iloc[-1]
    assert found.cash.loc[after] * found.wealth.loc[after] == pytest.approx(paid)
    assert f"{paid / found.wealth.loc[after]:.2%} of the wealth" in next(
        e.reason for e in found.events if e.kind is EventKind.LEFT
    )
    # a day's interest on it, until the trade after the month's end
    trade = found.weights.index[found.weights.index > after][0]
    waiting = (found.cash * found.wealth).loc[after : trade - pd.Timedelta(days=1)]
    days = (waiting.index - after).days.to_numpy()
    assert waiting.to_numpy() == pytest.approx(paid * 1.05 ** (days / 365.25))
    assert found.cash.loc[trade:].abs().max() < 1e-12
    assert found.weights.loc[trade, ["T1", "T2"]].sum() == pytest.approx(1.0)
    assert found.wealth.index[-1] == DAYS[-1]


def test_all_members_or_none_on_request():
    series = [one("T1", 1), one("T2", 2, first=150), one("T3", 3, last=600)]
    found = backtest_portfolio(spec(members="all"), series, 1, 0.0, newest=DAYS[-1].date())
    assert found.wealth.index[0] > DAYS[150] + pd.DateOffset(years=1) - pd.Timedelta(days=11)
    assert found.wealth.index[-1] == DAYS[599]
    assert kinds(found, EventKind.LEFT) == []
    assert found.remarks == (
        f"the course ends on {DAYS[599].date()}, as T3 does; the newest is of {DAYS[-1].date()}",
    )


def test_a_lagging_ticker_ends_the_course_for_now_and_it_is_said():
    """It may have its prices tomorrow; over thirty days later it has gone."""
    series = [one("T1", 1), one("T2", 2), one("T3", 3, last=690)]
    found = backtest_portfolio(spec(), series, 1, 0.0)
    assert found.wealth.index[-1] == DAYS[689]
    assert "as T3 does" in found.remarks[0]
    gone = backtest_portfolio(spec(), [*series[:2], one("T3", 3, last=670)], 1, 0.0)
    assert gone.wealth.index[-1] == DAYS[-1]
    assert gone.remarks == ()


def test_limits_that_cannot_be_met_without_a_ticker_are_told():
    series = [one("T1", 1), one("T2", 2, first=300), one("T3", 3, first=300)]
    columns = {"asset_class": {"T1": "shares", "T2": "bonds", "T3": "bonds"}}
    floor = spec(groups={"asset_class": {"bonds": [0.3, 0.6]}})
    found = backtest_portfolio(floor, series, 1, 0.0, columns)
    skipped = [e for e in found.events if e.kind is EventKind.SKIPPED]
    assert skipped
    assert all("groups.asset_class.bonds: at least 0.3" in e.reason for e in skipped)
    assert found.wealth.index[0] > DAYS[300] + pd.DateOffset(years=1) - pd.Timedelta(days=11)
    ceiling = spec(groups={"asset_class": {"bonds": [0, 0.6]}})
    early = backtest_portfolio(ceiling, series, 1, 0.0, columns)
    assert early.wealth.index[0] < found.wealth.index[0]
    assert early.skipped == []


def test_opinions_of_today_are_told_to_be_and_are_of_members_alone():
    """Views on a ticker that is not there yet wait for it."""
    opinion = {
        "method": "black_litterman",
        "market_weights": {"T1": 1.0, "T2": 1.0, "T3": 2.0},
        "views": [
            {"ticker": "T1", "over": "T2", "return": 0.02, "confidence": 0.5},
            {"ticker": "T3", "return": 0.09, "confidence": 0.5},
        ],
    }
    series = [one("T1", 1), one("T2", 2), one("T3", 3, first=200)]
    asked = spec(objective="max_sharpe", expected_returns=opinion)
    found = backtest_portfolio(asked, series, 1, 0.02)
    assert found.skipped == []
    assert "hindsight" in found.remarks[0]
    opinion["market_weights"].pop("T3")
    opinion["views"].pop()
    alone = spec(objective="max_sharpe", expected_returns=opinion, tickers=["T1", "T2"])
    two = backtest_portfolio(alone, series[:2], 1, 0.02)
    entered = next(e.date for e in found.events if e.subject == "T3")
    before = slice(None, pd.Timestamp(entered))
    pd.testing.assert_series_equal(found.wealth.loc[before], two.wealth.loc[before])


def test_limits_that_the_first_members_alone_cannot_meet_wait_for_the_others():
    series = [one("T1", 1), one("T2", 2, first=150), one("T3", 3, first=150)]
    found = backtest_portfolio(spec(max_weight=0.5), series, 1, 0.0)
    skipped = [e for e in found.events if e.kind is EventKind.SKIPPED]
    assert skipped
    assert {e.code for e in skipped} == {ReasonCode.INFEASIBLE}
    assert all(e.reason.startswith("there is only T1 yet, or still") for e in skipped)
    entered = {e.subject: e.date for e in found.events if e.kind is EventKind.ENTERED}
    assert entered["T1"] == skipped[0].date
    assert entered["T2"] == entered["T3"] > skipped[-1].date
    assert found.wealth.index[0].date() > entered["T2"]


def test_where_turnover_is_in_the_way_the_nearest_is_traded_and_called_so():
    """A third of the wealth becomes cash; investing a fifth of it at once is more than allowed."""
    series = [one("T1", 1), one("T2", 2), one("T3", 3, last=495)]
    held = {"T1": 0.5, "T2": 0.5}
    asked = spec(min_weight=0.2, bounds={"T1": [0.2, 0.45]}, max_turnover=0.05, holdings=held)
    found = backtest_portfolio(asked, series, 1, 0.0)
    nearest = [e for e in found.events if e.kind is EventKind.NEAREST]
    assert found.nearest == tuple(pd.Timestamp(e.traded) for e in nearest)
    first = pd.Timestamp(nearest[0].traded)
    assert first > DAYS[494]
    assert nearest[0].code is ReasonCode.INFEASIBLE
    assert "turnover at most 0.05" in nearest[0].reason
    assert found.skipped == []
    # least turnover from what is held: all cash into T1 up to its bound, or T2, sells nothing
    frame = pd.concat({s.ticker: s.prices for s in series}, axis=1, sort=True)
    decided = pd.Timestamp(nearest[0].date)
    amounts = (found.units.loc[decided] * frame.loc[decided]).fillna(0.0)
    before = amounts / found.wealth.loc[decided]
    weights = found.weights.loc[first]
    assert weights.sum() == pytest.approx(1.0)
    assert weights["T1"] <= 0.45 + 1e-9
    least = (1 - before.sum() + 2 * max(before["T1"] - 0.45, 0.0)) / 2
    assert (weights - before).abs().sum() / 2 == pytest.approx(least, abs=1e-6)
    assert least > 0.05


def test_what_is_bought_once_is_held():
    found = backtest_portfolio(spec(rebalance="never"), three(), 1, 0.0)
    assert len(found.weights) == 1
    assert found.weights.index[0] == pd.Timestamp("2021-01-01")
    assert (found.units == found.units.iloc[0]).all().all()
    assert len(kinds(found, EventKind.TRADED)) == 1


def test_the_band_is_of_weights_held_at_the_decision():
    plain = backtest_portfolio(spec(), three(), 1, 0.0)
    found = backtest_portfolio(spec(band=0.04), three(), 1, 0.0)
    passed = {day for day, _ in kinds(found, EventKind.WITHIN_BAND)}
    assert passed
    assert len(found.weights) + len(passed) == len(plain.weights)
    frame = pd.concat({s.ticker: s.prices for s in three()}, axis=1)
    wanted = {e.date: plain.weights.loc[str(e.traded)] for e in plain.events if e.traded}
    for day, target in wanted.items():
        if pd.Timestamp(day) < found.wealth.index[0]:
            continue
        amounts = found.units.loc[str(day)] * frame.loc[str(day)]
        drift = (amounts / amounts.sum() - target).abs().max()
        assert (drift <= 0.04) == (day in passed)


def test_costs_are_those_of_trading_and_where_not_given_those_weighed():
    def costs(**asked):
        held = {"holdings": {"T1": 1.0}} if "cost_rate" in asked else {}
        return backtest_portfolio(spec(**asked, **held), three(), 1, 0.0).cost

    assert costs().eq(0).all()
    assert costs(cost_rate=0.002).iloc[0] == pytest.approx(0.002 / 1.002)
    assert costs(cost_rate=0.002, trading_cost=0.0).eq(0).all()
    assert costs(cost_rate=0.002, trading_cost=0.01).iloc[0] == pytest.approx(0.01 / 1.01)
    spread = costs(trading_cost=0.001, half_spreads=dict.fromkeys(("T1", "T2", "T3"), 15.0))
    assert spread.iloc[0] == pytest.approx(0.0025 / 1.0025)


@pytest.mark.parametrize(("calendar", "a_year"), [("monthly", 12), ("quarterly", 4), ("yearly", 1)])
def test_a_cost_is_weighed_as_often_as_it_is_paid(calendar, a_year):
    """The decision is that of a portfolio whose trades cost so much of a year's return."""
    asked = spec(
        objective="max_return",
        rebalance=calendar,
        cost_rate=0.004,
        holdings={"T1": 1.0},
        max_weight=0.6,
    )
    series = three()
    found = backtest_portfolio(asked, series, 1, 0.0)
    decided = [e for e in found.events if e.kind is EventKind.TRADED]
    assert len(decided) > 1
    day = decided[1].date
    frame = pd.concat({s.ticker: s.prices for s in series}, axis=1)
    amounts = found.units.loc[str(day)] * frame.loc[str(day)]
    now = asked.model_copy(
        update={
            "cost_rate": 0.004 * a_year,
            "holdings": (amounts / amounts.sum()).to_dict(),
        }
    )
    estimates = estimate_of(now, [s.until(day) for s in series], 1, 0.0, None)
    answer = optimise(problem_of(now, estimates, 0.0))
    assert found.weights.loc[str(decided[1].traded)].to_numpy() == pytest.approx(
        answer.weights, abs=1e-9
    )


def test_a_course_is_compared_with_fixed_weights_by_the_same_calendar():
    series = [one("A", 11), one("B", 12)]
    asked = spec(compare_with={"A": 0.6, "B": 0.4}, trading_cost=0.002, half_spreads={"B": 10.0})
    found = backtest_portfolio(asked, three(), 1, 0.0, comparison=series)
    frame = pd.concat({s.ticker: s.prices for s in series}, axis=1)
    rates = pd.Series({"A": 0.002, "B": 0.003})
    mix, amounts, expected = pd.Series({"A": 0.6, "B": 0.4}), None, {}
    for i, day in enumerate(DAYS):
        if day < found.wealth.index[0]:
            continue
        if amounts is not None:
            amounts = amounts * frame.iloc[i] / frame.iloc[i - 1]
        if DAYS[i - 1].month != day.month:
            amounts, _ = _bought(mix, amounts, rates)
        expected[day] = amounts.sum()
    pd.testing.assert_series_equal(
        found.comparison,
        pd.Series(expected, name="comparison"),
        check_freq=False,
        check_index_type=False,
        rtol=1e-9,
    )
    single = spec(compare_with="A", rebalance="never", trading_cost=0.0)
    held = backtest_portfolio(single, three(), 1, 0.0, comparison=series[:1])
    path = series[0].prices.loc[held.wealth.index]
    assert held.comparison.to_numpy() == pytest.approx((path / path.iloc[0]).to_numpy())


def test_a_comparison_that_begins_later_begins_with_the_wealth_then():
    late = one("A", 11, first=400)
    found = backtest_portfolio(spec(compare_with="A"), three(), 1, 0.0, comparison=[late])
    first = found.comparison.first_valid_index()
    decisions = DAYS[rebalance_sessions(DAYS, "monthly")]
    assert first == DAYS[DAYS.get_loc(decisions[decisions >= DAYS[400]][0]) + 1]
    assert found.comparison.loc[first] == pytest.approx(found.wealth.loc[first])
    assert found.remarks == (f"compared from {first.date()} on, from the wealth then",)
    missing = backtest_portfolio(spec(compare_with="A"), three(), 1, 0.0)
    assert missing.comparison is None
    assert missing.remarks == ("nothing is compared: there are no prices of A",)


def test_members_share_the_sessions_of_those_listed():
    holes = one("T2", 2).prices.drop(DAYS[[300, 301]])
    series = [one("T1", 1, first=200), replace(one("T2", 2), prices=holes), one("T3", 3, last=400)]
    found = members_of(series)
    kept = np.delete(DAYS.to_numpy().astype("datetime64[D]"), [300, 301])
    assert found.days.tolist() == kept.tolist()
    assert np.isnan(found.prices[:200, 0]).all()
    assert np.isfinite(found.prices[200:, 0]).all()
    assert np.isfinite(found.prices[:, 1]).all()
    assert np.isnan(found.prices[398:, 2]).all()
    assert found.ended == (None, None, DAYS[399].date())
    assert found.final[2] == series[2].prices.iloc[-1]


def test_months_apart_is_no_delisting_of_monthly_prices():
    monthly = pd.bdate_range("2010-01-01", periods=60, freq="BME")
    days = pd.bdate_range("2010-01-01", monthly[-1] + pd.Timedelta(days=70))
    funds = [one("M", 1, last=60, days=monthly), one("D", 2, last=len(days), days=days)]
    assert members_of(funds).ended == (None, None)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"rebalance": "never", "band": 0.05}, "band goes with rebalance"),
        ({"half_spreads": {"VAS": 5}}, "half_spreads name VAS"),
        ({"half_spreads": {"T1": -1}}, "half_spreads of T1: -1 is not within 0 to 1000"),
        ({"half_spreads": {"T1": float("nan")}}, "half_spreads.T1"),
        ({"compare_with": {"VAS": 0.6, "VAF": 0.5}}, "weights sum to 1.1, not to 1"),
        ({"compare_with": {"VAS": 1.6, "VAF": -0.6}}, "weights must not be negative"),
        ({"band": 1.5}, "less than 1"),
    ],
)
def test_what_cannot_be_asked_of_a_backtest(asked, told):
    with pytest.raises(ValueError, match=told):
        spec(**asked)


def test_what_else_is_compared_or_known_changes_no_course():
    """Both end within thirty days of each other: the course of both is until the first does."""
    pair = [one("T1", 1, last=600), one("T2", 2, last=590)]
    asked = {"tickers": ["T1", "T2"], "objective": "min_volatility"}
    alone = backtest_portfolio(spec(**asked), pair, 1, 0.0)
    assert alone.wealth.index[-1] == DAYS[589]
    beside = backtest_portfolio(
        spec(**asked, compare_with="A"),
        pair,
        1,
        0.0,
        comparison=[one("A", 9)],
        newest=DAYS[-1].date(),
    )
    pd.testing.assert_series_equal(alone.wealth, beside.wealth)
    assert beside.remarks[0].endswith(f"as T2 does; the newest is of {DAYS[-1].date()}")


@pytest.mark.parametrize("rebalance", ["monthly", "never"])
def test_what_is_compared_with_is_cash_from_its_end_on(rebalance):
    gone = one("A", 11, last=500)
    asked = spec(compare_with="A", rebalance=rebalance)
    found = backtest_portfolio(asked, three(), 1, 0.05, comparison=[gone])
    first = found.wealth.index[0]
    shares = gone.prices.loc[first:] / gone.prices.loc[first]
    days = (DAYS[500:] - DAYS[500]).days.to_numpy()  # paid out on the next session
    expected = np.r_[shares.to_numpy(), shares.iloc[-1] * 1.05 ** (days / 365.25)]
    assert found.comparison.index[-1] == DAYS[-1]
    assert found.comparison.to_numpy() == pytest.approx(expected, rel=1e-12)
    assert found.remarks == (
        f"A, which is compared with, ends on {DAYS[499].date()}; its part is cash from then on",
    )


def test_a_hole_of_the_course_is_told():
    """A suspension of months: no session is of all that are listed, and a trade waits for one."""
    suspended = one("T2", 2)
    suspended = replace(suspended, prices=suspended.prices.drop(DAYS[400:460]))
    found = backtest_portfolio(spec(), [one("T1", 1), suspended, one("T3", 3)], 1, 0.0)
    gap = f"one return spans {DAYS[399].date()} to {DAYS[460].date()}"
    assert found.remarks == (f"no session in common: {gap}",)


def test_of_the_nearest_the_objective_chooses():
    """A third of the wealth became cash: wherever it goes, nothing need be sold."""
    series = [one("T1", 1), one("T2", 2), one("T3", 3, last=495)]
    held = {"T1": 0.5, "T2": 0.5}
    asked = spec(max_turnover=0.05, holdings=held)
    found = backtest_portfolio(asked, series, 1, 0.0)
    event = next(e for e in found.events if e.kind is EventKind.NEAREST)
    decided, first = pd.Timestamp(event.date), pd.Timestamp(event.traded)
    frame = pd.concat({s.ticker: s.prices for s in series}, axis=1, sort=True)
    amounts = found.units.loc[decided] * frame.loc[decided]
    before = (amounts / found.wealth.loc[decided])[["T1", "T2"]]
    spare = 1.0 - before.sum()
    returns = frame.loc[decided - pd.DateOffset(years=1) : decided, ["T1", "T2"]].pct_change()
    (a, c), (_, b) = returns.cov().to_numpy()
    calmest = (b - c) / (a + b - 2 * c)  # of two assets
    expected = np.clip(calmest, before["T1"], before["T1"] + spare)
    assert found.weights.loc[first, "T1"] == pytest.approx(expected, abs=1e-5)
    assert before["T1"] + 0.01 < expected < before["T1"] + spare - 0.01
