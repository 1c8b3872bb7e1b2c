"""The bound of every portfolio of few holdings: below all of them, whatever multipliers it has."""

import itertools
from dataclasses import dataclass

import cvxpy
import numpy as np
import pytest

from etf_pipeline.portfolio import stated
from etf_pipeline.portfolio.certificate import rows_of
from etf_pipeline.portfolio.choices import IN, OPEN, OUT, Few, needless, twins
from etf_pipeline.portfolio.few_proof import proven_bound
from etf_pipeline.portfolio.few_ratio import Scaled
from etf_pipeline.portfolio.goals import goal_of
from etf_pipeline.portfolio.lifted import lifted_goal, lifted_rows
from etf_pipeline.portfolio.limits import GroupLimit
from etf_pipeline.portfolio.program import Duals
from etf_pipeline.portfolio.solvers.diagonal import own_part
from etf_pipeline.portfolio.solvers.perspective import Perspective

GOALS = {
    "min_volatility": {},
    "min_tracking_error": {},
    "max_utility": {"risk_aversion": 3.0, "cost_rate": 0.01},
    "max_return": {"risk_budget": 0.14, "max_tracking_error": 0.08, "cost_rate": 0.02},
    "min_cvar": {"risk_budget": 0.15},
}


def market(n, seed):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0004, 0.01, (40, n)) * rng.uniform(0.3, 2, n)
    returns += rng.normal(0, 0.006, (40, 1))
    return returns, rng


def problem_for(objective, n, seed, **changes):
    returns, rng = market(n, seed)
    more = {"holdings": rng.dirichlet(np.ones(n))} if "cost_rate" in GOALS[objective] else {}
    if objective == "min_cvar":
        more["scenarios"] = returns
    if objective in ("min_tracking_error", "max_return"):
        more["benchmark"] = rng.dirichlet(np.ones(n))
    given = {**more, **GOALS[objective], **changes}
    names = "abcdefgh"[:n]
    means, covariance = returns.mean(0) * 252, np.cov(returns.T) * 252
    return stated(means, covariance, names, objective, **given), rng


def own_of(covariance, few, worth):
    inside = np.flatnonzero(few.choices != OUT)
    own = np.zeros(len(worth))
    own[inside] = own_part(covariance[np.ix_(inside, inside)], worth[inside])
    return own


@dataclass
class Case:
    """A problem with choices, and the values of portfolios that keep to them and its limits."""

    problem: object
    few: Few
    values: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, objective, seed, least):
        problem, rng = problem_for(objective, 6, seed)
        choices = rng.choice([OUT, OPEN, OPEN, IN], 6).astype(np.int8)
        few = Few(choices, int(rng.integers(0, 3)), least)
        found = []
        for held in itertools.product((False, True), repeat=6):
            at = np.flatnonzero(held)
            count = int(np.sum(np.array(held) & (choices == OPEN)))
            kept = np.all(np.array(held)[choices == IN]) and not np.any(
                np.array(held)[choices == OUT]
            )
            if len(at) == 0 or not kept or count > few.left or len(at) * least > 1:
                continue
            w = np.zeros((200, 6))
            w[:, at] = least + (1 - len(at) * least) * rng.dirichlet(np.ones(len(at)), 200)
            found.append(w)
        w = np.vstack(found) if found else np.zeros((0, 6))
        inside = [all(x.excess(problem, each) <= 0 for x in problem.limits) for each in w]
        w = w[np.array(inside, dtype=bool)]
        goal, covariance = lifted_goal(goal_of(problem)), problem.covariance
        values = [
            goal.measure.value(x, problem.scenarios) + goal.curvature * (x @ covariance @ x)
            for x in w
        ]
        return cls(problem, few, np.array(values), w)


