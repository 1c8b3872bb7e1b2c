"""Every kind of limit in the answers of `optimise`: of groups, trading, CVaR, active, short."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio import Benchmark, GroupLimit, nearest_feasible, optimise, stated
from etf_pipeline.portfolio.check import allowed
from etf_pipeline_tests.portfolios_support import (
    FIVE_MEANS,
    FIVE_NAMES,
    FIVE_RETURNS,
    five,
    limited,
    two,
)

RNG = np.random.default_rng(12)
# The worst of four is 0.04 times the greater weight.
FOUR = np.array([[-0.04, 0.0], [0.0, -0.04], [0.01, 0.01], [0.02, 0.03]])
UNITS = pytest.mark.parametrize("unit", [1e-8, 1e-4, 1.0, 1e4])


def ask(objective="min_volatility", **changes):
    return optimise(five(objective, **changes))


def small(objective="min_cvar", **changes):
    values = {"scenarios": FOUR, "cvar_level": 0.75} | changes
    return stated([0.1, 0.2], np.cov(FOUR, rowvar=False), ("a", "b"), objective, **values)


def cvar(returns):
    """Mean of the worst 5 % of 260: the 13 worst."""
    return float(np.sort(-returns)[::-1][:13].mean())


def test_a_group_limit_is_met_exactly():
    free = ask()
    group = GroupLimit("pair", ("A", "B"), 0.0, float(free.weights[:2].sum()) / 2)
    answer = ask(groups=(group,))
    assert answer.success
    assert answer.weights[:2].sum() == pytest.approx(group.upper, abs=1e-9)
    assert answer.volatility > free.volatility


def test_a_slack_group_changes_nothing():
    answer = ask(groups=(GroupLimit("all", FIVE_NAMES[:4], 0.0, 1.0),))
    assert answer.weights == pytest.approx(ask().weights, abs=1e-6)


def test_groups_that_clash_are_named():
    groups = (GroupLimit("bonds", ("A", "B"), 0.7), GroupLimit("shares", ("C", "D", "E"), 0.6))
    answer = ask(groups=groups)
    assert not answer.success
    assert answer.code is ReasonCode.INFEASIBLE
    assert "no portfolio meets all limits at once" in answer.message
    assert "at least" in answer.message


def test_an_unreachable_target_names_the_limit_in_the_way():
    best = FIVE_NAMES[int(np.argmax(FIVE_MEANS))]
    group = GroupLimit("winner", (best,), 0.0, 0.25)
    answer = ask("target_return", target_return=float(FIVE_MEANS.max()), groups=(group,))
    assert not answer.success
    reachable = 0.25 * FIVE_MEANS.max() + 0.75 * np.sort(FIVE_MEANS)[-2]
    quoted = float(answer.message.partition("at most ")[2].split()[0])
    assert quoted == pytest.approx(reachable, rel=1e-5)
    assert quoted <= reachable
    assert "group winner at most 0.25" in answer.message
    assert ask("target_return", target_return=quoted, groups=(group,)).success


def test_turnover_is_half_of_what_moves():
    held = np.full(5, 0.2)
    answer = ask("max_return", holdings=held, max_turnover=0.1)
    assert answer.success
    assert np.abs(answer.weights - held).sum() / 2 == pytest.approx(0.1, abs=1e-8)
    # the best use of it: from the worst asset to the best one
    expected = held.copy()
    expected[np.argmax(FIVE_MEANS)] += 0.1
    expected[np.argmin(FIVE_MEANS)] -= 0.1
    assert answer.weights == pytest.approx(expected, abs=1e-7)


def test_costs_above_the_gain_keep_the_holdings():
    held = np.full(5, 0.2)
    spread = float(np.ptp(FIVE_MEANS))
    still = ask("max_return", holdings=held, cost_rate=spread)
    assert still.weights == pytest.approx(held, abs=1e-7)
    cheap = ask("max_return", holdings=held, cost_rate=spread / 1e3)
    assert cheap.weights.max() == pytest.approx(1.0, abs=1e-7)
    moved = float(np.abs(cheap.weights - held).sum())
    assert cheap.expected_return == pytest.approx(FIVE_MEANS.max() - spread / 1e3 * moved, abs=1e-9)


def test_both_target_and_budget():
    """Least volatility that reaches the target, if that is within the budget."""
    lowest = ask()
    target = (lowest.expected_return + FIVE_MEANS.max()) / 2
    alone = ask("target_return", target_return=target)
    both = ask("target_return", target_return=target, risk_budget=alone.volatility * 1.2)
    assert both.success
    assert both.risk_budget_binding is False
    assert both.weights == pytest.approx(alone.weights, abs=1e-9)
    budget = alone.volatility * 0.95
    tight = ask("target_return", target_return=target, risk_budget=budget)
    assert not tight.success
    within = ask("max_return", risk_budget=budget)
    numbers = [
        float(w.strip(";,")) for w in tight.message.split() if w[0].isdigit() and "%" not in w
    ]
    assert any(n == pytest.approx(alone.volatility, rel=1e-5) for n in numbers)
    assert any(n == pytest.approx(within.expected_return, rel=1e-5) for n in numbers)


def test_least_cvar_beats_every_random_portfolio():
    answer = ask("min_cvar", scenarios=FIVE_RETURNS)
    assert answer.success
    assert answer.cvar == pytest.approx(cvar(FIVE_RETURNS @ answer.weights), rel=1e-9)
    for _ in range(500):
        assert cvar(FIVE_RETURNS @ RNG.dirichlet(np.ones(5))) >= answer.cvar - 1e-9


def test_a_cvar_budget():
    least = ask("min_cvar", scenarios=FIVE_RETURNS)
    answer = ask("max_return", scenarios=FIVE_RETURNS, cvar_budget=least.cvar * 1.1)
    assert answer.success
    assert answer.cvar == pytest.approx(least.cvar * 1.1, rel=1e-7)
    refused = ask("max_return", scenarios=FIVE_RETURNS, cvar_budget=least.cvar * 0.9)
    assert not refused.success
    quoted = float(refused.message.partition("attainable CVaR ")[2].split()[0])
    assert quoted == pytest.approx(least.cvar, rel=1e-5)
    assert ask("max_return", scenarios=FIVE_RETURNS, cvar_budget=quoted).success


def test_a_return_that_no_portfolio_has_is_refused_with_the_most_there_is():
    """The better of the two is expected to earn 0.2."""
    answer = optimise(small(target_return=0.3))
    assert answer.code is ReasonCode.INFEASIBLE
    assert answer.message.startswith("target return 0.3 is out of reach: at most 0.2 under")


def test_two_budgets_hold_together():
    """A CVaR of 0.03 allows x = 0.75 of the second; of the volatility it takes more or less."""
    problem = small("max_return")
    at = problem.volatility(np.array([0.25, 0.75]))
    loose = optimise(small("max_return", cvar_budget=0.03, risk_budget=at * 1.01))
    assert loose.weights == pytest.approx([0.25, 0.75], abs=1e-7)
    assert loose.risk_budget_binding is False
    tight = optimise(small("max_return", cvar_budget=0.03, risk_budget=at * 0.99))
    assert tight.success
    assert tight.volatility == pytest.approx(at * 0.99, rel=1e-7)
    assert 0.5 < tight.weights[1] < 0.75


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("min_volatility", {}),
        ("max_sharpe", {}),
        ("max_utility", {"risk_aversion": 5.0}),
        ("target_return", {"target_return": 0.15}),
        ("min_tracking_error", {"benchmark": [0.0, 1.0]}),
    ],
)
def test_a_cvar_budget_goes_with_every_objective(objective, more):
    """A budget of 0.025: x from 0.375 to 0.625, whatever is asked for."""
    answer = optimise(small(objective, cvar_budget=0.025, **more))
    assert answer.success, answer.message
    assert 0.375 - 1e-9 <= answer.weights[1] <= 0.625 + 1e-9
    assert answer.cvar <= 0.025 * (1 + 1e-9)


@UNITS
@pytest.mark.parametrize(("aversion", "second"), [(4.0, 0.35), (2.0, 0.6), (1.0, 1.0)])
def test_greatest_utility(aversion, second, unit):
    """x = 0.1 + 1/aversion, at most 1; an aversion has the unit of 1/return."""
    problem = stated(
        np.array([0.1, 0.2]) * unit,
        np.diag([0.01, 0.09]) * unit**2,
        ("a", "b"),
        "max_utility",
        risk_aversion=aversion / unit,
    )
    answer = optimise(problem)
    assert answer.success
    assert answer.weights == pytest.approx([1 - second, second], abs=1e-6)


def test_utility_with_a_floor_on_the_return():
    """At an aversion of 10, x = 0.2 earns 0.12; a floor of 0.14 asks for 0.4."""
    free = optimise(two("max_utility", risk_aversion=10.0))
    assert free.weights == pytest.approx([0.8, 0.2], abs=1e-7)
    floored = optimise(two("max_utility", risk_aversion=10.0, target_return=0.14))
    assert floored.weights == pytest.approx([0.6, 0.4], abs=1e-7)


def test_the_best_ratio_with_a_floor_on_the_return():
    """(0.8, 0.2) is best and earns 0.12; with 0.14 asked for, (0.6, 0.4)."""
    slack = optimise(two("max_sharpe", risk_free_rate=0.02, target_return=0.11))
    assert slack.weights == pytest.approx([0.8, 0.2], abs=1e-6)
    tight = optimise(two("max_sharpe", risk_free_rate=0.02, target_return=0.14))
    assert tight.weights == pytest.approx([0.6, 0.4], abs=1e-6)


@UNITS
def test_least_tracking_error_of_weights(unit):
    """The benchmark itself; with at most 0.5 in b, the nearest to it."""

    def near(**limits):
        return optimise(
            stated(
                np.array([0.1, 0.2]) * unit,
                np.diag([0.01, 0.09]) * unit**2,
                ("a", "b"),
                "min_tracking_error",
                benchmark=[0.3, 0.7],
                **limits,
            )
        )

    free = near()
    assert free.success
    assert free.weights == pytest.approx([0.3, 0.7], abs=1e-6)
    capped = near(upper=[1.0, 0.5])
    assert capped.weights == pytest.approx([0.5, 0.5], abs=1e-7)
    assert capped.tracking_error == pytest.approx(0.2 * math.sqrt(0.1) * unit, rel=1e-6)


def test_least_tracking_error_of_an_outsider():
    """Of w'Σw − 2 c'w + v with c = (0.01, 0.05): 0.01 (1 − x) − 0.01 = 0.09 x − 0.05, x = 0.5."""
    outside = Benchmark(np.array([0.01, 0.05]), 0.05, 0.1)
    answer = optimise(two("min_tracking_error", benchmark=outside))
    assert answer.success
    assert answer.weights == pytest.approx([0.5, 0.5], abs=1e-6)
    # 0.025 − 2 · 0.03 + 0.05
    assert answer.tracking_error == pytest.approx(math.sqrt(0.015), rel=1e-7)


def test_a_tracking_error_ceiling_is_spent():
    """From (0.5, 0.5), x √(0.01 + 0.09) = 0.1."""
    x = 0.1 / math.sqrt(0.1)
    answer = optimise(two("max_return", benchmark=[0.5, 0.5], max_tracking_error=0.1))
    assert answer.weights == pytest.approx([0.5 - x, 0.5 + x], abs=1e-7)
    assert answer.tracking_error == pytest.approx(0.1, rel=1e-8)


def test_active_weights_are_bounds_around_the_benchmark():
    answer = optimise(two("max_return", benchmark=[0.5, 0.5], max_active_weight=0.2))
    assert answer.weights == pytest.approx([0.3, 0.7])
    refused = optimise(two(benchmark=[0.9, 0.1], max_active_weight=0.1, upper=[0.7, 1.0]))
    assert refused.code is ReasonCode.INFEASIBLE
    assert "active weights of a" in refused.message


def test_a_range_of_beta():
    """Betas (0.2, 1.8): 0.2 + 1.6 x at most 1.4 allows x = 0.75; at least 0.6 asks for 0.25."""
    top = optimise(two("max_return", benchmark=[0.5, 0.5], beta=(0.6, 1.4)))
    assert top.weights == pytest.approx([0.25, 0.75], abs=1e-8)
    low = optimise(two(benchmark=[0.5, 0.5], beta=(0.6, 1.4)))
    assert low.weights == pytest.approx([0.75, 0.25], abs=1e-8)
    refused = optimise(two(benchmark=[0.5, 0.5], beta=(1.9, 2.0)))
    assert refused.code is ReasonCode.INFEASIBLE
    assert "beta at least 1.9" in refused.message


def test_130_30_by_hand():
    answer = optimise(two("max_return", lower=-1, upper=2, gross_exposure=1.6))
    assert answer.success
    assert answer.weights == pytest.approx([-0.3, 1.3], abs=1e-8)


def test_a_short_group():
    """Together at most 0.3 short: what b has more, a is short of."""
    group = (GroupLimit("short", ("a",), -0.3, 1.0),)
    answer = optimise(two("max_return", lower=-1, upper=2, groups=group))
    assert answer.weights == pytest.approx([-0.3, 1.3], abs=1e-8)


def test_cash_earns_the_rate_and_takes_the_rest():
    """Along (0.8, 0.2), the best ratio, at a volatility of 0.05 of its 0.1: half of it."""
    limits = {"risk_free_rate": 0.02, "net_exposure": (0.0, 1.0)}
    answer = optimise(two("max_return", risk_budget=0.05, **limits))
    assert answer.success
    assert answer.weights == pytest.approx([0.4, 0.1], abs=1e-6)
    assert answer.expected_return == pytest.approx(0.5 * 0.12 + 0.5 * 0.02, abs=1e-8)
    useful = optimise(two("max_utility", risk_aversion=20.0, **limits))
    # Σ⁻¹(μ − rf)/20 = (8, 2)/20
    assert useful.weights == pytest.approx([0.4, 0.1], abs=1e-6)


def test_nothing_net_is_a_long_short_portfolio():
    """w = (−x, x): 0.1 x of return, x √0.1 of risk."""
    answer = optimise(
        two("max_return", lower=-1, upper=1, net_exposure=(0.0, 0.0), risk_budget=0.1)
    )
    x = 0.1 / math.sqrt(0.1)
    assert answer.success, answer.message
    assert answer.weights == pytest.approx([-x, x], abs=1e-7)


def test_of_several_that_are_as_good_the_least_volatile_is_taken():
    """Three assets of the same mean: inverse variances, with a limit or without."""
    covariance = np.diag([0.01, 0.04, 0.09])
    inverse = 1 / np.diag(covariance)
    for limits in ({}, {"groups": (GroupLimit("g", ("a", "b"), 0.1, 0.99),)}):
        answer = optimise(stated([0.1] * 3, covariance, ("a", "b", "c"), "max_return", **limits))
        assert answer.weights == pytest.approx(inverse / inverse.sum(), abs=1e-5)


def test_the_nearest_portfolio_moves_no_more_than_it_must():
    """Held (0.9, 0.1), of which at most 0.6 may be in a: 0.3 moves."""
    problem = two("max_return", upper=[0.6, 1.0], holdings=[0.9, 0.1], max_turnover=0.1)
    assert not optimise(problem).success
    answer = nearest_feasible(problem)
    assert answer.success
    assert answer.weights == pytest.approx([0.6, 0.4], abs=1e-9)


def test_the_nearest_portfolio_within_a_volatility():
    """√(0.01 (1 − x)² + 0.09 x²) = 0.15 at x = 0.467423; from x = 0.9 it is no nearer."""
    problem = two("max_return", risk_budget=0.15, holdings=[0.1, 0.9], max_turnover=0.1)
    answer = nearest_feasible(problem)
    assert answer.success
    assert answer.weights == pytest.approx([0.532577, 0.467423], abs=1e-6)


def test_the_nearest_portfolio_of_allowed_holdings_is_them():
    assert nearest_feasible(two(holdings=[0.3, 0.7])).weights == pytest.approx([0.3, 0.7])
    with pytest.raises(ValueError, match="needs holdings"):
        nearest_feasible(two())
    clash = (GroupLimit("x", ("a", "b"), 0.0, 0.5),)
    assert nearest_feasible(two(holdings=[0.3, 0.7], groups=clash)).code is ReasonCode.INFEASIBLE


@given(limited(), st.floats(0.0, 1.0))
def test_no_allowed_portfolio_is_nearer_than_the_nearest(asked, share):
    problem, inside = asked
    answer = nearest_feasible(problem)
    assert answer.success, answer.message
    others = tuple(x for x in problem.limits if x.name != "turnover")
    assert allowed(problem.changed(limits=others), answer.weights)
    moved = float(np.abs(answer.weights - problem.holdings).sum())
    for other in (inside, share * inside + (1 - share) * answer.weights):
        assert moved <= float(np.abs(other - problem.holdings).sum()) + 2e-6


OBJECTIVES = (
    "min_volatility",
    "target_return",
    "max_return",
    "max_utility",
    "max_sharpe",
    "min_cvar",
    "min_tracking_error",
)


@pytest.mark.parametrize("objective", OBJECTIVES)
@given(data=st.data())
def test_every_objective_takes_every_limit(objective, data):
    problem, _ = data.draw(limited(objective, units=(1e-6, 1.0, 1e3)))
    answer = optimise(problem)
    assert answer.success, answer.message
    assert allowed(problem, answer.weights)
    # the same in another order
    order = np.random.default_rng(len(problem.names)).permutation(len(problem.names))
    turned = optimise(problem.ordered(order))
    assert turned.success
    assert turned.volatility == pytest.approx(answer.volatility, rel=1e-3)


def test_a_group_row_and_a_floor_and_costs_by_hand():
    """From (1, 0), 0.2 of cost a unit of x: 0.1 + 0.1 x − 0.02 · 2x is 0.13 at x = 0.5."""
    answer = optimise(
        two(
            "target_return",
            target_return=0.13,
            holdings=[1.0, 0.0],
            cost_rate=0.02,
            groups=(GroupLimit("g", ("b",), 0.0, 0.6),),
        )
    )
    assert answer.success
    assert answer.weights == pytest.approx([0.5, 0.5], abs=1e-7)
    assert answer.expected_return == pytest.approx(0.13)


def test_of_several_that_are_as_near_the_least_volatile_is_taken():
    """0.3 must leave a; b and c, alike but for their variances 0.01 and 0.03, share it 3 to 1."""
    covariance = np.diag([0.04, 0.01, 0.03])
    answer = nearest_feasible(
        stated([0.1] * 3, covariance, "abc", upper=[0.7, 1, 1], holdings=[1, 0, 0])
    )
    assert answer.success
    assert answer.weights == pytest.approx([0.7, 0.225, 0.075], abs=1e-5)


def test_a_ratio_that_any_scale_has_takes_the_least_cash_and_no_tolerance():
    """Σ⁻¹(μ − rf) = (10, 2.22…): at most 1 of a, so 1 and 0.2222… of b."""
    problem = two("max_sharpe", net_exposure=(0.2, 2.0))
    answer = optimise(problem)
    assert answer.success
    assert answer.weights == pytest.approx([1.0, 2 / 9], abs=1e-9)
    assert np.all(answer.weights <= 1.0)


@pytest.mark.parametrize("objective", ["min_volatility", "max_return", "min_cvar", "max_utility"])
@pytest.mark.parametrize("short", [0.0, 1e-12, 9e-10])
def test_a_contradiction_of_rounding_is_none(objective, short):
    """0.3 have to go to the second, and 0.3 may be traded, but for less than limits are met by."""
    answer = optimise(
        stated(
            np.array([0.05, 0.06]),
            np.diag([0.01, 0.02]),
            ("a", "b"),
            objective,
            holdings=np.array([1.0, 0.0]),
            max_turnover=0.3 - short,
            groups=(GroupLimit("g", ("b",), 0.3, 1.0),),
            scenarios=np.array([[-0.1, -0.2], [0.1, 0.2], [0.0, 0.1]]),
            cvar_level=0.5,
            risk_aversion=2.0 if objective == "max_utility" else None,
        )
    )
    assert answer.success, answer.message
    assert answer.weights == pytest.approx([0.7, 0.3], abs=2e-9)
