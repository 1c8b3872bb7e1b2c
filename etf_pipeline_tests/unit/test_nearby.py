"""Ceilings at the least risk that can be had, and just above: derived on paper."""

import math

import numpy as np
import pytest

from etf_pipeline.portfolio import GroupLimit, optimise, stated

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


def near(above):
    """What the room for rounding, 2e-11 of a ceiling, may move."""
    return 2e-11 / math.sqrt(above) + 1e-10


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
    assert answer.weights == pytest.approx(expected, abs=near(above))


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
    assert answer.weights[:3] == pytest.approx(expected, abs=near(above))


@pytest.mark.parametrize("above", [1e-5, 1e-8])
def test_of_two_alike_the_one_that_earns_more(above):
    """The last of them is held twice: its copy earns 0.01 more, for the same risk."""
    covariance = np.eye(4)
    covariance[2, 3] = covariance[3, 2] = 1.0
    answer = best([*MEANS, MEANS[2] + 0.01], covariance, above)
    assert answer.success, answer.message
    means = np.array([*MEANS[:2], MEANS[2] + 0.01])
    expected = farthest(means, above)
    assert answer.weights == pytest.approx([*expected[:2], 0.0, expected[2]], abs=near(above))


def between(low, high, variance, above):
    """Of two weights with a given sum the way that is left, where all others have to stay."""
    step = math.sqrt(variance * ((1.0 + above) ** 2 - 1.0) / 2.0)
    return [low - step, high + step]


@pytest.mark.parametrize("unit", [1e-4, 1.0])
@pytest.mark.parametrize("above", [1e-5, 1e-9])
def test_all_that_may_be_traded_is(above, unit):
    """From all in the first, 0.3 may go: 0.15 each to the others is the least risky."""
    variance = 0.7**2 + 2 * 0.15**2
    answer = optimise(
        stated(
            MEANS * unit,
            np.eye(3) * unit**2,
            ("a", "b", "c"),
            "max_return",
            risk_budget=math.sqrt(variance) * (1.0 + above) * unit,
            holdings=np.array([1.0, 0.0, 0.0]),
            max_turnover=0.3,
        )
    )
    assert answer.success, answer.message
    expected = [0.7, *between(0.15, 0.15, variance, above)]
    assert answer.weights == pytest.approx(expected, abs=near(above))


@pytest.mark.parametrize("unit", [1e-4, 1.0])
@pytest.mark.parametrize("above", [1e-5, 1e-9])
@pytest.mark.parametrize("apart", [0.0, 0.05])
def test_a_cvar_that_binds_stays(above, unit, apart):
    """The worse of two losses, of 0.3 of the first or of the second, is 0.06 at most: with 0.2 of
    each the two are alike, or with `apart` of the second lost besides, the second decides.
    """
    lost = np.array([[0.3, 0.0, 0.0, 0.0], [0.0, 0.3 + apart, 0.0, 0.0]])
    tight = [0.2, 0.06 / (0.3 + apart)]
    rest = (1.0 - sum(tight)) / 2.0
    variance = tight[0] ** 2 + tight[1] ** 2 + 2 * rest**2
    answer = optimise(
        stated(
            np.array([0.01, 0.01, 0.05, 0.09]) * unit,
            np.eye(4) * unit**2,
            ("a", "b", "c", "d"),
            "max_return",
            risk_budget=math.sqrt(variance) * (1.0 + above) * unit,
            scenarios=-lost * unit,
            cvar_level=0.5,
            cvar_budget=0.06 * unit,
        )
    )
    assert answer.success, answer.message
    expected = [*tight, *between(rest, rest, variance, above)]
    assert answer.weights == pytest.approx(expected, abs=near(above))


@pytest.mark.parametrize("above", [0.0, 1e-12, 1e-9, 1e-6])
def test_groups_that_say_the_same_twice_leave_their_price_whole(above):
    """The third is half by a group, and the rest by another; of the first two, alike, more of one.

    1/2 of the third and 1/4 each of the others: 1/4 + 2/16 = 0.375, and the way between the two.
    """
    groups = (GroupLimit("g", ("c",), 0.5, 0.5), GroupLimit("h", ("a", "b"), 0.5, 0.5))
    answer = optimise(
        stated(
            MEANS,
            np.eye(3),
            ("a", "b", "c"),
            "max_return",
            risk_budget=math.sqrt(0.375) * (1.0 + above),
            groups=groups,
        )
    )
    assert answer.success, answer.message
    room = (1.0 + above) * (1.0 + 2e-11) - 1.0
    expected = [*between(0.25, 0.25, 0.375, room), 0.5]
    assert answer.weights == pytest.approx(expected, abs=3e-8)
