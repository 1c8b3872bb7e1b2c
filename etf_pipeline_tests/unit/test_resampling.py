"""The stationary bootstrap against the formulas of its authors."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from etf_pipeline.risk.resampling import block_length, length_for, stationary_draws
from etf_pipeline.risk.sample import Own, Sample, Timed


def autoregressive(phi, n, seed):
    noise = np.random.default_rng(seed).normal(size=n + 500)
    return lfilter([1.0], [1.0, -phi], noise)[500:]


def drawn(n, length, seed, times):
    return np.array(list(itertools.islice(stationary_draws(n, length, seed), times)))


@given(st.integers(1, 300), st.floats(1, 50), st.integers(0, 2**31))
def test_draws_are_runs_of_positions_that_go_round(n, length, seed):
    draw = drawn(n, length, seed, 1)[0]
    assert draw.shape == (n,)
    assert draw.min() >= 0
    assert draw.max() < n


def test_blocks_have_the_mean_length_and_every_position_the_same_chance():
    n, length = 200, 8.0
    draws = drawn(n, length, 5, 4000)
    breaks = (np.diff(draws, axis=1) % n != 1).mean()
    # a block that ends goes on by chance in one case of n
    assert breaks == pytest.approx((1 - 1 / n) / length, rel=0.02)
    counts = np.bincount(draws.ravel(), minlength=n)
    assert counts == pytest.approx(np.full(n, 4000), rel=0.2)
    firsts = np.bincount(draws[:, 0], minlength=n)
    assert abs(firsts - 20).max() < 25


@pytest.mark.parametrize("phi", [-0.4, 0.0, 0.6])
@pytest.mark.parametrize("length", [1.0, 4.0, 20.0])
def test_the_variance_of_means_is_that_of_politis_and_romano(phi, length):
    """Their lemma 1: γ(0) + 2 Σ b(i) γ(i) over n, with circular weights b of the lags."""
    x = autoregressive(phi, 300, 11)
    n, p = len(x), 1.0 / length
    d = x - x.mean()
    lags = np.arange(1, n)
    gamma = np.array([d[i:] @ d[: n - i] / n for i in range(n)])
    b = (1 - lags / n) * (1 - p) ** lags + lags / n * (1 - p) ** (n - lags)
    # γ above is divided by n, the lemma's by n as well; its circular one sums both ends
    circular = np.array([d @ np.roll(d, -i) / n for i in lags])
    exact = (gamma[0] + 2 * ((1 - lags / n) * (1 - p) ** lags) @ circular) / n
    assert exact == pytest.approx((gamma[0] + 2 * b @ gamma[1:]) / n, rel=1e-9)
    means = x[drawn(n, length, 7, 6000)].mean(axis=1)
    assert means.mean() == pytest.approx(x.mean(), abs=4 * np.sqrt(exact / 6000))
    assert means.var() == pytest.approx(exact, rel=0.08)


def test_fewer_draws_are_the_first_of_more_and_seeds_differ():
    assert np.array_equal(drawn(50, 5, 1, 3), drawn(50, 5, 1, 9)[:3])
    assert not np.array_equal(drawn(50, 5, 1, 3), drawn(50, 5, 2, 3))


@pytest.mark.parametrize(("n", "length"), [(0, 1.0), (10, 0.5), (10, np.inf), (10, np.nan)])
def test_no_blocks_of_nothing(n, length):
    with pytest.raises(ValueError, match="must be 1 or more"):
        next(stationary_draws(n, length, 1))


@pytest.mark.parametrize("phi", [-0.5, 0.1, 0.3, 0.6, 0.9])
def test_block_length_is_that_of_theory(phi):
    """(G/g(0))^(2/3) n^(1/3); of an AR(1), G/g(0) is 2φ/(1 − φ²) (Politis & White, 2004)."""
    n = 20_000
    found = np.median([block_length(autoregressive(phi, n, seed)) for seed in range(20)])
    assert found == pytest.approx((2 * abs(phi) / (1 - phi**2)) ** (2 / 3) * n ** (1 / 3), rel=0.15)


def test_noise_needs_no_blocks():
    found = [block_length(autoregressive(0.0, 1000, seed)) for seed in range(40)]
    assert np.median(found) < 2


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=40),
    st.sampled_from([1e-8, 1e-4, 1.0, 1e4]),
)
@settings(max_examples=150)
def test_block_length_has_no_unit_and_stays_within_its_bounds(values, unit):
    x = np.round(np.array(values), 6)
    found = block_length(x)
    assert 1 <= found <= max(3 * np.sqrt(len(x)), 1)
    assert found <= max(len(x) / 3, 1)
    assert block_length(x * unit) == pytest.approx(found, rel=1e-6)


def test_length_for_a_sample_takes_the_middle_ticker_and_its_own_spacing():
    days = np.arange("2020-01-01", "2030-01-01", dtype="datetime64[D]")
    calm = autoregressive(0.0, len(days), 1)
    clustered = autoregressive(0.9, len(days), 2)
    common = Timed(np.zeros((5, 3)), days[:5])
    three = np.column_stack([clustered, calm, clustered])
    own = Own(Timed(three, days), np.arange(3), 365.0)
    wanted = max(block_length(clustered), block_length((clustered - clustered.mean()) ** 2))
    assert length_for(Sample((own,), common)) == pytest.approx(wanted)
    # bars of every tenth day: a block of k of them is one of 10 k days
    sparse = Own(Timed(clustered[::10, None], days[::10]), np.array([0]), 36.5)
    other = Own(Timed(calm[:, None], days), np.array([1]), 365.0)
    few = clustered[::10]
    its = max(block_length(few), block_length((few - few.mean()) ** 2))
    calms = max(block_length(calm), block_length((calm - calm.mean()) ** 2))
    both = Sample((sparse, other), Timed(np.zeros((5, 2)), days[:5]))
    assert length_for(both) == pytest.approx((10 * its + calms) / 2, rel=0.01)


def test_a_ticker_that_begins_late_has_blocks_of_its_own_days():
    days = np.arange("2020-01-01", "2030-01-01", dtype="datetime64[D]")
    late, calm = autoregressive(0.9, 700, 3), autoregressive(0.0, len(days), 1)
    squares = (late - late.mean()) ** 2
    wanted = max(block_length(late), block_length(squares))
    calms = max(block_length(calm), block_length((calm - calm.mean()) ** 2))
    own = (
        Own(Timed(late[:, None], days[-700:]), np.array([0]), 365.0),
        Own(Timed(calm[:, None], days), np.array([1]), 365.0),
    )
    found = length_for(Sample(own, Timed(np.zeros((5, 2)), days[:5])))
    assert found == pytest.approx((wanted + calms) / 2)
