"""Few holdings against every choice of them, tried one by one."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio import optimise, stated
from etf_pipeline_tests.portfolios_support import tracking_all

# What each objective makes least, of an answer.
SCORES = {
    "min_volatility": lambda a: a.volatility,
    "max_sharpe": lambda a: -a.sharpe_ratio,
    "max_return": lambda a: -a.expected_return,
    "min_tracking_error": lambda a: a.tracking_error,
    "max_utility": lambda a: -(a.expected_return - 2.5 * a.volatility**2),
}


def inputs(n, seed):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0004, 0.01, (300, n)) * rng.uniform(0.3, 2, n)
    returns += rng.normal(0, 0.006, (300, 1))
    return returns.mean(0) * 252, np.cov(returns.T) * 252, tuple("abcdefgh"[:n])


def asked(objective, covariance, rng):
    n = len(covariance)
    if objective == "max_return":
        return {"risk_budget": float(np.sqrt(np.diag(covariance)).min() * rng.uniform(0.9, 1.3))}
    if objective == "min_tracking_error":
        return {"benchmark": np.full(n, 1 / n)}
    return {"risk_aversion": 5.0} if objective == "max_utility" else {}


def best_by_hand(means, covariance, names, objective, most, least, upper, limits):
    """The least score over every choice of up to `most` assets; None where none is possible."""
    n, found = len(names), []
    for size in range(1, most + 1):
        for choice in itertools.combinations(range(n), size):
            low, high = np.zeros(n), np.zeros(n)
            low[list(choice)], high[list(choice)] = min(least, upper), upper
            if high.sum() < 1 or low.sum() > 1:
                continue
            answer = optimise(
                stated(means, covariance, names, objective, lower=low, upper=high, **limits)
            )
            if answer.success:
                found.append(SCORES[objective](answer))
    return min(found, default=None)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(4, 7),
    st.integers(1, 3),
    st.sampled_from(sorted(SCORES)),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.sampled_from([1.0, 0.6]),
    st.integers(0, 2**31),
)
def test_no_choice_of_few_is_better(n, most, objective, least, upper, seed):
    means, covariance, names = inputs(n, seed)
    upper = 1.0 if most * upper < 1 else upper
    limits = asked(objective, covariance, np.random.default_rng(seed))
    more = {"min_position": least} if least else {}
    answer = optimise(
        stated(
            means, covariance, names, objective, upper=upper, max_holdings=most, **more, **limits
        )
    )
    best = best_by_hand(means, covariance, names, objective, most, least, upper, limits)
    if best is None:
        assert not answer.success
        return
    assert answer.success, answer.message
    assert SCORES[objective](answer) == pytest.approx(best, abs=1e-6)
    held = answer.weights[answer.weights != 0]
    assert len(held) <= most
    assert np.all(held >= least - 1e-9)


def test_one_of_three_is_the_least_volatile():
    answer = optimise(stated([0.1] * 3, np.diag([0.04, 0.01, 0.09]), "abc", max_holdings=1))
    assert answer.weights.tolist() == [0, 1, 0]
    assert answer.volatility == pytest.approx(0.1)


def test_a_search_that_is_cut_short_says_what_may_be_left():
    n = 12
    rng = np.random.default_rng(1)
    returns = rng.normal(0, 0.01, (200, n)) + rng.normal(0, 0.002, (200, 1))
    covariance = np.cov(returns.T)
    answer = optimise(tracking_all(covariance, max_holdings=4, search_limit=3))
    assert not answer.success
    assert answer.code is ReasonCode.UNPROVEN
    assert np.count_nonzero(answer.weights) <= 4
    assert "the best of 3 choices of holdings" in answer.message
    assert "a search_limit above 3 tries more" in answer.message
    assert 0 < answer.optimality_gap < answer.tracking_error


@pytest.mark.parametrize(("least", "held"), [(0.3, 3), (1 / 3, 3), (0.4, 2), (0.6, 1)])
def test_a_least_size_says_how_many_fit(least, held):
    """Of alike assets as many as fit are the least volatile; one choice is enough to know."""
    given = {"min_position": least, "search_limit": 1}
    answer = optimise(stated([0.1] * 8, np.eye(8), "abcdefgh", "min_volatility", **given))
    assert np.count_nonzero(answer.weights) == held
    assert answer.volatility == pytest.approx(held**-0.5)


def test_too_few_for_the_bounds_is_impossible():
    answer = optimise(stated([0.1] * 3, np.eye(3), "abc", upper=0.4, max_holdings=2))
    assert not answer.success
    assert answer.code is ReasonCode.INFEASIBLE
    assert "number of holdings" in answer.message


@pytest.mark.parametrize(
    "more", [{}, {"risk_budget": 0.1}, {"max_holdings": 2}, {"max_holdings": 1}]
)
def test_a_ratio_without_risk_is_none(more):
    """Equal parts of a and b have no risk and earn 3.5 %; c has none and earns 3 %."""
    exposures = np.array([0.1, -0.1, 0.0])
    answer = optimise(
        stated([0.05, 0.02, 0.03], np.outer(exposures, exposures), "abc", "max_sharpe", **more)
    )
    assert answer.code is ReasonCode.BAD_PROBLEM
    assert "a portfolio without risk earns more than the risk-free rate" in answer.message


def test_few_that_earn_less_than_cash_are_told_so():
    """One holding is b or c, which earn 1 %; a fifth of a would have brought 2.8 %."""
    given = stated(
        [0.10, 0.01, 0.01],
        np.eye(3),
        "abc",
        "max_sharpe",
        upper=[0.2, 1, 1],
        max_holdings=1,
        risk_free_rate=0.02,
    )
    answer = optimise(given)
    assert answer.code is ReasonCode.INFEASIBLE
    assert answer.message.startswith(
        "with its number of holdings no portfolio is expected to earn more than the risk-free "
        "rate: at most 0.01, against 0.02"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_holdings": 2, "lower": -0.1}, "without short positions"),
        ({"max_holdings": 1.5}, "whole number"),
        ({"max_holdings": 0}, "above 0"),
        ({"min_position": -0.1}, "must not be negative"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        stated([0.1] * 3, np.eye(3), "abc", **changes)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"max_holdings": 2, "upper": 0.4}, "3 holdings are enough"),
        ({"max_holdings": 2, "lower": 0.1}, "4 holdings are enough"),
        ({"min_position": 0.5, "upper": 0.4}, "a least position of 0.333333 can be met"),
        ({"min_position": 0.3, "lower": 0.1}, "a least position of 0.25 can be met"),
        ({"min_position": 0.5, "max_holdings": 3, "upper": 0.4}, "0.333333 can be met"),
    ],
)
def test_what_would_be_enough_is_told_and_is(asked, words):
    """Of four: caps of 0.4 take three, floors of 0.1 all; positions are even at most."""
    inputs = np.array([0.05, 0.06, 0.07, 0.08]), np.diag([0.01, 0.02, 0.03, 0.04]), tuple("abcd")
    answer = optimise(stated(*inputs, **asked))
    assert answer.code is ReasonCode.INFEASIBLE
    assert words in answer.message
    if "holdings" in words:
        asked["max_holdings"] = int(words[0])
    else:
        asked["min_position"] = float(re.search(r"0\.\d+", words)[0])
    assert optimise(stated(*inputs, **asked)).success


@pytest.mark.filterwarnings("error")
def test_all_in_cash_is_a_choice_too():
    """Held at all, the only asset is all there is, at twice the ceiling: only cash is within it."""
    asked = {"min_position": 1.0, "net_exposure": (0.0, 1.0), "risk_budget": 0.1}
    inputs = np.array([0.08]), np.array([[0.04]]), ("a",)
    most = optimise(stated(*inputs, objective="max_return", risk_free_rate=0.02, **asked))
    assert (most.success, most.weights.tolist()) == (True, [0.0])
    ratio = optimise(stated(*inputs, objective="max_sharpe", risk_free_rate=0.02, **asked))
    assert ratio.code is ReasonCode.INFEASIBLE
