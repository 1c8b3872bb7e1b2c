"""The least of a piecewise linear function over bounds and a range of the sum: exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from etf_pipeline.portfolio.functions import Kink
from etf_pipeline.portfolio.knapsack import filled, lowest
from etf_pipeline_tests.portfolios_support import boxes, invested


def test_filling_by_hand():
    """The second first, up to 0.3; the first up to 0.5; what is left is the third's."""
    lower, upper = np.array([0.1, 0.1, 0.0]), np.array([0.5, 0.3, 1.0])
    found = filled(lower, upper, np.array([2.0, 3.0, 1.0]))
    assert found == pytest.approx([0.5, 0.3, 0.2])
    assert lower.tolist() == [0.1, 0.1, 0.0]


@given(boxes(units=(1.0,)), st.integers(0, 2**31))
def test_filling_from_the_best_is_the_linear_programs_answer(problem, seed):
    gradient = np.random.default_rng(seed).normal(size=len(problem.names))
    weights = filled(problem.lower, problem.upper, gradient)
    peer = linprog(
        -gradient,
        A_eq=np.ones((1, len(gradient))),
        b_eq=[1.0],
        bounds=np.column_stack([problem.lower, problem.upper]),
    )
    assert float(gradient @ weights) == pytest.approx(-peer.fun, abs=1e-9)
    assert invested(problem, weights)


def by_highs(low, high, total, slope, kinks):
    """The same least value by a linear program with a variable for each |x − centre|."""
    n, k = len(low), len(kinks)
    costs = np.r_[slope, *(np.full(n, kink.rate) for kink in kinks)]
    rows, limits = [], []
    for j, kink in enumerate(kinks):
        for sign in (1.0, -1.0):
            row = np.zeros((n, n * (1 + k)))
            row[:, :n] = sign * np.eye(n)
            row[:, n * (1 + j) : n * (2 + j)] = -np.eye(n)
            rows.append(row)
            limits.append(sign * kink.centre)
    ones = np.r_[np.ones(n), np.zeros(n * k)]
    rows += [ones[None, :], -ones[None, :]]
    limits += [[total[1]], [-total[0]]]
    bounds = [*zip(low, high, strict=True), *[(0, None)] * (n * k)]
    found = linprog(costs, A_ub=np.vstack(rows), b_ub=np.concatenate(limits), bounds=bounds)
    assert found.status == 0
    return float(found.fun)


@st.composite
def knapsacks(draw):
    """Bounds below and above 0, some of them alike, a range of the sum, and up to three kinks."""
    n = draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    low = rng.uniform(-1, 0.3, n)
    high = low + np.where(rng.random(n) < 0.2, 0.0, rng.uniform(0, 1.5, n))
    least = rng.uniform(low.sum(), high.sum())
    wide = draw(st.sampled_from([0.0, 0.1, 10.0]))
    slope = rng.normal(size=n)
    if draw(st.booleans()):
        slope = np.round(slope)  # ties
    kinks = []
    for _ in range(draw(st.integers(0, 3))):
        centre = rng.uniform(-1.5, 1.5, n)
        if draw(st.booleans()):
            centre = np.where(rng.random(n) < 0.5, low, high)  # kinks at bounds
        kinks.append(Kink(draw(st.sampled_from([0.0, 0.3, 1.0, 5.0])), centre))
    if len(kinks) > 1 and draw(st.booleans()):
        kinks[1] = Kink(kinks[1].rate, kinks[0].centre)  # two at the same place
    return low, high, (float(least), float(least + wide)), slope, kinks


@given(knapsacks())
def test_the_lowest_is_the_linear_programs(asked):
    low, high, total, slope, kinks = asked
    found = lowest(*asked)
    assert np.all(found >= low - 1e-12)
    assert np.all(found <= high + 1e-12)
    assert total[0] - 1e-9 <= found.sum() <= total[1] + 1e-9
    value = float(slope @ found) + sum(k.value(found) for k in kinks)
    assert value == pytest.approx(by_highs(*asked), abs=1e-8)


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e4])
def test_the_unit_of_the_slope_does_not_matter(unit):
    """The costs of moving, 0.3 a side, are above what b gains on a, 0.2, and below c's, 1.0."""
    held = np.array([0.5, 0.3, 0.2])
    slope = np.array([1.0, 0.8, 0.0]) * unit
    zero, one = np.zeros(3), np.ones(3)
    found = lowest(zero, one, (1.0, 1.0), slope, [Kink(0.3 * unit, held)])
    assert found == pytest.approx([0.0, 0.0, 1.0])
    found = lowest(zero, one, (1.0, 1.0), slope, [Kink(0.45 * unit, held)])
    assert found == pytest.approx([0.0, 0.3, 0.7])  # 0.8 is not worth twice 0.45, 1.0 is
    found = lowest(zero, one, (1.0, 1.0), slope, [Kink(0.51 * unit, held)])
    assert found == pytest.approx(held)


def test_a_range_of_the_sum_takes_what_pays_and_no_more():
    """Gains of 2 and 1, and a loss of 1: the sum goes up to where gains end, or to its least."""
    low, high = np.zeros(3), np.full(3, 0.4)
    slope = np.array([-2.0, -1.0, 1.0])
    assert lowest(low, high, (0.0, 2.0), slope) == pytest.approx([0.4, 0.4, 0.0])
    assert lowest(low, high, (0.0, 0.5), slope) == pytest.approx([0.4, 0.1, 0.0])
    assert lowest(low, high, (1.0, 2.0), slope) == pytest.approx([0.4, 0.4, 0.2])


def test_equal_pieces_go_by_position():
    assert lowest(np.zeros(2), np.ones(2), (1.0, 1.0), np.zeros(2)).tolist() == [1.0, 0.0]
