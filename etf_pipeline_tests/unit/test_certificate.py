"""A certificate bounds what is left to gain: never too small, and zero at the optimum."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, optimise, stated
from etf_pipeline.portfolio.certificate import best_duals, gap, proven_gap, rows_of
from etf_pipeline.portfolio.check import allowed
from etf_pipeline.portfolio.goals import goal_of
from etf_pipeline.portfolio.program import Duals
from etf_pipeline_tests.portfolios_support import TWO, TWO_MEANS, limited, two

SECOND = np.linspace(0, 1, 2001)
ALL = np.column_stack([1 - SECOND, SECOND])  # every portfolio of two assets, finely
VOLS = np.sqrt(((ALL @ TWO) * ALL).sum(axis=1))
shares = st.floats(0, 1).map(lambda x: np.array([1 - x, x]))
OBJECTIVES = (
    "min_volatility",
    "target_return",
    "max_return",
    "max_utility",
    "max_sharpe",
    "min_cvar",
    "min_tracking_error",
)


def vol(w):
    return math.sqrt(float(w @ TWO @ w))


def left(problem, weights):
    return proven_gap(problem, goal_of(problem), weights)


@given(shares)
def test_least_volatility_is_never_further_than_the_gap(weights):
    assert left(two(), weights) >= vol(weights) - float(VOLS.min()) - 1e-9


@given(shares, st.floats(0.11, 0.2))
def test_nor_with_a_floor_on_the_return(weights, floor):
    assume(float(TWO_MEANS @ weights) >= floor)
    reaching = np.flatnonzero((ALL @ TWO_MEANS) - floor >= -1e-12)
    found = left(two("target_return", target_return=floor), weights)
    assert found >= vol(weights) - float(VOLS[reaching].min()) - 1e-9


@given(shares, st.floats(0.0949, 0.3))
def test_the_greatest_return_is_never_further_than_the_gap(weights, budget):
    assume(vol(weights) <= budget)
    within = np.flatnonzero(VOLS - budget <= 0)
    best = float((ALL[within] @ TWO_MEANS).max())
    found = left(two("max_return", risk_budget=budget), weights)
    assert found >= best - float(weights @ TWO_MEANS) - 1e-9


@given(shares, st.floats(0.5, 20))
def test_the_greatest_utility_is_never_further_than_the_gap(weights, aversion):
    utility = ALL @ TWO_MEANS - aversion / 2 * VOLS**2
    own = float(weights @ TWO_MEANS) - aversion / 2 * vol(weights) ** 2
    found = left(two("max_utility", risk_aversion=aversion), weights)
    assert found >= float(utility.max()) - own - 1e-9


@given(shares, st.floats(0.0, 0.15))
def test_of_the_same_risk_no_portfolio_has_more_excess_return_than_the_gap(weights, rate):
    problem = two("max_sharpe", risk_free_rate=rate)
    excess = float(TWO_MEANS @ weights) - rate
    near = np.abs(VOLS - vol(weights)) < 1e-4
    missed = float((ALL[near] @ TWO_MEANS - rate).max()) - excess
    # as far as the grid reaches in return for 1e-4 of volatility
    assert left(problem, weights) >= missed - 1e-3


@given(shares, st.floats(0.0, 0.09))
def test_no_portfolio_has_a_better_ratio_than_the_gap_allows(weights, rate):
    """Excess return above ratio · volatility, of any portfolio."""
    excess, risk = float(TWO_MEANS @ weights) - rate, vol(weights)
    missed = float((ALL @ TWO_MEANS - rate - excess / risk * VOLS).max())
    assert left(two("max_sharpe", risk_free_rate=rate), weights) >= missed - 1e-9


def test_the_optimum_has_no_gap():
    """(0.9, 0.1), (0.5, 0.5), (0.532577, 0.467423), (0.8, 0.2), and x = 0.1 + 1/4."""
    assert left(two(), np.array([0.9, 0.1])) == pytest.approx(0, abs=1e-12)
    half = np.array([0.5, 0.5])
    assert left(two("target_return", target_return=0.15), half) == pytest.approx(0, abs=1e-9)
    x = (0.02 + math.sqrt(0.0004 + 4 * 0.1 * 0.0125)) / 0.2
    spent = np.array([1 - x, x])
    assert vol(spent) == pytest.approx(0.15)
    assert left(two("max_return", risk_budget=0.15), spent) == pytest.approx(0, abs=1e-9)
    best = np.array([0.8, 0.2])
    assert left(two("max_sharpe", risk_free_rate=0.02), best) == pytest.approx(0, abs=1e-12)
    useful = two("max_utility", risk_aversion=4.0)
    assert left(useful, np.array([0.65, 0.35])) == pytest.approx(0, abs=1e-12)
    close = two("min_tracking_error", benchmark=[0.3, 0.7])
    assert left(close, np.array([0.3, 0.7])) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("second", [0.0, 0.05, 0.15, 0.5, 1.0])
def test_a_worse_portfolio_has_a_gap(second):
    assert left(two(), np.array([1 - second, second])) > 1e-4


def test_no_variance_leaves_nothing_to_lower_and_no_sharpe_ratio():
    covariance = np.diag([0.0, 0.09])
    riskless = np.array([1.0, 0.0])
    assert left(stated([0.1, 0.2], covariance, ("a", "b")), riskless) == 0.0
    ratio = stated([0.1, 0.2], covariance, ("a", "b"), "max_sharpe")
    assert left(ratio, riskless) == math.inf


def test_limits_count_in_a_gap():
    """With at most 0.05 in the second asset, (0.95, 0.05) is the least volatile one allowed."""
    group = (GroupLimit("g", ("b",), 0.0, 0.05),)
    weights = np.array([0.95, 0.05])
    assert left(two(groups=group), weights) == pytest.approx(0, abs=1e-9)
    assert left(two(), weights) > 1e-3


@given(st.floats(0, 1), st.floats(0.0, 0.3))
def test_costs_count_in_a_gap(second, rate):
    held = np.array([0.5, 0.5])
    problem = two("max_return", holdings=held, cost_rate=rate)
    weights = np.array([1 - second, second])
    net = ALL @ TWO_MEANS - rate * np.abs(ALL - held).sum(axis=1)
    own = float(weights @ TWO_MEANS) - rate * float(np.abs(weights - held).sum())
    assert left(problem, weights) >= float(net.max()) - own - 1e-9


def test_a_certificate_rejects_weights_that_are_not_optimal():
    worse = np.array([0.7, 0.3])
    found = left(two("max_return", risk_budget=0.15), worse)
    best = 0.1467423461
    assert found >= best - float(TWO_MEANS @ worse) - 1e-9  # a bound on what is left


def test_the_best_multipliers_by_hand():
    """Budget 0.15 at (1 − x, x): y = dμ/dσ = 0.1 / ((0.09 x − 0.01 (1 − x)) / 0.15)."""
    problem = two("max_return", risk_budget=0.15)
    x = (0.02 + math.sqrt(0.0004 + 4 * 0.1 * 0.0125)) / 0.2
    found = best_duals(problem, goal_of(problem), np.array([1 - x, x]), rows_of(problem))
    assert found.rows == pytest.approx([0.1 / ((0.1 * x - 0.01) / 0.15)], rel=1e-6)


def random_duals(problem, rows, rng):
    """Any multipliers: none, of a likely size, or far too large; and any probabilities."""
    goal = goal_of(problem)
    sizes = np.array([max(abs(r.greatest), 1e-3) for r in rows])
    power = rng.choice([0.0, 1e-3, 1.0, 1e3], size=len(rows))
    y = power * rng.exponential(size=len(rows)) * goal.unit / sizes
    tail = None
    if problem.scenarios is not None and rng.random() < 0.7:
        tail = rng.dirichlet(np.full(len(problem.scenarios.returns), rng.choice([0.05, 1.0])))
    return Duals(y, tail)


def shortfall(problem, weights, other):
    """By how much `other` is better than `weights`, by the definitions."""

    def excess(w):
        return problem.net_return(w) - problem.risk_free_rate

    def utility(w):
        return problem.net_return(w) - problem.risk_aversion / 2 * problem.volatility(w) ** 2

    return {
        "min_volatility": lambda: problem.volatility(weights) - problem.volatility(other),
        "target_return": lambda: problem.volatility(weights) - problem.volatility(other),
        "max_return": lambda: problem.net_return(other) - problem.net_return(weights),
        "max_utility": lambda: utility(other) - utility(weights),
        "min_cvar": lambda: problem.cvar(weights) - problem.cvar(other),
        "min_tracking_error": lambda: (
            problem.tracking_error(weights) - problem.tracking_error(other)
        ),
        "max_sharpe": lambda: (
            excess(other)
            - max(excess(weights) / problem.volatility(weights), 0.0) * problem.volatility(other)
        ),
    }[problem.objective]()


@pytest.mark.parametrize("objective", OBJECTIVES)
@given(data=st.data(), seed=st.integers(0, 2**31))
def test_no_multipliers_make_a_false_proof(objective, data, seed):
    """Every allowed portfolio that is better is better by no more than the gap.

    Whatever is allowed will do to show it, so the answer of the optimiser too.
    """
    problem, weights = data.draw(limited(objective))
    assert allowed(problem, weights)
    rng = np.random.default_rng(seed)
    answer = optimise(problem)
    others = [] if answer.weights is None else [answer.weights]
    low, high = problem.box
    for spread in (0.01, 0.05, 0.2):
        other = np.clip(weights + spread * rng.normal(size=len(weights)), low, high)
        others += [
            weights + t * (other - other.mean() + 1 / len(other) - weights) for t in (0.1, 1)
        ]
    others = [w for w in others if allowed(problem, w)]
    goal, rows = goal_of(problem), rows_of(problem)
    for _ in range(5):
        found = gap(problem, goal, weights, rows, random_duals(problem, rows, rng))
        for other in others:
            missed = shortfall(problem, weights, other)
            # the allowance of a check on weights, of which multipliers may be large
            assert found >= missed - 1e-7 * goal.unit


@pytest.mark.parametrize("objective", OBJECTIVES)
@given(data=st.data())
def test_an_answer_is_proven_and_no_allowed_portfolio_is_better(objective, data):
    problem, weights = data.draw(limited(objective))
    answer = optimise(problem)
    assert answer.success, answer.message
    assert allowed(problem, answer.weights)
    unit = goal_of(problem).unit
    if answer.volatility > 0:
        assert shortfall(problem, answer.weights, weights) <= 1e-6 * unit
