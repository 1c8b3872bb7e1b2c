"""Problems whose right answers are known by hand, by grid or from another optimiser's tracker.

Where a number is a public thread's, the test names it (see docs/cases.md).
"""

import itertools
import re

import numpy as np
import pytest

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio import GroupLimit, optimise, stated

ABC = ("a", "b", "c", "d")


def ask(means, covariance, objective="min_volatility", names=None, **limits):
    names = ABC[: len(means)] if names is None else names
    return optimise(stated(np.array(means), np.array(covariance), names, objective, **limits))


B = np.array([0.4, -0.8, 0.3, -0.4])


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
@pytest.mark.parametrize("names", [ABC, ("z", "y", "x", "w"), ("m", "b", "q", "a")])
def test_a_singular_target_is_reached_under_any_names_and_in_any_order(order, names):
    """All that is not held at its least goes into d: .09·.03 + .1·.1 + .08·.02 + .73·.1 = .0873."""
    order = list(order)
    means, lower = np.array([0.03, 0.10, 0.02, 0.10]), np.array([0.09, 0.10, 0.08, 0.0])
    covariance = 0.01 * np.outer(B, B)
    answer = ask(
        means[order],
        covariance[np.ix_(order, order)],
        "target_return",
        names=tuple(names[i] for i in order),
        lower=lower[order],
        target_return=0.0873,
    )
    assert answer.success, answer.message
    assert answer.weights == pytest.approx(np.array([0.09, 0.10, 0.08, 0.73])[order], abs=1e-7)
    assert answer.expected_return == pytest.approx(0.0873, abs=1e-10)
    assert answer.volatility == pytest.approx(abs(0.1 * B @ [0.09, 0.10, 0.08, 0.73]), rel=1e-6)
    assert answer.volatility == pytest.approx(0.0312, abs=5e-5)


def test_a_group_holds_where_shorts_are_allowed():
    three = ([0.10, 0.05, 0.02], np.diag([0.04, 0.02, 0.01]), "max_return")
    shorts = {"lower": -0.3, "upper": 1.5}
    answer = ask(*three, **shorts, groups=(GroupLimit("a", ("a",), 0, 1),))
    assert answer.success
    # 1 in a, as much in b as the least c allows
    assert answer.weights == pytest.approx([1.0, 0.3, -0.3], abs=1e-7)
    answer = ask(*three, **shorts, groups=(GroupLimit("bc", ("b", "c"), 0, 1),))
    assert answer.success
    assert answer.weights[1:].sum() >= -1e-9
    assert answer.weights == pytest.approx([1.0, 0.3, -0.3], abs=1e-7)


SCALES = [1.0, 1 / 12, 1 / 52, 1 / 252, 1e-8, 1e4]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("risk", ["time", "money"])
def test_units_do_not_matter(scale, risk):
    by = scale if risk == "time" else scale**2
    answer = ask(
        np.array([0.10, 0.04]) * scale,
        np.diag([0.04, 0.0036]) * by,
        "max_return",
        groups=(GroupLimit("a", ("a",), 0, 0.6),),
    )
    assert answer.success, answer.message
    assert answer.weights == pytest.approx([0.6, 0.4], abs=1e-8)


def test_a_turnover_that_does_not_bind_changes_nothing():
    means, covariance = [0.06, 0.14], [[0.0143, 0.00228], [0.00228, 0.0101]]
    budget = 1.001 * ask(means, covariance).volatility
    held = {"holdings": [0.333, 0.667], "max_turnover": 1.0}
    for limits in ({}, held):
        answer = ask(means, covariance, "max_return", risk_budget=budget, **limits)
        assert answer.success, answer.message
        assert answer.weights == pytest.approx([0.36754899, 0.63245101], abs=1e-7)
        assert answer.risk_budget_binding


RNG = np.random.default_rng(12)
RETURNS = RNG.normal(0.0004, 0.01, (250, 4)) + RNG.normal(0, 0.006, (250, 1))
MEANS, COVARIANCE = RETURNS.mean(0) * 252, np.cov(RETURNS, rowvar=False) * 252
GROUPS = {"none": (), "pair": (GroupLimit("pair", ("a", "b"), 0.3, 0.55),)}
OUT_OF_REACH = {
    "volatility": ("max_return", "risk_budget", 0.001),
    "return": ("target_return", "target_return", 9.0),
    "CVaR": ("max_return", "cvar_budget", -0.5),
    "tracking error": ("max_return", "max_tracking_error", 1e-9),
}


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e4])
@pytest.mark.parametrize(("objective", "limit", "value"), OUT_OF_REACH.values(), ids=OUT_OF_REACH)
def test_what_a_refusal_quotes_works(objective, limit, value, scale, groups):
    given = {"groups": groups, "scenarios": RETURNS * scale, "upper": 0.6}
    if limit == "max_tracking_error":
        given["benchmark"] = [1.0, 0.0, 0.0, 0.0]  # more than the bounds allow

    def again(number):
        return ask(MEANS * scale, COVARIANCE * scale**2, objective, **given, **{limit: number})

    refused = again(value * scale)
    assert refused.code is ReasonCode.INFEASIBLE
    number = r"(-?\d[\d.]*(?:e[-+]?\d+)?)"
    quoted = re.search(rf"(?:at most|least attainable [\w ]+?) {number}", refused.message)
    assert quoted, refused.message
    answer = again(float(quoted[1]))
    assert answer.success, (refused.message, answer.message)
    # and hardly more would not: the number is the nearest of six digits
    quote = float(quoted[1])
    nearer = quote + 3e-5 * abs(quote) * (1 if limit == "target_return" else -1)
    assert again(nearer).code is ReasonCode.INFEASIBLE


