"""The cone programs: by hand in any unit, with limits, and None where nothing is allowed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, stated
from etf_pipeline.portfolio.certificate import rows_of
from etf_pipeline.portfolio.functions import Measure
from etf_pipeline.portfolio.goals import BestRatio, LeastNorm, Utility, goal_of
from etf_pipeline.portfolio.program import Program
from etf_pipeline.portfolio.solvers import conic
from etf_pipeline_tests.portfolios_support import TWO, TWO_MEANS, boxes, invested, stationary, two

UNITS = pytest.mark.parametrize("unit", [1e-6, 1.0, 1e3])


def in_unit(unit, objective="min_volatility", **changes):
    return stated(TWO_MEANS * unit, TWO * unit**2, ("a", "b"), objective, **changes)


def solution(problem):
    """Weights and multipliers of the program that the problem makes."""
    goal, rows = goal_of(problem), rows_of(problem)
    nothing = Measure(np.zeros(len(problem.names)))
    if isinstance(goal, BestRatio):
        program = Program.over(problem, goal.measure, rows, goal.norm)
        return conic.best_ratio(program, goal.measure, goal.norm)
    if isinstance(goal, LeastNorm):
        return conic.solve(Program.over(problem, nothing, rows, goal.norm, rooted=True))
    if isinstance(goal, Utility):
        program = Program.over(problem, goal.measure, rows, goal.norm, goal.aversion)
        return conic.solve(program)
    return conic.solve(Program.over(problem, goal.measure, rows))


def weights_of(problem):
    return solution(problem)[0]


@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 2**31))
def test_a_factor_gives_the_covariance_back(n, rank, seed):
    half = np.random.default_rng(seed).normal(size=(min(rank, n), n))
    covariance = half.T @ half
    found = conic.factor(covariance)
    assert found.T @ found == pytest.approx(covariance, abs=1e-9)


@UNITS
def test_least_variance_is_inverse_variance(unit):
    assert weights_of(in_unit(unit)) == pytest.approx([0.9, 0.1], abs=1e-7)


@UNITS
def test_a_floor_on_the_return_binds(unit):
    """0.1 (1 − x) + 0.2 x = 0.15 at x = 0.5, where dσ/dμ = 0.04/(0.1 σ), σ² = 0.025."""
    weights, duals = solution(in_unit(unit, "target_return", target_return=0.15 * unit))
    assert weights == pytest.approx([0.5, 0.5], abs=1e-7)
    assert duals.rows == pytest.approx([0.4 / 0.025**0.5], rel=1e-5)


@pytest.mark.parametrize(("aversion", "second"), [(4.0, 0.35), (2.0, 0.6), (1.0, 1.0)])
def test_greatest_utility(aversion, second):
    """x = 0.1 + 1/aversion, at most 1."""
    found = weights_of(two("max_utility", risk_aversion=aversion))
    assert found == pytest.approx([1 - second, second], abs=1e-7)


@UNITS
def test_a_budget_is_spent(unit):
    """0.1 x² − 0.02 x + 0.01 = 0.15², the larger root; dμ/dσ = 0.1 · 0.15 / (0.1 x − 0.01)."""
    second = (0.02 + np.sqrt(0.0004 + 4 * 0.1 * 0.0125)) / 0.2
    weights, duals = solution(in_unit(unit, "max_return", risk_budget=0.15 * unit))
    assert weights == pytest.approx([1 - second, second], abs=1e-6)
    assert duals.rows == pytest.approx([0.015 / (0.1 * second - 0.01)], rel=1e-5)


@UNITS
def test_best_sharpe(unit):
    """Σ⁻¹(μ − rf) = (8, 2), normalised."""
    found = weights_of(in_unit(unit, "max_sharpe", risk_free_rate=0.02 * unit))
    assert found == pytest.approx([0.8, 0.2], abs=1e-7)


@UNITS
def test_a_tracking_error_ceiling_is_spent(unit):
    """From (0.5, 0.5) to x more of the second: x √(0.01 + 0.09) = 0.1 at x = 0.1/√0.1."""
    problem = in_unit(unit, "max_return", benchmark=[0.5, 0.5], max_tracking_error=0.1 * unit)
    x = 0.1 / 0.1**0.5
    assert weights_of(problem) == pytest.approx([0.5 - x, 0.5 + x], abs=1e-6)


def test_one_asset_takes_all():
    for objective, limits in {
        "min_volatility": {},
        "max_return": {"risk_budget": 0.5},
        "max_sharpe": {},
    }.items():
        one = stated([0.1], [[0.04]], ("a",), objective, **limits)
        assert weights_of(one) == pytest.approx([1.0]), objective


def test_limits_are_kept():
    """At most 0.3 in the second asset, and the utility wants 0.6 there."""
    group = (GroupLimit("g", ("b",), 0.0, 0.3),)
    found = weights_of(two("max_utility", risk_aversion=2.0, groups=group))
    assert found == pytest.approx([0.7, 0.3], abs=1e-7)
    group = (GroupLimit("g", ("b",), 0.4, 1.0),)
    best = weights_of(two("max_sharpe", groups=group, risk_free_rate=0.02))
    assert best == pytest.approx([0.6, 0.4], abs=1e-7)


def test_costs_hold_a_trade_back():
    """From (1, 0), a unit of x costs 2 · 0.01: x = 0.1 + (0.1 − 0.02)/(0.1 · 2)."""
    problem = two("max_utility", risk_aversion=2.0, holdings=[1.0, 0.0], cost_rate=0.01)
    assert weights_of(problem) == pytest.approx([0.5, 0.5], abs=1e-7)


def test_costs_hold_the_best_ratio_back():
    """Gains on the first, net of what moving to it costs: Σ⁻¹(μ − rf − (0, 0.04)) = (8, 1.5556).

    From (1, 0) a unit in the second costs 2 · 0.02, whatever its sign would be.
    """
    problem = two("max_sharpe", risk_free_rate=0.02, holdings=[1.0, 0.0], cost_rate=0.02)
    inverse = np.array([0.08 / 0.01, (0.18 - 0.04) / 0.09])
    assert weights_of(problem) == pytest.approx(inverse / inverse.sum(), abs=1e-6)


def test_nothing_allowed_is_none():
    clash = {"groups": (GroupLimit("x", ("a", "b"), 0.0, 0.5),)}
    assert solution(two(**clash)) is None
    assert solution(two("max_utility", risk_aversion=1.0, **clash)) is None
    assert solution(two("max_return", risk_budget=1.0, **clash)) is None
    assert solution(two("max_sharpe", **clash)) is None


def test_a_budget_or_a_floor_out_of_reach_is_none():
    """The least volatility of the two is 0.0949, the greatest return 0.2."""
    assert solution(two("max_return", risk_budget=0.09)) is None
    assert solution(two("target_return", target_return=0.21)) is None


@given(boxes(), st.floats(0.1, 50))
def test_utility_is_greatest_by_the_conditions_of_kuhn_and_tucker(problem, aversion):
    aversion *= float(np.ptp(problem.means) or 1) / float(np.mean(np.diag(problem.covariance)))
    found = weights_of(problem.changed(objective="max_utility", risk_aversion=aversion))
    settled = np.clip(found, problem.lower, problem.upper)
    for bound in (problem.lower, problem.upper):
        settled = np.where(np.abs(settled - bound) < 1e-7, bound, settled)
    inside = (settled > problem.lower) & (settled < problem.upper)
    settled = settled + inside * (1 - settled.sum()) / max(int(inside.sum()), 1)
    assert invested(problem, settled)
    assert stationary(problem, settled, 1 / aversion, tolerance=1e-5)
