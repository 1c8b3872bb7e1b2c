"""Golden values: hand arithmetic or the publication named, to 12 digits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from etf_pipeline.risk import metrics as m
from etf_pipeline.risk.relative import relative_metrics

RETURNS = np.array([0.02, -0.01, 0.03, -0.02, 0.01, -0.03, 0.015, 0.005, -0.005, 0.01])
BENCHMARK = np.array([0.015, -0.012, 0.02, -0.015, 0.008, -0.02, 0.01, 0.004, -0.002, 0.006])


def prices_of(returns):
    return np.r_[1.0, np.cumprod(1 + np.asarray(returns))]


def days(n):
    return np.arange(np.datetime64("2024-01-01"), np.datetime64("2024-01-01") + n)


def compute(returns, periods=252, rf=0.0):
    prices = prices_of(returns)
    return m.compute_metrics(prices, days(len(prices)), periods, rf)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean_return", 0.63),
        ("cagr", 0.8040227091707381),
        ("volatility", 0.2952117883825102),
        ("sharpe_ratio", 2.134061120837423),
        ("sortino_ratio", 3.324549831021844),
        ("max_drawdown", -0.039894),
        ("calmar_ratio", 20.15397576504584),
        ("var_95", 0.03),
        ("cvar_95", 0.03),
    ],
)
def test_golden_series(name, expected):
    assert getattr(compute(RETURNS), name) == pytest.approx(expected, rel=1e-12)


def test_an_annual_risk_free_rate_is_not_taken_for_a_daily_one():
    found = compute(RETURNS, rf=0.04)
    assert found.sharpe_ratio == pytest.approx(2.0011945925788184, rel=1e-12)
    assert found.sortino_ratio == pytest.approx(3.095558591994449, rel=1e-12)


def test_value_at_risk_at_80_per_cent_splits_where_the_definition_does():
    assert m.tail_losses(RETURNS, 0.80) == pytest.approx((0.02, 0.025), rel=1e-12)
    assert m.conditional_value_at_risk(RETURNS, 0.80) == pytest.approx(0.025, rel=1e-12)


def test_relative_to_a_benchmark():
    found = relative_metrics(RETURNS, BENCHMARK, 252)
    assert found.beta == pytest.approx(1.3829653788258904, rel=1e-12)
    assert found.tracking_error == pytest.approx(0.0911767514227174, rel=1e-12)
    assert found.information_ratio == pytest.approx(3.0402487, rel=1e-7)


def test_the_starting_wealth_counts_in_a_drawdown():
    assert compute([-0.10, 0.05, -0.20, 0.02]).max_drawdown == pytest.approx(-0.244)
    assert compute([-0.5, 0.1]).max_drawdown == pytest.approx(-0.5)


def test_the_worst_drawdown_is_the_lowest():
    # peaks of 1 with falls of 12.3 %, 21.3 % and 18.2 %, each recovered
    path = np.array([1, 0.877, 1, 0.787, 1, 0.818, 1.0])
    fall, peak, trough, recovery = m.max_drawdown(path)
    assert fall == pytest.approx(-0.213)
    assert (peak, trough, recovery) == (0, 3, 4)


def test_red_rock_sortino():
    """The worked example of Red Rock Capital, "Sortino: A Sharper Ratio": 4.417."""
    returns = [0.17, 0.15, 0.23, -0.05, 0.12, 0.09, 0.13, -0.04]
    assert compute(returns, periods=1).sortino_ratio == pytest.approx(4.417261043, rel=1e-9)


def test_sortino_of_equal_losses():
    returns = [0.01, -0.003] * 4
    assert compute(returns).sortino_ratio == pytest.approx(26.1916017, rel=1e-8)


def test_growth_compounds():
    found = compute([0.10, -0.10], periods=1)
    assert found.cagr == pytest.approx(-0.0050125628933801, rel=1e-9)
    assert found.mean_return == pytest.approx(0.0, abs=1e-15)


def test_a_missing_price_loses_no_return_and_no_time():
    prices = np.array([100, 110, np.nan, 121.0])
    found = m.compute_metrics(prices, days(4), 1)
    assert found.n_obs == 2
    assert found.mean_return == pytest.approx(0.10)
    assert found.cagr == pytest.approx(1.21 ** (1 / 3) - 1, rel=1e-12)  # 0.0656022368


def test_constant_returns_have_no_sharpe_ratio_and_say_why():
    found = compute([0.001] * 5)
    assert found.sharpe_ratio is None
    assert "returns do not vary" in found.reasons


def test_rising_prices_have_no_sortino_nor_calmar_ratio():
    found = compute([0.01, 0.02, 0.03])
    assert found.sortino_ratio is None
    assert found.calmar_ratio is None
    assert found.max_drawdown == 0.0
    assert set(found.reasons) == {
        "no return is below the target",
        "there is no drawdown",
        "skewness needs three returns, kurtosis four",
        "there is no whole calendar month",
    }


@pytest.mark.parametrize("prices", [[], [1.0], [np.nan, 1.0]])
def test_too_few_prices(prices):
    found = m.compute_metrics(np.array(prices), days(len(prices)), 252)
    assert found.n_obs == 0
    assert found.volatility is None
    assert found.reasons


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf])
def test_impossible_prices_are_refused(bad):
    with pytest.raises(ValueError, match="positive"):
        m.compute_metrics(np.array([1.0, bad, 2.0]), days(3), 252)


moves = st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=60)


@given(moves, st.floats(0.01, 1000))
def test_metrics_do_not_depend_on_the_currency_unit(returns, unit):
    prices = prices_of(returns)
    a = m.compute_metrics(prices, days(len(prices)), 252)
    b = m.compute_metrics(prices * unit, days(len(prices)), 252)
    assert a.max_drawdown == pytest.approx(b.max_drawdown, abs=1e-9)
    assert a.volatility == pytest.approx(b.volatility, rel=1e-6, abs=1e-9)


@given(moves)
def test_a_tail_loss_is_at_least_its_quantile(returns):
    array = np.array(returns)
    for level in (0.5, 0.8, 0.95, 0.99):
        var, cvar = m.tail_losses(array, level)
        assert var is not None
        assert cvar is not None
        assert cvar >= var - 1e-12
        # never more than (1 - level) of the observations lie beyond the quantile
        assert np.sum(-array > var) <= math.floor((1 - level) * len(array) + 1e-9)


@given(moves)
def test_a_drawdown_is_the_worst_of_all_pairs(returns):
    prices = prices_of(returns)
    worst = min(
        prices[j] / prices[i] - 1 for i in range(len(prices)) for j in range(i, len(prices))
    )
    assert m.max_drawdown(prices)[0] == pytest.approx(worst, abs=1e-12)


SHAPED = np.random.default_rng(8).standard_t(5, 400) * 0.01


@pytest.mark.parametrize("unit", [1e-8, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize("n", [4, 5, 60, 400])
def test_shape_is_scipys_corrected_for_bias_in_any_unit(n, unit):
    returns = SHAPED[:n] * unit
    expected = stats.skew(SHAPED[:n], bias=False), stats.kurtosis(SHAPED[:n], bias=False)
    assert m.shape(returns) == pytest.approx(expected, rel=1e-9)


def test_shape_of_three_and_fewer_returns():
    three = np.array([0.01, -0.02, 0.03])
    assert m.shape(three) == (pytest.approx(stats.skew(three, bias=False), rel=1e-9), None)
    assert m.shape(three[:2]) == (None, None)
    assert m.shape(np.full(9, 0.001)) == (None, None)


def test_shape_by_hand():
    """Of 0, 0, 0, 1: g1 = 2/√3 and g2 = −2/3, so G1 = 2 and G2 = 4."""
    assert m.shape(np.array([0.0, 0.0, 0.0, 1.0])) == pytest.approx((2.0, 4.0), rel=1e-12)


def test_the_ulcer_index_by_hand():
    """Martin: the root of the mean of squared falls from the high, on every date."""
    prices = np.array([100, 90, 110, 99, 88.0])  # falls of 0, 10, 0, 10 and 20 per cent
    expected = math.sqrt((0.10**2 + 0.10**2 + 0.20**2) / 5)
    assert m.ulcer_index(prices) == pytest.approx(expected, rel=1e-12)
    assert m.compute_metrics(prices, days(5), 252).ulcer_index == pytest.approx(expected)


@given(moves)
def test_the_ulcer_index_is_no_more_than_the_worst_drawdown(returns):
    prices = prices_of(returns)
    assert 0 <= m.ulcer_index(prices) <= -m.max_drawdown(prices)[0] + 1e-15
