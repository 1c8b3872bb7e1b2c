"""Portfolios from risk alone: equal shares of it, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.risk_budgets import budgets_among
from etf_pipeline.portfolio import GroupLimit, optimise, stated
from etf_pipeline.portfolio.risk_budgets import risk_budgeting
from etf_pipeline.risk.covariance import risk_contributions

RNG = np.random.default_rng(11)
SCENARIOS = RNG.normal(0.0004, 0.01, (260, 5)) + RNG.normal(0, 0.006, (260, 1))
MEANS, COVARIANCE = SCENARIOS.mean(0) * 252, np.cov(SCENARIOS, rowvar=False) * 252
NAMES = ("A", "B", "C", "D", "E")


def equal_risk_contribution(covariance):
    return risk_budgeting(covariance, np.ones(len(covariance)))[0]


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
def test_bounds_are_kept_exactly_and_proven(objective):
    for upper in (0.5, 0.21):
        answer = ask(objective, upper=upper)
        assert answer.success
        assert answer.weights.max() <= upper
        assert answer.weights.sum() == pytest.approx(1.0, abs=1e-12)


def test_unequal_budgets_are_shares_of_the_risk():
    budgets = [0.1, 0.2, 0.3, 0.15, 0.25]
    answer = ask("risk_parity", risk_budgets=budgets)
    assert answer.success
    assert answer.message == "optimal"
    assert risk_contributions(answer.weights, COVARIANCE) == pytest.approx(budgets, rel=1e-6)


def test_limits_that_keep_the_risk_from_being_shared_are_told():
    """Uncorrelated and alike: with at most a fifth, its share is .04 of .04 + 2 · .16."""
    answer = optimise(
        stated(np.ones(3), np.eye(3), ("a", "b", "c"), "risk_parity", upper=[0.2, 1, 1])
    )
    assert answer.success
    assert answer.weights == pytest.approx([0.2, 0.4, 0.4])
    assert "a carries 11.1% of it, not 33.3%" in answer.message


def test_risk_parity_keeps_groups_and_the_tree_says_why_not():
    """Uncorrelated and alike: a group of two at most 0.3 is halved, and so is the rest."""
    groups = (GroupLimit("one", ("a", "b"), 0.0, 0.3),)
    answer = optimise(
        stated(np.ones(4), np.eye(4), ("a", "b", "c", "d"), "risk_parity", groups=groups)
    )
    assert answer.success
    assert answer.weights == pytest.approx([0.15, 0.15, 0.35, 0.35])
    with pytest.raises(ValueError, match="hrp takes no groups: it splits a tree"):
        stated(np.ones(4), np.eye(4), ("a", "b", "c", "d"), "hrp", groups=groups)


def test_groups_that_cannot_be_met_are_named():
    groups = (
        GroupLimit("one", ("a", "b"), 0.0, 0.3),
        GroupLimit("two", ("c",), 0.0, 0.5),
    )
    answer = optimise(stated(np.ones(3), np.eye(3), ("a", "b", "c"), "risk_parity", groups=groups))
    assert not answer.success
    assert answer.code is ReasonCode.INFEASIBLE
    assert "group" in answer.message


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        ([0.5, 0.2], r"sum to 0\.7, not to 1; divide each by 0\.7"),
        ([1.5, -0.5], "b at -0.5; a share of the risk is 0 to 1"),
        ([0.0, 0.0], "sum to 0, not to 1$"),
        ([np.nan, 1.0], "a at nan"),
    ],
)
def test_what_is_no_share_of_the_risk_is_refused(budgets, words):
    with pytest.raises(ValueError, match=words):
        stated([0.1, 0.1], np.eye(2), ("a", "b"), "risk_parity", risk_budgets=budgets)


def test_shares_rounded_to_two_digits_are_taken_in_proportion():
    answer = optimise(
        stated(np.ones(3), np.eye(3), ("a", "b", "c"), "risk_parity", risk_budgets=[0.33] * 3)
    )
    assert answer.success
    assert answer.weights == pytest.approx(np.full(3, 1 / 3))


def test_shares_of_those_that_are_there_keep_their_proportions():
    budgets = {"a": 0.5, "b": 0.3, "c": 0.2}
    assert budgets_among(budgets, ["a", "b"]) == pytest.approx({"a": 0.625, "b": 0.375})
    assert budgets_among({"a": 1.0, "b": 0.0, "c": 0.0}, ["b", "c"]) == {"b": 0.5, "c": 0.5}
    assert budgets_among(None, ["a"]) is None


def test_a_portfolio_names_the_share_of_each_of_its_tickers():
    for shares, words in (
        ({"a": 0.5, "c": 0.5}, "name c, which is not in tickers"),
        ({"a": 1.0}, "say nothing of b: give each"),
        ({"a": 0.4, "b": 0.4}, "sum to 0.8, not to 1; divide each by 0.8"),
    ):
        with pytest.raises(ValueError, match=words):
            PortfolioSpec(
                name="p", tickers=["a", "b"], objective="risk_parity", risk_budgets=shares
            )


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
