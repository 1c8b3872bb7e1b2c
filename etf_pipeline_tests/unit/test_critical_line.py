"""The exact frontier: its corners by hand, by the conditions of Kuhn & Tucker, and by a peer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypfopt.cla import CLA

from etf_pipeline.portfolio import stated
from etf_pipeline.portfolio.solvers.critical_line import corner_portfolios, means_with_order
from etf_pipeline_tests.portfolios_support import boxes, invested, stationary, two

CAREFUL = pytest.mark.parametrize("careful", [False, True], ids=["fast", "careful"])


@CAREFUL
def test_two_assets_by_hand(careful):
    """0.09 x − 0.01 (1 − x) = 0.1 λ, so x = 0.1 + λ: all in the second asset at λ = 0.9."""
    corners = corner_portfolios(two(), careful)
    assert corners.multipliers == pytest.approx([0.9, 0.0], abs=1e-7)
    assert corners.weights == pytest.approx(np.array([[0, 1], [0.9, 0.1]]), abs=1e-7)


@CAREFUL
def test_bounds_make_corners(careful):
    """With x of 0.2 to 0.7: x = 0.1 + λ leaves its upper bound at λ = 0.6, its lower at 0.1."""
    corners = corner_portfolios(two(lower=[0, 0.2], upper=[1, 0.7]), careful)
    assert corners.multipliers == pytest.approx([0.6, 0.1, 0.0], abs=1e-7)
    assert corners.weights[:, 1] == pytest.approx([0.7, 0.2, 0.2], abs=1e-7)


@CAREFUL
def test_one_asset_is_one_portfolio(careful):
    corners = corner_portfolios(stated([0.1], [[0.04]], ("a",)), careful)
    assert np.unique(corners.weights).tolist() == [1.0]
    assert corners.multipliers[-1] == 0.0


@CAREFUL
def test_bounds_that_allow_one_portfolio_alone(careful):
    corners = corner_portfolios(two(lower=[0.25, 0.75], upper=[0.25, 0.75]), careful)
    assert corners.weights == pytest.approx(np.array([[0.25, 0.75]] * len(corners.weights)))


@CAREFUL
@given(boxes())
def test_every_corner_and_every_point_between_two_is_optimal(careful, problem):
    corners = corner_portfolios(problem, careful)
    multipliers, weights = corners.multipliers, corners.weights
    assert multipliers[-1] == 0.0
    assert np.all(np.diff(multipliers) <= 0)
    for multiplier, corner in zip(multipliers, weights, strict=True):
        assert invested(problem, corner)
        assert stationary(problem, corner, multiplier)
    for k in range(len(weights) - 1):
        middle = (weights[k] + weights[k + 1]) / 2
        assert stationary(problem, middle, (multipliers[k] + multipliers[k + 1]) / 2)


@CAREFUL
@given(boxes())
def test_the_first_corner_has_the_greatest_return_there_is(careful, problem):
    """Filling the best assets first, written down independently."""
    left = 1.0 - problem.lower.sum()
    best = float(problem.lower @ problem.means)
    for i in np.argsort(-problem.means):
        step = min(problem.upper[i] - problem.lower[i], left)
        best += step * problem.means[i]
        left -= step
    first = corner_portfolios(problem, careful).weights[0]
    size = float(np.abs(problem.means).max())
    assert float(first @ problem.means) == pytest.approx(best, abs=1e-8 * size)


@CAREFUL
@given(st.integers(2, 9), st.integers(0, 2**31))
def test_the_turning_points_of_pyportfolioopt_are_corners(careful, n, seed):
    """After Bailey & López de Prado (2013). It purges some of its own, so not the reverse."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.01, (4 * n + 10, n)) * rng.uniform(0.5, 2, n)
    means, covariance = rng.normal(0.05, 0.05, n), np.cov(returns, rowvar=False) * 252
    theirs = CLA(means, covariance)
    theirs.min_volatility()
    points = np.array(theirs.w).reshape(-1, n)
    assert len(points) >= 2
    ours = corner_portfolios(stated(means, covariance, tuple("abcdefghi"[:n])), careful).weights
    distances = np.abs(points[:, None, :] - ours[None, :, :]).max(axis=2)
    assert distances.min(axis=1) == pytest.approx(0, abs=1e-6)


@CAREFUL
def test_equal_means_are_ordered_by_name_whatever_the_order_of_the_request(careful):
    covariance = np.diag([0.04, 0.01, 0.0225])
    one = corner_portfolios(stated([0.1] * 3, covariance, ("a", "b", "c")), careful)
    order = [2, 0, 1]
    turned = stated([0.1] * 3, covariance[np.ix_(order, order)], ("c", "a", "b"))
    two_ = corner_portfolios(turned, careful)
    assert two_.weights == pytest.approx(one.weights[:, order], abs=1e-9)
    # inverse variances 25, 100 and 44.44
    inverse = 1 / np.diag(covariance)
    assert one.weights[-1] == pytest.approx(inverse / inverse.sum(), abs=1e-6)


def test_the_order_of_names_is_a_billionth_of_the_spread():
    problem = stated([0.3, 0.1, 0.1], np.eye(3), ("z", "b", "a"))
    ordered = means_with_order(problem)
    assert ordered == pytest.approx(problem.means, abs=0.2e-9)
    assert ordered[2] > ordered[1]


@CAREFUL
def test_a_singular_covariance_has_a_unique_answer(careful):
    """The same asset twice: as one asset, however the two share."""
    returns = np.random.default_rng(3).normal(0, 0.01, (60, 3))
    covariance = np.cov(returns, rowvar=False)
    twice = np.array([0, 0, 1, 2])
    problem = stated([0.2, 0.2, 0.1, 0.3], covariance[np.ix_(twice, twice)], tuple("abcd"))
    corners = corner_portfolios(problem, careful)
    inverse = np.linalg.inv(covariance).sum(axis=1)
    expected = inverse / inverse.sum()
    assert (expected > 0).all()  # the long-only limits do not bind at least variance
    last = corners.weights[-1]
    assert [last[0] + last[1], last[2], last[3]] == pytest.approx(expected, abs=1e-5)


def test_assets_that_are_too_many_for_the_tableau():
    """210 uncorrelated assets: weights of least variance in proportion to 1/σ²."""
    n = 210
    variances = np.linspace(0.01, 0.09, n)
    names = tuple(f"T{i:03d}" for i in range(n))
    corners = corner_portfolios(stated(np.linspace(0.1, 0.2, n), np.diag(variances), names))
    inverse = 1 / variances
    assert corners.weights[-1] == pytest.approx(inverse / inverse.sum(), abs=1e-9)
    assert corners.weights[0].argmax() == n - 1
