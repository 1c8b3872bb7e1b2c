"""What a problem refuses, and what it works out for itself."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.portfolio import Benchmark, GroupLimit, optimise, stated
from etf_pipeline_tests.portfolios_support import limited, two

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
        stated(names=tuple("abcd"[: len(np.asarray(values["covariance"]))]), **values)
    assert words in str(caught.value)


def test_duplicates_are_refused_by_name():
    with pytest.raises(ValueError, match="asked for twice: VAS"):
        stated(MEANS, DIAGONAL, ("VAS", "VAS"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": (GroupLimit("x", ("Z",)),)}, "Z is not in the names"),
        ({"max_turnover": 0.1}, "need holdings"),
        ({"objective": "min_cvar"}, "needs scenarios"),
        ({"objective": "min_cvar", "cvar_budget": 0.1}, "cvar_budget goes with"),
        ({"cvar_budget": 0.1}, "needs scenarios"),
        ({"objective": "max_return", "target_return": 0.1}, "target_return goes with"),
    ],
)
def test_bad_limits_are_refused_by_name(changes, words):
    with pytest.raises(ValueError, match=words):
        stated(MEANS, DIAGONAL, ("A", "B"), **changes)


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
        stated(MEANS, DIAGONAL, ("a", "b"), objective, scenarios=scenarios, **budget)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": (GroupLimit("g", ()),)}, "group g: needs members"),
        ({"groups": (GroupLimit("g", ("a",), 0.5, 0.2),)}, "lower ≤ upper"),
        ({"groups": (GroupLimit("g", ("a",), -np.inf, 0.2),)}, "lower ≤ upper"),
        ({"groups": (GroupLimit("g", ("a", "a")),)}, "a is in it twice"),
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
        stated(MEANS, DIAGONAL, ("a", "b"), **changes)


def test_no_names_are_refused():
    with pytest.raises(ValueError, match="0 names"):
        stated(np.empty(0), np.empty((0, 0)), ())


def test_without_limits_it_is_simple_and_bounds_are_0_and_1():
    problem = stated([0.1, 0.2], [[0.01, 0.0], [0.0, 0.09]], ("a", "b"))
    assert problem.lower.tolist() == [0, 0]
    assert problem.upper.tolist() == [1, 1]
    assert problem.simple
    assert not stated(MEANS, DIAGONAL, ("a", "b"), groups=(GroupLimit("g", ("a",)),)).simple


def test_the_return_is_net_of_what_trading_costs():
    """From (1, 0) to (0.25, 0.75): 1.5 of weight changes hands at 0.02."""
    problem = stated(MEANS, DIAGONAL, ("a", "b"), holdings=[1.0, 0.0], cost_rate=0.02)
    weights = np.array([0.25, 0.75])
    assert problem.trades(weights) == pytest.approx(1.5)
    assert problem.net_return(weights) == pytest.approx(0.025 + 0.15 - 0.03)
    free = stated(MEANS, DIAGONAL, ("a", "b"))
    assert free.trades(weights) == 0.0
    assert free.net_return(weights) == pytest.approx(0.175)


@given(st.integers(1, 8), st.integers(0, 8), st.integers(0, 2**31), st.sampled_from([1e-6, 1, 1e3]))
def test_singular_is_whether_the_rank_falls_short(n, rank, seed, unit):
    half = np.random.default_rng(seed).normal(size=(rank, n)) * unit
    covariance = half.T @ half
    problem = stated(np.zeros(n), covariance, tuple("abcdefgh"[:n]))
    assert problem.singular == (np.linalg.matrix_rank(covariance, hermitian=True) < n)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e3])
def test_an_indefinite_covariance_is_refused_in_any_unit(unit):
    """Eigenvalues 3 and −1, and just within and without the tolerance of 1e-10."""
    with pytest.raises(ValueError, match="least eigenvalue is -"):
        stated(MEANS, np.array([[1.0, 2.0], [2.0, 1.0]]) * unit, ("a", "b"))
    nearly = np.array([[1.0, 1.0], [1.0, 1.0]])
    stated(MEANS, (nearly - 0.5e-10 * np.eye(2)) * unit, ("a", "b"))
    with pytest.raises(ValueError, match="not positive semidefinite"):
        stated(MEANS, (nearly - 3e-10 * np.eye(2)) * unit, ("a", "b"))


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e3])
def test_units_scale_with_the_problem(unit):
    problem = stated([0.1 * unit, 0.2 * unit], np.diag([0.01, 0.09]) * unit**2, ("a", "b"))
    assert problem.return_unit == pytest.approx(0.1 * unit)
    assert problem.risk_unit == pytest.approx(math.sqrt(0.05) * unit)


def test_units_where_nothing_varies():
    """Equal means, also but for rounding: a millionth of them; no mean and no variance: 1."""
    for means in ([0.1, 0.1], [0.1, 0.1 + 3e-17]):
        assert stated(means, np.eye(2), ("a", "b")).return_unit == pytest.approx(1e-7)
    nothing = stated([0.0, 0.0], np.zeros((2, 2)), ("a", "b"))
    assert nothing.return_unit == nothing.risk_unit == nothing.cvar_unit == 1.0


def test_the_unit_of_cvar_is_the_size_of_the_scenarios():
    scenarios = np.array([[0.01, -0.01], [-0.01, 0.01]])
    assert two("min_cvar", scenarios=scenarios).cvar_unit == pytest.approx(0.01)


def test_groups_may_be_of_short_positions():
    (limit,) = two(lower=-1, groups=(GroupLimit("g", ("a",), -0.5, -0.1),)).limits
    assert (limit.lower, limit.upper) == (-0.5, -0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": "max_utility"}, "max_utility needs a risk_aversion"),
        ({"objective": "min_tracking_error"}, "min_tracking_error needs a benchmark"),
        ({"risk_aversion": 2.0}, "risk_aversion goes with the objective max_utility"),
        ({"objective": "max_utility", "risk_aversion": 0.0}, "must be above 0"),
        ({"objective": "max_utility", "risk_aversion": np.nan}, "must be a finite number"),
        ({"objective": "max_return", "risk_budget": 0.0}, "must be above 0"),
        ({"objective": "max_return", "risk_budget": np.inf}, "must be a finite number"),
        ({"objective": "max_return", "risk_budget": 10**400}, "must be a finite number"),
        ({"max_tracking_error": 0.1}, "max_tracking_error needs a benchmark"),
        ({"max_active_weight": 0.1}, "max_active_weight needs a benchmark"),
        ({"beta": (0.5, 1.0)}, "beta needs a benchmark"),
        ({"benchmark": [0.5, 0.5], "beta": (1.0, 0.5)}, "beta: 1 to 0.5 is no range"),
        ({"benchmark": [0.5, 0.5], "max_tracking_error": 0.0}, "must be above 0"),
        ({"benchmark": [0.5, 0.5], "max_active_weight": -0.1}, "must not be negative"),
        ({"benchmark": [0.5]}, r"need shape \(2,\)"),
        ({"benchmark": [0.5, np.nan]}, "finite values"),
        ({"net_exposure": (1.0, 0.5)}, "net_exposure: 1 to 0.5 is no range"),
        ({"net_exposure": (2.5, 3.0)}, "weights cannot sum to 2.5 to 3"),
        ({"gross_exposure": 0.0}, "must be above 0"),
        ({"scenarios": np.eye(2), "objective": "min_cvar", "cvar_level": 1.0}, "between 0 and 1"),
        ({"objective": "hrp", "gross_exposure": 1.0}, "hrp takes no"),
        ({"max_holdings": 0}, "max_holdings must be above 0"),
        ({"min_position": -0.1}, "min_position must not be negative"),
    ],
)
def test_what_active_and_short_portfolios_may_not_ask(changes, words):
    with pytest.raises(ValueError, match=words):
        stated(MEANS, DIAGONAL, ("a", "b"), **changes)


def test_a_limit_that_does_not_exist_is_refused():
    with pytest.raises((ValueError, TypeError), match="max_turnoverr"):
        two(max_turnoverr=0.1)


@pytest.mark.parametrize(
    "benchmark",
    [
        Benchmark(np.array([0.01]), 0.04, 0.1),
        Benchmark(np.array([0.01, np.nan]), 0.04, 0.1),
        Benchmark(np.array([0.01, 0.01]), 0.0, 0.1),
        Benchmark(np.array([0.01, 0.01]), -0.04, 0.1),
        # covariances of 0.01 and 0.09 with assets of these variances take a variance of 0.1
        Benchmark(np.array([0.01, 0.09]), 0.05, 0.1),
    ],
    ids=["shape", "not finite", "no variance", "negative variance", "too little variance"],
)
def test_a_benchmark_that_cannot_be_is_refused(benchmark):
    with pytest.raises(ValueError, match="benchmark"):
        two(benchmark=benchmark, beta=(0.5, 1.0))


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e4])
@pytest.mark.parametrize(
    ("volatilities", "benchmark"),
    [
        ([0.0, 0.2], [1.0, 0.0]),
        ([0.1, 0.2], [0.0, 0.0]),
        # twice an index against itself: 2/3 · 0.1 = 1/3 · 0.2, but for rounding
        ([0.1, -0.2], [2 / 3, 1 / 3]),
        ([0.1, 0.7], [0.7, -0.1]),
    ],
    ids=["cash", "nothing held", "hedged", "short of a multiple"],
)
def test_nothing_has_a_beta_to_what_does_not_move(volatilities, benchmark, unit):
    covariance = unit * np.outer(volatilities, volatilities)
    with pytest.raises(ValueError, match="beta: the benchmark has no variance"):
        stated(MEANS, covariance, ("a", "b"), benchmark=benchmark, beta=(0.9, 1.1))
    assert stated(MEANS, covariance, ("a", "b"), benchmark=benchmark, max_tracking_error=0.1)


def test_a_calm_benchmark_has_a_beta():
    """Cash of a volatility of 1e-5: the beta of 0.5 in it is 0.5, as nothing else goes with it."""
    problem = stated(
        MEANS, np.diag([1e-10, 0.04]), ("a", "b"), benchmark=[1.0, 0.0], beta=(0.4, 0.6)
    )
    assert problem.betas.tolist() == [1.0, 0.0]
    answer = optimise(problem)
    assert answer.success, answer.message
    assert answer.weights == pytest.approx([0.6, 0.4])


def test_active_weights_need_a_benchmark_of_the_same_assets():
    outside = Benchmark(np.array([0.01, 0.01]), 0.04, 0.1)
    with pytest.raises(ValueError, match="max_active_weight needs a benchmark"):
        two(benchmark=outside, max_active_weight=0.1)


def test_a_benchmark_of_weights_by_hand():
    """(0.5, 0.5): covariances (0.005, 0.045), variance 0.025, mean 0.15."""
    problem = two(benchmark=[0.5, 0.5])
    found = problem.benchmark
    assert found.covariances == pytest.approx([0.005, 0.045])
    assert (found.variance, found.mean) == pytest.approx((0.025, 0.15))
    assert problem.tracking_error(np.array([0.5, 0.5])) == 0.0
    assert problem.tracking_error(np.array([1.0, 0.0])) == pytest.approx(math.sqrt(0.025))


def test_what_is_not_invested_earns_the_rate():
    """0.25 and 0.25 invested, 0.5 at 0.04: 0.025 + 0.05 + 0.02."""
    problem = two(net_exposure=(0.0, 1.0), risk_free_rate=0.04)
    assert problem.net_return(np.array([0.25, 0.25])) == pytest.approx(0.095)
    assert not problem.invested
    assert not problem.simple


@given(limited("max_utility"), st.randoms(use_true_random=False))
def test_another_order_is_the_same_problem(asked, random):
    problem, weights = asked
    order = list(range(len(weights)))
    random.shuffle(order)
    order = np.array(order)
    for figure in ("volatility", "net_return", "tracking_error", "cvar", "trades"):
        before = getattr(problem, figure)(weights)
        turned = problem.ordered(order)
        assert getattr(turned, figure)(weights[order]) == pytest.approx(before, rel=1e-9, abs=1e-18)
    assert turned.betas == pytest.approx(problem.betas[order])
    for a, b in zip(turned.box, problem.box, strict=True):
        assert a.tolist() == b[order].tolist()
    for one, other in zip(problem.limits, turned.limits, strict=True):
        assert other.excess(turned, weights[order]) == pytest.approx(
            one.excess(problem, weights), rel=1e-6, abs=1e-9
        )


@given(limited())
def test_other_limits_leave_what_was_asked_as_it_is(asked):
    problem, weights = asked
    before = problem.box
    free = problem.changed(limits=())
    assert free.limits == ()
    assert free.box[0].tolist() == problem.lower.tolist()
    assert problem.box is before
    assert len(problem.limits) >= 7
    assert free.net_return(weights) == problem.net_return(weights)


def test_rows_are_made_once_and_anew_for_what_is_changed():
    """The group has a row only where the bounds leave it more than its limit."""
    problem = two(groups=(GroupLimit("g", ("b",), 0.0, 0.3),))
    assert [len(own) for own in problem.rows_by_limit] == [1]
    assert problem.rows_by_limit is problem.rows_by_limit
    assert problem.changed(limits=()).rows_by_limit == []
    capped = problem.changed(upper=np.array([1.0, 0.2]))
    assert capped.rows_by_limit == [[]]
    (row,) = problem.ordered(np.array([1, 0])).rows_by_limit[0]
    assert row.function.slope.tolist() == [1.0, 0.0]
    assert problem.rows_by_limit[0][0].function.slope.tolist() == [0.0, 1.0]
