"""The standard form: the same in any unit, and multipliers brought back to those of the rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, optimise, stated
from etf_pipeline.portfolio.certificate import gap, rows_of
from etf_pipeline.portfolio.functions import Kink, Measure, Norm
from etf_pipeline.portfolio.goals import goal_of
from etf_pipeline.portfolio.limits import Row
from etf_pipeline.portfolio.program import Program, standard
from etf_pipeline.portfolio.solvers import conic, linear
from etf_pipeline_tests.portfolios_support import limited, two

HELD = np.array([0.5, 0.5])
FOUR = np.array([[-0.04, 0.0], [0.0, -0.04], [0.01, 0.01], [0.02, 0.03]])


def program_of(problem):
    goal = goal_of(problem)
    return Program.over(problem, goal.measure, rows_of(problem))


def dense(form):
    return np.asarray(form.matrix.todense())


def test_variables_are_weights_and_for_each_centre_the_distances_from_it():
    assert standard(program_of(two("max_return"))).size == 2
    trading = standard(program_of(two("max_return", holdings=HELD, cost_rate=0.01)))
    assert (trading.size, trading.n) == (4, 2)
    both = two("max_return", holdings=HELD, cost_rate=0.01, max_turnover=0.2)
    assert standard(program_of(both)).size == 4  # around the same centre
    short = two("max_return", lower=-1, holdings=HELD, cost_rate=0.01, gross_exposure=1.5)
    form = standard(program_of(short))
    assert form.size == 6
    assert form.place(HELD) != form.place(np.zeros(2))


def test_variables_of_a_cvar_are_its_border_and_the_losses_beyond_it():
    form = standard(program_of(two("min_cvar", scenarios=FOUR, cvar_level=0.75)))
    assert form.size == 2 + 1 + 4


def test_a_program_is_linear_unless_something_is_curved():
    nothing, curve = Measure(np.zeros(2)), Norm.of(np.eye(2))
    problem = two()
    assert Program.over(problem, nothing, []).linear
    assert not Program.over(problem, nothing, [], curve).linear
    assert not Program.over(problem, nothing, [Row(curve, 1.0, "x")]).linear


def test_bounds_are_those_of_the_problem_and_active_weights():
    problem = two(benchmark=[0.6, 0.4], max_active_weight=0.3, upper=[0.8, 1.0])
    program = Program.over(problem, Measure(np.zeros(2)), [])
    assert program.low == pytest.approx([0.3, 0.1])
    assert program.high == pytest.approx([0.8, 0.7])
    assert program.total == (1.0, 1.0)


@given(limited("max_utility"), st.integers(0, 2**31))
def test_a_row_says_of_weights_what_its_function_says(asked, seed):
    """With u at the distances: row · x ≤ limit is function(w) ≤ greatest, over one size."""
    problem, inside = asked
    rng = np.random.default_rng(seed)
    w = inside + 0.1 * rng.normal(size=len(inside))
    w += (1.0 - w.sum()) / len(w)
    rows = [r for r in rows_of(problem) if not isinstance(r.function, Norm)]
    rows = [r for r in rows if not r.function.tail]
    form = standard(Program.over(problem, Measure(np.zeros(len(w))), rows))
    x = np.zeros(form.size)
    x[: form.n] = w
    for centre in form.centres:
        x[form.place(centre)] = np.abs(w - centre)
    left = form.limits - form.matrix @ x
    for k, row in enumerate(rows):
        own = (row.greatest - row.function.value(w)) / form.row_scale[k]
        assert left[form.row_of[k]] == pytest.approx(own, abs=1e-9)


@given(limited("max_utility", units=(1.0,)), st.sampled_from([1e-8, 1e-4, 1e4]))
def test_no_unit_is_left_in_the_standard_form(asked, unit):
    problem, _ = asked
    means, covariance = problem.means, problem.covariance

    def form(by):
        scaled = stated(
            means * by,
            covariance * by**2,
            problem.names,
            "max_utility",
            risk_aversion=3.0 / by,
            holdings=problem.holdings,
            cost_rate=problem.cost_rate * by,
            target_return=float(means.mean()) * by,
            max_turnover=0.3,
        )
        goal = goal_of(scaled)
        return standard(
            Program.over(scaled, goal.measure, rows_of(scaled), goal.norm, goal.aversion)
        )

    one, other = form(1.0), form(unit)
    assert dense(other) == pytest.approx(dense(one), abs=1e-9)
    assert other.limits == pytest.approx(one.limits, rel=1e-6, abs=1e-9)
    assert other.objective == pytest.approx(one.objective, abs=1e-9)
    assert other.quadratic == pytest.approx(one.quadratic, rel=1e-6, abs=1e-12)


@given(limited("max_return", units=(1e-6, 1.0, 1e3)))
def test_multipliers_of_a_solver_prove_its_own_answer(asked):
    """Strong duality: in the right units the gap is nothing, in any other it is something."""
    problem, _ = asked
    goal, rows = goal_of(problem), rows_of(problem)
    found = conic.solve(Program.over(problem, goal.measure, rows))
    assert found is not None
    weights, duals = found
    best = optimise(problem)
    assert gap(problem, goal, best.weights, rows, duals) <= 1e-5 * goal.unit
    assert goal.value(problem, weights) == pytest.approx(
        -best.expected_return, abs=1e-5 * goal.unit
    )


def test_two_kinks_around_one_centre_count_together():
    """0.1 and 0.2 of cost a side: moving to the second, which gains 0.1, costs 0.6."""
    problem = two(holdings=HELD)
    measure = Measure(np.array([-0.1, -0.2]), kinks=(Kink(0.1, HELD), Kink(0.2, HELD)))
    weights, _ = linear.solve(Program.over(problem, measure, []))
    assert weights == pytest.approx([0.5, 0.5])
    cheap = Measure(np.array([-0.1, -0.2]), kinks=(Kink(0.01, HELD), Kink(0.02, HELD)))
    weights, _ = linear.solve(Program.over(problem, cheap, []))
    assert weights == pytest.approx([0.0, 1.0])


def test_the_constant_of_a_measure_is_part_of_its_limit():
    problem = two()
    row = Row(Measure(np.array([0.0, 1.0]), 0.3), 0.7, "b at most 0.4")
    weights, _ = linear.solve(Program.over(problem, Measure(np.array([0.0, -1.0])), [row]))
    assert weights == pytest.approx([0.6, 0.4])


def test_a_group_of_everything_is_a_row_without_a_slope():
    """Σ w ≤ 0.5 cannot be, and Σ w ≤ 1.5 says nothing, where all is invested."""
    some = Measure(np.zeros(2))
    row = Row(Measure(np.ones(2)), 0.5, "x")
    assert linear.solve(Program.over(two(), some, [row])) is None
    row = Row(Measure(np.ones(2)), 1.5, "x")
    assert linear.solve(Program.over(two(), some, [row])) is not None
    assert GroupLimit("g", ("a", "b"), 0.0, 1.5).rows(two()) == []
