"""Single portfolios read off a frontier: by hand, and against a fine grid along it."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from etf_pipeline.portfolio.solvers.critical_line import Corners, corner_portfolios
from etf_pipeline.portfolio.solvers.frontier import (
    at_multiplier,
    at_return,
    at_volatility,
    best_sharpe,
)
from etf_pipeline_tests.portfolios_support import TWO, TWO_MEANS, boxes, stationary

# The frontier of two uncorrelated assets, from all in the second to inverse variances.
LINE = Corners(np.array([[0.0, 1.0], [0.9, 0.1]]), np.array([0.9, 0.0]))
ONE = Corners(np.array([[0.3, 0.7]]), np.array([0.0]))


def vol(weights, covariance):
    return math.sqrt(float(weights @ covariance @ weights))


def along(corners, steps=400):
    """Many portfolios along the frontier."""
    w = corners.weights
    shares = np.linspace(0, 1, steps)[:, None]
    return np.vstack([w[k] + shares * (w[k + 1] - w[k]) for k in range(len(w) - 1)])


@pytest.mark.parametrize(("target", "second"), [(0.15, 0.5), (0.20, 1.0), (0.11, 0.1), (0.18, 0.8)])
def test_at_return(target, second):
    """0.1 (1 − x) + 0.2 x."""
    weights, multiplier = at_return(LINE, TWO_MEANS, target)
    assert weights == pytest.approx([1 - second, second], abs=1e-12)
    assert multiplier == pytest.approx(second - 0.1, abs=1e-12)  # x = 0.1 + λ


@pytest.mark.parametrize(("target", "second"), [(0.05, 0.1), (0.25, 1.0)])
def test_a_return_beyond_an_end_is_that_end(target, second):
    assert at_return(LINE, TWO_MEANS, target)[0] == pytest.approx([1 - second, second])


@pytest.mark.parametrize("second", [0.1, 0.25, 0.467423, 0.8, 1.0])
def test_at_volatility(second):
    """√(0.01 (1 − x)² + 0.09 x²)."""
    budget = math.hypot(0.1 * (1 - second), 0.3 * second)
    found, multiplier = at_volatility(LINE, TWO, budget)
    assert multiplier == pytest.approx(second - 0.1, abs=1e-7)
    # near the least volatility, its square hardly tells one x from another
    assert found == pytest.approx([1 - second, second], abs=1e-7)


@pytest.mark.parametrize(("budget", "second"), [(0.05, 0.1), (0.5, 1.0)])
def test_a_volatility_beyond_an_end_is_that_end(budget, second):
    assert at_volatility(LINE, TWO, budget)[0] == pytest.approx([1 - second, second])


@pytest.mark.parametrize("multiplier", [0.0, 0.25, 0.9, 1.0, 1e9])
def test_at_multiplier(multiplier):
    """x = 0.1 + λ, at most 1."""
    second = min(0.1 + multiplier, 1.0)
    assert at_multiplier(LINE, multiplier) == pytest.approx([1 - second, second], abs=1e-12)


@given(boxes(), st.floats(0.0, 3.0))
def test_what_is_read_off_at_a_multiplier_is_optimal_for_it(problem, share):
    corners = corner_portfolios(problem, careful=True)
    multiplier = share * max(float(corners.multipliers[0]), 1e-300)
    assert stationary(problem, at_multiplier(corners, multiplier), multiplier)


def test_best_sharpe():
    """Σ⁻¹(μ − rf) = (0.08/0.01, 0.18/0.09) = (8, 2), normalised."""
    assert best_sharpe(LINE, TWO_MEANS, TWO, 0.02) == pytest.approx([0.8, 0.2], abs=1e-12)


def test_best_sharpe_at_an_end():
    """With rf = 0.11, Σ⁻¹(μ − rf) = (−1, 1): more than all in the second asset."""
    assert best_sharpe(LINE, TWO_MEANS, TWO, 0.11) == pytest.approx([0.0, 1.0])


def test_a_frontier_of_one_portfolio_is_that_portfolio():
    for found in (
        at_return(ONE, TWO_MEANS, 0.15)[0],
        at_volatility(ONE, TWO, 0.15)[0],
        at_multiplier(ONE, 0.1),
        best_sharpe(ONE, TWO_MEANS, TWO, 0.0),
    ):
        assert found.tolist() == [0.3, 0.7]


def test_a_portfolio_without_risk_has_no_sharpe_ratio_and_is_not_chosen():
    covariance = np.diag([0.0, 0.09])
    corners = Corners(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.0, 0.0]))
    found = best_sharpe(corners, np.array([-0.1, 0.2]), covariance, 0.0)
    assert found == pytest.approx([0.0, 1.0])


@given(boxes(), st.floats(0.01, 0.99))
def test_what_is_read_off_has_what_was_asked_for(problem, share):
    corners = corner_portfolios(problem, careful=True)
    means, covariance = problem.means, problem.covariance
    first, last = corners.weights[0], corners.weights[-1]
    target = share * float(first @ means) + (1 - share) * float(last @ means)
    reached, _ = at_return(corners, means, target)
    size = float(np.abs(means).max())
    assert float(reached @ means) == pytest.approx(target, abs=1e-9 * size)
    top, low = vol(first, covariance), vol(last, covariance)
    budget = share * top + (1 - share) * low
    found, _ = at_volatility(corners, covariance, budget)
    assert vol(found, covariance) == pytest.approx(budget, rel=1e-6)


@given(boxes(), st.floats(-1.0, 1.0))
def test_no_portfolio_along_the_frontier_beats_the_best_sharpe_ratio(problem, rate):
    corners = corner_portfolios(problem, careful=True)
    rate *= float(np.abs(problem.means).max())
    excess = problem.means - rate
    assume(float(corners.weights[0] @ excess) > 0)
    # One portfolio may be two corners; then the optimiser's certificate asks another solver.
    assume(np.all(np.abs(np.diff(corners.weights, axis=0)).max(axis=1) > 1e-9))
    found = best_sharpe(corners, problem.means, problem.covariance, rate)
    best = float(found @ excess) / vol(found, problem.covariance)
    for other in [*corners.weights, *(along(corners) if len(corners.weights) > 1 else [])]:
        assert float(other @ excess) / vol(other, problem.covariance) <= best * (1 + 1e-9)
