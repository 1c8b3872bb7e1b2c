"""Covariance estimators against arithmetic and peers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.risk.covariance import (
    correlation_of,
    covariance,
    ewma_covariance,
    ledoit_wolf,
    risk_contributions,
)

RNG = np.random.default_rng(4)
RETURNS = RNG.normal(0.0003, 0.01, (300, 6)) + RNG.normal(0, 0.007, (300, 1))


def test_ledoit_wolf_is_scikit_learns_with_the_sample_scale():
    """scikit-learn has 1/T: trace(LW) = (T − 1)/T · trace(sample)."""
    peer = LedoitWolf().fit(RETURNS).covariance_ * 300 / 299
    assert ledoit_wolf(RETURNS) == pytest.approx(peer, rel=1e-9)
    sample = np.cov(RETURNS, rowvar=False)
    assert np.trace(ledoit_wolf(RETURNS)) == pytest.approx(np.trace(sample), rel=1e-12)


def test_ewma_with_equal_weights_is_the_sample_covariance():
    found = ewma_covariance(RETURNS, halflife=1e12)
    assert found == pytest.approx(np.cov(RETURNS, rowvar=False), rel=1e-6)


def test_ewma_is_pandas():
    frame = pd.DataFrame(RETURNS)
    peer = frame.ewm(halflife=20).cov().iloc[-6:].to_numpy()
    assert ewma_covariance(RETURNS, halflife=20) == pytest.approx(peer, rel=1e-9)


def test_estimators_by_name():
    assert covariance(RETURNS) == pytest.approx(np.cov(RETURNS, rowvar=False))
    with pytest.raises(ValueError, match="sample, ledoit_wolf, ewma"):
        covariance(RETURNS, "magic")
    with pytest.raises(InsufficientDataError):
        covariance(RETURNS[:1])


def test_the_sample_covariance_by_hand():
    """Returns (1, 2), (3, 2), (2, 5): deviations (−1, −1), (1, −1), (0, 2), divided by 2."""
    found = covariance(np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 5.0]]))
    assert found == pytest.approx(np.array([[1.0, 0.0], [0.0, 3.0]]))


def test_a_half_life_by_hand():
    """Weights ⅓ and ⅔ of 0 and 3: mean 2, Σ w (x − 2)² = 2, over 1 − 5/9."""
    found = ewma_covariance(np.array([[0.0], [3.0]]), halflife=1)
    assert found == pytest.approx(np.array([[4.5]]))


@pytest.mark.parametrize("halflife", [0.0, -1.0, 1e-9, 0.018])
def test_a_half_life_leaves_more_than_one_observation(halflife):
    """Of 0.018 bars the second newest weighs 2⁻⁵⁵, which is lost beside 1."""
    with pytest.raises(ValueError, match="halflife"):
        ewma_covariance(RETURNS, halflife)


@pytest.mark.parametrize("estimator", ["sample", "ledoit_wolf", "ewma"])
@given(n=st.integers(1, 8), t=st.integers(2, 40), seed=st.integers(0, 2**31))
def test_estimates_are_symmetric_psd_and_scale_with_the_unit(estimator, n, t, seed):
    """More assets than returns too, and returns from 1e-6 to 1e3."""
    returns = np.random.default_rng(seed).normal(0, 0.01, (t, n))
    found = covariance(returns, estimator, halflife=10)
    assert found.shape == (n, n)
    assert found == pytest.approx(found.T, abs=1e-18)
    assert np.linalg.eigvalsh(found)[0] >= -1e-12 * np.trace(found)
    for unit in (1e-6, 1e3):
        scaled = covariance(returns * unit, estimator, halflife=10)
        assert scaled == pytest.approx(found * unit**2, rel=1e-6, abs=1e-12 * unit**2)


@pytest.mark.parametrize("estimator", ["sample", "ledoit_wolf", "ewma"])
def test_an_asset_that_does_not_move_has_no_variance(estimator):
    """Shrinkage moves it towards the others' variance; the other two leave it at 0."""
    flat = np.column_stack([RETURNS[:, 0], np.zeros(300)])
    found = covariance(flat, estimator)
    assert (found[1, 1] > 0) == (estimator == "ledoit_wolf")
    assert found[0, 1] == pytest.approx(0.0, abs=1e-18)


def test_returns_that_do_not_move_at_all():
    assert ledoit_wolf(np.zeros((5, 2))).tolist() == [[0, 0], [0, 0]]


def test_equal_variances_without_correlation_are_shrunk_all_the_way():
    """The target is the truth; four observations are far from it."""
    returns = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    found = ledoit_wolf(returns)
    assert found == pytest.approx(np.eye(2) * 4 / 3)


def test_correlation_and_shares_of_risk_of_a_covariance_by_hand():
    matrix = np.array([[0.04, 0.03, 0.0], [0.03, 0.09, 0.0], [0.0, 0.0, 0.0]])
    expected = [[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert correlation_of(matrix) == pytest.approx(np.array(expected))
    # w'Σw = 0.25 · (0.04 + 0.06 + 0.09)
    shares = risk_contributions(np.array([0.5, 0.5, 0.0]), matrix)
    assert shares == pytest.approx([0.07 / 0.19, 0.12 / 0.19, 0.0])
