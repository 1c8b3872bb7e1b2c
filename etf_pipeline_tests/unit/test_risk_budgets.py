"""Risk budgets: by hand, against skfolio and a cone solver, within limits, and their proof."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.optimization import RiskBudgeting

from etf_pipeline.portfolio import budget_proof
from etf_pipeline.portfolio.inside import inside
from etf_pipeline.portfolio.risk_budgets import risk_budgeting
from etf_pipeline.risk.covariance import risk_contributions

SEEDS = st.integers(0, 2**31)
UNITS = st.sampled_from([1e-8, 1.0 / 252, 1.0, 1e4])
SUCCESS = 1e-6


def alike(n, rho):
    """n assets, every pair correlated alike."""
    return np.full((n, n), rho) + (1 - rho) * np.eye(n)


def covariance_of(deviations, correlation):
    deviations = np.asarray(deviations, float)
    return np.outer(deviations, deviations) * np.asarray(correlation, float)


def sample(n, seed, length=None):
    """Returns of n assets with a common part and unlike volatilities."""
    rng = np.random.default_rng(seed)
    t = length or 2 * n + 10
    return rng.normal(0, 0.01, (t, n)) * rng.uniform(0.2, 3, n) + rng.normal(0, 0.006, (t, 1))


def measure(covariance, budgets, weights):
    """F(w) = ln σ(w) − Σ b_i ln w_i, for budgets of sum 1."""
    carrying = budgets > 0
    return 0.5 * np.log(weights @ covariance @ weights) - budgets[carrying] @ np.log(
        weights[carrying]
    )


def puzzle(seed):
    """A covariance, budgets and limits that some portfolio meets, of every shape there is."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([1, 2, 3, 5, 10, 30]))
    t = int(rng.choice([n + 2, 2 * n + 5, 200]))
    wide = 10.0 ** rng.uniform(-3, 3, n) if rng.random() < 0.5 else np.ones(n)
    returns = rng.normal(0, 0.01, (t, n)) * wide + rng.normal(0, 0.01, (t, 1))
    covariance = np.atleast_2d(np.cov(returns, rowvar=False))
    kind = rng.integers(5)
    if kind == 1 and n > 1:  # one a multiple of another
        i, j = rng.choice(n, 2, replace=False)
        times = rng.uniform(0.1, 3)
        covariance[i] = times * covariance[j]
        covariance[:, i] = times * covariance[:, j]
        covariance[i, i] = times**2 * covariance[j, j]
    if kind == 2:
        covariance = covariance_of(rng.uniform(0.1, 1, n), np.ones((n, n)))
    if kind == 3:
        covariance = alike(n, 0.4)
    covariance = covariance * 10.0 ** rng.integers(-8, 5)
    budgets = rng.dirichlet(np.full(n, rng.choice([0.05, 1, 20])))
    if rng.random() < 0.3:
        budgets = budgets * (rng.random(n) < 0.8)
    if rng.random() < 0.2 or not budgets.sum():
        budgets = np.ones(n)
    there = np.maximum(rng.dirichlet(np.ones(n)), 1e-6)
    there /= there.sum()
    lower, upper = np.zeros(n), np.ones(n)
    bounds = rng.integers(4)
    if bounds:
        lower = np.where(rng.random(n) < 0.3, there * rng.uniform(0, 1, n), 0.0)
        upper = np.where(rng.random(n) < 0.4, np.minimum(there * rng.uniform(1, 3, n), 1), 1.0)
    if bounds == 2:
        pinned = rng.random(n) < 0.4
        lower[pinned] = upper[pinned] = there[pinned]
    if bounds == 3 and rng.random() < 0.3:
        lower = there.copy()
    rows, limits = [], []
    for _ in range(int(rng.integers(0, 5))):
        members = (rng.random(n) < 0.4).astype(float)
        total = members @ there
        if rng.random() < 0.5:
            rows.append(members)
            limits.append(total * rng.choice([1, 1.0001, 1.2]))
        if rng.random() < 0.5:
            rows.append(-members)
            limits.append(-total * rng.choice([1, 0.9, 0.5]))
    rows = np.array(rows).reshape(len(rows), n)
    return covariance, budgets, lower, upper, rows, np.array(limits), there


