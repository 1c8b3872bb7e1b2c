"""Portfolios from risk alone: equal shares of it, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio import optimise, stated
from etf_pipeline.portfolio.parity import equal_risk_contribution
from etf_pipeline.risk.covariance import risk_contributions

RNG = np.random.default_rng(11)
SCENARIOS = RNG.normal(0.0004, 0.01, (260, 5)) + RNG.normal(0, 0.006, (260, 1))
MEANS, COVARIANCE = SCENARIOS.mean(0) * 252, np.cov(SCENARIOS, rowvar=False) * 252
NAMES = ("A", "B", "C", "D", "E")


def ask(objective="min_volatility", **changes):
    return optimise(stated(MEANS, COVARIANCE, NAMES, objective, **changes))


def test_risk_parity_shares_the_risk_equally():
    answer = ask("risk_parity")
    assert answer.success
    assert risk_contributions(answer.weights, COVARIANCE) == pytest.approx(np.full(5, 0.2))
    # uncorrelated assets: weights in proportion to 1/σ
    two = optimise(stated([0.1, 0.2], np.diag([0.01, 0.09]), ("a", "b"), "risk_parity"))
    assert two.weights == pytest.approx([0.75, 0.25])


def test_hierarchical_risk_parity_of_uncorrelated_assets_is_inverse_variance():
    two = optimise(stated([0.1, 0.2], np.diag([0.01, 0.09]), ("a", "b"), "hrp"))
    assert two.weights == pytest.approx([0.9, 0.1])
    assert ask("hrp").weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("objective", ["risk_parity", "hrp"])
def test_bounds_are_kept_or_the_answer_is_no_success(objective):
    """Nothing is taken silently: weights beyond a bound are never called a success."""
    for upper in (0.5, 0.21):
        answer = ask(objective, upper=upper)
        if answer.success:
            assert answer.weights.max() <= upper + 1e-9
            assert answer.weights.sum() == pytest.approx(1.0)
        else:
            assert answer.message


@pytest.mark.parametrize("objective", ["risk_parity", "hrp"])
def test_risk_alone_takes_no_turnover_and_costs(objective):
    with pytest.raises(ValueError, match=f"{objective} takes no"):
        ask(objective, holdings=np.full(5, 0.2), max_turnover=0.1)


def covariance_of(deviations, correlation):
    deviations = np.asarray(deviations, float)
    return np.outer(deviations, deviations) * np.asarray(correlation, float)


def alike(n, rho):
    """n assets, every pair correlated alike."""
    return np.full((n, n), rho) + (1 - rho) * np.eye(n)


def test_contributions_by_hand():
    """Σw = (0.01 · 0.25, 0.09 · 0.75) for no correlation: 0.000625 and 0.050625 of 0.05125."""
    shares = risk_contributions(np.array([0.25, 0.75]), np.diag([0.01, 0.09]))
    assert shares == pytest.approx([0.000625 / 0.05125, 0.050625 / 0.05125])


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e3])
@pytest.mark.parametrize("rho", [-0.3, 0.0, 0.5, 0.99])
def test_alike_correlations_give_inverse_deviations(rho, unit):
    """Maillard, Roncalli & Teiletche (2010), section 2.2: w_i in proportion to 1/σ_i."""
    deviations = np.array([0.1, 0.2, 0.4]) * unit
    expected = (1 / deviations) / (1 / deviations).sum()
    found = equal_risk_contribution(covariance_of(deviations, alike(3, rho)))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rho", [-0.999, -0.5, 0.7, 1.0])
def test_of_two_the_correlation_does_not_matter(rho):
    found = equal_risk_contribution(covariance_of([0.1, 0.3], alike(2, rho)))
    assert found == pytest.approx([0.75, 0.25], rel=1e-9)


def test_one_asset_takes_all():
    assert equal_risk_contribution(np.array([[0.04]])).tolist() == [1.0]


@given(st.integers(1, 12), st.integers(0, 2**31))
def test_shares_are_equal_and_weights_positive(n, seed):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.01, (3 * n + 5, n)) * rng.uniform(0.1, 5, n)
    covariance = np.atleast_2d(np.cov(returns, rowvar=False))
    found = equal_risk_contribution(covariance)
    assert (found > 0).all()
    assert found.sum() == pytest.approx(1.0)
    assert risk_contributions(found, covariance) == pytest.approx(np.full(n, 1 / n), abs=1e-9)


@pytest.mark.parametrize("covariance", [np.diag([0.0, 1.0]), np.zeros((2, 2))])
def test_an_asset_without_variance_is_refused(covariance):
    with pytest.raises(ValueError, match="without variance"):
        equal_risk_contribution(covariance)
    answer = optimise(stated([0.1, 0.1], covariance, ("a", "b"), "risk_parity"))
    assert not answer.success
    assert "leave out" in answer.message
