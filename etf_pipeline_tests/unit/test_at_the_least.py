"""Ceilings at the least that can be had, where no multiplier is large enough for a proof."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, optimise, stated


def inputs(seed, n=6):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0004, 0.01, (200, n)) * rng.uniform(0.3, 2, n)
    returns += rng.normal(0, 0.006, (200, 1))
    return returns.mean(0) * 252, np.cov(returns.T) * 252, tuple("abcdef"[:n])


def test_two_alike_by_hand():
    """Half each has a volatility of 0.1 exactly, and is all that a budget of 0.1 allows, but for
    the room of 2e-11 that a limit of risk has: 0.02 (1/2 + 2t²) = (0.1 (1 + 2e-11))², t = √1e-11.
    """
    answer = optimise(
        stated([0.1, 0.2], np.diag([0.02, 0.02]), "ab", "max_return", risk_budget=0.1)
    )
    assert answer.success, answer.message
    more = math.sqrt(1e-11)
    assert answer.weights == pytest.approx([0.5 - more, 0.5 + more], abs=1e-10)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from(["bounds", "shorts", "group", "tracking"]),
    st.sampled_from([0.0, 1e-12, 1e-10, 1e-8, 1e-6]),
    st.sampled_from([1.0, 1e-6, 1e4]),
)
def test_a_budget_at_the_least_volatility_is_met_and_proven(seed, kind, above, unit):
    """The answer is near the least volatile portfolio: by √(2 · above) of it at most, in risk."""
    means, covariance, names = inputs(seed)
    means, covariance = means * unit, covariance * unit
    limits = {
        "bounds": {},
        "shorts": {"lower": -0.5},
        "group": {"groups": (GroupLimit("g", names[:2], 0.25, 0.25),)},
        "tracking": {"benchmark": np.full(6, 1 / 6), "max_tracking_error": 0.5 * unit**0.5},
    }[kind]
    lowest = optimise(stated(means, covariance, names, **limits))
    assert lowest.success, lowest.message
    budget = lowest.volatility * (1 + above)
    answer = optimise(stated(means, covariance, names, "max_return", risk_budget=budget, **limits))
    assert answer.success, answer.message
    assert answer.volatility <= budget * (1 + 1e-9)
    assert answer.expected_return >= lowest.expected_return - 1e-6 * np.ptp(means)
    apart = answer.weights - lowest.weights
    reach = lowest.volatility * np.sqrt(2 * above + above**2 + 1e-8)
    assert np.sqrt(apart @ covariance @ apart) <= reach


@pytest.mark.parametrize("unit", [1.0, 1e-4, 1e4])
def test_a_target_one_rounding_above_equal_means_is_met_by_all(unit):
    """Then the least volatile portfolio is asked for: inverse variances."""
    covariance = np.diag([0.01, 0.04, 0.09]) * unit
    means = np.full(3, 0.1) * unit
    target = float(np.nextafter(means[0], 1e9))
    answer = optimise(stated(means, covariance, "abc", "target_return", target_return=target))
    inverse = 1 / np.diag(covariance)
    assert answer.success, answer.message
    assert answer.weights == pytest.approx(inverse / inverse.sum(), abs=1e-6)
    above = optimise(stated(means, covariance, "abc", "target_return", target_return=1.01 * target))
    assert not above.success
    assert "out of reach" in above.message