def test_uncorrelated_assets_get_the_root_of_their_budget_over_their_deviation():
    """w_i²σ_i² in proportion to b_i: √0.64/0.1 = 8 and √0.36/0.3 = 2."""
    weights, gap = risk_budgeting(np.diag([0.01, 0.09]), np.array([0.64, 0.36]))
    assert weights == pytest.approx([0.8, 0.2], rel=1e-12)
    assert gap < SUCCESS


@pytest.mark.parametrize("share", [0.001, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("rho", [-0.99, -0.4, 0.0, 0.7, 1.0])
def test_two_assets_in_closed_form(share, rho):
    """Bruder & Roncalli (2012), section 2.2.1: the weight of the first of two assets."""
    s1, s2 = 0.1, 0.35
    root = np.sqrt((share - 0.5) ** 2 * rho**2 + share * (1 - share))
    above = (share - 0.5) * rho * s1 * s2 - share * s2**2 + s1 * s2 * root
    below = (1 - share) * s1**2 - share * s2**2 + 2 * (share - 0.5) * rho * s1 * s2
    covariance = covariance_of([s1, s2], alike(2, rho))
    weights, gap = risk_budgeting(covariance, np.array([share, 1 - share]))
    assert weights[0] == pytest.approx(above / below, rel=1e-9)
    assert gap < SUCCESS


@given(st.integers(1, 20), SEEDS, UNITS)
def test_contributions_are_the_budgets_where_nothing_binds(n, seed, unit):
    covariance = np.atleast_2d(np.cov(sample(n, seed), rowvar=False)) * unit
    budgets = np.random.default_rng(seed).dirichlet(np.ones(n))
    weights, gap = risk_budgeting(covariance, budgets)
    assert risk_contributions(weights, covariance) == pytest.approx(budgets, rel=1e-6, abs=1e-11)
    assert gap < SUCCESS
    loose, _ = risk_budgeting(
        covariance,
        budgets,
        weights * 0.9,
        np.minimum(weights * 1.1 + 1e-3, 1.0),
        np.ones((1, n)) * (np.arange(n) % 2),
        np.array([1.1]),
    )
    assert loose == pytest.approx(weights, rel=1e-6, abs=1e-11)


def test_a_ceiling_leaves_the_others_alike_by_hand():
    weights, gap = risk_budgeting(np.eye(3), np.ones(3), upper=np.array([0.2, 1, 1]))
    assert weights == pytest.approx([0.2, 0.4, 0.4], rel=1e-12)
    assert weights[0] == 0.2
    assert gap < SUCCESS


def test_a_group_shares_its_ceiling_by_hand():
    group = np.array([[1.0, 1.0, 0.0, 0.0]])
    weights, gap = risk_budgeting(np.eye(4), np.ones(4), rows=group, limits=np.array([0.3]))
    assert weights == pytest.approx([0.15, 0.15, 0.35, 0.35], rel=1e-10)
    assert gap < SUCCESS


def test_groups_whose_ceilings_sum_to_1_all_bind():
    rows = np.kron(np.eye(3), np.ones(2))
    weights, gap = risk_budgeting(
        np.eye(6), np.ones(6), rows=rows, limits=np.array([0.45, 0.45, 0.10])
    )
    assert weights == pytest.approx([0.225, 0.225, 0.225, 0.225, 0.05, 0.05], rel=1e-9)
    assert gap < SUCCESS
    with pytest.raises(ValueError, match="no portfolio meets"):
        risk_budgeting(np.eye(6), np.ones(6), rows=rows, limits=np.array([0.45, 0.45, 0.0999]))


@pytest.mark.parametrize("pinned", [[0.5, 0.3, 0.2], [0.998, 0.001, 0.001]])
def test_bounds_that_pin_everything_are_the_answer(pinned):
    weights, gap = risk_budgeting(np.eye(3), np.ones(3), np.array(pinned), np.array(pinned))
    assert weights.tolist() == pinned
    assert gap == 0
    weights, gap = risk_budgeting(np.eye(3), np.ones(3), np.array(pinned), np.ones(3))
    assert weights == pytest.approx(pinned, rel=1e-12)
    assert gap < SUCCESS


@given(SEEDS)
@settings(max_examples=100)
def test_whatever_is_asked_is_met_and_proven(seed):
    covariance, budgets, lower, upper, rows, limits, _ = puzzle(seed)
    weights, gap = risk_budgeting(covariance, budgets, lower, upper, rows, limits)
    assert (weights >= lower).all()
    assert (weights <= upper).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert (rows @ weights <= limits + 1e-12).all()
    assert gap < 1e-8


@given(SEEDS)
def test_the_proof_never_claims_more_than_is_true(seed):
    """For other allowed portfolios it must be at least what the best one is better by."""
    covariance, budgets, lower, upper, rows, limits, there = puzzle(seed)
    budgets = np.maximum(budgets / budgets.sum(), 1e-9)
    budgets /= budgets.sum()
    best, _ = risk_budgeting(covariance, budgets, lower, upper, rows, limits)
    allowed = inside(lower, upper, rows, limits)
    least = measure(covariance, budgets, best)
    for part in (1.0, 0.5, 1e-2, 1e-4):
        other = part * there + (1 - part) * best
        gap = budget_proof.gap(covariance, budgets, other, allowed, rows, limits)
        assert gap >= measure(covariance, budgets, other) - least - 1e-9


@given(st.integers(2, 8), SEEDS)
@settings(max_examples=25)
def test_a_cone_solver_finds_nothing_better(n, seed):
    """Clarabel, on min ½x'Σx − Σ b ln x within limits in proportion to 1'x."""
    rng = np.random.default_rng(seed)
    covariance = np.cov(sample(n, seed), rowvar=False)
    covariance /= np.trace(covariance)
    budgets, there = rng.dirichlet(np.ones(n)), rng.dirichlet(np.full(n, 3.0))
    lower, upper = there * rng.choice([0, 0.7], n), np.minimum(there * rng.choice([1.3, 20], n), 1)
    rows = (rng.random((2, n)) < 0.5).astype(float)
    limits = rows @ there * 1.05
    ours, gap = risk_budgeting(covariance, budgets, lower, upper, rows, limits)
    x = cp.Variable(n)
    total = cp.sum(x)
    asked = cp.Problem(
        cp.Minimize(0.5 * cp.quad_form(x, cp.psd_wrap(covariance)) - budgets @ cp.log(x)),
        [x >= lower * total, x <= upper * total, rows @ x <= limits * total],
    )
    asked.solve(solver="CLARABEL")
    theirs = x.value / x.value.sum()
    assert measure(covariance, budgets, ours) <= measure(covariance, budgets, theirs) + 1e-7
    assert ours == pytest.approx(theirs, abs=2e-3)
    assert gap < 1e-9


@given(st.integers(3, 8), SEEDS)
@settings(max_examples=25)
def test_skfolio_agrees_within_bounds_and_groups(n, seed):
    rng = np.random.default_rng(seed)
    returns = sample(n, seed, 250)
    budgets, there = rng.dirichlet(np.full(n, 5.0)), rng.dirichlet(np.full(n, 5.0))
    lower, upper = there * rng.choice([0, 0.7], n), np.minimum(there * rng.choice([1.3, 20], n), 1)
    cap = float(there[:2].sum()) * 1.05
    names = ["in", "in"] + ["out"] * (n - 2)
    theirs = RiskBudgeting(
        risk_budget=budgets,
        min_weights=lower,
        max_weights=upper,
        groups=[names],
        linear_constraints=[f"in <= {cap!r}"],
    ).fit(returns)
    rows = np.array([[1.0, 1.0] + [0.0] * (n - 2)])
    covariance = np.cov(returns, rowvar=False)
    ours, _ = risk_budgeting(covariance, budgets, lower, upper, rows, np.array([cap]))
    least = measure(covariance, budgets, ours)
    assert least <= measure(covariance, budgets, theirs.weights_) + 1e-6
    assert ours == pytest.approx(theirs.weights_, abs=2e-3)


@given(SEEDS, UNITS, st.randoms(use_true_random=False))
def test_units_and_order_change_nothing(seed, unit, random):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 10))
    covariance = np.cov(sample(n, seed), rowvar=False)
    budgets, there = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n))
    lower, upper = there * 0.5, np.minimum(there * 1.5, 1.0)
    rows = (rng.random((1, n)) < 0.5).astype(float)
    limits = rows @ there
    order = list(range(n))
    random.shuffle(order)
    one, _ = risk_budgeting(covariance, budgets, lower, upper, rows, limits)
    other, _ = risk_budgeting(
        covariance[np.ix_(order, order)] * unit,
        budgets[order] * 7,
        lower[order],
        upper[order],
        rows[:, order] * 3,
        limits * 3,
    )
    assert other == pytest.approx(one[order], rel=1e-5, abs=1e-8)


