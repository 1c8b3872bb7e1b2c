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
    """Three of variance 0.04, 0.03, 0.02: α = (0.09 − 0.08)/(T·Σ(μ − 0.06)²), that is 0.0026·T."""
    means = np.array([0.10, 0.05, 0.03])
    found = james_stein(means, np.diag([0.04, 0.03, 0.02]), 10.0)
    assert found.target == pytest.approx(0.06)
    assert found.intensity == pytest.approx(0.01 / 0.026)
    assert found.means == pytest.approx(means + 0.01 / 0.026 * (0.06 - means))


def test_james_stein_is_kept_between_nothing_and_all():
    """Where one factor carries most of the variance the formula alone would drive means apart."""
    means = np.array([0.10, 0.05, 0.03])
    apart = james_stein(means, np.diag([0.4, 0.03, 0.02]), 10.0)
    assert (apart.intensity, apart.means.tolist()) == (0.0, means.tolist())
    whole = james_stein(means, np.diag([0.04, 0.03, 0.02]), 0.1)
    assert whole.intensity == 1.0
    assert whole.means == pytest.approx([0.06] * 3)


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
def test_they_are_what_skfolio_computes(seed):
    returns = sample(seed)
    means, covariance = returns.mean(axis=0), np.cov(returns, rowvar=False)
    frame = pd.DataFrame(returns)

    def peer(method, weighted):
        return ShrunkMu(
            covariance_estimator=EmpiricalCovariance(),
            vol_weighted_target=weighted,
            method=method,
        ).fit(frame)

    jorion = bayes_stein(means, covariance, len(returns))
    assert jorion.means == pytest.approx(peer(ShrunkMuMethods.BAYES_STEIN, True).mu_, rel=1e-8)
    stein, other = (
        james_stein(means, covariance, len(returns)),
        peer(ShrunkMuMethods.JAMES_STEIN, False),
    )
    if 0 <= other.beta_ <= 1:  # it does not keep the positive part
        assert stein.means == pytest.approx(other.mu_, rel=1e-8)
    else:
        assert stein.intensity == np.clip(other.beta_, 0, 1)


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
    assert 0 <= james_stein(MEANS, covariance, 5.0).intensity <= 1


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
