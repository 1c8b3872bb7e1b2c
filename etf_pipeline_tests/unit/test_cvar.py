"""Conditional value at risk over scenarios: by hand, by sorting, and its bounds by duality."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skfolio.measures import cvar as skfolio_cvar

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio import GroupLimit, Problem, optimise
from etf_pipeline.portfolio.cvar import max_return, min_cvar, portfolio_cvar

# The worst of four is 0.04 times the greater weight.
FOUR = np.array([[-0.04, 0.0], [0.0, -0.04], [0.01, 0.01], [0.02, 0.03]])

RNG = np.random.default_rng(11)
SCENARIOS = RNG.normal(0.0004, 0.01, (260, 5)) + RNG.normal(0, 0.006, (260, 1))
MEANS, COVARIANCE = SCENARIOS.mean(0) * 252, np.cov(SCENARIOS, rowvar=False) * 252
NAMES = ("A", "B", "C", "D", "E")


def small(objective="min_cvar", **changes):
    values = {"scenarios": FOUR, "cvar_level": 0.75} | changes
    return Problem([0.1, 0.2], np.cov(FOUR, rowvar=False), ("a", "b"), objective, **values)


def ask(objective="min_volatility", **changes):
    return optimise(Problem(MEANS, COVARIANCE, NAMES, objective, **changes))


def cvar(returns, level=0.95):
    """Mean of the worst 5 % of 260: the 13 worst."""
    return float(np.sort(-returns)[::-1][:13].mean())


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_the_worst_of_four_by_hand(weight):
    weights = np.array([1 - weight, weight])
    assert portfolio_cvar(small(), weights) == pytest.approx(0.04 * max(weights), abs=1e-15)


def test_of_two_in_four_half_is_split():
    """A tail of 1.5 observations: the worst, and half of the second worst."""
    problem = small(cvar_level=0.625)
    assert portfolio_cvar(problem, np.array([0.25, 0.75])) == pytest.approx(
        (0.03 + 0.5 * 0.01) / 1.5, abs=1e-15
    )


def test_least_cvar_by_hand():
    weights, bound = min_cvar(small())
    assert weights == pytest.approx([0.5, 0.5], abs=1e-9)
    assert bound == pytest.approx(0.02, abs=1e-12)


def test_a_floor_on_the_return():
    """0.1 (1 − x) + 0.2 x = 0.17 at x = 0.7, where the worst loss is 0.028."""
    weights, bound = min_cvar(small(target_return=0.17))
    assert weights == pytest.approx([0.3, 0.7], abs=1e-9)
    assert bound == pytest.approx(0.028, abs=1e-12)


def test_the_greatest_return_within_a_budget_by_hand():
    """A worst loss of 0.03 allows 0.75 of the second."""
    weights, bound = max_return(small("max_return", cvar_budget=0.03))
    assert weights == pytest.approx([0.25, 0.75], abs=1e-9)
    assert bound == pytest.approx(0.175, abs=1e-12)


def test_one_asset_and_one_scenario():
    one = Problem([0.1], [[0.01]], ("a",), "min_cvar", scenarios=[[-0.02]])
    weights, bound = min_cvar(one)
    assert weights == pytest.approx([1.0])
    assert bound == pytest.approx(0.02)


def test_a_gain_in_every_scenario_is_a_negative_loss():
    sure = Problem([0.1], [[0.0]], ("a",), "min_cvar", scenarios=np.full((10, 1), 0.01))
    assert portfolio_cvar(sure, np.array([1.0])) == pytest.approx(-0.01)
    assert min_cvar(sure)[1] == pytest.approx(-0.01)


def test_nothing_allowed_is_none():
    clash = (GroupLimit("x", ("a", "b"), 0.0, 0.5),)
    assert min_cvar(small(groups=clash)) is None
    assert max_return(small("max_return", cvar_budget=0.03, groups=clash)) is None
    assert max_return(small("max_return", cvar_budget=0.01)) is None  # 0.02 is the least


@given(st.integers(2, 40), st.integers(1, 4), st.integers(0, 2**31), st.floats(0.5, 0.99))
def test_the_bound_is_below_every_portfolio_and_the_answer_meets_it(t, n, seed, level):
    rng = np.random.default_rng(seed)
    scenarios = rng.normal(0.001, 0.02, (t, n))
    names = tuple("abcd"[:n])
    problem = Problem(
        scenarios.mean(0), np.eye(n), names, "min_cvar", scenarios=scenarios, cvar_level=level
    )
    weights, bound = min_cvar(problem)
    assert portfolio_cvar(problem, weights) == pytest.approx(bound, abs=1e-9)
    for other in [*np.eye(n), *rng.dirichlet(np.ones(n), 50)]:
        assert portfolio_cvar(problem, other) >= bound - 1e-9


@given(st.integers(20, 400), st.integers(0, 2**31))
def test_skfolio_measures_the_same(t, seed):
    scenarios = np.random.default_rng(seed).normal(0, 0.01, (t, 2))
    problem = Problem([0.1, 0.2], np.eye(2), ("a", "b"), "min_cvar", scenarios=scenarios)
    weights = np.array([0.4, 0.6])
    assert portfolio_cvar(problem, weights) == pytest.approx(
        skfolio_cvar(scenarios @ weights, beta=0.95), abs=1e-12
    )


def test_least_cvar_beats_every_random_portfolio():
    answer = ask("min_cvar", scenarios=SCENARIOS)
    assert answer.success
    assert answer.cvar == pytest.approx(cvar(SCENARIOS @ answer.weights), rel=1e-9)
    for _ in range(500):
        assert cvar(SCENARIOS @ RNG.dirichlet(np.ones(5))) >= answer.cvar - 1e-9


def test_a_cvar_budget():
    least = ask("min_cvar", scenarios=SCENARIOS)
    answer = ask("max_return", scenarios=SCENARIOS, cvar_budget=least.cvar * 1.1)
    assert answer.success
    assert answer.cvar == pytest.approx(least.cvar * 1.1, rel=1e-7)
    refused = ask("max_return", scenarios=SCENARIOS, cvar_budget=least.cvar * 0.9)
    assert not refused.success
    assert f"{least.cvar:.6g}" in refused.message


def test_a_problem_with_two_budgets_is_answered_with_a_refusal():
    answer = optimise(small("max_return", risk_budget=0.5, cvar_budget=0.03))
    assert (answer.success, answer.weights) == (False, None)
    assert answer.code is ReasonCode.BAD_PROBLEM
    assert answer.message == "give risk_budget or cvar_budget, not both"


def test_a_return_that_no_portfolio_has_is_refused_with_the_most_there_is():
    """The better of the two is expected to earn 0.2."""
    answer = optimise(small(target_return=0.3))
    assert answer.code is ReasonCode.INFEASIBLE
    assert answer.message.startswith("target return 0.3 is out of reach: at most 0.2 under")
