"""Whole units for an amount of cash, against every combination there is."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.portfolio.allocation import allocate


def test_whole_units_spend_the_cash_exactly_where_they_can():
    """PyPortfolioOpt#383: one unit of each, nothing left."""
    found = allocate([0.5, 0.5], [10, 10], 20)
    assert found.units.tolist() == [1, 1]
    assert found.left == 0


def test_whole_units_are_never_more_than_the_cash_and_beat_rounding_down():
    weights, prices, cash = np.array([0.5, 0.3, 0.2]), np.array([91.3, 47.1, 203.7]), 1500.0
    found = allocate(weights, prices, cash)
    assert found.units @ prices <= cash
    assert found.left == pytest.approx(cash - found.units @ prices)

    def error(units):
        return np.abs(weights * cash - units * prices).sum() + cash - units @ prices

    best = min(
        error(np.array([i, j, k]))
        for i in range(17)
        for j in range(32)
        for k in range(8)
        if np.array([i, j, k]) @ prices <= cash
    )
    assert error(found.units) == pytest.approx(best)
    with pytest.raises(ValueError, match="at most 1"):
        allocate([0.9, 0.9], [1, 1], 10)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(5, 60)), min_size=1, max_size=3),
    st.floats(0, 200),
    st.booleans(),
)
def test_no_combination_is_nearer(rows, cash, invested):
    weights = np.array([w for w, _ in rows])
    prices = np.round([p for _, p in rows], 2)
    weights = weights / max(weights.sum(), 1e-9) * (1.0 if invested else 0.5)
    found = allocate(weights, prices, cash)
    assert (found.units >= 0).all()
    spent = float(found.units @ prices)
    assert spent <= cash * (1 + 1e-9)
    assert found.left == pytest.approx(cash - spent, abs=1e-9 * max(cash, 1))
    most = [range(int(cash / p) + 1) for p in prices]
    best = min(
        float(np.abs(weights * cash - n * prices).sum() + cash - n @ prices)
        for units in itertools.product(*most)
        if (n := np.array(units)) @ prices <= cash
    )
    ours = float(np.abs(weights * cash - found.units * prices).sum() + cash - spent)
    assert ours == pytest.approx(best, abs=1e-6 * max(cash, 1))


def test_no_cash_buys_nothing():
    found = allocate([0.5, 0.5], [10, 20], 0)
    assert found.units.tolist() == [0, 0]
    assert found.left == 0


def test_a_price_above_the_cash_buys_nothing():
    found = allocate([1.0], [100.0], 99.99)
    assert found.units.tolist() == [0]
    assert found.left == pytest.approx(99.99)


@pytest.mark.parametrize(
    ("weights", "prices", "cash", "words"),
    [
        ([0.5], [10, 20], 100, "as many as prices"),
        ([-0.1, 0.5], [10, 20], 100, "not negative"),
        ([0.5, 0.5], [0.0, 20], 100, "prices must be positive"),
        ([0.5, 0.5], [-5.0, 20], 100, "prices must be positive"),
        ([0.5, 0.5], [np.nan, 20], 100, "prices must be positive"),
        ([0.5, 0.5], [10, 20], -1, "cash must not be negative"),
        ([0.5, 0.5], [10, 20], np.nan, "cash must not be negative"),
    ],
)
def test_what_cannot_be_is_refused(weights, prices, cash, words):
    with pytest.raises(ValueError, match=words):
        allocate(weights, prices, cash)
