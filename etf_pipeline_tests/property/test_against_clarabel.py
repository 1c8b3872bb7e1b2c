"""Hard random problems: never worse than a cone solver at tight tolerance, and always proven."""

import math

import clarabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from etf_pipeline.portfolio import optimise, stated
from etf_pipeline.portfolio.certificate import TOLERANCE
from etf_pipeline.portfolio.check import allowed

KINDS = ("plain", "tied means", "duplicates", "caps at vertices", "near-singular", "few returns")


@st.composite
def hard_problems(draw):
    """Estimates with duplicates, ties, T < N, near-singular covariances or vertex caps."""
    kind = draw(st.sampled_from(KINDS))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    n = draw(st.integers(2, 14))
    t = draw(st.integers(3, n + 1)) if kind == "few returns" else draw(st.integers(n + 2, 250))
    returns = rng.normal(0, 0.01, (t, n)) * rng.uniform(0.1, 3, n) + rng.normal(0, 0.008, (t, 1))
    if n > 3 and kind == "duplicates":
        returns[:, 1] = returns[:, 2] = returns[:, 0]
    if n > 3 and kind == "near-singular":
        returns[:, 1] = returns[:, 0] + 1e-7 * rng.normal(size=t)
    means = returns.mean(0) * 252
    if kind == "tied means":
        means = np.round(means, 1)
    upper = np.full(n, 1.0 / math.ceil(n / 2) if kind == "caps at vertices" else 1.0)
    return means, np.cov(returns, rowvar=False) * 252, upper


def peer(quadratic, linear, upper, cone=None, floor=None):
    """The same problem written down independently for clarabel."""
    n = len(upper)
    rows, rhs = [np.ones((1, n)), -np.eye(n), np.eye(n)], [[1.0], np.zeros(n), upper]
    cones = [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(2 * n + (floor is not None))]
    if floor is not None:
        rows.append(-floor[0][None, :])
        rhs.append([-floor[1]])
    if cone is not None:
        rows.append(np.vstack([np.zeros(n), -cone[0]]))
        rhs.append(np.r_[cone[1], np.zeros(len(cone[0]))])
        cones.append(clarabel.SecondOrderConeT(len(cone[0]) + 1))
    tight = clarabel.DefaultSettings()
    tight.verbose = False
    tight.tol_gap_abs = tight.tol_gap_rel = tight.tol_feas = 1e-11
    found = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(quadratic)),
        linear,
        sparse.csc_matrix(np.vstack(rows)),
        np.concatenate(rhs),
        cones,
        tight,
    ).solve()
    w = np.clip(np.array(found.x), 0, upper)
    return w / w.sum()


@settings(max_examples=420)
@given(hard_problems(), st.floats(0.01, 0.99))
def test_never_worse_than_a_cone_solver_and_always_proven(estimates, share):
    means, covariance, upper = estimates
    n = len(means)
    names = tuple(f"A{i:02d}" for i in range(n))
    typical = float(np.mean(np.diag(covariance)))

    def ask(objective="min_volatility", **more):
        problem = stated(means, covariance, names, objective, upper=upper, **more)
        answer = optimise(problem)
        if answer.weights is not None:
            assert answer.success, (objective, answer.message)
            assert answer.optimality_gap <= TOLERANCE
            assert allowed(problem, answer.weights)
        return answer

    lowest = ask()
    w = peer(covariance / typical, np.zeros(n), upper)
    assert lowest.volatility**2 <= w @ covariance @ w + 1e-8 * typical

    top = ask("max_return")
    if top.volatility <= lowest.volatility * (1 + 1e-6):
        return
    budget = lowest.volatility + share * (top.volatility - lowest.volatility)
    best = ask("max_return", risk_budget=budget)
    assert best.volatility <= budget * (1 + 1e-9) + 1e-9 * math.sqrt(typical)
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))).T
    w = peer(np.zeros((n, n)), -means, upper, cone=(root, budget))
    if math.sqrt(max(w @ covariance @ w, 0)) <= budget * (1 + 1e-9):
        scale = np.abs(means).max()
        assert best.expected_return >= means @ w - 1e-8 * scale

    target = lowest.expected_return + share * (top.expected_return - lowest.expected_return)
    reached = ask("target_return", target_return=target)
    assert reached.expected_return >= target - 1e-9
    w = peer(covariance / typical, np.zeros(n), upper, floor=(means, target))
    if means @ w >= target - 1e-12:
        assert reached.volatility**2 <= w @ covariance @ w + 1e-8 * typical

    sharpe = ask("max_sharpe")
    if sharpe.weights is not None:
        for other in (lowest, best, top, reached):
            if other.sharpe_ratio is not None and other.volatility > 1e-9:
                assert sharpe.sharpe_ratio >= other.sharpe_ratio - 1e-6 / other.volatility


@settings(max_examples=60)
@given(hard_problems(), st.sampled_from([1 / 252, 1e4]), st.floats(0.05, 0.95))
def test_units_change_nothing_but_the_units(estimates, scale, share):
    means, covariance, upper = estimates
    names = tuple(f"A{i:02d}" for i in range(len(means)))

    def course(by):
        base = {"upper": upper}
        low = optimise(stated(means * by, covariance * by, names, **base))
        top = optimise(stated(means * by, covariance * by, names, "max_return", **base))
        target = low.expected_return + share * (top.expected_return - low.expected_return)
        return target, optimise(
            stated(
                means * by, covariance * by, names, "target_return", target_return=target, **base
            )
        )

    (one_target, one), (two_target, two) = course(1.0), course(scale)
    assert two_target == pytest.approx(one_target * scale, rel=1e-6, abs=1e-9 * scale)
    tolerance = 1e-5 * math.sqrt(float(np.mean(np.diag(covariance))))
    assert two.volatility / math.sqrt(scale) == pytest.approx(one.volatility, abs=tolerance)
    assert two.expected_return / scale == pytest.approx(one.expected_return, abs=1e-6)


@settings(max_examples=60)
@given(hard_problems(), st.randoms(use_true_random=False))
def test_the_order_of_the_request_changes_nothing(estimates, random):
    means, covariance, upper = estimates
    order = list(range(len(means)))
    random.shuffle(order)
    names = tuple(f"A{i:02d}" for i in range(len(means)))
    for objective in ("min_volatility", "max_sharpe", "risk_parity", "hrp"):
        limits = {} if objective in ("risk_parity", "hrp") else {"upper": upper}
        shuffled = {k: v[order] for k, v in limits.items()}
        one = optimise(stated(means, covariance, names, objective, **limits))
        two = optimise(
            stated(
                means[order],
                covariance[np.ix_(order, order)],
                tuple(names[i] for i in order),
                objective,
                **shuffled,
            )
        )
        assert one.success == two.success
        if one.weights is not None:
            tolerance = 1e-6 * math.sqrt(float(np.mean(np.diag(covariance)))) + 1e-7
            assert two.volatility == pytest.approx(one.volatility, abs=tolerance)
