"""A certificate bounds what is left to gain: never too small, and zero at the optimum."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from etf_pipeline.portfolio import GroupLimit, Problem
from etf_pipeline.portfolio.certificate import (
    FEASIBLE,
    best_linear,
    feasible,
    filled,
    gap_max_return,
    gap_max_sharpe,
    gap_min_variance,
)
from etf_pipeline_tests.portfolios_support import TWO, TWO_MEANS, boxes, two

SECOND = np.linspace(0, 1, 2001)
ALL = np.column_stack([1 - SECOND, SECOND])  # every portfolio of two assets, finely
VOLS = np.sqrt(((ALL @ TWO) * ALL).sum(axis=1))
shares = st.floats(0, 1).map(lambda x: np.array([1 - x, x]))


def vol(w):
    return math.sqrt(float(w @ TWO @ w))


@given(shares)
def test_least_volatility_is_never_further_than_the_gap(weights):
    left = vol(weights) - float(VOLS.min())
    assert gap_min_variance(two(), weights) >= left - 1e-9


@given(shares, st.floats(0.11, 0.2))
def test_nor_with_a_floor_on_the_return(weights, floor):
    assume(float(TWO_MEANS @ weights) >= floor)
    reaching = np.flatnonzero((ALL @ TWO_MEANS) - floor >= -1e-12)
    left = vol(weights) - float(VOLS[reaching].min())
    assert gap_min_variance(two("target_return", target_return=floor), weights, floor) >= (
        left - 1e-9
    )


@given(shares, st.floats(0.0949, 0.3))
def test_the_greatest_return_is_never_further_than_the_gap(weights, budget):
    assume(vol(weights) <= budget)
    within = np.flatnonzero(VOLS - budget <= 0)
    left = float((ALL[within] @ TWO_MEANS).max()) - float(weights @ TWO_MEANS)
    assert gap_max_return(two("max_return"), weights, budget) >= left - 1e-9


@given(shares, st.floats(0.0, 0.15))
def test_of_the_same_risk_no_portfolio_has_more_excess_return_than_the_gap(weights, rate):
    problem = two("max_sharpe", risk_free_rate=rate)
    excess = float(TWO_MEANS @ weights) - rate
    gap = gap_max_sharpe(problem, weights)
    near = np.abs(VOLS - vol(weights)) < 1e-4
    left = float((ALL[near] @ TWO_MEANS - rate).max()) - excess
    assert gap >= left - 1e-3  # as far as the grid reaches in return for 1e-4 of volatility


def test_the_optimum_has_no_gap():
    """(0.9, 0.1), (0.5, 0.5), (0.532577, 0.467423) and (0.8, 0.2): see test_frontier."""
    assert gap_min_variance(two(), np.array([0.9, 0.1])) == pytest.approx(0, abs=1e-12)
    half = np.array([0.5, 0.5])
    assert gap_min_variance(two("target_return", target_return=0.15), half, 0.15) == (
        pytest.approx(0, abs=1e-12)
    )
    x = (0.02 + math.sqrt(0.0004 + 4 * 0.1 * 0.0125)) / 0.2
    spent = np.array([1 - x, x])
    assert vol(spent) == pytest.approx(0.15)
    assert gap_max_return(two("max_return"), spent, 0.15) == pytest.approx(0, abs=1e-10)
    best = np.array([0.8, 0.2])
    assert gap_max_sharpe(two("max_sharpe", risk_free_rate=0.02), best) == (
        pytest.approx(0, abs=1e-12)
    )


@pytest.mark.parametrize("second", [0.0, 0.05, 0.15, 0.5, 1.0])
def test_a_worse_portfolio_has_a_gap(second):
    assert gap_min_variance(two(), np.array([1 - second, second])) > 1e-4


def test_no_variance_leaves_nothing_to_lower_and_no_sharpe_ratio():
    problem = Problem([0.1, 0.2], np.diag([0.0, 0.09]), ("a", "b"))
    riskless = np.array([1.0, 0.0])
    assert gap_min_variance(problem, riskless) == 0.0
    assert gap_max_sharpe(problem, riskless) == math.inf


def test_limits_count_in_a_gap():
    """With at most 0.05 in the second asset, (0.95, 0.05) is the least volatile one allowed."""
    group = (GroupLimit("g", ("b",), 0.0, 0.05),)
    weights = np.array([0.95, 0.05])
    assert gap_min_variance(two(groups=group), weights) == pytest.approx(0, abs=1e-9)
    assert gap_min_variance(two(), weights) > 1e-3


@given(st.floats(0, 1), st.floats(0.0, 0.3))
def test_costs_count_in_a_gap(second, rate):
    held = np.array([0.5, 0.5])
    problem = two("max_return", holdings=held, cost_rate=rate)
    weights = np.array([1 - second, second])
    net = ALL @ TWO_MEANS - rate * np.abs(ALL - held).sum(axis=1)
    own = float(weights @ TWO_MEANS) - rate * float(np.abs(weights - held).sum())
    assert gap_max_return(problem, weights, 1.0) >= float(net.max()) - own - 1e-9


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
    assert feasible(problem, weights)
    assert best_linear(problem, gradient) == pytest.approx(weights)


def test_weights_that_are_not_allowed_are_not_feasible():
    problem = two(upper=[0.6, 0.6])
    good = np.array([0.5, 0.5])
    assert feasible(problem, good)
    for by, (i, j) in itertools.product((2 * FEASIBLE, 0.2), ((0, 1), (1, 0))):
        assert not feasible(problem, good + by * np.eye(2)[i])  # does not sum to 1
        assert not feasible(problem, np.array([0.6, 0.4])[[i, j]] + by * np.array([1, -1])[[i, j]])


def test_no_best_where_nothing_is_allowed():
    clash = two(groups=(GroupLimit("x", ("a", "b"), 0.0, 0.5),))
    with pytest.raises(ValueError, match="no portfolio meets all limits"):
        best_linear(clash, TWO_MEANS)


def test_a_certificate_rejects_weights_that_are_not_optimal():
    worse = np.array([0.7, 0.3])
    gap = gap_max_return(two("max_return", risk_budget=0.15), worse, 0.15)
    best = 0.1467423461
    assert gap >= best - float(TWO_MEANS @ worse) - 1e-9  # a bound on what is left