def test_equal_means_and_a_better_sharpe_ratio():
    """PyPortfolioOpt#738. Along [1 − x, x] the variance .01 + .01 x² is least at x = 0."""
    answer = ask([0.1, 0.1], [[0.01, 0.01], [0.01, 0.02]], "max_sharpe")
    assert answer.success, answer.message
    assert answer.weights == pytest.approx([1, 0], abs=1e-6)
    assert answer.sharpe_ratio == pytest.approx(1.0, abs=1e-9)


def test_a_correlation_of_one():
    """PyPortfolioOpt#737. The same risk, and twice the return."""
    answer = ask([0.1, 0.2], [[0.04, 0.04], [0.04, 0.04]], "max_sharpe")
    assert answer.success, answer.message
    assert answer.weights == pytest.approx([0, 1], abs=1e-7)


OJALGO = (
    [0.0427, 0.0015, 0.0285],
    [[0.01, 0.0018, 0.0011], [0.0018, 0.0109, 0.0026], [0.0011, 0.0026, 0.0199]],
)


def test_a_target_with_shorts():
    """ojAlgo#23. Σ⁻¹ applied to 1 and μ; b is short by little, far from −1."""
    means, covariance = (np.array(x) for x in OJALGO)
    rows = np.array([np.ones(3), means])
    inverse = np.linalg.inv(covariance)
    by_hand = inverse @ rows.T @ np.linalg.solve(rows @ inverse @ rows.T, [1.0, 0.0427])
    answer = ask(*OJALGO, "target_return", lower=-1.0, upper=1.0, target_return=0.0427)
    assert answer.success
    assert answer.weights == pytest.approx(by_hand, abs=1e-8)
    assert answer.weights == pytest.approx([0.82745, -0.09075, 0.26329], abs=1e-5)
    answer = ask(*OJALGO, "target_return", target_return=0.0427)
    assert answer.success
    assert answer.weights == pytest.approx([1, 0, 0], abs=1e-7)


NEAR = (
    [-5.77014524e-5, -3.90061527e-5, -1.87753305e-4],
    [
        [1.99767457e-7, 1.350427e-7, 6.50018304e-7],
        [1.350427e-7, 9.12887968e-8, 4.39412045e-7],
        [6.50018304e-7, 4.39412045e-7, 2.11507821e-6],
    ],
)


def test_a_covariance_that_is_nearly_singular():
    """PyPortfolioOpt#334: daily units, condition 1e10 or so, every mean negative."""
    answer = ask(*NEAR, "max_sharpe", lower=-5.0, upper=5.0)
    assert answer.success, answer.message
    assert answer.sharpe_ratio == pytest.approx(0.1290994, rel=1e-5)
    answer = ask(*NEAR, "max_sharpe")
    assert answer.code is ReasonCode.INFEASIBLE
    assert "risk-free rate" in answer.message


def test_groups_that_leave_no_room():
    """Riskfolio-Lib#176. .45 + .45 + .10: all three bind."""
    names, rng = tuple("abcdef"), np.random.default_rng(3)
    root = rng.normal(0, 0.1, (6, 6))
    means, covariance = rng.uniform(0.02, 0.1, 6), root @ root.T
    members = {"EQ": names[:2], "FI": names[2:4], "AL": names[4:]}

    def within(least):
        groups = [
            GroupLimit(g, members[g], 0.0, upper)
            for g, upper in {"EQ": 0.45, "FI": 0.45, "AL": least}.items()
        ]
        return [
            ask(means, covariance, objective, names, groups=groups)
            for objective in ("min_volatility", "max_return", "max_sharpe")
        ]

    for answer in within(0.10):
        assert answer.success, answer.message
        for part, total in ((slice(0, 2), 0.45), (slice(2, 4), 0.45), (slice(4, 6), 0.10)):
            assert answer.weights[part].sum() == pytest.approx(total, abs=1e-9)
    for answer in within(0.0999):
        assert answer.code is ReasonCode.INFEASIBLE
        assert "0.0001" in answer.message


def test_least_weights_above_one():
    with pytest.raises(ValueError, match=r"1\.1"):
        ask([0.1, 0.1], np.diag([0.01, 0.02]), lower=[0.5, 0.6])


def cash_funds(seed, n=4, t=250):
    """Daily returns of 1e-4 that hardly vary: a loss is rare, and the least CVaR is a gain."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.8e-4, 1.5e-4, n)
    return level + rng.normal(0, 1, (t, n)) * rng.uniform(1e-5, 3e-5, n)


def worst(returns, w, level=0.95):
    """Mean of the worst (1 − level), the loss at the quantile in part."""
    losses = np.sort(-(returns @ w))[::-1]
    tail = (1 - level) * len(losses)
    whole = int(tail)
    return (losses[:whole].sum() + (tail - whole) * losses[whole]) / tail


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("above", [0.0, 1e-9, 1e-6, 1e-3, 0.2])
def test_a_cvar_budget_of_cash_funds_is_met(seed, above):
    returns = cash_funds(seed)
    means, covariance = returns.mean(0) * 252, np.cov(returns, rowvar=False) * 252
    least = ask(means, covariance, "min_cvar", scenarios=returns)
    assert least.success
    assert least.cvar < 0  # a gain even in the worst twentieth
    budget = least.cvar + above * abs(least.cvar)
    answer = ask(means, covariance, "max_return", scenarios=returns, cvar_budget=budget)
    assert answer.success, answer.message
    assert worst(returns, answer.weights) <= budget + 1e-6 * abs(budget)
    assert answer.expected_return >= least.expected_return * (1 - 1e-6)
