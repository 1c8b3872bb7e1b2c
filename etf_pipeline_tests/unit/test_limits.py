"""Groups, turnover, costs, and a target beside a budget, in the answers of `optimise`."""

import numpy as np
import pytest

from etf_pipeline.portfolio import GroupLimit, Problem, optimise

RNG = np.random.default_rng(11)
SCENARIOS = RNG.normal(0.0004, 0.01, (260, 5)) + RNG.normal(0, 0.006, (260, 1))
MEANS, COVARIANCE = SCENARIOS.mean(0) * 252, np.cov(SCENARIOS, rowvar=False) * 252
NAMES = ("A", "B", "C", "D", "E")


def ask(objective="min_volatility", **changes):
    return optimise(Problem(MEANS, COVARIANCE, NAMES, objective, **changes))


def test_a_group_limit_is_met_exactly():
    free = ask()
    group = GroupLimit("pair", ("A", "B"), 0.0, float(free.weights[:2].sum()) / 2)
    answer = ask(groups=(group,))
    assert answer.success
    assert answer.weights[:2].sum() == pytest.approx(group.upper, abs=1e-9)
    assert answer.volatility > free.volatility


def test_a_slack_group_changes_nothing():
    answer = ask(groups=(GroupLimit("all", NAMES[:4], 0.0, 1.0),))
    assert answer.weights == pytest.approx(ask().weights, abs=1e-6)


def test_groups_that_clash_are_named():
    groups = (GroupLimit("bonds", ("A", "B"), 0.7), GroupLimit("shares", ("C", "D", "E"), 0.6))
    answer = ask(groups=groups)
    assert not answer.success
    assert "no portfolio meets all limits at once" in answer.message
    assert "at least" in answer.message


def test_an_unreachable_target_names_the_limit_in_the_way():
    best = NAMES[int(np.argmax(MEANS))]
    group = GroupLimit("winner", (best,), 0.0, 0.25)
    answer = ask("target_return", target_return=float(MEANS.max()), groups=(group,))
    assert not answer.success
    second = np.sort(MEANS)[-2]
    reachable = 0.25 * MEANS.max() + 0.75 * second
    assert f"{reachable:.6g}" in answer.message
    assert "group winner at most 0.25" in answer.message


def test_turnover_is_half_of_what_moves():
    held = np.full(5, 0.2)
    answer = ask("max_return", holdings=held, max_turnover=0.1)
    assert answer.success
    assert np.abs(answer.weights - held).sum() / 2 == pytest.approx(0.1, abs=1e-8)
    # the best use of it: from the worst asset to the best one
    expected = held.copy()
    expected[np.argmax(MEANS)] += 0.1
    expected[np.argmin(MEANS)] -= 0.1
    assert answer.weights == pytest.approx(expected, abs=1e-7)


def test_costs_above_the_gain_keep_the_holdings():
    held = np.full(5, 0.2)
    spread = float(np.ptp(MEANS))
    still = ask("max_return", holdings=held, cost_rate=spread)
    assert still.weights == pytest.approx(held, abs=1e-7)
    cheap = ask("max_return", holdings=held, cost_rate=spread / 1e3)
    assert cheap.weights.max() == pytest.approx(1.0, abs=1e-7)
    moved = float(np.abs(cheap.weights - held).sum())
    assert cheap.expected_return == pytest.approx(MEANS.max() - spread / 1e3 * moved, abs=1e-9)


def test_both_target_and_budget():
    """Least volatility that reaches the target, if that is within the budget."""
    lowest = ask()
    target = (lowest.expected_return + MEANS.max()) / 2
    alone = ask("target_return", target_return=target)
    both = ask("target_return", target_return=target, risk_budget=alone.volatility * 1.2)
    assert both.success
    assert both.risk_budget_binding is False
    assert both.weights == pytest.approx(alone.weights, abs=1e-9)
    tight = ask("target_return", target_return=target, risk_budget=alone.volatility * 0.95)
    assert not tight.success
    assert f"{alone.volatility:.6g}" in tight.message
    within = ask("max_return", risk_budget=alone.volatility * 0.95)
    assert f"{within.expected_return:.6g}" in tight.message
