"""Which limits go with which objective: the rules, before anybody words them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.model.objectives import (
    GOES_WITH,
    against_rule,
    implied,
    lacking,
    lacks_holdings,
    misplaced,
    needs_scenarios,
    never_whole,
    strangers,
    weight_limits,
)

OBJECTIVES = (
    "min_volatility",
    "max_sharpe",
    "max_return",
    "target_return",
    "max_utility",
    "min_cvar",
    "min_tracking_error",
    "risk_parity",
    "hrp",
)
# What the documentation says, written down again.
RISKY = {"max_return", "target_return", "max_sharpe", "max_utility", "min_cvar"}
FITS = {
    "target_return": {
        "target_return",
        "max_sharpe",
        "max_utility",
        "min_cvar",
        "min_tracking_error",
    },
    "risk_budget": RISKY | {"min_tracking_error"},
    "cvar_budget": (RISKY - {"min_cvar"}) | {"min_volatility", "min_tracking_error"},
    "risk_aversion": {"max_utility"},
    "risk_budgets": {"risk_parity"},
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
    assert misplaced("max_return", {"target_return": 0.0}) is not None


NEEDED = {
    "target_return": "target_return",
    "max_utility": "risk_aversion",
    "min_tracking_error": "benchmark",
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_an_objective_cannot_do_without(objective):
    assert lacking(objective, {}, benchmark=False) == NEEDED.get(objective)
    given = {"target_return": 0.0, "risk_aversion": 1.0}
    assert lacking(objective, given, benchmark=True) is None
    nothing = dict.fromkeys(given)
    assert lacking(objective, nothing, benchmark=False) == NEEDED.get(objective)


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


@pytest.mark.parametrize(
    ("least", "most", "net", "words"),
    [
        (0.0, 2.0, (0.5, 1.0), None),
        (
            0.0,
            0.4,
            (0.5, 1.0),
            "weights cannot sum to 0.5 to 1: the bounds allow sums from 0 to 0.4",
        ),
        (
            1.2,
            2.0,
            (0.5, 1.0),
            "weights cannot sum to 0.5 to 1: the bounds allow sums from 1.2 to 2",
        ),
        (-1.0, -0.1, (0.0, 0.0), "weights cannot sum to 0: the bounds allow sums from -1 to -0.1"),
        (-1.0, 1.0, (0.0, 0.0), None),
    ],
)
def test_weights_can_have_another_sum(least, most, net, words):
    assert never_whole(least, most, net) == words


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
def test_weights_from_risk_alone_take_few_limits(objective):
    by_rule = objective in {"risk_parity", "hrp"}
    assert against_rule(objective, groups=False, others=False) is None
    assert (against_rule(objective, groups=False, others=True) is not None) == by_rule
    assert (against_rule(objective, groups=True, others=False) is not None) == (objective == "hrp")
