"""The check on final weights: by definition, against limits written down once more."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit
from etf_pipeline.portfolio.check import FEASIBLE, allowed, violations
from etf_pipeline_tests.portfolios_support import GRID, HELD, LIMITED, limited, meets, three, two


@pytest.mark.parametrize("changes", LIMITED.values(), ids=LIMITED.keys())
def test_allowed_is_what_the_limits_say(changes):
    problem = three(**changes)
    candidates = [*GRID, HELD]
    answers = [allowed(problem, w, 1e-9) for w in candidates]
    assert answers == [meets(changes, w) for w in candidates]
    assert any(answers)


def test_allowed_within_a_tolerance():
    problem = three(upper=[0.5, 0.5, 0.5], groups=(GroupLimit("g", ("a",), 0.0, 0.4),))
    near = np.array([0.4 + 1e-7, 0.3, 0.3 - 1e-7])
    assert allowed(problem, near, 1e-6)
    assert not allowed(problem, near, 1e-8)
    short = np.array([0.3, 0.3, 0.4 - 1e-7])
    assert allowed(problem, short, 1e-6)
    assert not allowed(problem, short, 1e-8)


def test_weights_that_are_not_allowed_are_refused():
    problem = two(upper=[0.6, 0.6])
    good = np.array([0.5, 0.5])
    assert allowed(problem, good)
    for by, (i, j) in itertools.product((2 * FEASIBLE, 0.2), ((0, 1), (1, 0))):
        assert not allowed(problem, good + by * np.eye(2)[i])  # does not sum to 1
        assert not allowed(problem, np.array([0.6, 0.4])[[i, j]] + by * np.array([1, -1])[[i, j]])


@pytest.mark.parametrize(
    ("net", "within", "beyond"),
    [((1, 1), [1.0], [0.999, 1.001]), ((0.5, 0.9), [0.5, 0.7, 0.9], [0.49, 0.91])],
)
def test_the_sum_is_within_the_net_exposure(net, within, beyond):
    problem = two(net_exposure=net)
    assert all(allowed(problem, np.full(2, s / 2)) for s in within)
    for total in beyond:
        (message,) = violations(problem, np.full(2, total / 2))
        assert message == f"weights sum to {total:g}"


def test_what_is_broken_is_named():
    problem = two(
        upper=[0.6, 1.0],
        groups=(GroupLimit("bonds", ("b",), 0.4, 1.0),),
        benchmark=[0.5, 0.5],
        max_tracking_error=0.01,
    )
    found = violations(problem, np.array([0.8, 0.2]))
    assert found[0] == "a at 0.8 is not within its bounds"
    assert [m.partition(" is not met")[0] for m in found[1:]] == [
        "bonds",
        "tracking-error ceiling",
    ]
    assert violations(problem, np.array([0.5, 0.5])) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_not_allowed(value):
    assert not allowed(two(), np.array([value, 0.5]))


@given(limited(), st.integers(0, 2**31), st.floats(1e-6, 0.5))
def test_weights_beyond_any_one_limit_are_not_allowed(asked, seed, by):
    """Every limit is broken by itself: it is tightened to `by` less than the weights have."""
    problem, inside = asked
    assert allowed(problem, inside)
    rng = np.random.default_rng(seed)
    for k, limit in enumerate(problem.limits):
        weights = inside + 0.01 * rng.normal(size=len(inside))
        weights += (1.0 - weights.sum()) / len(weights)
        alone = problem.changed(
            limits=(limit,),
            lower=np.minimum(problem.lower, weights),
            upper=np.maximum(problem.upper, weights),
        )
        assert allowed(alone, weights) == (limit.excess(alone, weights) <= FEASIBLE), k
