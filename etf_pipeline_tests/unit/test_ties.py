"""Of several portfolios that earn the most, the least volatile one: by hand, in any order and unit.

Assets are uncorrelated. What is free to share is shared so that variance · weight is the same of
all that get any (the least of Σ v w² where Σ w is given).
"""

import itertools
import math

import numpy as np
import pytest

from etf_pipeline.portfolio import GroupLimit, nearest_feasible, optimise, stated

# Means are equal, and a part is yet to be bought: whatever is bought costs alike.
TWO = (
    {"holdings": [0.7, 0.2], "cost_rate": 0.002},
    [0.07, 0.07],
    [0.04, 0.01],
    [0.7, 0.3],
)
# 0.01 · (0.2 + x) = 0.0225 · (0.1 - x) at x = 1/130; the first, of 0.04 · 0.7, gets none.
THREE = (
    {"holdings": [0.7, 0.2, 0.05], "cost_rate": 0.002},
    [0.07, 0.07, 0.07],
    [0.04, 0.01, 0.0225],
    [0.7, 27 / 130, 12 / 130],
)
# Half may be traded for what earns more: 0.04 · 0.1 = 0.01 · 0.4.
TRADED = (
    {"holdings": [0.0, 0.0, 1.0], "max_turnover": 0.5},
    [0.07, 0.07, 0.05],
    [0.04, 0.01, 0.01],
    [0.1, 0.4, 0.5],
)
# The same at a cost that is less than what it earns.
PAID = ({**TRADED[0], "cost_rate": 0.001}, *TRADED[1:])
# 0.8 and 0.2 without a limit; the cap leaves 0.7.
CAPPED = (
    {"groups": "first and last", "holdings": [0.7, 0.3, 0.0], "max_turnover": 0.9},
    [0.07, 0.07, 0.05],
    [0.01, 0.04, 0.01],
    [0.7, 0.3, 0.0],
)


def asked(limits, means, variances, order, unit):
    """The problem with its assets in an order, and names by that order."""
    names = tuple(f"A{k}" for k in range(len(order)))
    given = {k: np.array(v)[order] if k == "holdings" else v for k, v in limits.items()}
    if "groups" in given:
        members = tuple(names[k] for k, i in enumerate(order) if i in (0, 2))
        given["groups"] = (GroupLimit("g", members, 0.0, 0.7),)
    if "cost_rate" in given:
        given["cost_rate"] *= unit
    return stated(
        unit * np.array(means)[order],
        unit * np.diag(np.array(variances)[order]),
        names,
        "max_return",
        **given,
    )


@pytest.mark.parametrize("unit", [1e-8, 1 / 252, 1.0, 1e4])
@pytest.mark.parametrize(
    "case",
    [TWO, THREE, TRADED, PAID, CAPPED],
    ids=["two", "three", "traded", "paid", "capped"],
)
def test_of_several_that_earn_the_most_the_least_volatile(case, unit):
    limits, means, variances, right = case
    for order in itertools.permutations(range(len(means))):
        answer = optimise(asked(limits, means, variances, list(order), unit))
        assert answer.success, answer.message
        assert answer.weights == pytest.approx(np.array(right)[list(order)], abs=1e-6)


# Variances of 0.04 and 0.09: a long and a short position of a have a volatility of √0.13 · a.
LARGEST = [
    ({}, 1.0),
    ({"gross_exposure": 1.2}, 0.6),
    ({"lower": -0.4}, 0.4),
    ({"risk_budget": 0.1}, 0.1 / math.sqrt(0.13)),
]


@pytest.mark.parametrize("unit", [1e-8, 1 / 252, 1.0, 1e4])
@pytest.mark.parametrize(
    ("limits", "size"), LARGEST, ids=["bounds", "gross exposure", "short", "risk"]
)
def test_the_ratio_of_a_neutral_portfolio_is_that_of_its_largest_positions(limits, size, unit):
    """The ratio is (0.07 − 0.03) a / (√0.13 a) for every a."""
    given = {"lower": -1.0, "net_exposure": (0.0, 0.0), **limits}
    if "risk_budget" in given:
        given["risk_budget"] *= math.sqrt(unit)
    for names, right in (("ab", [size, -size]), ("ba", [size, -size])):
        answer = optimise(
            stated(
                unit * np.array([0.07, 0.03]),
                unit * np.diag([0.04, 0.09]),
                tuple(names),
                "max_sharpe",
                risk_free_rate=unit * 0.02,
                **given,
            )
        )
        assert answer.success, answer.message
        assert answer.weights == pytest.approx(right, abs=1e-8)
        assert answer.sharpe_ratio == pytest.approx(math.sqrt(unit) * 0.04 / math.sqrt(0.13))


@pytest.mark.parametrize("volatility", [0.157, 0.28, 0.414, 0.454])
@pytest.mark.parametrize("other", [0.0, 0.5, 1.0])
def test_rounding_does_not_choose_between_assets_that_are_the_same(volatility, other):
    """Two assets in all alike, of a correlation of `other` with a third that earns less."""
    volatilities = np.array([volatility, volatility, 0.1])
    correlations = np.array([[1.0, 1.0, other], [1.0, 1.0, other], [other, other, 1.0]])
    covariance = correlations * np.outer(volatilities, volatilities)
    found = [
        optimise(
            stated(unit * np.array([0.11, 0.11, 0.05]), unit * covariance, "abc", "max_return")
        )
        for unit in (1e-8, 1e-4, 1 / 252, 1 / 12, 1.0, 100.0, 1e4)
    ]
    for answer in found:
        assert answer.success, answer.message
        assert answer.weights == pytest.approx(found[0].weights, abs=1e-9)


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e4])
def test_of_several_that_take_the_least_turnover_the_least_volatile(unit):
    """From 0.8 of a and 0.2 of b, a is sold to its 0.5; c and d share: 0.01 · 0.24 = 0.04 · 0.06.

    b, of a variance of 0.09 and 0.2 held, gets none of it.
    """
    problem = stated(
        unit * np.array([0.05, 0.06, 0.07, 0.04]),
        unit * np.diag([0.02, 0.09, 0.01, 0.04]),
        ("a", "b", "c", "d"),
        upper=[0.5, 1.0, 1.0, 1.0],
        holdings=[0.8, 0.2, 0.0, 0.0],
        max_turnover=0.1,
    )
    answer = nearest_feasible(problem)
    assert answer.success, answer.message
    assert answer.weights == pytest.approx([0.5, 0.2, 0.24, 0.06], abs=1e-6)
