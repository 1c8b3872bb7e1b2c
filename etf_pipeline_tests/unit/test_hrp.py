"""Hierarchical risk parity: the tree by hand, the paper's own steps, bounds, memory."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from skfolio.optimization import HierarchicalRiskParity
from skfolio.seriation import BaseSeriation

from etf_pipeline.portfolio.hrp import bisected, hierarchical_risk_parity

SEEDS = st.integers(0, 2**31)


def covariance_of(deviations, correlation):
    deviations = np.asarray(deviations, float)
    return np.outer(deviations, deviations) * np.asarray(correlation, float)


def alike(n, rho):
    """n assets, every pair correlated alike."""
    return np.full((n, n), rho) + (1 - rho) * np.eye(n)


def names_of(n):
    return tuple(f"T{i:04d}" for i in range(n))


def sample(n, seed, length=None):
    """Returns of n assets with a common part and unlike volatilities."""
    rng = np.random.default_rng(seed)
    t = length or 2 * n + 10
    own = rng.normal(0, 0.01, (t, n)) * rng.uniform(0.2, 3, n)
    return own + rng.normal(0, 0.006, (t, 1))


def paper(sigma):
    """Leaves and weights by the paper's snippets 1 to 3, over columns by ascending variance."""
    entering = np.argsort(np.diag(sigma))
    s = sigma[np.ix_(entering, entering)]
    deviations = np.sqrt(np.diag(s))
    apart = np.sqrt(np.clip((1 - s / np.outer(deviations, deviations)) / 2, 0, None))
    between = np.sqrt(((apart[:, :, None] - apart[:, None, :]) ** 2).sum(axis=0))
    np.fill_diagonal(between, 0)
    leaves = [int(entering[i]) for i in leaves_list(linkage(squareform(between), "single"))]
    weights, clusters = np.ones(len(sigma)), [leaves]
    while clusters:
        halves = [
            c[a:b]
            for c in clusters
            for a, b in ((0, len(c) // 2), (len(c) // 2, len(c)))
            if len(c) > 1
        ]
        for left, right in zip(halves[::2], halves[1::2], strict=True):
            risks = []
            for part in (left, right):
                block = sigma[np.ix_(part, part)]
                inverse = 1 / np.diag(block)
                inverse /= inverse.sum()
                risks.append(inverse @ block @ inverse)
            alpha = 1 - risks[0] / sum(risks)
            weights[left] *= alpha
            weights[right] *= 1 - alpha
        clusters = halves
    return leaves, weights


def feasible_bounds(n, rng, shares=(0.0, 0.5, 1.0)):
    """Bounds around some portfolio, some of them tight."""
    inside = rng.dirichlet(np.ones(n))
    lower = inside * rng.choice(shares, n)
    upper = np.minimum(inside * rng.choice([1.0, 1.5, 20.0], n), 1.0)
    return lower, upper


def test_one_asset_takes_all():
    assert hierarchical_risk_parity(np.array([[0.04]]), ("a",)).tolist() == [1.0]


def test_uncorrelated_assets_get_inverse_variances():
    found = hierarchical_risk_parity(np.diag([0.01, 0.09]), ("a", "b"))
    assert found == pytest.approx([0.9, 0.1], rel=1e-15)


def test_a_tree_of_two_pairs_by_hand():
    """Two pairs, each correlated 0.9 within and not across: half to each pair's risk.

    Deviations 0.1 and 0.3 in both. Within a pair, inverse variances: (0.9, 0.1) of the pair.
    """
    pair = covariance_of([0.1, 0.3], alike(2, 0.9))
    covariance = np.zeros((4, 4))
    covariance[:2, :2] = covariance[2:, 2:] = pair
    found = hierarchical_risk_parity(covariance, ("a", "b", "c", "d"))
    assert found == pytest.approx([0.45, 0.05, 0.45, 0.05], rel=1e-12)


def test_a_riskier_pair_gets_less_by_hand():
    """The second pair has twice the deviations, four times the variance: a fifth of the whole."""
    pair = covariance_of([0.1, 0.3], alike(2, 0.9))
    covariance = np.zeros((4, 4))
    covariance[:2, :2], covariance[2:, 2:] = pair, 4 * pair
    found = hierarchical_risk_parity(covariance, ("a", "b", "c", "d"))
    assert found == pytest.approx([0.72, 0.08, 0.18, 0.02], rel=1e-12)


def test_a_bound_moves_what_it_takes_within_the_part_first_by_hand():
    """`a` may have 0.4 for its 0.45: its pair keeps half, so `b` gets 0.1.

    With `a` and `b` at most 0.4 together, the other pair gets 0.6, split 0.9 to 0.1.
    """
    pair = covariance_of([0.1, 0.3], alike(2, 0.9))
    covariance = np.zeros((4, 4))
    covariance[:2, :2] = covariance[2:, 2:] = pair
    names = ("a", "b", "c", "d")
    found = hierarchical_risk_parity(covariance, names, np.zeros(4), np.array([0.4, 1, 1, 1]))
    assert found == pytest.approx([0.4, 0.1, 0.45, 0.05], rel=1e-12)
    tight = np.array([0.35, 0.05, 1, 1])
    found = hierarchical_risk_parity(covariance, names, np.zeros(4), tight)
    assert found == pytest.approx([0.35, 0.05, 0.54, 0.06], rel=1e-12)


@given(st.integers(2, 40), SEEDS, st.sampled_from([1e-8, 1e-4, 1.0, 1e4]))
def test_the_papers_steps_give_the_same(n, seed, unit):
    covariance = np.cov(sample(n, seed), rowvar=False)
    found = hierarchical_risk_parity(covariance * unit, names_of(n))
    assert found == pytest.approx(paper(covariance)[1], rel=1e-9)
    assert found.sum() == pytest.approx(1.0, abs=1e-15)
    assert (found > 0).all()


@given(st.integers(2, 12), SEEDS)
def test_skfolio_agrees_with_and_without_bounds(n, seed):
    """Its HRP, told the order of our leaves: by default it clusters otherwise (Ward).

    Least weights are above 0 here, as it divides by the weight of a part.
    """
    returns = sample(n, seed)
    covariance = np.cov(returns, rowvar=False)
    leaves, _ = paper(covariance)

    class Given(BaseSeriation):
        def fit(self, X, y=None):
            self.ordering_ = np.array(leaves)
            self.investable_mask_ = np.ones(n, bool)
            self.n_features_in_ = n
            return self

    lower, upper = feasible_bounds(n, np.random.default_rng(seed), (0.1, 0.5, 1.0))
    for low, high in ((np.zeros(n), np.ones(n)), (lower, upper)):
        theirs = HierarchicalRiskParity(
            seriation_estimator=Given(), min_weights=low, max_weights=high
        ).fit(returns)
        ours = hierarchical_risk_parity(covariance, names_of(n), low, high)
        assert ours == pytest.approx(theirs.weights_, rel=1e-7, abs=1e-9)


@given(st.integers(1, 30), SEEDS)
def test_bounds_are_met_exactly_and_weights_sum_to_1(n, seed):
    covariance = np.atleast_2d(np.cov(sample(n, seed), rowvar=False))
    lower, upper = feasible_bounds(n, np.random.default_rng(seed))
    found = hierarchical_risk_parity(covariance, names_of(n), lower, upper)
    assert (found >= lower).all()
    assert (found <= upper).all()
    assert found.sum() == pytest.approx(1.0, abs=1e-14)


@given(st.integers(2, 12), SEEDS)
def test_bounds_that_the_answer_meets_anyway_change_nothing(n, seed):
    covariance = np.cov(sample(n, seed), rowvar=False)
    free = hierarchical_risk_parity(covariance, names_of(n))
    held = hierarchical_risk_parity(covariance, names_of(n), free * 0.9, free * 1.1)
    assert held == pytest.approx(free, rel=1e-12)


@given(
    st.integers(2, 10),
    SEEDS,
    st.randoms(use_true_random=False),
    st.sampled_from([1e-8, 1.0 / 252, 1.0, 1e4]),
)
def test_names_order_and_units_change_nothing(n, seed, random, unit):
    covariance = np.cov(sample(n, seed), rowvar=False)
    order = list(range(n))
    random.shuffle(order)
    one = hierarchical_risk_parity(covariance, names_of(n))
    turned = hierarchical_risk_parity(covariance[np.ix_(order, order)] * unit, names_of(n))
    assert turned == pytest.approx(one[order], rel=1e-9)


@given(st.integers(2, 9), SEEDS, st.randoms(use_true_random=False))
def test_ties_in_the_tree_are_told_apart_by_variance(n, seed, random):
    """Correlations all alike, and assets that are a multiple of another: every distance ties."""
    rng = np.random.default_rng(seed)
    deviations = rng.uniform(0.05, 0.5, n)
    assume(np.min(np.diff(np.sort(deviations))) > 1e-6)
    correlation = alike(n, 0.4)
    correlation[1, :], correlation[:, 1] = correlation[0, :], correlation[:, 0]
    correlation[0, 1] = correlation[1, 0] = 1.0
    covariance = covariance_of(deviations, correlation)
    order = list(range(n))
    random.shuffle(order)
    one = hierarchical_risk_parity(covariance, names_of(n))
    other = covariance[np.ix_(order, order)] * rng.uniform(1e-6, 1e3)
    assert hierarchical_risk_parity(other, names_of(n)) == pytest.approx(one[order], rel=1e-9)


def test_equal_assets_are_told_apart_by_name_whatever_their_order():
    """Three alike, ρ = ½: one alone against two of variance ¾ gets 3/7, each of the two 2/7."""
    found = {}
    for names in (("a", "b", "c"), ("b", "c", "a"), ("c", "b", "a")):
        weights = hierarchical_risk_parity(alike(3, 0.5), names)
        assert sorted(weights) == pytest.approx([2 / 7, 2 / 7, 3 / 7], rel=1e-12)
        found[names] = dict(zip(names, weights, strict=True))
    first, *others = found.values()
    assert all(other == pytest.approx(first, rel=1e-12) for other in others)


@pytest.mark.parametrize("covariance", [np.diag([0.0, 1.0]), np.zeros((2, 2))])
def test_an_asset_without_variance_is_named(covariance):
    with pytest.raises(ValueError, match=r"without variance.*; leave out a"):
        hierarchical_risk_parity(covariance, ("a", "b"))


def test_parts_without_any_risk_are_not_split_by_it():
    """Two pairs that cancel out each: 0 against 0 gives no split, and none is made up."""
    pair = np.array([[1.0, -1.0], [-1.0, 1.0]])
    with pytest.raises(ValueError, match="cancel out"):
        bisected(np.kron(np.eye(2), pair), np.zeros(4), np.ones(4))


@pytest.mark.parametrize("bounds", [((0.6, 0.6), (1, 1)), ((0, 0), (0.4, 0.5))])
def test_bounds_that_allow_no_sum_of_1_are_refused(bounds):
    lower, upper = (np.array(b, float) for b in bounds)
    with pytest.raises(ValueError, match="cannot sum to 1"):
        hierarchical_risk_parity(np.diag([1.0, 2.0]), ("a", "b"), lower, upper)


# On Linux getrusage counts for a child what its parent had when it forked.
MEASURED = """
import resource, sys
from pathlib import Path
import numpy as np
from etf_pipeline.portfolio.hrp import bisected, hierarchical_risk_parity
n = int(sys.argv[1])
rng = np.random.default_rng(1)
loadings, own = rng.normal(0.7, 0.2, (n, 3)), rng.uniform(0.1, 1, n)
covariance = loadings @ loadings.T + np.diag(own)
found = hierarchical_risk_parity(covariance, tuple(f"T{i:04d}" for i in range(n)))
assert abs(found.sum() - 1) < 1e-12
status = Path("/proc/self/status")
if status.exists():
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    peak = int(lines["VmHWM"].split()[0]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no getrusage")
def test_two_thousand_assets_take_less_than_half_a_gigabyte():
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "2000"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 0.5e9
