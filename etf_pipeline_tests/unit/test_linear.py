"""The linear programs: by hand, against a grid, and the least that limits must give way."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, stated
from etf_pipeline.portfolio.certificate import rows_of
from etf_pipeline.portfolio.functions import Kink, Measure
from etf_pipeline.portfolio.goals import goal_of
from etf_pipeline.portfolio.program import Program
from etf_pipeline.portfolio.solvers import linear
from etf_pipeline_tests import portfolios_support
from etf_pipeline_tests.portfolios_support import GRID, HELD, LIMITED, meets

three = partial(portfolios_support.three, "max_return")
# The worst of four is 0.04 times the greater weight.
FOUR = np.array([[-0.04, 0.0], [0.0, -0.04], [0.01, 0.01], [0.02, 0.03]])
UNITS = pytest.mark.parametrize("unit", [1e-8, 1.0, 1e4])


def small(objective="min_cvar", unit=1.0, **changes):
    """Two assets over four scenarios."""
    values = {"scenarios": FOUR * unit, "cvar_level": 0.75} | changes
    covariance = np.cov(FOUR, rowvar=False) * unit**2
    return stated(np.array([0.1, 0.2]) * unit, covariance, ("a", "b"), objective, **values)


def maximise(problem, gradient):
    """Weights of the greatest gradient'w less costs, and multipliers; None for none."""
    kinks = (Kink(problem.cost_rate, problem.holdings),) if problem.cost_rate else ()
    measure = Measure(-np.asarray(gradient, dtype=float), kinks=kinks)
    return linear.solve(Program.over(problem, measure, rows_of(problem)))


def answer_of(problem):
    return linear.solve(Program.over(problem, goal_of(problem).measure, rows_of(problem)))


@pytest.mark.parametrize("changes", LIMITED.values(), ids=LIMITED.keys())
@given(seed=st.integers(0, 2**31))
def test_nothing_allowed_beats_the_maximum(changes, seed):
    problem = three(**changes)
    gradient = np.random.default_rng(seed).normal(size=3)

    def value(w):
        return float(gradient @ w) - problem.cost_rate * float(np.abs(w - HELD).sum())

    found, _ = maximise(problem, gradient)
    assert meets(changes, found)
    best = max(value(w) for w in [*GRID, HELD] if meets(changes, w))
    assert value(found) >= best - 1e-9


def test_the_maximum_by_hand():
    """At most 0.4 in b and c: 0.4 in c, the best, and the rest in a; 0.3 − 0.1 for one more."""
    problem = three(**LIMITED["a group at most"])
    weights, duals = maximise(problem, problem.means)
    assert weights == pytest.approx([0.6, 0.0, 0.4])
    assert duals.rows == pytest.approx([0.2])


@UNITS
def test_multipliers_are_in_the_units_of_objective_and_limit(unit):
    """One more of turnover moves one from a to c: 0.2 in the unit of returns."""
    problem = three(**LIMITED["turnover"])
    weights, duals = maximise(problem, problem.means * unit)
    assert weights == pytest.approx([0.35, 0.3, 0.35])
    assert duals.rows == pytest.approx([0.2 * unit])


def test_costs_above_the_gain_keep_the_holdings():
    """From a to c gains 0.2 and costs twice the rate."""
    gains = np.array([0.1, 0.2, 0.3])
    assert maximise(three(holdings=HELD, cost_rate=0.11), gains)[0] == pytest.approx(HELD)
    dear, _ = maximise(three(holdings=HELD, cost_rate=0.09), gains)
    assert dear == pytest.approx([0.0, 0.3, 0.7])


def test_no_allowed_weights_is_none():
    groups = (GroupLimit("low", ("a", "b"), 0.0, 0.3), GroupLimit("few", ("c",), 0.0, 0.5))
    problem = three(groups=groups)
    assert maximise(problem, problem.means) is None


def test_further_rows_that_must_be_zero():
    """w_a = w_b: the best is all in c; with the least in c, half each."""
    zero = np.array([[1.0, -1.0, 0.0]])
    problem = three()
    program = Program.over(problem, Measure(np.array([0.0, 0.0, 1.0])), [])
    weights, _ = linear.solve(program, zero, np.array([0.2, 0.2, 0.6]))
    assert weights == pytest.approx([0.5, 0.5, 0.0])


def test_a_range_of_the_sum():
    """What loses is left out, down to the least that must be invested."""
    problem = three(net_exposure=(0.3, 0.9))
    gains, _ = maximise(problem, np.array([-0.1, -0.2, 0.3]))
    assert gains == pytest.approx([0.0, 0.0, 0.9])
    losses, _ = maximise(problem, np.array([-0.1, -0.2, -0.3]))
    assert losses == pytest.approx([0.3, 0.0, 0.0])


