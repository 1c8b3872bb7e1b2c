"""Ceilings at the least risk that can be had, and just above: derived on paper."""

import math

import numpy as np
import pytest

from etf_pipeline.portfolio import optimise, stated

MEANS = np.array([0.02, 0.05, 0.09])


def best(means, covariance, above, unit=1.0, **limits):
    """Greatest return with a volatility of `above` more than 1/√3 in total, relatively."""
    budget = (1.0 + above) / math.sqrt(3.0)
    names = tuple("abcdefgh"[: len(means)])
    return optimise(
        stated(
            np.asarray(means) * unit,
            np.asarray(covariance) * unit**2,
            names,
            "max_return",
            risk_budget=budget * unit,
            **limits,
        )
    )


def farthest(means, above):
    """Of uncorrelated assets of variance 1, equal weights are least risky, with 1/√3; √(r² − 1/3)
    is the way that is left, and straight up is the best.
    """
    up = means - means.mean()
    room = ((1.0 + above) ** 2 - 1.0) / 3.0
    return 1.0 / 3.0 + math.sqrt(room) * up / np.linalg.norm(up)


@pytest.mark.parametrize("unit", [1e-8, 1 / 252, 1.0, 1e4])
@pytest.mark.parametrize("above", [1e-3, 1e-5, 1e-7, 1e-9])
def test_the_way_that_is_left(above, unit):
    answer = best(MEANS, np.eye(3), above, unit)
    assert answer.success, answer.message
    expected = farthest(MEANS, above)
    # a ceiling has a room of 2e-11 for rounding
    assert answer.weights == pytest.approx(expected, abs=2e-11 / math.sqrt(above) + 1e-11)


@pytest.mark.parametrize("above", [0.0, -1e-13, 1e-14])
def test_no_way_is_left(above):
    answer = best(MEANS, np.eye(3), above)
    assert answer.success, answer.message
    assert answer.weights == pytest.approx([1 / 3] * 3, abs=1e-5)


@pytest.mark.parametrize("above", [1e-4, 1e-7, 1e-9])
def test_what_costs_risk_at_once_is_not_bought(above):
    """One asset more, that earns the most and moves with the others: any of it costs at once.

    Its covariance with each is 3, against 1/3 of all together: of the room of 1e-9 it would take
    some 1e-10, which earns less than nothing beside √1e-9.
    """
    covariance = np.eye(4)
    covariance[3, :3] = covariance[:3, 3] = 3.0
    covariance[3, 3] = 100.0
    answer = best([*MEANS, 0.5], covariance, above)
    assert answer.success, answer.message
    assert answer.weights[3] == pytest.approx(0.0, abs=1e-12)
    expected = farthest(MEANS, above)
    assert answer.weights[:3] == pytest.approx(expected, abs=2e-11 / math.sqrt(above) + 1e-11)


@pytest.mark.parametrize("above", [1e-5, 1e-8])
def test_of_two_alike_the_one_that_earns_more(above):
    """The last of them is held twice: its copy earns 0.01 more, for the same risk."""
    covariance = np.eye(4)
    covariance[2, 3] = covariance[3, 2] = 1.0
    answer = best([*MEANS, MEANS[2] + 0.01], covariance, above)
    assert answer.success, answer.message
    means = np.array([*MEANS[:2], MEANS[2] + 0.01])
    expected = farthest(means, above)
    near = 2e-11 / math.sqrt(above) + 1e-10
    assert answer.weights == pytest.approx([*expected[:2], 0.0, expected[2]], abs=near)
