"""From a solver's weights to exact ones: what binds is solved to rounding, multipliers too."""

import math

import numpy as np
import pytest

from etf_pipeline.portfolio import GroupLimit
from etf_pipeline.portfolio.certificate import rows_of
from etf_pipeline.portfolio.goals import goal_of
from etf_pipeline.portfolio.solvers.polish import polished
from etf_pipeline_tests.portfolios_support import two

NEAR = 1e-6
BUDGET = 0.15 * (1 + 2e-11)  # with the room that a limit of risk has
# 0.1 x² − 0.02 x + 0.01 = BUDGET²
SPENT = (0.02 + math.sqrt(0.0004 + 4 * 0.1 * (BUDGET**2 - 0.01))) / 0.2
GROUP = (GroupLimit("g", ("b",), 0.0, 0.3),)
# Problem, weight of the second, and the multiplier of its only row: by hand.
CASES = {
    "no limit": (two(), 0.1, None),
    "a floor": (two("target_return", target_return=0.15), 0.5, 0.4 / math.sqrt(0.025)),
    "a budget": (two("max_return", risk_budget=0.15), SPENT, 0.1 * BUDGET / (0.1 * SPENT - 0.01)),
    "a group": (two("max_utility", risk_aversion=2.0, groups=GROUP), 0.3, 0.06),
    "a bound": (two("max_utility", risk_aversion=2.0, upper=[1.0, 0.3]), 0.3, None),
    "a ratio": (two("max_sharpe", risk_free_rate=0.02), 0.2, None),
    "costs": (
        two("max_utility", risk_aversion=2.0, holdings=[1.0, 0.0], cost_rate=0.01),
        0.5,
        None,
    ),
    "turnover": (two("max_return", holdings=[0.5, 0.5], max_turnover=0.2), 0.7, 0.1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("off", [-3e-7, 3e-8])
def test_what_is_nearly_right_becomes_right(case, off):
    problem, second, multiplier = CASES[case]
    goal, rows = goal_of(problem), rows_of(problem)
    second_off = second + off
    if case in ("a bound", "a group", "turnover", "a budget"):
        second_off = second - abs(off)  # a solver stops within a limit
    found = polished(problem, goal, rows, np.array([1 - second_off, second_off]), NEAR)
    if found is None:
        assert case == "a bound"  # nothing is free to move
        return
    weights, duals = found
    assert weights == pytest.approx([1 - second, second], abs=1e-12)
    if multiplier is not None:
        assert duals.rows == pytest.approx([multiplier], rel=1e-9)


FOUR = np.array([[-0.04, 0.0], [0.0, -0.04], [0.01, 0.01], [0.02, 0.03]])


@pytest.mark.parametrize("off", [-3e-7, 3e-8])
def test_a_cvar_that_is_nearly_least_becomes_least_or_is_left_alone(off):
    """Two scenarios lose as much, 0.02, at half each."""
    problem = two("min_cvar", scenarios=FOUR, cvar_level=0.75)
    weights = np.array([0.5 - off, 0.5 + off])
    found = polished(problem, goal_of(problem), rows_of(problem), weights, NEAR)
    if found is not None:
        assert problem.cvar(found[0]) <= problem.cvar(weights) + 1e-12
        assert found[0].sum() == pytest.approx(1.0, abs=1e-12)
