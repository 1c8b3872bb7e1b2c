"""What a problem refuses, and what it works out for itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio import GroupLimit, Problem

DIAGONAL = np.diag([0.01, 0.09])
MEANS = np.array([0.10, 0.20])


INDEFINITE = [
    [1.28992571, 0.05675357, 0.23213086, 0.04030597],
    [0.05675357, 0.39647776, 0.3670981, 0.09351321],
    [0.23213086, 0.3670981, 0.37204403, 0.19053016],
    [0.04030597, 0.09351321, 0.19053016, 0.17553035],
]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"covariance": INDEFINITE, "means": np.zeros(4)}, "least eigenvalue is -0.0303369"),
        ({"covariance": [[1, 0.5], [0.4, 1]]}, "not symmetric"),
        ({"means": [0.1, np.nan]}, "not finite"),
        ({"lower": [0.6, 0.6]}, "sums from 1.2"),
        ({"upper": [0.4, 0.4]}, "sums from 0 to 0.8"),
        ({"lower": [0.5, 0], "upper": [0.2, 1]}, "above greatest weight for a"),
        ({"objective": "target_return"}, "target_return"),
        ({"risk_budget": 0.1}, "max_return"),
        ({"means": [0.1]}, "shape"),
    ],
)
def test_bad_problems_are_refused_by_name(changes, words):
    values = {"means": MEANS, "covariance": DIAGONAL} | changes
    with pytest.raises(ValueError) as caught:
        Problem(names=tuple("abcd"[: len(np.asarray(values["covariance"]))]), **values)
    assert words in str(caught.value)


def test_duplicates_are_refused_by_name():
    with pytest.raises(ValueError, match="asked for twice: VAS"):
        Problem(MEANS, DIAGONAL, ("VAS", "VAS"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": (GroupLimit("x", ("Z",)),)}, "Z is not in the names"),
        ({"max_turnover": 0.1}, "need holdings"),
        ({"objective": "min_cvar"}, "needs scenarios"),
        ({"cvar_budget": 0.1}, "max_return"),
        ({"objective": "max_return", "target_return": 0.1}, "target_return goes with"),
    ],
)
def test_bad_limits_are_refused_by_name(changes, words):
    with pytest.raises(ValueError, match=words):
        Problem(MEANS, DIAGONAL, ("A", "B"), **changes)


@pytest.mark.parametrize("objective", ["min_cvar", "max_return"])
@pytest.mark.parametrize(
    ("scenarios", "words"),
    [
        (np.zeros(2), r"shape \(T, 2\)"),
        (np.zeros((0, 2)), r"shape \(T, 2\)"),
        (np.zeros((5, 3)), r"shape \(T, 2\)"),
        (np.full((5, 2), np.inf), "must be finite"),
    ],
)
def test_bad_scenarios_are_refused(objective, scenarios, words):
    budget = {"cvar_budget": 0.1} if objective == "max_return" else {}
    with pytest.raises(ValueError, match=words):
        Problem(MEANS, DIAGONAL, ("a", "b"), objective, scenarios=scenarios, **budget)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": (GroupLimit("g", ()),)}, "group g: needs members"),
        ({"groups": (GroupLimit("g", ("a",), 0.5, 0.2),)}, "0 ≤ lower ≤ upper"),
        ({"groups": (GroupLimit("g", ("a",), -0.1, 0.2),)}, "0 ≤ lower ≤ upper"),
        ({"holdings": [1.0], "cost_rate": 0.1}, "holdings need shape"),
        ({"holdings": [np.nan, 1.0], "max_turnover": 0.1}, "finite"),
        ({"holdings": [0.5, 0.5], "cost_rate": -0.1}, "must not be negative"),
        ({"holdings": [0.5, 0.5], "max_turnover": -0.1}, "must not be negative"),
        ({"lower": [0.0]}, "bounds need shape"),
        ({"upper": [np.inf, 1.0]}, "upper has values that are not finite"),
    ],
)
def test_other_bad_limits_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Problem(MEANS, DIAGONAL, ("a", "b"), **changes)


def test_no_names_are_refused():
    with pytest.raises(ValueError, match="0 names"):
        Problem(np.empty(0), np.empty((0, 0)), ())


def test_without_limits_it_is_simple_and_bounds_are_0_and_1():
    problem = Problem([0.1, 0.2], [[0.01, 0.0], [0.0, 0.09]], ("a", "b"))
    assert problem.lower.tolist() == [0, 0]
    assert problem.upper.tolist() == [1, 1]
    assert problem.simple
    assert not Problem(MEANS, DIAGONAL, ("a", "b"), groups=(GroupLimit("g", ("a",)),)).simple


def test_the_return_is_net_of_what_trading_costs():
    """From (1, 0) to (0.25, 0.75): 1.5 of weight changes hands at 0.02."""
    problem = Problem(MEANS, DIAGONAL, ("a", "b"), holdings=[1.0, 0.0], cost_rate=0.02)
    weights = np.array([0.25, 0.75])
    assert problem.trades(weights) == pytest.approx(1.5)
    assert problem.net_return(weights) == pytest.approx(0.025 + 0.15 - 0.03)
    free = Problem(MEANS, DIAGONAL, ("a", "b"))
    assert free.trades(weights) == 0.0
    assert free.net_return(weights) == pytest.approx(0.175)


@given(st.integers(1, 8), st.integers(0, 8), st.integers(0, 2**31), st.sampled_from([1e-6, 1, 1e3]))
def test_singular_is_whether_the_rank_falls_short(n, rank, seed, unit):
    half = np.random.default_rng(seed).normal(size=(rank, n)) * unit
    covariance = half.T @ half
    problem = Problem(np.zeros(n), covariance, tuple("abcdefgh"[:n]))
    assert problem.singular == (np.linalg.matrix_rank(covariance, hermitian=True) < n)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e3])
def test_an_indefinite_covariance_is_refused_in_any_unit(unit):
    """Eigenvalues 3 and −1, and just within and without the tolerance of 1e-10."""
    with pytest.raises(ValueError, match="least eigenvalue is -"):
        Problem(MEANS, np.array([[1.0, 2.0], [2.0, 1.0]]) * unit, ("a", "b"))
    nearly = np.array([[1.0, 1.0], [1.0, 1.0]])
    Problem(MEANS, (nearly - 0.5e-10 * np.eye(2)) * unit, ("a", "b"))
    with pytest.raises(ValueError, match="not positive semidefinite"):
        Problem(MEANS, (nearly - 3e-10 * np.eye(2)) * unit, ("a", "b"))
