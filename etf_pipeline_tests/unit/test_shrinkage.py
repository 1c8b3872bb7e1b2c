"""Shrunk means: the formulas by hand, peers, and what must hold for any numbers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.moments import EmpiricalCovariance, ShrunkMu, ShrunkMuMethods

from etf_pipeline.risk.shrinkage import bayes_stein, james_stein, scaled

# Two uncorrelated tickers of variance 0.04 and 0.01, means 10 % and 4 %, over 5 years.
MEANS, TWO = np.array([0.10, 0.04]), np.diag([0.04, 0.01])


def test_jorion_by_arithmetic():
    """1'Σ⁻¹ = (25, 100), so μ₀ = (2.5 + 4)/125; d = (0.048, −0.012), d'Σ⁻¹d = 0.0576 + 0.0144."""
    found = bayes_stein(MEANS, TWO, 5.0)
    assert found.target == pytest.approx(0.052)
    assert found.intensity == pytest.approx(4 / (4 + 5 * 0.072))
    assert found.means == pytest.approx(MEANS + 4 / 4.36 * (0.052 - MEANS))


def test_james_stein_by_arithmetic():
    """d = (0.04, −0.01, −0.03), so d'Σ⁻¹d = 0.04 + 0.005 + 0.09, and α = (3 − 2)/(10·0.135)."""
    means = np.array([0.10, 0.05, 0.03])
    found = james_stein(means, np.diag([0.04, 0.02, 0.01]), 10.0)
    assert found.target == pytest.approx(0.06)
    assert found.intensity == pytest.approx(1 / 1.35)
    assert found.means == pytest.approx(means + (0.06 - means) / 1.35)
    whole = james_stein(means, np.diag([0.04, 0.02, 0.01]), 1.0)
    assert whole.intensity == 1.0
    assert whole.means == pytest.approx([0.06] * 3)
    assert james_stein(means[:2], np.diag([0.04, 0.02]), 10.0).means.tolist() == [0.10, 0.05]


@pytest.mark.parametrize("shrink", [james_stein, bayes_stein])
def test_means_that_differ_by_chance_alone_are_known_better_shrunk(shrink):
    """What James and Stein proved: the error by Σ⁻¹ is smaller on average. Eight of one market."""
    rng = np.random.default_rng(2)
    truth = np.full(8, 0.06)
    matrix = (np.full((8, 8), 0.7) + 0.3 * np.eye(8)) * 0.0225
    inverse, root = np.linalg.inv(matrix), np.linalg.cholesky(matrix)
    errors = []
    for _ in range(400):
        means = truth + root @ rng.normal(size=8) / np.sqrt(3.0)
        shrunk = shrink(means, matrix, 3.0).means
        errors.append([d @ inverse @ d for d in (means - truth, shrunk - truth)])
    plain, better = np.mean(errors, axis=0)
    assert plain * 3.0 == pytest.approx(8, rel=0.15)  # χ² of 8 degrees of freedom
    assert better < 0.5 * plain


def test_the_scale_of_jorion():
    """(T − 1)/(T − N − 2), so that the inverse of a sample's covariance is right on average."""
    assert scaled(TWO, 60) == pytest.approx(TWO * 59 / 56)
    with pytest.raises(ValueError, match="4 returns of 2 tickers are too few"):
        scaled(TWO, 4)
    rng = np.random.default_rng(1)
    inverses = [
        np.linalg.inv(scaled(np.cov(rng.normal(size=(12, 3)), rowvar=False), 12))
        for _ in range(4000)
    ]
    assert np.mean(inverses, axis=0) == pytest.approx(np.eye(3), abs=0.07)


def sample(seed, most=8):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, most + 1))
    mix = rng.normal(0, 0.3, (n, n)) + np.eye(n)
    return rng.normal(0.0004, 0.01, (int(rng.integers(n + 20, 400)), n)) @ mix


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_jorions_is_what_skfolio_computes(seed):
    returns = sample(seed)
    peer = ShrunkMu(
        covariance_estimator=EmpiricalCovariance(),
        vol_weighted_target=True,
        method=ShrunkMuMethods.BAYES_STEIN,
    ).fit(pd.DataFrame(returns))
    found = bayes_stein(returns.mean(axis=0), np.cov(returns, rowvar=False), len(returns))
    assert found.means == pytest.approx(peer.mu_, rel=1e-8)
    assert found.intensity == pytest.approx(peer.beta_, rel=1e-8)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-8, 1 / 252, 1e4]),
    st.sampled_from([james_stein, bayes_stein]),
)
@settings(deadline=None, max_examples=100)
def test_units_of_time_do_not_matter(seed, unit, shrink):
    """Means and covariances of a period, T of them, or those of a year and its years."""
    returns = sample(seed)
    means, covariance = returns.mean(axis=0), np.cov(returns, rowvar=False)
    one = shrink(means, covariance, len(returns))
    other = shrink(means * unit, covariance * unit, len(returns) / unit)
    assert other.intensity == pytest.approx(one.intensity, rel=1e-9)
    assert other.means == pytest.approx(one.means * unit, rel=1e-8)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-8, 1.0, 1e4]))
@settings(deadline=None, max_examples=60)
def test_money_and_per_cent_do_not_matter_either(seed, unit):
    """Returns times c: means times c, covariance times c²."""
    returns = sample(seed)
    means, covariance = returns.mean(axis=0), np.cov(returns, rowvar=False)
    one = bayes_stein(means, covariance, len(returns))
    other = bayes_stein(means * unit, covariance * unit**2, len(returns))
    assert other.means == pytest.approx(one.means * unit, rel=1e-8)


@pytest.mark.parametrize("shrink", [james_stein, bayes_stein])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_means_that_are_all_the_same_stay(shrink, n):
    means = np.full(n, 0.07)
    assert shrink(means, np.diag(np.full(n, 0.04)), 3.0).means.tolist() == means.tolist()


@pytest.mark.parametrize(
    "covariance",
    [np.diag([0.04, 0.0]), np.full((2, 2), 0.04), np.full((2, 2), 0.04) * 1e-8],
    ids=["one never moves", "twins", "twins in other units"],
)
def test_a_singular_covariance_has_no_least_volatile_portfolio_to_speak_of(covariance):
    with pytest.raises(ValueError, match="singular"):
        bayes_stein(MEANS, covariance, 5.0)
    three = np.pad(covariance, (0, 1))
    three[2, 2] = covariance[0, 0]
    with pytest.raises(ValueError, match="singular"):
        james_stein(np.array([0.1, 0.04, 0.02]), three, 5.0)


def test_many_tickers_of_very_different_risk_are_not_singular():
    """Cash of 0.01 % volatility beside shares of 100 %: the correlations tell, not the sizes."""
    deviations = np.array([1e-4, 0.05, 1.0])
    matrix = np.array([[1, 0.2, 0], [0.2, 1, 0.3], [0, 0.3, 1]]) * np.outer(deviations, deviations)
    means = np.array([0.04, 0.05, 0.3])
    inverse = np.linalg.inv(matrix)
    target = inverse.sum(axis=0) @ means / inverse.sum()
    found = bayes_stein(means, matrix, 3.0)
    assert found.target == pytest.approx(target, rel=1e-9)
    d = means - target
    assert found.intensity == pytest.approx(5 / (5 + 3 * d @ inverse @ d), rel=1e-9)
