"""What the engines propose: exact where the critical line says it all, and alike otherwise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, stated
from etf_pipeline.portfolio.candidates import candidates, riskless
from etf_pipeline.portfolio.certificate import gap, rows_of
from etf_pipeline.portfolio.check import allowed
from etf_pipeline.portfolio.goals import goal_of
from etf_pipeline_tests.portfolios_support import boxes, limited, two

NAMES = ("a", "b", "c")


def three(**changes):
    return stated([0.1, 0.2, 0.3], np.diag([0.01, 0.04, 0.09]), NAMES, **changes)


def proposed(problem):
    return list(candidates(problem, goal_of(problem)))


def test_riskless_by_hand():
    """Two that hedge each other, in proportion 1 to 2: no variance at (1/3, 2/3)."""
    covariance = [[0.04, -0.02], [-0.02, 0.01]]
    problem = stated([0.1, 0.1], covariance, ("a", "b"))
    assert problem.singular
    assert riskless(problem, problem.means) == pytest.approx([1 / 3, 2 / 3], abs=1e-9)


def test_of_several_riskless_portfolios_the_best_is_taken():
    problem = stated([0.1, 0.3, 0.2], np.diag([0.0, 0.0, 0.04]), NAMES)
    assert riskless(problem, problem.means) == pytest.approx([0, 1, 0], abs=1e-12)
    capped = stated(
        [0.1, 0.3, 0.2],
        np.diag([0.0, 0.0, 0.04]),
        NAMES,
        groups=(GroupLimit("g", ("b",), 0.0, 0.6),),
    )
    assert riskless(capped, capped.means) == pytest.approx([0.4, 0.6, 0], abs=1e-9)


def test_no_riskless_portfolio():
    assert riskless(three(), np.zeros(3)) is None
    # singular, but a portfolio without variance would need a short position
    same = stated([0.1, 0.2], [[0.04, 0.08], [0.08, 0.16]], ("a", "b"))
    assert same.singular
    assert riskless(same, same.means) is None
    short = stated([0.1, 0.2], [[0.04, 0.08], [0.08, 0.16]], ("a", "b"), lower=-1, upper=2)
    assert riskless(short, short.means) == pytest.approx([2, -1], abs=1e-9)


@pytest.mark.parametrize(
    ("problem", "weights"),
    [
        (two(), [0.9, 0.1]),
        (two("max_return"), [0.0, 1.0]),
        (two("target_return", target_return=0.15), [0.5, 0.5]),
        (two("target_return", target_return=0.05), [0.9, 0.1]),
        (two("max_return", risk_budget=0.5), [0.0, 1.0]),
        (two("max_sharpe", risk_free_rate=0.02), [0.8, 0.2]),
        (two("max_utility", risk_aversion=4.0), [0.65, 0.35]),
        (two(benchmark=[0.5, 0.5], max_active_weight=0.2), [0.7, 0.3]),
    ],
)
def test_with_bounds_and_one_limit_the_first_candidate_is_exact(problem, weights):
    assert proposed(problem)[0].weights == pytest.approx(weights, abs=1e-7)


def test_what_is_not_allowed_is_not_proposed():
    clash = (GroupLimit("x", ("a", "b"), 0.0, 0.5),)
    assert proposed(two(groups=clash)) == []
    assert proposed(two("max_return", groups=clash)) == []
    crossed = two(upper=[0.3, 1.0], benchmark=[0.9, 0.1], max_active_weight=0.1)
    assert not any(allowed(crossed, c.weights) for c in proposed(crossed))


@given(boxes(), st.sampled_from(["min_volatility", "max_return", "max_sharpe"]))
def test_the_engines_agree(problem, objective):
    """Every candidate that is allowed is as good as the best of them, within what is proven."""
    problem = problem.changed(objective=objective)
    if objective == "max_sharpe":
        problem = problem.changed(risk_free_rate=float(problem.means.min()) - problem.return_unit)
    goal = goal_of(problem)
    figures = {
        "min_volatility": problem.volatility,
        "max_return": lambda w: -problem.net_return(w),
        "max_sharpe": lambda w: (
            -(problem.net_return(w) - problem.risk_free_rate)
            / problem.volatility(w)
            * problem.risk_unit
        ),
    }
    at = [c.weights for c in proposed(problem) if allowed(problem, c.weights)]
    found = [figures[objective](w) for w in at]
    assert len(found) >= 2
    size = goal.unit + problem.return_unit
    assert found == pytest.approx([min(found)] * len(found), abs=1e-5 * size)


PROVEN = ["min_volatility", "max_return", "min_cvar", "max_utility"]


def gaps_of(problem):
    """The gap that the multipliers of each allowed candidate prove, in units of the goal's."""
    goal, rows = goal_of(problem), rows_of(problem)
    for candidate in candidates(problem, goal):
        if allowed(problem, candidate.weights, 1e-7):
            for duals in candidate.duals:
                yield gap(problem, goal, candidate.weights, rows, duals) / goal.unit


@pytest.mark.parametrize("objective", PROVEN)
@given(data=st.data())
def test_some_candidate_comes_with_multipliers_that_prove_it(objective, data):
    problem, _ = data.draw(limited(objective))
    assert any(at <= 1e-5 for at in gaps_of(problem))


@pytest.mark.parametrize("objective", PROVEN)
@settings(max_examples=6)  # the last ways of all take a hundred times as long as the first
@given(data=st.data())
def test_whoever_has_not_enough_gets_what_every_engine_says(objective, data):
    problem, _ = data.draw(limited(objective))
    assert min(list(gaps_of(problem))) <= 1e-5
