"""Messages about the impossible: numbers that are rounded to the side that works, limits named."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, optimise, stated
from etf_pipeline.portfolio.attainable import at_least, at_most, binding, conflict, hard, under
from etf_pipeline.portfolio.certificate import rows_of
from etf_pipeline_tests.portfolios_support import (
    HELD,
    LIMITED,
    THREE,
    THREE_MEANS,
    THREE_NAMES,
    two,
)

NUMBERS = st.floats(-1e12, 1e12, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-300)


def three(objective="min_volatility", **changes):
    return stated(THREE_MEANS, THREE, THREE_NAMES, objective, **changes)


def clash_of(problem):
    return conflict(problem, rows_of(problem))


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (0.1234561, "0.123457", "0.123456"),
        (-0.1234561, "-0.123456", "-0.123457"),
        (0.25, "0.25", "0.25"),
        (2.0, "2", "2"),
        (1234567.0, "1234570", "1234560"),
        (1.0000001e-9, "0.00000000100001", "0.000000001"),
        (0.0, "0", "0"),
        (0.9999999, "1", "0.999999"),
    ],
)
def test_numbers_are_rounded_to_the_side_that_works(value, least, most):
    assert (at_least(value), at_most(value)) == (least, most)


@given(NUMBERS)
def test_a_quoted_number_is_on_its_side_and_has_six_digits(value):
    least, most = Fraction(at_least(value)), Fraction(at_most(value))
    exact = Fraction(repr(value)) if "e" not in repr(value) else Fraction(value)
    assert float(least) >= value
    assert float(most) <= value
    assert least - most <= abs(exact) * Fraction(1, 10**5)
    for text in (at_least(value), at_most(value)):
        digits = text.lstrip("-").replace(".", "").lstrip("0")
        assert len(digits.rstrip("0")) <= 6
        assert "e" not in text.lower()


def test_no_allowed_weights_and_the_limits_are_named():
    groups = (GroupLimit("low", ("a", "b"), 0.0, 0.3), GroupLimit("few", ("c",), 0.0, 0.5))
    message = clash_of(three(groups=groups))
    assert message.startswith("no portfolio meets all limits at once: group ")
    # 0.3 + 0.5 leave 0.2 that no limit has room for
    assert "short by 0.2" in message


def test_limits_that_go_together_are_no_conflict():
    assert clash_of(three(**LIMITED["all"])) is None
    assert clash_of(three()) is None


def test_turnover_that_bounds_make_impossible_is_named():
    """Held 0.5 in a, of which only 0.1 may stay: 0.4 must move, 0.1 may."""
    message = clash_of(three(upper=[0.1, 1, 1], holdings=HELD, max_turnover=0.1))
    _, found, short = message.partition("turnover at most 0.1 (short by ")
    assert found
    assert 0.3 <= float(short.rstrip(")")) <= 0.300001  # rounded to the side that works


def test_active_weights_that_bounds_make_impossible_are_named():
    """0.5 of the benchmark is in a, of which 0.1 may be held."""
    message = clash_of(three(upper=[0.1, 1, 1], benchmark=HELD, max_active_weight=0.2))
    assert message is not None
    assert message.startswith("active weights of a cannot be within their bounds")
    assert message.endswith("has to be 0.4 at least")
    assert clash_of(three(upper=[0.1, 1, 1], benchmark=HELD, max_active_weight=0.4)) is None


def test_active_weights_that_leave_no_full_investment():
    """Within 0.1 of (0.3, 0.1, 0.1), at most 0.8 is invested."""
    message = clash_of(three(benchmark=[0.3, 0.1, 0.1], max_active_weight=0.1))
    assert message == "weights within all bounds sum to 0.2 at least and 0.8 at most; widen them"


def test_limits_in_force_are_named_and_plain_ones_are_not():
    problem = three(
        lower=[0.2, 0.0, 0.0],
        upper=[1.0, 0.5, 1.0],
        groups=(GroupLimit("ab", ("a", "b"), 0.0, 0.7),),
    )
    assert binding(problem, np.array([0.2, 0.5, 0.3])) == [
        "a at least 0.2",
        "b at most 0.5",
        "group ab at most 0.7",
    ]
    assert binding(problem, np.array([0.5, 0.0, 0.5])) == []
    assert binding(three(), np.array([0.0, 0.0, 1.0])) == []


def test_words_for_messages():
    assert under(two(upper=[1.0, 0.4]), np.array([0.6, 0.4])) == (
        " under these limits: b at most 0.4"
    )
    assert under(two(), np.array([0.6, 0.4])) == " under these bounds"


def test_hard_limits_are_those_of_risk_and_return():
    problem = three(
        "target_return",
        target_return=0.15,
        risk_budget=0.2,
        benchmark=HELD,
        max_tracking_error=0.1,
        beta=(0.5, 1.5),
        groups=(GroupLimit("g", ("a",), 0.1, 0.9),),
        scenarios=np.eye(3),
        cvar_budget=1.0,
    )
    assert {x.name for x in hard(problem)} == {
        "target return",
        "risk budget",
        "tracking-error ceiling",
        "CVaR budget",
    }


# What a refusal quotes, asked for again: it must work, and a little less must not.

FOUR = np.array([[-0.04, 0.0], [0.0, -0.04], [0.01, 0.01], [0.02, 0.03]])


def quoted(message):
    """The attainable number of a message."""
    for mark in (
        "out of reach: at most ",
        "least attainable volatility ",
        "least attainable CVaR ",
        "least attainable tracking error ",
    ):
        _, found, rest = message.partition(mark)
        if found:
            return float(rest.split()[0].rstrip(";,"))
    raise AssertionError(message)


ALONE = {
    # 1/(1/0.01 + 1/0.09) of variance at least
    "risk_budget": (two, "max_return", {}, 0.05, 0.009**0.5),
    "target_return": (two, "target_return", {}, 0.5, 0.2),
    "cvar_budget": (
        two,
        "max_return",
        {"scenarios": FOUR, "cvar_level": 0.75},
        0.01,
        0.02,
    ),
    # (0, 1) is the benchmark and b at most 0.4: the difference is (0.6, −0.6)
    "max_tracking_error": (
        two,
        "max_return",
        {"benchmark": [0.0, 1.0], "upper": [1.0, 0.4]},
        0.01,
        0.6 * 0.1**0.5,
    ),
}


@pytest.mark.parametrize("limit", ALONE)
def test_the_number_of_a_refusal_is_right_and_works(limit):
    make, objective, others, asked, expected = ALONE[limit]
    refused = optimise(make(objective, **others, **{limit: asked}))
    assert refused.weights is None
    number = quoted(refused.message)
    assert number == pytest.approx(expected, rel=1e-5)
    assert optimise(make(objective, **others, **{limit: number})).success
    further = number * (1.0001 if limit == "target_return" else 0.9999)
    assert not optimise(make(objective, **others, **{limit: further})).success


@given(
    st.integers(2, 6),
    st.integers(0, 2**31),
    st.sampled_from([1e-6, 1.0, 1e3]),
    st.floats(0.3, 0.99),
)
def test_two_limits_that_clash_quote_numbers_that_work_beside_the_other(n, seed, unit, share):
    """A return that volatility does not allow: either limit may give way, by the number quoted."""
    rng = np.random.default_rng(seed)
    returns = (rng.normal(0.001, 0.01, (60, n)) + rng.normal(0, 0.006, (60, 1))) * unit
    means, covariance = returns.mean(0), np.cov(returns, rowvar=False)
    names = tuple(f"T{i}" for i in range(n))

    def ask(objective="min_volatility", **limits):
        return optimise(stated(means, covariance, names, objective, **limits))

    low, top = ask(), ask("max_return")
    assume(top.volatility > 1.01 * low.volatility)
    assume(top.expected_return - low.expected_return > 0.01 * float(np.ptp(means)))
    target = low.expected_return + share * (top.expected_return - low.expected_return)
    needed = ask("target_return", target_return=target).volatility
    budget = low.volatility + 0.5 * (needed - low.volatility)
    refused = ask("target_return", target_return=target, risk_budget=budget)
    assert refused.weights is None
    parts = refused.message.split("; or ")
    assert len(parts) == 2
    reach = quoted(next(p for p in parts if p.startswith("target return")))
    raised = quoted(next(p for p in parts if p.startswith("risk budget")))
    assert raised == pytest.approx(needed, rel=1e-4)
    assert ask("target_return", target_return=reach, risk_budget=budget).success
    assert ask("target_return", target_return=target, risk_budget=raised).success


def test_three_limits_of_which_two_clash():
    """A floor, a budget and a tracking error: every number that is quoted works."""

    def ask(**changes):
        limits = {"target_return": 0.19, "risk_budget": 0.15, "max_tracking_error": 0.2} | changes
        return optimise(two("max_utility", risk_aversion=1.0, benchmark=[0.5, 0.5], **limits))

    refused = ask()
    assert refused.weights is None
    for part in refused.message.split("; or "):
        name = "target_return" if part.startswith("target return") else "risk_budget"
        assert ask(**{name: quoted(part)}).success, part


def test_group_and_budget_that_clash_name_the_group():
    """At least 0.6 in b: √(0.16 · 0.01 + 0.36 · 0.09) of volatility."""
    group = (GroupLimit("b", ("b",), 0.6, 1.0),)
    refused = optimise(two("max_return", groups=group, risk_budget=0.15))
    assert "group b at least 0.6" in refused.message
    assert quoted(refused.message) == pytest.approx((0.0016 + 0.0324) ** 0.5, rel=1e-5)
    assert optimise(two("max_return", groups=group, risk_budget=quoted(refused.message))).success


def test_a_limit_out_of_reach_alone_is_quoted_beside_the_others():
    """A tracking error of 0.1 to b leaves at most 0.1/√0.1 in a: that is the least volatile."""
    x = 0.1 / 0.1**0.5
    least = (0.01 * x**2 + 0.09 * (1 - x) ** 2) ** 0.5

    def ask(budget):
        limits = {"benchmark": [0.0, 1.0], "max_tracking_error": 0.1, "risk_budget": budget}
        return optimise(two("max_return", **limits))

    refused = ask(0.05)
    assert refused.weights is None
    number = quoted(next(p for p in refused.message.split("; or ") if p.startswith("risk budget")))
    assert number == pytest.approx(least, rel=1e-5)
    assert ask(number).success


def test_several_limits_out_of_reach_are_all_named():
    """Volatility is at least 0.0949, the CVaR at least 0.02."""
    refused = optimise(
        two("max_return", scenarios=FOUR, cvar_level=0.75, cvar_budget=0.01, risk_budget=0.05)
    )
    assert refused.weights is None
    assert "risk budget 0.05" in refused.message
    assert "CVaR budget 0.01" in refused.message