@pytest.mark.parametrize("objective", GOALS)
@pytest.mark.parametrize("least", [0.0, 0.1])
def test_no_allowed_portfolio_is_below_the_bound_with_any_multipliers(objective, least):
    judged = 0
    for seed in range(25):
        case = Case.of(objective, seed, least)
        problem, n = case.problem, 6
        rows = lifted_rows(rows_of(problem))
        rng = np.random.default_rng(1000 + seed)
        own = own_of(problem.covariance, case.few, rng.uniform(0, 1, n))
        tail = rng.dirichlet(np.ones(40)) if problem.scenarios is not None else None
        duals = Duals(rng.exponential(1.0, len(rows)), tail)
        around = rng.dirichlet(np.ones(n))
        goal = lifted_goal(goal_of(problem))
        bound = proven_bound(problem, case.few, goal, rows, duals, around, own)
        judged += len(case.values)
        assert np.all(case.values >= bound.value - 1e-12)
        for i in np.flatnonzero(case.few.choices == OPEN):
            held = case.weights[:, i] > 0
            assert np.all(case.values[held] >= bound.held[i] - 1e-12)
            assert np.all(case.values[~held] >= bound.without[i] - 1e-12)
    assert judged > 1000


@pytest.mark.parametrize("shape", ["whole", "singular", "pair"])
def test_what_is_left_without_the_own_part_is_a_covariance_and_no_more_can_be_taken(shape):
    rng, many = np.random.default_rng(3), {"whole": 60, "singular": 5, "pair": 60}[shape]
    returns = rng.normal(0, 0.01, (many, 7)) + rng.normal(0, 0.01, (many, 1))
    if shape == "pair":
        returns[:, 1] = returns[:, 0]
    matrix = np.cov(returns.T)
    worth = rng.uniform(0.1, 1.0, 7)
    own = own_part(matrix, worth)
    assert np.all(own >= 0)
    assert np.linalg.eigvalsh(matrix - np.diag(own))[0] >= -1e-14 * np.trace(matrix)
    scale = np.trace(matrix)
    d = cvxpy.Variable(7, nonneg=True)
    most = cvxpy.Problem(cvxpy.Maximize(worth @ d), [matrix / scale - cvxpy.diag(d) >> 0])
    most.solve(solver="CLARABEL")
    assert worth @ own >= 0.99 * most.value * scale - 1e-6 * scale


def test_nothing_is_taken_that_is_worth_nothing():
    assert own_part(np.diag([4.0, 1.0]), np.array([0.0, 1.0])) == pytest.approx([0, 1], rel=1e-3)
    assert own_part(np.eye(2), np.zeros(2)).tolist() == [0, 0]
    assert own_part(np.zeros((2, 2)), np.ones(2)).tolist() == [0, 0]


def relaxed_by_cvxpy(problem, few, own, benchmark):
    """Least squared tracking error with what is each asset's own over the degree it is held to."""
    n = len(own)
    w, z = cvxpy.Variable(n, nonneg=True), cvxpy.Variable(n, nonneg=True)
    rest = problem.covariance - np.diag(own)
    shares = sum(own[i] * cvxpy.quad_over_lin(w[i], z[i]) if own[i] > 0 else 0 for i in range(n))
    along = problem.covariance @ benchmark
    square = cvxpy.quad_form(w, cvxpy.psd_wrap(rest)) + shares - 2 * along @ w + along @ benchmark
    is_open, into = few.choices == OPEN, few.choices == IN
    limits = [cvxpy.sum(w) == 1, w <= z, w >= few.least * z, z <= 1, z[few.choices == OUT] == 0]
    limits += [cvxpy.sum(z[is_open]) <= few.left, z[into] == 1]
    unit = np.trace(problem.covariance)
    found = cvxpy.Problem(cvxpy.Minimize(square / unit), limits)
    found.solve(solver="CLARABEL")
    return found.value * unit


@pytest.mark.parametrize("least", [0.0, 0.1])
@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e4])
def test_the_bound_of_the_perspective_relaxation_is_what_cvxpy_finds(least, unit):
    returns, _ = market(8, 7)
    covariance = np.cov(returns.T) * unit
    benchmark = np.full(8, 1 / 8)
    problem = stated(np.zeros(8), covariance, "abcdefgh", "min_tracking_error", benchmark=benchmark)
    few = Few(np.array([OPEN, OPEN, OUT, IN, OPEN, OPEN, OPEN, OPEN], dtype=np.int8), 2, least)
    problem = problem.changed(upper=np.where(few.choices == OUT, 0.0, 1.0))
    own = own_of(covariance, few, (few.choices == OPEN) * 1.0)
    goal = lifted_goal(goal_of(problem))
    found = Perspective(problem, goal, []).relaxed(few, *few.interval(problem), own)
    bound = proven_bound(problem, few, goal, [], found.duals, found.weights, own)
    expected = relaxed_by_cvxpy(problem, few, own, benchmark)
    assert bound.value == pytest.approx(expected, rel=1e-4)
    assert expected > 0