def test_a_budget_of_0_is_held_only_where_it_carries_none():
    """Alike and uncorrelated: nothing of it; with ρ = −½, what makes its contribution 0: half."""
    budgets = np.array([1.0, 0.0])
    weights, gap = risk_budgeting(np.eye(2), budgets)
    assert weights.tolist() == [1, 0]
    assert gap < SUCCESS
    weights, gap = risk_budgeting(alike(2, -0.5), budgets)
    assert weights == pytest.approx([2 / 3, 1 / 3], rel=1e-9)
    assert risk_contributions(weights, alike(2, -0.5)) == pytest.approx(budgets, abs=1e-10)
    assert gap < SUCCESS


def test_an_asset_without_variance_is_named():
    for covariance in (np.diag([0.0, 1.0]), np.zeros((2, 2))):
        with pytest.raises(ValueError, match=r"without variance.*leave out a"):
            risk_budgeting(covariance, np.ones(2), names=("a", "b"))


def test_risk_that_cancels_out_cannot_be_shared():
    with pytest.raises(ValueError, match="cancel out"):
        risk_budgeting(alike(2, -1.0), np.ones(2))
    # Where bounds keep some of it, it can.
    weights, gap = risk_budgeting(alike(2, -1.0), np.ones(2), np.array([0.6, 0.0]))
    assert weights == pytest.approx([0.6, 0.4], rel=1e-9)
    assert gap < SUCCESS


