import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.history.adjust import adjusted_close, distributions, unadjusted


def series(values, start="2025-09-29"):
    return pd.Series(np.asarray(values, float), pd.bdate_range(start, periods=len(values)))


def test_vas_ex_date_of_october_2025():
    """VAS: close 110.8999 on 09-30, 1.095937 paid ex 10-01: 109.8041, a return of −0.04 %."""
    closes = series([110.0, 110.8999, 109.76])
    adjusted = adjusted_close(closes, pd.Series([1.095937], [closes.index[2]]))
    assert adjusted[1] == pytest.approx(109.803963, abs=1e-6)  # 110.8999 − 1.095937
    assert adjusted[2] == 109.76
    assert adjusted[2] / adjusted[1] - 1 == pytest.approx(-0.0004, abs=1e-4)


def test_total_return_is_counted_once():
    """Reinvesting each distribution at the ex-date's close gives the adjusted close's growth."""
    closes = series([100, 98, 103, 101, 99])
    paid = pd.Series([2.0, 1.5], closes.index[[1, 3]])
    # wealth of one unit, distributions reinvested at (previous close − D) as CRSP does
    wealth = 98 / (100 - 2.0) * (103 / 98) * (101 / (103 - 1.5)) * (99 / 101)
    adjusted = adjusted_close(closes, paid)
    assert adjusted[-1] / adjusted[0] == pytest.approx(wealth, rel=1e-14)


def test_an_ex_date_without_a_price_adjusts_what_is_before_it():
    closes = series([100, 98, 103]).drop(pd.Timestamp("2025-09-30"))
    adjusted = adjusted_close(closes, pd.Series([2.0], [pd.Timestamp("2025-09-30")]))
    assert adjusted.tolist() == [98.0, 103.0]


def test_a_distribution_that_no_price_has_followed_adjusts_nothing():
    closes = series([100, 98])
    assert adjusted_close(closes, pd.Series([0.395], [pd.Timestamp("2025-10-01")])).tolist() == [
        100.0,
        98.0,
    ]


def test_a_distribution_above_the_price_is_refused():
    closes = series([10, 10])
    with pytest.raises(ValueError, match="distribution 11 of 2025-09-30"):
        adjusted_close(closes, pd.Series([11.0], [closes.index[1]]))


def test_capital_gains_inside_dividends_are_not_counted_twice():
    paid = distributions(np.array([1.0, 0.0, 0.5, 0.0]), np.array([0.4, 0.3, 0.8, 0.0]))
    assert paid.tolist() == [1.0, 0.3, 1.3, 0.0]


@given(
    st.lists(st.tuples(st.floats(10, 200), st.floats(0, 5)), min_size=2, max_size=40),
    st.integers(0, 2**31),
)
def test_unadjusting_is_the_inverse(rows, seed):
    closes = series([c for c, _ in rows])
    gate = np.random.default_rng(seed).random(len(rows)) < 0.3
    paid = pd.Series([d if g else 0.0 for (_, d), g in zip(rows, gate, strict=True)], closes.index)
    zero = paid * 0
    adjusted = pd.Series(adjusted_close(closes, paid), closes.index)
    back = unadjusted(adjusted, paid, zero)
    assert back.to_numpy() == pytest.approx(closes.to_numpy(), rel=1e-9)