def test_what_is_better_than_a_known_ratio_is_within_the_limits_of_its_variance():
    returns, rng = market(6, 2)
    means, covariance = np.abs(returns.mean(0)) * 252, np.cov(returns.T) * 252
    group = GroupLimit("first", tuple("abc"), 0.2, 0.6)
    given = {"upper": 0.5, "lower": [0.05, 0, 0, 0, 0, 0], "groups": [group]}
    problem = stated(means, covariance, "abcdef", "max_sharpe", risk_free_rate=0.01, **given)
    goal = goal_of(problem)
    weights = rng.dirichlet(np.ones(6), 4000)
    inside = [all(x.excess(problem, w) <= 0 for x in problem.limits) for w in weights]
    weights = weights[np.array(inside) & (weights.max(1) <= 0.5) & (weights[:, 0] >= 0.05)]
    risks = np.sqrt(np.sum(weights @ covariance * weights, axis=1))
    ratios = (weights @ means - 0.01) / risks
    known, least_risk = np.median(ratios), 0.5 * np.sqrt(1 / np.linalg.inv(covariance).sum())
    scaled = Scaled.of(problem, goal, rows_of(problem), known, least_risk)
    better = weights[ratios > known]
    assert len(better) > 100
    for w, ratio in zip(better, ratios[ratios > known], strict=True):
        x = w / (w @ means - 0.01)
        assert x @ covariance @ x == pytest.approx(1 / ratio**2)
        assert np.all(x <= scaled.problem.upper)
        assert x.sum() <= scaled.problem.net_exposure[1]
        for limit in scaled.limits:
            assert limit.measure.value(x) <= limit.greatest + 1e-9
    # each limit is one of x: a group that is broken by w is broken by x
    outside = np.array([0.7, 0, 0, 0.3, 0, 0])
    broken = outside / (outside @ means - 0.01)
    assert any(limit.measure.value(broken) > limit.greatest + 1e-3 for limit in scaled.limits)


@pytest.mark.parametrize(
    "changes",
    [
        {"risk_budget": 0.3},
        {"net_exposure": (0, 1)},
        {"cost_rate": 0.01, "holdings": np.full(6, 1 / 6)},
    ],
)
def test_a_ratio_beside_other_limits_than_linear_ones_is_no_variance(changes):
    returns, _ = market(6, 2)
    means, covariance = np.abs(returns.mean(0)) * 252, np.cov(returns.T) * 252
    problem = stated(means, covariance, "abcdef", "max_sharpe", **changes)
    assert Scaled.of(problem, goal_of(problem), rows_of(problem), 0.5, 0.05) is None
    assert Scaled.of(problem, goal_of(problem), [], -0.5, 0.05) is None


def test_twins_are_found_and_those_that_move_as_one_are_needless():
    covariance = np.array([[4.0, 1, 4, 1], [1, 3, 1, 0], [4, 1, 4, 1], [1, 0, 1, 3]])
    problem = stated([0.1, 0.2, 0.1, 0.2], covariance, "abcd")
    first = twins(problem, [])
    assert first.tolist() == [0, 1, 0, 1]
    # b and d can change places, but do not move as one: holding both is less risk
    assert needless(problem, first).tolist() == [False, False, True, False]
    capped = stated([0.1, 0.2, 0.1, 0.2], covariance, "abcd", upper=0.5)
    assert not needless(capped, twins(capped, [])).any()
    held = stated([0.1, 0.2, 0.1, 0.2], covariance, "abcd", holdings=[0.5, 0, 0.5, 0])
    assert not needless(held, twins(held, [])).any()
    unlike = stated([0.1, 0.2, 0.1, 0.2], covariance, "abcd", holdings=[0.5, 0.2, 0.3, 0])
    assert twins(unlike, []).tolist() == [0, 1, 2, 3]