def test_risk_cannot_be_carried_without_weight():
    upper = np.array([1.0, 0.0])
    with pytest.raises(ValueError, match="leave no weight to b"):
        risk_budgeting(np.eye(2), np.ones(2), upper=upper, names=("a", "b"))
    weights, gap = risk_budgeting(np.eye(2), np.array([1.0, 0.0]), upper=upper)
    assert weights.tolist() == [1.0, 0.0]
    assert gap == 0


@pytest.mark.parametrize(
    ("lower", "upper"), [([0.6, 0.6], [1, 1]), ([0, 0], [0.4, 0.5]), ([0.5, 0], [0.4, 1])]
)
def test_bounds_that_cannot_be_met_are_refused(lower, upper):
    with pytest.raises(ValueError, match="no portfolio meets"):
        risk_budgeting(np.eye(2), np.ones(2), np.array(lower, float), np.array(upper, float))


def test_five_hundred_assets_with_groups_are_proven():
    n = 500
    covariance = np.cov(sample(n, 3, 700), rowvar=False)
    budgets = np.random.default_rng(1).dirichlet(np.full(n, 5.0))
    members = np.tile(np.eye(8), n // 8 + 1)[:, :n]
    rows, limits = np.vstack([members, -members]), np.r_[np.full(8, 0.13), np.full(8, -0.12)]
    lower, upper = np.full(n, 0.5 / n), np.full(n, 1.5 / n)
    weights, gap = risk_budgeting(covariance, budgets, lower, upper, rows, limits)
    assert gap < SUCCESS
    assert (rows @ weights <= limits + 1e-12).all()
