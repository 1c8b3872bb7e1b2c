"""Who is compared on common dates, by arithmetic of what each ticker's holes cost the others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.risk.shared_dates import stay, usual


def lacking(n, many, *holes):
    """`holes` are (rows, columns) without a price."""
    missing = np.zeros((n, many), dtype="bool")
    for rows, columns in holes:
        missing[np.ix_(np.atleast_1d(rows), np.atleast_1d(columns))] = True
    return missing


def test_dates_of_more_than_half_count():
    there = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0], [1, 0, 1, 1]], dtype="bool")
    assert usual(there).tolist() == [True, False, False, True]
    assert usual(np.array([[1, 0], [0, 1]], dtype="bool")).tolist() == [False, False]


@pytest.mark.parametrize(("holes", "stays"), [(5, True), (6, False)])
def test_a_twentieth_of_the_dates_may_be_lost_to_one_of_many(holes, stays):
    """Of 100 dates, by the hundredth ticker: 1 % more to compare, 6 % fewer dates."""
    found = stay(lacking(100, 100, (17, np.arange(holes))))
    assert np.flatnonzero(~found).tolist() == ([] if stays else [17])


@pytest.mark.parametrize(("cost", "stays"), [(33, True), (34, False)])
def test_of_few_a_ticker_may_cost_as_much_as_it_brings(cost, stays):
    """Three on 100 − c dates against two on 100: 3 · 67 = 201 of 200, and 3 · 66 = 198."""
    assert stay(lacking(3, 100, (2, np.arange(cost)))).tolist() == [True, True, stays]


def test_those_with_the_same_holes_enter_together():
    """40 of 100 lack the same 30 dates: 100 · 70 observations for 60 · 100."""
    assert stay(lacking(100, 100, (np.arange(40), np.arange(30)))).all()
    # each other ones: 1 · 100 for 0, then 2 · 70 …, as long as it is worth it
    apart = lacking(3, 100, (0, np.arange(30)), (1, np.arange(30, 60)), (2, np.arange(60, 90)))
    assert stay(apart).tolist() == [True, True, False]


def test_a_market_s_holiday_comes_before_holes_of_single_ones():
    """First the five dates that forty lack. Then single ones, worth it while T − 1 >= k rows.

    80 rows on 95 dates become 88 on 87.
    """
    single = [(40 + i, 10 + i) for i in range(20)]
    found = stay(lacking(100, 100, (np.arange(40), np.arange(5)), *single))
    assert np.flatnonzero(~found).tolist() == list(range(48, 60))


def test_nobody_is_left_without_two_returns():
    missing = lacking(4, 10, ([0, 1], np.arange(8)), ([2, 3], np.arange(2, 10)))
    assert stay(missing).all() or (~missing[stay(missing)].any(axis=0)).sum() >= 3
    assert not stay(missing).any()


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(3, 60), st.floats(0, 0.3))
def test_the_order_of_tickers_decides_nothing_that_counts(seed, n, many, share):
    rng = np.random.default_rng(seed)
    missing = rng.random((n, many)) < share * rng.random((n, 1))
    found = stay(missing)
    assert (found == stay(missing.copy())).all()
    kept = (~missing[found].any(axis=0)).sum()
    complete = ~missing.any(axis=1)
    assert found[complete].all()
    assert not found.any() or kept >= min(3, many)
    # what is left to compare is no less than without any holes, or but a twentieth
    assert found.sum() * kept >= min(complete.sum() * many, 0.95 * complete.sum() * many)
