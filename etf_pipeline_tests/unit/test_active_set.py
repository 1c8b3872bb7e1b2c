"""Guessing what binds: exact answers with their multipliers, or none where it is not for this."""

import math

import cvxpy
import numpy as np
import pytest

from etf_pipeline.portfolio import GroupLimit, stated
from etf_pipeline.portfolio.certificate import gap, rows_of
from etf_pipeline.portfolio.check import allowed
from etf_pipeline.portfolio.goals import goal_of
from etf_pipeline.portfolio.solvers import active_set
from etf_pipeline_tests.portfolios_support import HELD, three, two

SPENT = (0.02 + math.sqrt(0.0004 + 4 * 0.1 * 0.0125)) / 0.2  # 0.1 x² − 0.02 x + 0.01 = 0.15²
GROUP = (GroupLimit("g", ("b",), 0.0, 0.3),)
HALVES = np.array([0.5, 0.5])
# Problem, weight of the second, and the multiplier of its only row: by hand.
CASES = {
    "no limit": (two(), 0.1, None),
    "a floor": (two("target_return", target_return=0.15), 0.5, 0.4 / math.sqrt(0.025)),
    "a floor that is met": (two("target_return", target_return=0.105), 0.1, 0.0),
    "a budget": (two("max_return", risk_budget=0.15), SPENT, 0.015 / (0.1 * SPENT - 0.01)),
    "a group": (two("max_utility", risk_aversion=2.0, groups=GROUP), 0.3, 0.06),
    "a ratio": (two("max_sharpe", risk_free_rate=0.02), 0.2, None),
    # 0.1 + 0.1 x − (0.01 (1 − x)² + 0.09 x²) is greatest at 0.6; beyond 0.5 a unit costs 0.01
    "costs": (
        two("max_utility", risk_aversion=2.0, holdings=HALVES, cost_rate=0.005),
        0.55,
        None,
    ),
    # at the half the slope is 0.02, less than both sides of the trade cost
    "too dear": (two("max_utility", risk_aversion=2.0, holdings=HALVES, cost_rate=0.02), 0.5, None),
    # least volatility wants 0.1; turnover is |x − 0.5| and the variance falls by 0.04 at 0.3
    "turnover": (
        two("min_volatility", holdings=HALVES, max_turnover=0.2),
        0.3,
        0.02 / math.sqrt(0.013),
    ),
    # away from halves the tracking error is |x − 0.5| √0.1
    "a tracking error": (
        two("min_volatility", benchmark=HALVES, max_tracking_error=0.1 * math.sqrt(0.1)),
        0.4,
        0.03 / math.sqrt(0.018) / math.sqrt(0.1),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("start", [None, [0.05, 0.95], [0.95, 0.05]])
def test_two_assets_are_solved_to_rounding(case, start):
    problem, second, multiplier = CASES[case]
    given = None if start is None else np.array(start)
    found = active_set.solve(problem, goal_of(problem), rows_of(problem), given)
    if case == "a budget" and start != [0.05, 0.95]:
        assert found is None  # without curvature of its own, a goal starts beyond the budget
        return
    assert found is not None
    weights, duals = found
    # limits of a risk have a room of 2e-11 of themselves
    near = 1e-10 if case in ("a budget", "a tracking error") else 1e-12
    assert weights == pytest.approx([1 - second, second], abs=near)
    if multiplier is not None:
        assert duals.rows == pytest.approx([multiplier], rel=1e-8, abs=near)


NOT_FOR_THIS = {
    "no curvature": three("max_return", groups=(GroupLimit("g", ("c",), 0.0, 0.5),)),
    "a CVaR": two("min_cvar", scenarios=np.array([[-0.1, 0.1], [0.1, -0.2]]), cvar_level=0.5),
    "a limit of CVaR": two(
        scenarios=np.array([[-0.1, 0.1], [0.1, -0.2]]), cvar_level=0.5, cvar_budget=0.09
    ),
    "two centres": three(lower=[-0.5] * 3, gross_exposure=1.4, holdings=HELD, max_turnover=0.15),
    "a contradiction": two(groups=(GroupLimit("g", ("a", "b"), 0.0, 0.5),)),
    "several": three(
        groups=(GroupLimit("g", ("a",), 0.0, 0.3), GroupLimit("h", ("b", "c"), 0.0, 0.3))
    ),
}


@pytest.mark.parametrize("case", NOT_FOR_THIS)
def test_none_where_it_is_not_for_this_or_nothing_is_allowed(case):
    problem = NOT_FOR_THIS[case]
    start = np.full(len(problem.names), 1.0 / len(problem.names))
    for given in (None, start):
        assert active_set.solve(problem, goal_of(problem), rows_of(problem), given) is None


def limits_of(kind, n, names):
    """Limits for `stated` and the same for cvxpy, as functions of w, S's root and the unit."""
    held = np.full(n, 1.0 / n)
    if kind == "groups":
        groups = tuple(
            GroupLimit(f"g{k}", names[k::4], 0.02, 0.05 if k % 2 else 1.0) for k in range(4)
        )
        told = [lambda w, _, k=k: cvxpy.sum(w[k::4]) >= 0.02 for k in range(4)]
        told += [lambda w, _, k=k: cvxpy.sum(w[k::4]) <= 0.05 for k in (1, 3)]
        return {"groups": groups}, [*told, lambda w, _: w >= 0]
    if kind == "turnover":
        told = [lambda w, _: cvxpy.norm1(w - held) <= 0.4, lambda w, _: w >= 0]
        return {"holdings": held, "max_turnover": 0.2}, told
    if kind == "shorts":
        told = [lambda w, _: cvxpy.norm1(w) <= 1.5, lambda w, _: cvxpy.abs(w) <= 0.3]
        return {"lower": [-0.3] * n, "upper": [0.3] * n, "gross_exposure": 1.5}, told
    told = [lambda w, root: cvxpy.norm(root @ (w - held)) <= 0.3, lambda w, _: w >= 0]
    return {"benchmark": held, "max_tracking_error": 0.3}, told  # in units of a typical volatility


@pytest.mark.parametrize("kind", ["groups", "turnover", "shorts", "tracking error"])
@pytest.mark.parametrize("objective", ["min_volatility", "max_utility", "max_sharpe"])
@pytest.mark.parametrize(("n", "unit"), [(12, 1e-4), (40, 1.0), (40, 1e4), (150, 1.0)])
def test_as_good_as_a_cone_solver_in_any_unit(kind, objective, n, unit):
    """Covariances of typical variance unit², means of that size too."""
    rng = np.random.default_rng(n)
    names = tuple(f"A{i:03d}" for i in range(n))
    returns = rng.normal(0, 1, (4 * n, n)) * rng.uniform(0.5, 2, n) + rng.normal(0, 0.7, (4 * n, 1))
    covariance = np.cov(returns, rowvar=False)
    covariance /= np.mean(np.diag(covariance))
    means = rng.uniform(0.1, 0.6, n)
    ours, theirs = limits_of(kind, n, names)
    w, kappa = cvxpy.Variable(n), cvxpy.Variable()
    root = np.linalg.cholesky(covariance).T
    if objective == "max_sharpe":  # of w/κ, with an excess of 1
        aim = cvxpy.Minimize(cvxpy.sum_squares(root @ w))
        conditions = [cvxpy.sum(w) == kappa, means @ w == 1, kappa >= 0]
        conditions += homogeneous(kind, n, w, kappa, root)
    else:
        risk = cvxpy.sum_squares(root @ w)
        aim = cvxpy.Minimize(risk if objective == "min_volatility" else risk - means @ w)
        conditions = [cvxpy.sum(w) == 1, *(told(w, root) for told in theirs)]
    tight = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
    cvxpy.Problem(aim, conditions).solve(solver="CLARABEL", **tight)
    best = w.value if objective != "max_sharpe" else w.value / kappa.value

    if "max_tracking_error" in ours:
        ours["max_tracking_error"] *= unit
    if objective == "max_utility":  # the risk is 2 · ½ of the variance, in the unit of a return
        ours["risk_aversion"] = 2.0 / unit
    problem = stated(means * unit, covariance * unit**2, names, objective, **ours)
    goal, rows = goal_of(problem), rows_of(problem)
    found = active_set.solve(problem, goal, rows)
    assert found is not None
    weights, duals = found
    assert allowed(problem, weights)
    assert value(objective, means, covariance, weights) <= (
        value(objective, means, covariance, best) + 1e-7
    )
    assert gap(problem, goal, weights, rows, duals) <= 1e-9 * goal.unit


def homogeneous(kind, n, w, kappa, root):
    """The limits of `limits_of` for w/κ, times κ."""
    if kind == "groups":
        told = [cvxpy.sum(w[k::4]) >= 0.02 * kappa for k in range(4)]
        return [*told, *(cvxpy.sum(w[k::4]) <= 0.05 * kappa for k in (1, 3)), w >= 0]
    if kind == "turnover":
        return [cvxpy.norm1(w - kappa / n) <= 0.4 * kappa, w >= 0]
    if kind == "shorts":
        return [cvxpy.norm1(w) <= 1.5 * kappa, cvxpy.abs(w) <= 0.3 * kappa]
    return [cvxpy.norm(root @ (w - kappa / n)) <= 0.3 * kappa, w >= 0]


def value(objective, means, covariance, w):
    """What is made least, in units of a typical volatility."""
    risk, earned = float(np.sqrt(w @ covariance @ w)), float(means @ w)
    if objective == "max_sharpe":
        return -earned / risk
    return risk if objective == "min_volatility" else risk**2 - earned
