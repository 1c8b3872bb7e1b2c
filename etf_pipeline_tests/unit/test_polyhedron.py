"""The limits as linear constraints, by hand and against a grid of portfolios."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, Problem
from etf_pipeline.portfolio.polyhedron import (
    allowed,
    binding,
    conflict,
    maximise,
    polyhedron,
    riskless,
)

NAMES = ("a", "b", "c")
GRID = [np.array(w) / 20 for w in itertools.product(range(21), repeat=3) if sum(w) == 20]


def three(**changes):
    return Problem([0.1, 0.2, 0.3], np.diag([0.01, 0.04, 0.09]), NAMES, **changes)


HELD = np.array([0.5, 0.3, 0.2])
LIMITED = {
    "nothing": {},
    "a group at most": {"groups": (GroupLimit("g", ("b", "c"), 0.0, 0.4),)},
    "a group at least": {"groups": (GroupLimit("g", ("a",), 0.6, 1.0),)},
    "turnover": {"holdings": HELD, "max_turnover": 0.15},
    "no turnover": {"holdings": HELD, "max_turnover": 0.0},
    "costs": {"holdings": HELD, "cost_rate": 0.05},
    "all": {
        "lower": [0.0, 0.1, 0.0],
        "upper": [0.8, 1.0, 0.25],
        "groups": (GroupLimit("g", ("a", "c"), 0.2, 0.9),),
        "holdings": HELD,
        "max_turnover": 0.3,
        "cost_rate": 0.01,
    },
}


def meets(changes, w):
    """The limits, written down without matrices."""
    ok = abs(w.sum() - 1) < 1e-9
    ok &= all(w >= np.array(changes.get("lower", [0, 0, 0])) - 1e-9)
    ok &= all(w <= np.array(changes.get("upper", [1, 1, 1])) + 1e-9)
    for group in changes.get("groups", ()):
        total = sum(w[NAMES.index(m)] for m in group.members)
        ok &= group.lower - 1e-9 <= total <= group.upper + 1e-9
    if "max_turnover" in changes:
        ok &= np.abs(w - HELD).sum() / 2 <= changes["max_turnover"] + 1e-9
    return bool(ok)


@pytest.mark.parametrize("changes", LIMITED.values(), ids=LIMITED.keys())
def test_allowed_is_what_the_limits_say(changes):
    problem = three(**changes)
    candidates = [*GRID, HELD]
    answers = [allowed(problem, w, 1e-9) for w in candidates]
    assert answers == [meets(changes, w) for w in candidates]
    assert any(answers)


def test_allowed_within_a_tolerance():
    problem = three(upper=[0.5, 0.5, 0.5], groups=(GroupLimit("g", ("a",), 0.0, 0.4),))
    near = np.array([0.4 + 1e-7, 0.3, 0.3 - 1e-7])
    assert allowed(problem, near, 1e-6)
    assert not allowed(problem, near, 1e-8)
    short = np.array([0.3, 0.3, 0.4 - 1e-7])
    assert allowed(problem, short, 1e-6)
    assert not allowed(problem, short, 1e-8)


@pytest.mark.parametrize("changes", LIMITED.values(), ids=LIMITED.keys())
@given(seed=st.integers(0, 2**31))
def test_nothing_allowed_beats_the_maximum(changes, seed):
    problem = three(**changes)
    gradient = np.random.default_rng(seed).normal(size=3)

    def value(w):
        return float(gradient @ w) - problem.cost_rate * float(np.abs(w - HELD).sum())

    found = maximise(problem, gradient)
    assert meets(changes, found)
    best = max(value(w) for w in [*GRID, HELD] if meets(changes, w))
    assert value(found) >= best - 1e-9


def test_the_maximum_by_hand():
    """At most 0.4 in b and c: 0.4 in c, the best, and the rest in a."""
    problem = three(**LIMITED["a group at most"])
    assert maximise(problem, problem.means) == pytest.approx([0.6, 0.0, 0.4])


def test_costs_above_the_gain_keep_the_holdings():
    """From a to c gains 0.2 and costs twice the rate."""
    assert maximise(three(holdings=HELD, cost_rate=0.11), np.array([0.1, 0.2, 0.3])) == (
        pytest.approx(HELD)
    )
    dear = maximise(three(holdings=HELD, cost_rate=0.09), np.array([0.1, 0.2, 0.3]))
    assert dear == pytest.approx([0.0, 0.3, 0.7])


def test_no_allowed_weights_is_none_and_the_limits_are_named():
    groups = (GroupLimit("low", ("a", "b"), 0.0, 0.3), GroupLimit("few", ("c",), 0.0, 0.5))
    problem = three(groups=groups)
    assert maximise(problem, problem.means) is None
    message = conflict(problem)
    assert message.startswith("no portfolio meets all limits at once: group ")
    # 0.3 + 0.5 leave 0.2 that no limit has room for
    assert "short by 0.2" in message


def test_limits_that_go_together_are_no_conflict():
    assert conflict(three(**LIMITED["all"])) is None
    assert conflict(three()) is None


def test_turnover_that_bounds_make_impossible_is_named():
    """Held 0.5 in a, of which only 0.1 may stay: 0.4 must move, 0.1 may."""
    problem = three(upper=[0.1, 1, 1], holdings=HELD, max_turnover=0.1)
    assert "turnover at most 0.1" in conflict(problem)


def test_limits_in_force_are_named_and_plain_ones_are_not():
    problem = three(
        lower=[0.2, 0.0, 0.0],
        upper=[1.0, 0.5, 1.0],
        groups=(GroupLimit("bc", ("b", "c"), 0.0, 0.8),),
    )
    assert binding(problem, np.array([0.2, 0.5, 0.3])) == [
        "a at least 0.2",
        "b at most 0.5",
        "group bc at most 0.8",
    ]
    assert binding(problem, np.array([0.5, 0.0, 0.5])) == []
    assert binding(three(), np.array([0.0, 0.0, 1.0])) == []


def test_variables_are_weights_and_where_trading_matters_trades():
    assert polyhedron(three()).size == 3
    trading = polyhedron(three(holdings=HELD, cost_rate=0.01))
    assert (trading.size, trading.n) == (6, 3)
    assert trading.budget.tolist() == [1, 1, 1, 0, 0, 0]


def test_riskless_by_hand():
    """Two that hedge each other, in proportion 1 to 2: no variance at (1/3, 2/3)."""
    covariance = [[0.04, -0.02], [-0.02, 0.01]]
    problem = Problem([0.1, 0.1], covariance, ("a", "b"))
    assert problem.singular
    assert riskless(problem, problem.means) == pytest.approx([1 / 3, 2 / 3], abs=1e-9)


def test_of_several_riskless_portfolios_the_best_is_taken():
    problem = Problem([0.1, 0.3, 0.2], np.diag([0.0, 0.0, 0.04]), NAMES)
    assert riskless(problem, problem.means) == pytest.approx([0, 1, 0], abs=1e-12)


def test_no_riskless_portfolio():
    assert riskless(three(), np.zeros(3)) is None
    # singular, but a portfolio without variance would need a short position
    same = Problem([0.1, 0.2], [[0.04, 0.08], [0.08, 0.16]], ("a", "b"))
    assert same.singular
    assert riskless(same, same.means) is None
