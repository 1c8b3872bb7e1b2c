"""The convex functions: values by hand, convex, and tangents that are nowhere above them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skfolio.measures import cvar as skfolio_cvar

from etf_pipeline.portfolio.functions import Kink, Measure, Norm, Scenarios

# The worst of four is 0.04 times the greater weight.
FOUR = np.array([[-0.04, 0.0], [0.0, -0.04], [0.01, 0.01], [0.02, 0.03]])
SEEDS = st.integers(0, 2**31)
UNITS = st.sampled_from([1e-8, 1e-4, 1.0, 1e4])


def vectors(seed, n, count=2):
    return np.random.default_rng(seed).normal(size=(count, n))


def a_norm(seed, n, unit, rank=None):
    """A tracking error whose square is ‖F(w − centre) − g‖² + rest, so never below 0; with it."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(n if rank is None else rank, n)) * unit
    g, rest = rng.normal(size=len(half)) * unit, rng.uniform(0, unit) ** 2
    centre = rng.normal(size=n)
    norm = Norm(half.T @ half, centre, half.T @ g, float(g @ g) + rest)
    return norm, lambda w: math.sqrt(float(np.square(half @ (w - centre) - g).sum()) + rest)


def test_a_kink_by_hand():
    """0.02 · (|0.25 − 1| + |0.75 − 0|)."""
    kink = Kink(0.02, np.array([1.0, 0.0]))
    assert kink.value(np.array([0.25, 0.75])) == pytest.approx(0.03)
    assert kink.value(np.array([1.0, 0.0])) == 0.0


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_the_worst_of_four_by_hand(weight):
    weights = np.array([1 - weight, weight])
    found = Scenarios(FOUR, 0.75).cvar(weights)
    assert found == pytest.approx(0.04 * max(weights), abs=1e-15)


def test_of_two_in_four_half_is_split():
    """A tail of 1.5 observations: the worst, and half of the second worst."""
    weights = np.array([0.25, 0.75])
    scenarios = Scenarios(FOUR, 0.625)
    assert scenarios.cvar(weights) == pytest.approx((0.03 + 0.5 * 0.01) / 1.5, abs=1e-15)
    assert scenarios.tail_weights(weights) == pytest.approx([1 / 3, 2 / 3, 0, 0])


def test_a_tail_of_less_than_one_observation_is_the_worst():
    assert Scenarios(FOUR, 0.99).cvar(np.array([0.25, 0.75])) == pytest.approx(0.03)


def test_a_gain_in_every_scenario_is_a_negative_loss():
    assert Scenarios(np.full((10, 1), 0.01), 0.95).cvar(np.ones(1)) == pytest.approx(-0.01)


@given(st.integers(20, 400), SEEDS)
def test_skfolio_measures_the_same(t, seed):
    returns = np.random.default_rng(seed).normal(0, 0.01, (t, 2))
    weights = np.array([0.4, 0.6])
    assert Scenarios(returns, 0.95).cvar(weights) == pytest.approx(
        skfolio_cvar(returns @ weights, beta=0.95), abs=1e-12
    )


@given(st.integers(1, 60), st.integers(1, 4), SEEDS, st.floats(0.5, 0.995))
def test_the_tail_is_the_worst_mean_loss_that_its_probabilities_allow(t, n, seed, level):
    rng = np.random.default_rng(seed)
    scenarios = Scenarios(rng.normal(0, 0.02, (t, n)), level)
    weights = rng.normal(size=n)
    worst = scenarios.tail_weights(weights)
    most = 1.0 / ((1.0 - level) * t)
    assert worst.sum() == pytest.approx(1.0)
    assert np.all(worst >= 0)
    assert np.all(worst <= most + 1e-12)
    for _ in range(20):
        other = np.minimum(rng.dirichlet(np.full(t, 0.3)), most)
        other += (most - other) * (1 - other.sum()) / max((most - other).sum(), 1e-300)
        loss = -float(other @ (scenarios.returns @ weights))
        assert loss <= scenarios.cvar(weights) + 1e-12


def test_the_order_of_assets_in_scenarios():
    turned = Scenarios(FOUR, 0.75).ordered(np.array([1, 0]))
    assert turned.returns.tolist() == FOUR[:, ::-1].tolist()
    assert turned.cvar(np.array([0.7, 0.3])) == pytest.approx(0.028)


