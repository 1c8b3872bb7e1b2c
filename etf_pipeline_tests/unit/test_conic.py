"""The cone programs: by hand in any unit, with limits, and None where nothing is allowed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, Problem, conic
from etf_pipeline_tests.portfolios_support import TWO, TWO_MEANS, boxes, invested, stationary, two

UNITS = pytest.mark.parametrize("unit", [1e-6, 1.0, 1e3])


def in_unit(unit, **changes):
    return Problem(TWO_MEANS * unit, TWO * unit**2, ("a", "b"), **changes)


@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 2**31))
def test_a_factor_gives_the_covariance_back(n, rank, seed):
    half = np.random.default_rng(seed).normal(size=(min(rank, n), n))
    covariance = half.T @ half
    found = conic.factor(covariance)
    assert found.T @ found == pytest.approx(covariance, abs=1e-9)


@UNITS
def test_least_variance_is_inverse_variance(unit):
    assert conic.min_variance(in_unit(unit)) == pytest.approx([0.9, 0.1], abs=1e-7)


@UNITS
def test_a_floor_on_the_return_binds(unit):
    """0.1 (1 − x) + 0.2 x = 0.15 at x = 0.5."""
    assert conic.min_variance(in_unit(unit), 0.15 * unit) == pytest.approx([0.5, 0.5], abs=1e-7)


@pytest.mark.parametrize(("aversion", "second"), [(4.0, 0.35), (2.0, 0.6), (1.0, 1.0)])
def test_greatest_utility(aversion, second):
    """x = 0.1 + 1/aversion, at most 1."""
    assert conic.max_utility(two(), aversion) == pytest.approx([1 - second, second], abs=1e-7)


@UNITS
@pytest.mark.parametrize("solve", [conic.max_return, conic.max_return_by_bisection])
def test_a_budget_is_spent(solve, unit):
    """0.1 x² − 0.02 x + 0.01 = 0.15², the larger root."""
    second = (0.02 + np.sqrt(0.0004 + 4 * 0.1 * 0.0125)) / 0.2
    found = solve(in_unit(unit), 0.15 * unit)
    assert found == pytest.approx([1 - second, second], abs=1e-6)


@UNITS
def test_best_sharpe(unit):
    """Σ⁻¹(μ − rf) = (8, 2), normalised."""
    found = conic.max_sharpe(in_unit(unit, risk_free_rate=0.02 * unit))
    assert found == pytest.approx([0.8, 0.2], abs=1e-7)


def test_one_asset_takes_all():
    one = Problem([0.1], [[0.04]], ("a",))
    assert conic.min_variance(one) == pytest.approx([1.0])
    assert conic.max_return(one, 0.5) == pytest.approx([1.0])
    assert conic.max_sharpe(one) == pytest.approx([1.0])


def test_limits_are_kept():
    """At most 0.3 in the second asset, and the utility wants 0.6 there."""
    group = (GroupLimit("g", ("b",), 0.0, 0.3),)
    assert conic.max_utility(two(groups=group), 2.0) == pytest.approx([0.7, 0.3], abs=1e-7)
    best = conic.max_sharpe(two(groups=(GroupLimit("g", ("b",), 0.4, 1.0),), risk_free_rate=0.02))
    assert best == pytest.approx([0.6, 0.4], abs=1e-7)


def test_costs_hold_a_trade_back():
    """From (1, 0), a unit of x costs 2 · 0.01: x = 0.1 + (0.1 − 0.02)/(0.1 · 2)."""
    problem = two(holdings=[1.0, 0.0], cost_rate=0.01)
    assert conic.max_utility(problem, 2.0) == pytest.approx([0.5, 0.5], abs=1e-7)


def test_nothing_allowed_is_none():
    clash = two(groups=(GroupLimit("x", ("a", "b"), 0.0, 0.5),))
    assert conic.min_variance(clash) is None
    assert conic.max_utility(clash, 1.0) is None
    assert conic.max_return(clash, 1.0) is None
    assert conic.max_return_by_bisection(clash, 1.0) is None


def test_a_budget_or_a_floor_out_of_reach_is_none():
    """The least volatility of the two is 0.0949, the greatest return 0.2."""
    assert conic.max_return(two(), 0.09) is None
    assert conic.min_variance(two(), 0.21) is None
    assert conic.max_return_by_bisection(two(), 0.09) is None


@given(boxes(), st.floats(0.1, 50))
def test_utility_is_greatest_by_the_conditions_of_kuhn_and_tucker(problem, aversion):
    aversion *= float(np.ptp(problem.means) or 1) / float(np.mean(np.diag(problem.covariance)))
    found = conic.max_utility(problem, aversion)
    settled = np.clip(found, problem.lower, problem.upper)
    for bound in (problem.lower, problem.upper):
        settled = np.where(np.abs(settled - bound) < 1e-7, bound, settled)
    inside = (settled > problem.lower) & (settled < problem.upper)
    settled = settled + inside * (1 - settled.sum()) / max(int(inside.sum()), 1)
    assert invested(problem, settled)
    assert stationary(problem, settled, 1 / aversion, tolerance=1e-5)
