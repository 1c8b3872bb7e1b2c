"""Each limit: what it measures, by arithmetic, and that its rows for solvers say the same."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio import Benchmark, GroupLimit
from etf_pipeline.portfolio.functions import Norm
from etf_pipeline.portfolio.limits import (
    ActiveWeights,
    BetaRange,
    CvarCeiling,
    GrossExposure,
    ReturnFloor,
    TrackingErrorCeiling,
    TurnoverCeiling,
    VolatilityCeiling,
)
from etf_pipeline_tests.portfolios_support import limited, two

HALF = np.array([0.5, 0.5])
FOUR = np.array([[-0.04, 0.0], [0.0, -0.04], [0.01, 0.01], [0.02, 0.03]])
UNITS = pytest.mark.parametrize("unit", [1e-8, 1.0, 1e4])


def row_value(row, problem, weights):
    if isinstance(row.function, Norm):
        return row.function.value(weights)
    return row.function.value(weights, problem.scenarios)


def test_a_group_is_measured_by_the_sum_of_its_members():
    problem = two()
    limit = GroupLimit("g", ("b",), 0.2, 0.6)
    assert limit.excess(problem, np.array([0.3, 0.7])) == pytest.approx(0.1)
    assert limit.excess(problem, np.array([0.9, 0.1])) == pytest.approx(0.1)
    assert limit.excess(problem, HALF) == pytest.approx(-0.1)
    both = GroupLimit("both", ("a", "b"), 0.0, 0.7)
    assert both.excess(problem, HALF) == pytest.approx(0.3)


def test_a_group_of_short_positions():
    """At most −0.1 in b, and at least −0.3."""
    limit = GroupLimit("short", ("b",), -0.3, -0.1)
    problem = two(lower=-1, upper=2)
    assert limit.excess(problem, np.array([1.2, -0.2])) == pytest.approx(-0.1)
    assert limit.excess(problem, np.array([1.0, 0.0])) == pytest.approx(0.1)
    assert limit.excess(problem, np.array([1.4, -0.4])) == pytest.approx(0.1)


def test_a_group_that_bounds_imply_needs_no_row():
    assert GroupLimit("g", ("b",), 0.0, 1.0).rows(two()) == []
    assert GroupLimit("g", ("b",), 0.0, 0.5).rows(two(upper=[1.0, 0.5])) == []
    assert GroupLimit("g", ("b",), 0.5, 1.0).rows(two(upper=[0.5, 1.0])) == []
    (row,) = GroupLimit("g", ("b",), 0.0, 0.4).rows(two(upper=[1.0, 0.5]))
    assert (row.label, row.greatest) == ("group g at most 0.4", 0.4)
    least, most = GroupLimit("g", ("b",), 0.1, 0.4).rows(two())[::-1]
    assert (least.label, most.label) == ("group g at least 0.1", "group g at most 0.4")


def test_part_investment_makes_a_group_row_needed():
    """With all invested, at most 0.5 in a means at least 0.5 in b; with half of it, nothing."""
    limit = GroupLimit("g", ("b",), 0.5, 1.0)
    assert len(limit.rows(two(upper=[0.5, 1.0], net_exposure=(0.5, 1.0)))) == 1


@UNITS
def test_a_return_floor_in_spreads_of_the_means(unit):
    """0.15 is expected; 0.01 are missing of 0.16, a tenth of the spread of 0.1."""
    problem = two("target_return", target_return=0.16)
    scaled = problem.changed(means=problem.means * unit)
    scaled.__dict__.pop("return_unit", None)
    assert ReturnFloor(0.16 * unit).excess(scaled, HALF) == pytest.approx(0.1)
    assert ReturnFloor(0.14 * unit).excess(scaled, HALF) == pytest.approx(-0.1)


def test_a_return_floor_is_net_of_costs_and_of_what_is_not_invested():
    """0.15 − 0.02 · 1; and with a half in cash at 0.03, 0.075 + 0.015."""
    held = two(holdings=[1.0, 0.0], cost_rate=0.02)
    assert ReturnFloor(0.13).excess(held, HALF) == pytest.approx(0.0, abs=1e-12)
    part = two(net_exposure=(0.0, 1.0), risk_free_rate=0.03)
    assert ReturnFloor(0.09).excess(part, HALF / 2) == pytest.approx(0.0, abs=1e-12)


def test_a_volatility_relative_to_the_budget():
    """√0.025 against 0.1."""
    found = VolatilityCeiling(0.1).excess(two(), HALF)
    assert found == pytest.approx(math.sqrt(0.025) / 0.1 - 1)


def test_a_budget_of_next_to_nothing_is_measured_by_the_assets():
    """A hundredth of a typical volatility √0.05 is the least that an excess is relative to."""
    found = VolatilityCeiling(1e-12).excess(two(), HALF)
    assert found == pytest.approx(math.sqrt(0.025) / (0.01 * math.sqrt(0.05)))


def test_a_tracking_error_to_weights_and_to_an_outsider():
    """To (1, 0): the difference (−0.5, 0.5). To one of variance 0.04 and covariances 0.01:

    0.025 − 2 · 0.01 + 0.04 = 0.045.
    """
    within = two(benchmark=[1.0, 0.0])
    assert TrackingErrorCeiling(0.1).excess(within, HALF) == pytest.approx(
        math.sqrt(0.025) / 0.1 - 1
    )
    outside = two(benchmark=Benchmark(np.array([0.01, 0.01]), 0.04, 0.1))
    assert TrackingErrorCeiling(0.3).excess(outside, HALF) == pytest.approx(
        math.sqrt(0.045) / 0.3 - 1
    )


@UNITS
def test_a_cvar_relative_to_the_budget(unit):
    """The worst of four loses 0.02; a budget of 0.016 is exceeded by a quarter of itself."""
    problem = two("min_cvar", scenarios=FOUR * unit, cvar_level=0.75)
    assert CvarCeiling(0.016 * unit).excess(problem, HALF) == pytest.approx(0.25)
    # a gain of 0.02 is asked for
    assert CvarCeiling(-0.02 * unit).excess(problem, HALF) == pytest.approx(2.0)


def test_turnover_is_half_of_what_moves():
    problem = two(holdings=[1.0, 0.0])
    assert TurnoverCeiling(0.4).excess(problem, HALF) == pytest.approx(0.1)
    assert TurnoverCeiling(0.6).excess(problem, HALF) == pytest.approx(-0.1)


def test_gross_exposure_is_the_sum_of_sizes():
    problem = two(lower=-1, upper=2)
    assert GrossExposure(1.6).excess(problem, np.array([1.4, -0.4])) == pytest.approx(0.2 / 1.6)
    assert GrossExposure(1.6).excess(problem, HALF) == pytest.approx(-0.6 / 1.6)
    assert len(GrossExposure(1.6).rows(problem)) == 1
    assert GrossExposure(2.0).rows(two()) == []


def test_beta_by_hand():
    """Benchmark (0.5, 0.5): covariances (0.005, 0.045), variance 0.025, betas (0.2, 1.8)."""
    problem = two(benchmark=[0.5, 0.5])
    assert problem.betas == pytest.approx([0.2, 1.8])
    limit = BetaRange(0.5, 0.9)
    assert limit.excess(problem, HALF) == pytest.approx(0.1 / 1.8)
    assert limit.excess(problem, np.array([1.0, 0.0])) == pytest.approx(0.3 / 1.8)
    assert limit.excess(problem, np.array([0.7, 0.3])) == pytest.approx(-0.18 / 1.8)
    outside = two(benchmark=Benchmark(np.array([0.01, 0.02]), 0.04, 0.1))
    assert outside.betas == pytest.approx([0.25, 0.5])


def test_active_weights_narrow_the_bounds():
    problem = two(benchmark=[0.6, 0.4], max_active_weight=0.3, upper=[0.8, 1.0])
    low, high = problem.box
    assert low == pytest.approx([0.3, 0.1])
    assert high == pytest.approx([0.8, 0.7])
    assert ActiveWeights(0.3).rows(problem) == []
    assert ActiveWeights(0.3).excess(problem, np.array([0.2, 0.8])) == pytest.approx(0.1)
    assert ActiveWeights(0.3).excess(problem, HALF) == pytest.approx(-0.2)


@given(limited(), st.integers(0, 2**31))
def test_rows_and_measure_agree_about_every_limit(asked, seed):
    """Weights are beyond a limit when some row of it is broken, and by as much."""
    problem, inside = asked
    rng = np.random.default_rng(seed)
    low, high = problem.box
    for spread in (1e-6, 0.01, 0.3):
        moved = inside + spread * rng.normal(size=len(inside))
        moved -= (moved.sum() - 1.0) / len(moved)
        within = bool(np.all(moved >= low) and np.all(moved <= high))
        for limit in problem.limits:
            excess = limit.excess(problem, moved)
            if isinstance(limit, ActiveWeights):
                around = problem.benchmark_weights
                beyond = max(np.abs(moved - around).max() - limit.greatest, -np.inf)
                assert excess == pytest.approx(beyond, abs=1e-12)
                continue
            rows = limit.rows(problem)
            over = [row_value(r, problem, moved) - r.greatest for r in rows]
            if not within and isinstance(limit, GroupLimit | GrossExposure):
                continue  # of these, rows that the bounds imply are left out
            worst = max(over, default=-math.inf)
            size = max([1e-300, *(abs(r.greatest) for r in rows)])
            if worst > 1e-9 * size:
                assert excess > 0, limit.name
            if worst < -1e-9 * size:
                assert excess < 1e-12, limit.name


@given(limited())
def test_weights_that_were_drawn_within_every_limit_are_beyond_none(asked):
    problem, inside = asked
    assert len(problem.limits) >= 7
    for limit in problem.limits:
        assert limit.excess(problem, inside) <= 1e-12, limit.name


@given(limited(units=(1.0,)), st.sampled_from([1e-8, 1e4]), st.integers(0, 2**31))
def test_an_excess_has_no_unit(asked, unit, seed):
    """Returns in another unit: limits of returns and risks scale with them, excesses do not."""
    problem, inside = asked
    weights = inside + 0.1 * np.random.default_rng(seed).normal(size=len(inside))
    from etf_pipeline.portfolio import stated

    by_name = {x.name: x for x in problem.limits}
    other = stated(
        problem.means * unit,
        problem.covariance * unit**2,
        problem.names,
        "max_return",
        lower=problem.lower,
        upper=problem.upper,
        benchmark=problem.benchmark_weights,
        beta=(by_name["beta"].lower, by_name["beta"].upper),
        max_tracking_error=by_name["tracking-error ceiling"].greatest * unit,
        risk_budget=by_name["risk budget"].greatest * unit,
        scenarios=problem.scenarios.returns * unit,
        cvar_budget=by_name["CVaR budget"].greatest * unit,
    )
    for limit in other.limits:
        expected = by_name[limit.name].excess(problem, weights)
        assert limit.excess(other, weights) == pytest.approx(expected, rel=1e-6, abs=1e-9)
