"""From a solver's weights to an answer: rounding removed, figures by hand, success by proof."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, Problem
from etf_pipeline.portfolio.answer import (
    cvar_unit,
    judged,
    leader,
    return_unit,
    risk_unit,
    settled,
    under,
    volatility,
)
from etf_pipeline_tests.portfolios_support import boxes, two


def test_dust_goes_to_the_bound_and_the_sum_is_made_1():
    problem = Problem([0.1, 0.2, 0.3], np.eye(3), ("a", "b", "c"), upper=[1, 1, 0.5])
    found = settled(problem, np.array([1e-9, 0.5 - 3e-7, 0.5 - 1e-9]))
    assert found == pytest.approx([0.0, 0.5, 0.5], abs=1e-15)
    assert (found[0], found[2]) == (0.0, 0.5)


def test_weights_outside_their_bounds_are_brought_back():
    found = settled(two(), np.array([-1e-12, 1.0 + 1e-12]))
    assert found.tolist() == [0.0, 1.0]


def test_without_an_asset_between_its_bounds_the_rest_goes_where_there_is_room():
    problem = two(upper=[0.5, 0.7])
    assert settled(problem, np.array([0.0, 0.7])) == pytest.approx([0.3, 0.7])
    full = two(lower=[0.2, 0.3])
    assert settled(full, np.array([0.2, 1.0])) == pytest.approx([0.2, 0.8])


def test_with_groups_only_a_thousandth_of_the_dust_is_removed():
    """A weight of 1e-9 may be what a group limit asks for."""
    group = (GroupLimit("g", ("a",), 0.0, 0.9),)
    assert settled(two(groups=group), np.array([1e-9, 1 - 1e-9]))[0] == pytest.approx(1e-9)
    assert settled(two(), np.array([1e-9, 1 - 1e-9]))[0] == 0.0


@given(boxes(), st.integers(0, 2**31))
def test_settled_weights_are_allowed_and_near(problem, seed):
    """Allowed weights, disturbed by less than a solver disturbs them."""
    n = len(problem.names)
    room = problem.upper - problem.lower
    share = (1 - problem.lower.sum()) / room.sum() if room.sum() else 0.0
    weights = problem.lower + share * room
    noisy = weights + np.random.default_rng(seed).uniform(-1e-7, 1e-7, n)
    found = settled(problem, noisy)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.all(found >= problem.lower)
    assert np.all(found <= problem.upper)
    assert found == pytest.approx(weights, abs=1e-6)


def test_figures_by_hand():
    """Half each: √(0.25 · 0.01 + 0.25 · 0.09) = √0.025, 0.15, and 0.13 of excess."""
    answer = judged(two(risk_free_rate=0.02), np.array([0.5, 0.5]), 0.0, 1.0, True)
    assert answer.success
    assert answer.message == "optimal"
    assert answer.volatility == pytest.approx(math.sqrt(0.025))
    assert answer.expected_return == pytest.approx(0.15)
    assert answer.sharpe_ratio == pytest.approx(0.13 / math.sqrt(0.025))
    assert answer.risk_budget_binding is True
    assert answer.cvar is None


@pytest.mark.parametrize(("gap", "unit", "proven"), [(1e-6, 1, 1), (1.1e-6, 1, 0), (1e-6, 0.5, 0)])
def test_a_gap_counts_relative_to_its_unit(gap, unit, proven):
    answer = judged(two(), np.array([0.5, 0.5]), gap, unit)
    assert answer.success is bool(proven)
    assert answer.optimality_gap == gap
    assert ("not proven optimal" in answer.message) is not bool(proven)


def test_weights_that_are_not_allowed_never_succeed():
    answer = judged(two(upper=[0.4, 1.0]), np.array([0.5, 0.5]), 0.0, 1.0)
    assert not answer.success


def test_a_gap_below_zero_is_rounding():
    assert judged(two(), np.array([0.5, 0.5]), -1e-17, 1.0).optimality_gap == 0.0


def test_without_risk_there_is_no_sharpe_ratio():
    problem = Problem([0.1], [[0.0]], ("a",))
    answer = judged(problem, np.array([1.0]), 0.0, 1.0)
    assert answer.volatility == 0.0
    assert answer.sharpe_ratio is None


def test_a_variance_below_zero_by_rounding_is_none():
    """A perfect hedge, less half of the rounding that a problem allows."""
    hedge = np.array([[1.0, -1.0], [-1.0, 1.0]]) - 5e-11 * np.eye(2)
    half = np.array([0.5, 0.5])
    assert float(half @ hedge @ half) < 0
    assert volatility(Problem([0.1, 0.1], hedge, ("a", "b")), half) == 0.0


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e3])
def test_units_scale_with_the_problem(unit):
    problem = Problem([0.1 * unit, 0.2 * unit], np.diag([0.01, 0.09]) * unit**2, ("a", "b"))
    assert return_unit(problem) == pytest.approx(0.1 * unit)
    assert risk_unit(problem) == pytest.approx(math.sqrt(0.05) * unit)


def test_units_where_nothing_varies():
    """Equal means: their size; no mean and no variance: 1."""
    assert return_unit(Problem([0.1, 0.1], np.eye(2), ("a", "b"))) == pytest.approx(0.1)
    nothing = Problem([0.0, 0.0], np.zeros((2, 2)), ("a", "b"))
    assert return_unit(nothing) == risk_unit(nothing) == cvar_unit(nothing) == 1.0


def test_the_unit_of_cvar_is_the_size_of_the_scenarios():
    scenarios = np.array([[0.01, -0.01], [-0.01, 0.01]])
    assert cvar_unit(two("min_cvar", scenarios=scenarios)) == pytest.approx(0.01)


def test_words_for_messages():
    problem = two(upper=[1.0, 0.4])
    weights = np.array([0.6, 0.4])
    assert under(problem, weights) == " under these limits: b at most 0.4"
    assert under(two(), weights) == " under these bounds"
    assert leader(problem, weights) == "a at 60%"