def test_gross_exposure_by_hand():
    """130/30: 0.3 short of the worst pays for 0.3 more of the best."""
    problem = three(lower=-1, upper=2, gross_exposure=1.6)
    weights, _ = answer_of(problem)
    assert weights == pytest.approx([-0.3, 0.0, 1.3])


@UNITS
def test_least_cvar_by_hand(unit):
    problem = small(unit=unit)
    weights, duals = answer_of(problem)
    assert weights == pytest.approx([0.5, 0.5], abs=1e-9)
    assert problem.cvar(weights) == pytest.approx(0.02 * unit, rel=1e-9)
    assert duals.tail == pytest.approx([0.5, 0.5, 0, 0], abs=1e-9)


@UNITS
def test_least_cvar_with_a_floor_on_the_return(unit):
    """0.1 (1 − x) + 0.2 x = 0.17 at x = 0.7, where the worst loss is 0.028."""
    problem = small(unit=unit, target_return=0.17 * unit)
    weights, duals = answer_of(problem)
    assert weights == pytest.approx([0.3, 0.7], abs=1e-8)
    assert problem.cvar(weights) == pytest.approx(0.028 * unit, rel=1e-7)
    assert duals.rows == pytest.approx([0.4])  # 0.04 of loss for 0.1 of return


@UNITS
def test_the_greatest_return_within_a_cvar_budget_by_hand(unit):
    """A worst loss of 0.03 allows 0.75 of the second."""
    weights, duals = answer_of(small("max_return", unit=unit, cvar_budget=0.03 * unit))
    assert weights == pytest.approx([0.25, 0.75], abs=1e-8)
    assert duals.rows == pytest.approx([2.5])  # 0.1 of return for 0.04 of loss


def test_one_asset_and_one_scenario():
    one = stated([0.1], [[0.01]], ("a",), "min_cvar", scenarios=[[-0.02]])
    weights, _ = answer_of(one)
    assert weights == pytest.approx([1.0])
    assert one.cvar(weights) == pytest.approx(0.02)


def test_a_gain_in_every_scenario_is_a_negative_loss():
    sure = stated([0.1], [[0.0]], ("a",), "min_cvar", scenarios=np.full((10, 1), 0.01))
    weights, _ = answer_of(sure)
    assert sure.cvar(weights) == pytest.approx(-0.01)


def test_cvar_with_nothing_allowed_is_none():
    clash = (GroupLimit("x", ("a", "b"), 0.0, 0.5),)
    assert answer_of(small(groups=clash)) is None
    assert answer_of(small("max_return", cvar_budget=0.03, groups=clash)) is None
    assert answer_of(small("max_return", cvar_budget=0.01)) is None  # 0.02 is the least


@given(st.integers(2, 40), st.integers(1, 4), st.integers(0, 2**31), st.floats(0.5, 0.99))
def test_no_portfolio_has_less_cvar(t, n, seed, level):
    rng = np.random.default_rng(seed)
    scenarios = rng.normal(0.001, 0.02, (t, n))
    problem = stated(
        scenarios.mean(0),
        np.eye(n),
        tuple("abcd"[:n]),
        "min_cvar",
        scenarios=scenarios,
        cvar_level=level,
    )
    weights, _ = answer_of(problem)
    for other in [*np.eye(n), *rng.dirichlet(np.ones(n), 50)]:
        assert problem.cvar(other) >= problem.cvar(weights) - 1e-9


def test_the_least_that_limits_must_give_way():
    """At most 0.3 and 0.5 of 1: 0.2 in total, in the rows' own units."""
    groups = (GroupLimit("low", ("a", "b"), 0.0, 0.3), GroupLimit("few", ("c",), 0.0, 0.5))
    problem = three(groups=groups)
    program = Program.over(problem, Measure(np.zeros(3)), rows_of(problem))
    over = linear.least_violations(program)
    assert over.sum() == pytest.approx(0.2)
    assert np.all(over >= -1e-12)


def test_limits_that_go_together_need_not_give_way():
    problem = three(**LIMITED["all"])
    program = Program.over(problem, Measure(np.zeros(3)), rows_of(problem))
    assert linear.least_violations(program) == pytest.approx(0.0, abs=1e-9)


def test_bounds_that_allow_nothing_cannot_be_repaired():
    problem = three(benchmark=[0.3, 0.1, 0.1], max_active_weight=0.1)
    program = Program.over(problem, Measure(np.zeros(3)), rows_of(problem))
    assert linear.least_violations(program) is None
