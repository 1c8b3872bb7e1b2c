"""The account by hand: units and cash, costs, bands, exits and entries."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from skfolio.model_selection import WalkForward, cross_val_predict
from skfolio.optimization import InverseVolatility

from etf_pipeline.portfolio.rebalancing import after_costs, rebalanced

NAN = float("nan")
FREE = np.zeros(2)


def at(*positions):
    return np.array(positions, dtype="intp")


def always(*weights):
    return lambda position, held: np.array(weights)


def test_a_decision_is_traded_at_the_next_close():
    prices = np.array([[10.0, 5.0], [20.0, 4.0], [30.0, 4.0], [30.0, 8.0]])
    course = rebalanced(prices, at(0), always(0.5, 0.5), FREE)
    assert course is not None
    assert course.first == 1
    # 0.5 buys 0.025 units at 20, and 0.125 at 4
    assert course.units.tolist() == [[0.025, 0.125]] * 3
    assert course.wealth.tolist() == pytest.approx([1.0, 0.75 + 0.5, 0.75 + 1.0])
    assert course.cash.tolist() == [0.0, 0.0, 0.0]
    assert course.trades[0].turnover == 0.5


def test_costs_are_of_what_is_traded_and_paid_out_of_the_account():
    prices = np.array([[10.0, 10.0], [10.0, 10.0], [30.0, 10.0], [30.0, 10.0]])
    rates = np.array([0.01, 0.03])
    course = rebalanced(prices, at(0, 1), always(0.5, 0.5), rates)
    assert course is not None
    # a of each is bought with 1: 2a + 0.01a + 0.03a = 1
    a = 1 / 2.04
    assert course.wealth[0] == pytest.approx(2 * a)
    assert course.trades[0].cost == pytest.approx(0.04 * a)
    # now 3a and a; sell s of the first, buy what is left of it: 3a − s = a + s − 0.01s − 0.03(…)
    sold = 2 * a * 1.03 / (1 + 1.03 - 0.01)
    bought = (sold * 0.99) / 1.03
    assert 3 * a - sold == pytest.approx(a + bought)
    assert course.wealth[1] == pytest.approx(2 * (3 * a - sold))
    assert course.trades[1].cost == pytest.approx((0.01 * sold + 0.03 * bought) / (4 * a))


def test_cash_earns_its_index_and_is_what_the_weights_leave():
    prices = np.array([[10.0], [10.0], [20.0], [20.0]])
    index = np.array([1.0, 2.0, 3.0, 5.0])
    course = rebalanced(prices, at(0), always(0.25), np.zeros(1), cash_index=index)
    assert course is not None
    assert course.cash.tolist() == pytest.approx([0.75, 0.75 * 1.5, 0.75 * 2.5])
    assert course.wealth.tolist() == pytest.approx([1.0, 0.5 + 1.125, 0.5 + 1.875])


def test_what_has_gone_is_paid_out_at_its_last_price_and_stays_in_cash_until_the_next_trade():
    prices = np.array([[10.0, 10], [10, 10], [15, 10], [NAN, 10], [NAN, 20], [NAN, 20]])
    asked = []

    def decide(position, held):
        asked.append(None if held is None else held.tolist())
        return np.array([0.5, 0.5]) if held is None else np.array([0.0, 1.0])

    course = rebalanced(prices, at(0, 3), decide, FREE, final=np.array([16.0, 20.0]))
    assert course is not None
    assert [(e.at, e.asset, e.amount) for e in course.exits] == [(3, 0, pytest.approx(0.8))]
    assert course.wealth.tolist() == pytest.approx([1.0, 1.25, 1.3, 1.8, 1.8])
    assert course.cash.tolist() == pytest.approx([0, 0, 0.8, 0, 0])
    assert asked == [None, pytest.approx([0.0, 0.5 / 1.3])]
    assert course.trades[1].turnover == pytest.approx(0.8 / 1.8 / 2)
    by_default = rebalanced(prices, at(0, 3), decide, FREE)
    assert by_default is not None
    assert by_default.exits[0].amount == pytest.approx(0.75)


def test_what_was_decided_on_its_last_day_cannot_be_bought():
    prices = np.array([[10.0, 10], [NAN, 10], [NAN, 20]])
    course = rebalanced(prices, at(0), always(0.4, 0.6), FREE)
    assert course is not None
    assert course.trades[0].untraded == (0,)
    assert course.trades[0].weights.tolist() == [0.0, 0.6]
    assert course.wealth.tolist() == pytest.approx([1.0, 1.6])


def test_the_band_lets_small_drifts_pass():
    prices = np.array([[10.0, 10], [10, 10], [11, 10], [11, 10], [20, 10], [20, 10]])
    half = always(0.5, 0.5)
    # 11/21 is 0.0238 from a half at the decision, 20/30 is 0.1667
    course = rebalanced(prices, at(0, 2, 4), half, FREE, band=0.03)
    assert course is not None
    assert [t.at for t in course.trades] == [1, 5]
    assert course.within == (2,)
    tight = rebalanced(prices, at(0, 2, 4), half, FREE, band=0.0238)
    assert tight is not None
    assert [t.at for t in tight.trades] == [1, 3, 5]


def test_the_band_is_of_cash_too():
    prices = np.array([[10.0, 10, 10], [10, 10, 10], [NAN, 10, 10], [NAN, 10, 10], [NAN, 10, 10]])

    def decide(position, held):
        return np.array([0.06, 0.47, 0.47] if position == 0 else [0.0, 0.5, 0.5])

    # each weight is 0.03 from what is wanted, the cash 0.06
    wide = rebalanced(prices, at(0, 2), decide, np.zeros(3), band=0.061)
    narrow = rebalanced(prices, at(0, 2), decide, np.zeros(3), band=0.059)
    assert wide is not None
    assert narrow is not None
    assert (len(wide.trades), len(narrow.trades)) == (1, 2)


def test_no_decision_is_no_course():
    assert rebalanced(np.ones((5, 2)), at(0, 2), lambda p, h: None, FREE) is None


fractions = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@given(fractions, st.data())
def test_what_is_left_after_costs_is_the_root(wanted, data):
    """Against a bracketing root finder of scipy."""
    n = len(wanted)
    total = max(sum(wanted), 1.0)
    goal = np.array(wanted) / total
    held = np.array(data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))) / n
    rates = np.array(data.draw(st.lists(st.floats(0, 0.2), min_size=n, max_size=n)))

    def over(x):
        return x + float(rates @ np.abs(goal * x - held)) - 1.0

    assert after_costs(goal, held, rates) == pytest.approx(brentq(over, 0, 1, xtol=1e-15))


@st.composite
def markets(draw):
    """Prices of assets that come and go, decisions on some sessions, costs, cash and a band."""
    rows, assets = draw(st.integers(4, 40)), draw(st.integers(1, 4))
    r = np.random.default_rng(draw(st.integers(0, 10_000)))
    unit = draw(st.sampled_from([1e-4, 1.0, 1e4]))
    prices = unit * np.cumprod(1 + r.normal(0, 0.05, (rows, assets)), axis=0)
    for i in range(assets):
        prices[: draw(st.integers(0, rows // 2)), i] = NAN
        prices[rows - draw(st.integers(0, rows // 2)) :, i] = NAN
    decisions = np.flatnonzero(r.random(rows - 1) < 0.4)
    rates = draw(st.sampled_from([0.0, 0.001, 0.05])) * r.random(assets)
    index = np.cumprod(1 + draw(st.sampled_from([0.0, 1e-4])) * r.random(rows))
    band = draw(st.sampled_from([None, 0.0, 0.1]))
    return prices, decisions, rates, index, band, draw(st.integers(0, 1000))


def chooser(prices, seed):
    """Random weights of what has a price, by position alone; sometimes none."""

    def decide(position, held):
        r = np.random.default_rng([seed, position])
        priced = np.isfinite(prices[position])
        if r.random() < 0.2 or not priced.any():
            return None
        weights = np.where(priced, r.random(len(priced)), 0.0)
        return weights / weights.sum() * r.choice([1.0, 0.7])

    return decide


def by_hand(prices, decisions, decide, rates, index, band):
    """The same account, a session at a time, in plain Python; what it trades is found by bisection.

    Gives rows of (session, wealth, cash, units), and the cost of every trade as an amount.
    """
    rows, assets = prices.shape
    final = {i: [p for p in prices[:, i] if p == p][-1:] for i in range(assets)}
    units, cash, opened, wanted = [0.0] * assets, 1.0, False, None
    told, paid = [], []
    for t in range(rows):
        if opened and t:
            cash *= index[t] / index[t - 1]
        for i in range(assets):
            if units[i] and prices[t, i] != prices[t, i]:
                cash, units[i] = cash + units[i] * final[i][0], 0.0
        amounts = [u * prices[t, i] if u else 0.0 for i, u in enumerate(units)]
        wealth = sum(amounts) + cash
        if wanted is not None:
            opened = True
            goal = [w if prices[t, i] == prices[t, i] else 0.0 for i, w in enumerate(wanted)]

            def spent(after, goal=goal, amounts=amounts):
                return sum(
                    k * abs(g * after - a) for k, g, a in zip(rates, goal, amounts, strict=True)
                )

            low, high = 0.0, wealth
            for _ in range(200):
                middle = (low + high) / 2
                low, high = (middle, high) if middle + spent(middle) <= wealth else (low, middle)
            units = [g * low / prices[t, i] if g else 0.0 for i, g in enumerate(goal)]
            paid.append(wealth - low)
            cash, wealth = low * (1 - sum(goal)), low
        wanted = None
        if t in decisions and t < rows - 1:
            held = [u * prices[t, i] / wealth if u else 0.0 for i, u in enumerate(units)]
            wanted = decide(t, np.array(held) if opened else None)
            if wanted is not None and opened and band is not None:
                drifts = [abs(w - h) for w, h in zip(wanted, held, strict=True)]
                if max([*drifts, abs(sum(wanted) - sum(held))]) <= band + 1e-12:
                    wanted = None
        if opened:
            told.append((t, wealth, cash, list(units)))
    return told, paid


@given(markets())
def test_the_account_is_that_of_a_plain_loop(market):
    prices, decisions, rates, index, band, seed = market
    decide = chooser(prices, seed)
    course = rebalanced(prices, decisions, decide, rates, band=band, cash_index=index)
    told, paid = by_hand(prices, set(decisions.tolist()), decide, rates, index, band)
    if course is None:
        assert told == []
        return
    assert course.first == told[0][0]
    assert course.wealth == pytest.approx(np.array([w for _, w, *_ in told]), rel=1e-9)
    assert course.cash == pytest.approx(np.array([c for *_, c, _ in told]), abs=1e-9)
    scale = np.nan_to_num(prices[course.first :])
    held = np.array([u for *_, u in told])
    assert course.units * scale == pytest.approx(held * scale, abs=1e-9)
    before = [t.cost * course.wealth[t.at - course.first] / (1 - t.cost) for t in course.trades]
    assert before == pytest.approx(paid, abs=1e-9)


@given(markets())
def test_wealth_is_units_at_prices_and_cash_on_every_session(market):
    """And nothing is lost at a trade but its cost, which is that of what changed hands."""
    prices, decisions, rates, index, band, seed = market
    course = rebalanced(
        prices, decisions, chooser(prices, seed), rates, band=band, cash_index=index
    )
    if course is None:
        return
    here = prices[course.first :]
    assert not np.any(course.units[~np.isfinite(here)])
    amounts = course.units * np.nan_to_num(here)
    assert amounts.sum(axis=1) + course.cash == pytest.approx(course.wealth, rel=1e-12)
    for trade in course.trades:
        now = trade.at - course.first
        after = amounts[now]
        assert after / course.wealth[now] == pytest.approx(trade.weights, abs=1e-12)
        if now == 0:
            before, cash = np.zeros_like(after), 1.0
        else:
            before = course.units[now - 1] * np.nan_to_num(here[now])
            cash = course.cash[now - 1] * index[trade.at] / index[trade.at - 1]
            cash += sum(e.amount for e in course.exits if e.at == trade.at)
        cost = float(rates @ np.abs(after - before))
        assert before.sum() + cash - cost == pytest.approx(course.wealth[now], rel=1e-9)
        assert trade.cost == pytest.approx(cost / (before.sum() + cash), abs=1e-12)


@given(markets(), st.integers(1, 39), st.floats(0.2, 5))
def test_what_comes_later_changes_nothing_before(market, cut, factor):
    prices, decisions, rates, index, band, seed = market
    cut = min(cut, len(prices) - 1)
    other = prices.copy()
    other[cut:] *= factor
    one, two = (
        rebalanced(p, decisions, chooser(prices, seed), rates, band=band, cash_index=index)
        for p in (prices, other)
    )
    if one is None or two is None or one.first >= cut:
        return
    n = cut - one.first
    assert np.array_equal(one.wealth[:n], two.wealth[:n])
    assert np.array_equal(one.units[:n], two.units[:n])


def test_a_buy_and_hold_course_is_that_of_pandas():
    """Against `DataFrame.pct_change` compounded, an independent way round."""
    r = np.random.default_rng(7)
    frame = pd.DataFrame(50 * np.cumprod(1 + r.normal(0, 0.02, (60, 3)), axis=0))
    weights = np.array([0.2, 0.3, 0.5])
    course = rebalanced(frame.to_numpy(), at(9), lambda p, h: weights, np.zeros(3))
    assert course is not None
    grown = (1 + frame.iloc[10:].pct_change().fillna(0)).cumprod() @ weights
    assert course.wealth == pytest.approx(grown.to_numpy())


def test_a_daily_walk_forward_is_that_of_skfolio():
    """Weights of the last 40 returns, a session in between (its purge), held for a session."""
    moves = np.random.default_rng(3).normal(0.0005, [0.005, 0.01, 0.02], (120, 3))
    frame = pd.DataFrame(moves, pd.bdate_range("2024-01-01", periods=120))
    prices = 100 * np.vstack([np.ones(3), np.cumprod(1 + moves, axis=0)])

    def inverse_volatility(position, held):
        if position < 40:
            return None
        weights = 1 / moves[position - 40 : position].std(axis=0)
        return weights / weights.sum()

    course = rebalanced(prices, np.arange(120), inverse_volatility, np.zeros(3))
    assert course is not None
    walked = cross_val_predict(
        InverseVolatility(), frame, cv=WalkForward(test_size=1, train_size=40, purged_size=1)
    )
    assert walked.returns_df.index[0] == frame.index[course.first]
    expected = np.cumprod(1 + walked.returns_df.to_numpy())
    assert course.wealth[1:] == pytest.approx(expected, rel=1e-9)
