"""From a solver's weights to an answer: rounding removed, figures by hand, success by proof."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio import GroupLimit, stated
from etf_pipeline.portfolio.answer import judged, settled
from etf_pipeline_tests.portfolios_support import boxes, two


def test_dust_goes_to_the_bound_and_the_sum_is_made_1():
    problem = stated([0.1, 0.2, 0.3], np.eye(3), ("a", "b", "c"), upper=[1, 1, 0.5])
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
    answer = judged(two(risk_free_rate=0.02), np.array([0.5, 0.5]), 0.0, 1.0)
    assert answer.success
    assert answer.message == "optimal"
    assert answer.volatility == pytest.approx(math.sqrt(0.025))
    assert answer.expected_return == pytest.approx(0.15)
    assert answer.sharpe_ratio == pytest.approx(0.13 / math.sqrt(0.025))
    assert answer.risk_budget_binding is None  # there is none
    assert answer.cvar is None
    assert answer.tracking_error is None


@pytest.mark.parametrize(("gap", "unit", "proven"), [(1e-6, 1, 1), (1.1e-6, 1, 0), (1e-6, 0.5, 0)])
def test_a_gap_counts_relative_to_its_unit(gap, unit, proven):
    answer = judged(two(), np.array([0.5, 0.5]), gap, unit)
    assert answer.success is bool(proven)
    assert answer.optimality_gap == gap
    assert ("not proven optimal" in answer.message) is not bool(proven)


def test_weights_that_are_not_allowed_never_succeed():
    answer = judged(two(upper=[0.4, 1.0]), np.array([0.5, 0.5]), 0.0, 1.0)
    assert not answer.success
    assert answer.code is ReasonCode.UNPROVEN
    assert "a at 0.5 is not within its bounds" in answer.message


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"risk_budget": 0.15}, "risk budget is not met"),
        ({"benchmark": [1.0, 0.0], "max_tracking_error": 0.15}, "tracking-error ceiling is"),
        ({"groups": (GroupLimit("g", ("b",), 0.0, 0.4),)}, "g is not met"),
        ({"holdings": [1.0, 0.0], "max_turnover": 0.4}, "turnover is not met"),
        ({"benchmark": [1.0, 0.0], "beta": (0.0, 0.4)}, "beta is not met"),
    ],
)
def test_a_limit_that_is_broken_never_succeeds_and_is_named(limits, words):
    """Half each: a volatility and a tracking error of 0.158, a beta of 0.5, and half moved."""
    answer = judged(two("max_return", **limits), np.array([0.5, 0.5]), 0.0, 1.0)
    assert not answer.success
    assert words in answer.message


def test_a_budget_binds_where_it_is_spent():
    half = np.array([0.5, 0.5])
    risk = math.sqrt(0.025)
    spent = judged(two("max_return", risk_budget=risk), half, 0.0, 1.0)
    assert (spent.success, spent.risk_budget_binding) == (True, True)
    spare = judged(two("max_return", risk_budget=risk * 1.01), half, 0.0, 1.0)
    assert (spare.success, spare.risk_budget_binding) == (True, False)
    assert spare.message == "optimal; the risk budget does not bind"


def test_cvar_and_tracking_error_are_told_where_they_are_asked_about():
    scenarios = np.array([[-0.04, 0.0], [0.0, -0.04], [0.01, 0.01], [0.02, 0.03]])
    problem = two("min_cvar", scenarios=scenarios, cvar_level=0.75, benchmark=[1.0, 0.0])
    answer = judged(problem, np.array([0.5, 0.5]), 0.0, 1.0)
    assert answer.cvar == pytest.approx(0.02)
    assert answer.tracking_error == pytest.approx(math.sqrt(0.025))


def test_a_gap_that_is_not_a_number_proves_nothing():
    for gap in (math.nan, math.inf):
        answer = judged(two(), np.array([0.5, 0.5]), gap, 1.0)
        assert (answer.success, answer.optimality_gap) == (False, None)
        assert answer.code is ReasonCode.UNPROVEN


def test_with_a_range_of_the_sum_nothing_is_added():
    part = two(net_exposure=(0.0, 1.0))
    assert settled(part, np.array([0.3, 0.2])) == pytest.approx([0.3, 0.2])


def test_active_weights_bound_what_is_settled():
    problem = two(benchmark=[0.5, 0.5], max_active_weight=0.1)
    assert settled(problem, np.array([0.3, 0.7])) == pytest.approx([0.4, 0.6])


def test_a_gap_below_zero_is_rounding():
    assert judged(two(), np.array([0.5, 0.5]), -1e-17, 1.0).optimality_gap == 0.0


def test_without_risk_there_is_no_sharpe_ratio():
    problem = stated([0.1], [[0.0]], ("a",))
    answer = judged(problem, np.array([1.0]), 0.0, 1.0)
    assert answer.volatility == 0.0
    assert answer.sharpe_ratio is None


def test_a_variance_below_zero_by_rounding_is_none():
    """A perfect hedge, less half of the rounding that a problem allows."""
    hedge = np.array([[1.0, -1.0], [-1.0, 1.0]]) - 5e-11 * np.eye(2)
    half = np.array([0.5, 0.5])
    assert float(half @ hedge @ half) < 0
    assert stated([0.1, 0.1], hedge, ("a", "b")).volatility(half) == 0.0