def test_a_measure_by_hand():
    """2 · 0.25 − 0.75 + 0.1, 0.02 · 1.5, and 3 · 0.03."""
    held = np.array([1.0, 0.0])
    measure = Measure(np.array([2.0, -1.0]), 0.1, (Kink(0.02, held),), 3.0)
    weights = np.array([0.25, 0.75])
    found = measure.value(weights, Scenarios(FOUR, 0.75))
    assert found == pytest.approx(0.5 - 0.75 + 0.1 + 0.03 + 0.09)


@given(st.integers(1, 5), SEEDS, st.floats(0, 10))
def test_a_sum_has_the_sum_of_the_values(n, seed, times):
    rng = np.random.default_rng(seed)
    scenarios = Scenarios(rng.normal(size=(7, n)), 0.8)

    def one():
        kinks = tuple(Kink(rng.uniform(), rng.normal(size=n)) for _ in range(2))
        return Measure(rng.normal(size=n), rng.normal(), kinks, rng.uniform())

    a, b, w = one(), one(), rng.normal(size=n)
    expected = a.value(w, scenarios) + times * b.value(w, scenarios)
    assert a.plus(b, times).value(w, scenarios) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.integers(1, 30), st.integers(1, 4), SEEDS, st.floats(0.5, 0.95))
def test_the_straight_stand_in_of_a_cvar_is_nowhere_above_it(t, n, seed, level):
    rng = np.random.default_rng(seed)
    scenarios = Scenarios(rng.normal(0, 0.02, (t, n)), level)
    measure = Measure(rng.normal(size=n), 0.3, (Kink(0.2, rng.normal(size=n)),), 2.0)
    here, there = rng.normal(size=(2, n))
    straight = measure.linear(scenarios, scenarios.tail_weights(here))
    assert straight.tail == 0.0
    assert straight.value(here) == pytest.approx(measure.value(here, scenarios), abs=1e-12)
    assert straight.value(there) <= measure.value(there, scenarios) + 1e-12


def test_a_volatility_by_hand():
    """√(0.25 · 0.01 + 0.25 · 0.09)."""
    norm = Norm.of(np.diag([0.01, 0.09]))
    assert norm.value(np.array([0.5, 0.5])) == pytest.approx(math.sqrt(0.025))
    around = Norm.of(np.diag([0.01, 0.09]), np.array([0.5, 0.0]))
    assert around.value(np.array([1.0, 0.5])) == pytest.approx(math.sqrt(0.025))


@given(st.integers(1, 6), st.integers(1, 6), SEEDS, UNITS)
def test_a_tracking_error_is_the_length_it_stands_for(n, rank, seed, unit):
    norm, length = a_norm(seed, n, unit, rank)
    (weights,) = vectors(seed + 1, n, 1)
    assert norm.value(weights) == pytest.approx(length(weights), rel=1e-6, abs=1e-7 * unit)
    assert norm.squared(weights) == pytest.approx(norm.value(weights) ** 2)


@given(st.integers(1, 6), st.integers(1, 6), SEEDS, UNITS)
def test_the_tangent_touches_and_is_nowhere_above(n, rank, seed, unit):
    norm, _ = a_norm(seed, n, unit, rank)
    here, there = vectors(seed + 1, n)
    tangent = norm.tangent(here)
    size = unit * (1 + np.abs(here).sum() + np.abs(there).sum())
    assert tangent.value(here) == pytest.approx(norm.value(here), abs=1e-9 * size)
    for x in (there, 2 * here - there, here + 1e-3 * (there - here)):
        assert tangent.value(x) <= norm.value(x) + 1e-6 * size


@given(st.integers(1, 5), SEEDS, UNITS)
def test_the_gradient_is_that_of_half_the_square(n, seed, unit):
    """A quadratic's central difference is exact, but for rounding."""
    norm, _ = a_norm(seed, n, unit)
    here, along = vectors(seed + 1, n)
    difference = (norm.squared(here + along) - norm.squared(here - along)) / 4
    size = unit**2 * (1 + np.abs(here).sum() + np.abs(along).sum()) ** 2
    slope = float(norm.gradient_of_half_square(here) @ along)
    assert slope == pytest.approx(difference, abs=1e-9 * size)


def test_without_variance_the_tangent_is_zero_and_rounding_below_zero_is_none():
    norm = Norm.of(np.array([[1.0, -1.0], [-1.0, 1.0]]) - 5e-11 * np.eye(2))
    half = np.array([0.5, 0.5])
    assert float(half @ norm.matrix @ half) < 0
    assert (norm.squared(half), norm.value(half)) == (0.0, 0.0)
    tangent = norm.tangent(half)
    assert (tangent.slope.tolist(), tangent.constant) == ([0.0, 0.0], 0.0)
