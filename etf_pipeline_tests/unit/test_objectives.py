"""Which limits go with which objective: the rules, before anybody words them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.model.objectives import (
    GOES_WITH,
    implied,
    lacks_holdings,
    lacks_target,
    misplaced,
    needs_scenarios,
    never_whole,
    strangers,
    takes_no_limits,
    two_budgets,
    weight_limits,
)

OBJECTIVES = (
    "min_volatility",
    "max_sharpe",
    "max_return",
    "target_return",
    "min_cvar",
    "risk_parity",
    "hrp",
)
# What the documentation says, written down again.
FITS = {
    "target_return": {"target_return", "min_cvar"},
    "risk_budget": {"max_return", "target_return"},
    "cvar_budget": {"max_return"},
}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("limit", FITS)
def test_a_limit_goes_with_its_objectives_alone(objective, limit):
    found = misplaced(objective, {limit: 0.1})
    if objective in FITS[limit]:
        assert found is None
    else:
        assert found == (limit, GOES_WITH[limit])
    assert misplaced(objective, {limit: None}) is None
    assert misplaced(objective, {}) is None


def test_a_limit_of_zero_is_asked_for():
    assert misplaced("max_sharpe", {"target_return": 0.0}) is not None


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_target_is_needed_by_one_objective(objective):
    assert lacks_target(objective, None) == (objective == "target_return")
    assert not lacks_target(objective, 0.0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_scenarios_are_needed_for_cvar(objective):
    assert needs_scenarios(objective, None) == (objective == "min_cvar")
    assert needs_scenarios(objective, 0.02)


@pytest.mark.parametrize(
    ("turnover", "cost", "needs"), [(None, 0.0, 0), (0.0, 0.0, 1), (0.1, 0.0, 1), (None, 0.01, 1)]
)
def test_trading_needs_what_is_held(turnover, cost, needs):
    assert lacks_holdings(turnover, cost, held=False) is bool(needs)
    assert not lacks_holdings(turnover, cost, held=True)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=10))
def test_weights_can_sum_to_1_unless_the_bounds_leave_no_room(pairs):
    least = sum(min(p) for p in pairs)
    most = sum(max(p) for p in pairs)
    message = never_whole(least, most)
    if least <= 1 <= most:
        assert message is None
    elif least > 1 + 1e-9 or most < 1 - 1e-9:
        assert message == (
            f"weights cannot sum to 1: the bounds allow sums from {least:g} to {most:g}"
        )


def test_rounding_of_a_sum_is_let_pass():
    assert never_whole(0.1 + 0.2 + 0.7 + 1e-13, 1.0) is None
    assert never_whole(0.0, 1.0 - 1e-13) is None
    assert never_whole(0.0, 1.0 - 1e-9) is not None


def test_own_bounds_go_before_those_of_every_ticker():
    bounds = {"VAS": (0.2, 0.5)}
    assert weight_limits("VAS", bounds, 0.1, 0.9) == (0.2, 0.5)
    assert weight_limits("VGS", bounds, 0.1, 0.9) == (0.1, 0.9)


def test_strangers_are_named_in_order():
    assert strangers(["VGS", "B", "A", "B"], ["VGS", "VAS"]) == ["A", "B"]
    assert strangers([], ["VAS"]) == []


@pytest.mark.parametrize(
    ("target", "budget", "expected"),
    [
        (None, None, "max_sharpe"),
        (None, 0.1, "max_return"),
        (0.05, None, "target_return"),
        (0.05, 0.1, "target_return"),
        (0.0, None, "target_return"),
    ],
)
def test_what_naming_a_return_or_a_budget_asks_for(target, budget, expected):
    assert implied(target, budget) == expected


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_weights_from_risk_alone_take_no_limits(objective):
    assert takes_no_limits(objective, True) == (objective in {"risk_parity", "hrp"})
    assert not takes_no_limits(objective, False)


@pytest.mark.parametrize(
    ("risk_budget", "cvar_budget", "twice"),
    [(0.1, 0.02, True), (0.0, 0.0, True), (0.1, None, False), (None, 0.02, False)],
)
def test_risk_is_limited_by_one_budget(risk_budget, cvar_budget, twice):
    assert two_budgets(risk_budget, cvar_budget) == twice
    assert not two_budgets(None, None)
