"""What each objective makes least: its value by hand, and a tangent that is nowhere above it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio.goals import (
    BestRatio,
    goal_of,
    greatest_return,
    least_turnover,
)
from etf_pipeline_tests.portfolios_support import limited, two

HALF = np.array([0.5, 0.5])
FOUR = np.array([[-0.04, 0.0], [0.0, -0.04], [0.01, 0.01], [0.02, 0.03]])
CONVEX = ("min_volatility", "max_return", "max_utility", "min_cvar", "min_tracking_error")


@pytest.mark.parametrize(
    ("problem", "value"),
    [
        (two(), math.sqrt(0.025)),
        (two("target_return", target_return=0.12), math.sqrt(0.025)),
        (two("max_return"), -0.15),
        (two("max_return", holdings=[1.0, 0.0], cost_rate=0.02), -0.13),
        (two("max_utility", risk_aversion=3.0), -0.15 + 1.5 * 0.025),
        (two("min_cvar", scenarios=FOUR, cvar_level=0.75), 0.02),
        (two("min_tracking_error", benchmark=[1.0, 0.0]), math.sqrt(0.025)),
    ],
    ids=lambda x: getattr(x, "objective", None),
)
def test_values_by_hand(problem, value):
    goal = goal_of(problem)
    assert goal.value(problem, HALF) == pytest.approx(value)
    assert goal.unit > 0


def test_a_sharpe_ratio_by_hand():
    """0.13 over √0.025; with a half in cash, which earns the rate, the same; 0.11 after costs."""
    goal = goal_of(two("max_sharpe", risk_free_rate=0.02))
    assert isinstance(goal, BestRatio)
    assert goal.ratio(HALF) == pytest.approx(0.13 / math.sqrt(0.025))
    part = goal_of(two("max_sharpe", risk_free_rate=0.02, net_exposure=(0.0, 1.0)))
    assert part.ratio(HALF / 2) == pytest.approx(0.13 / math.sqrt(0.025))
    dear = two("max_sharpe", risk_free_rate=0.02, holdings=[1.0, 0.0], cost_rate=0.02)
    assert goal_of(dear).ratio(HALF) == pytest.approx(0.11 / math.sqrt(0.025))


def test_a_ratio_without_risk_is_infinite():
    problem = two("max_sharpe").changed(covariance=np.zeros((2, 2)))
    problem.__dict__.pop("risk", None)
    assert goal_of(problem).ratio(HALF) == math.inf


def test_turnover_is_half_of_what_moves():
    problem = two(holdings=[1.0, 0.0])
    assert least_turnover(problem).value(problem, HALF) == pytest.approx(0.5)


def test_cash_earns_the_rate():
    """A half invested at 0.15, a half at 0.03."""
    problem = two("max_return", risk_free_rate=0.03, net_exposure=(0.0, 1.0))
    assert greatest_return(problem).value(problem, HALF / 2) == pytest.approx(-0.09)


@pytest.mark.parametrize("objective", CONVEX)
@given(data=st.data(), seed=st.integers(0, 2**31))
def test_the_tangent_touches_and_is_nowhere_above(objective, data, seed):
    problem, here = data.draw(limited(objective))
    there = here + np.random.default_rng(seed).normal(size=len(here))
    goal = goal_of(problem)
    tail = None if problem.scenarios is None else problem.scenarios.tail_weights(here)
    tangent = goal.tangent(here).linear(problem.scenarios, tail)
    touching, value = tangent.value(here), goal.value(problem, here)
    far = goal.value(problem, there)
    size = abs(value) + abs(far) + goal.unit
    assert touching == pytest.approx(value, abs=1e-9 * size)
    assert tangent.value(there) <= far + 1e-8 * size


@given(limited("max_sharpe"), st.integers(0, 2**31))
def test_the_tangent_of_a_ratio_is_below_what_the_same_ratio_would_ask_for(asked, seed):
    """ratio · volatility − excess return: 0 here, and there at least the tangent."""
    problem, here = asked
    away = np.random.default_rng(seed).normal(size=len(here))
    there = here + away - away.mean()
    goal = goal_of(problem)
    tangent = goal.tangent(here)
    excess = problem.net_return(there) - problem.risk_free_rate
    ratio = max((problem.net_return(here) - problem.risk_free_rate) / problem.volatility(here), 0.0)
    size = goal.unit + abs(excess)
    if ratio > 0:
        assert tangent.value(here) == pytest.approx(0.0, abs=1e-9 * size)
    assert tangent.value(there) <= ratio * problem.volatility(there) - excess + 1e-8 * size


@pytest.mark.parametrize("objective", [*CONVEX, "max_sharpe"])
@given(data=st.data())
def test_a_goal_agrees_with_the_figures_of_the_problem(objective, data):
    problem, w = data.draw(limited(objective))
    goal = goal_of(problem)
    expected = {
        "min_volatility": lambda: problem.volatility(w),
        "max_return": lambda: -problem.net_return(w),
        "max_utility": lambda: (
            problem.risk_aversion / 2 * problem.volatility(w) ** 2 - problem.net_return(w)
        ),
        "min_cvar": lambda: problem.cvar(w),
        "min_tracking_error": lambda: problem.tracking_error(w),
        "max_sharpe": lambda: 0.0,
    }[objective]()
    assert goal.value(problem, w) == pytest.approx(expected, rel=1e-9, abs=1e-12 * goal.unit)
