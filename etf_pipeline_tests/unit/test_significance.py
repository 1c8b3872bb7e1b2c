"""Errors of Sharpe ratios and what chance shows, against published numbers and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from etf_pipeline.risk.significance import (
    expected_maximum,
    influence,
    probability_above,
    standard_error,
)


def error_of_mertens(x):
    """√((1 − γ₃ SR + (γ₄ − 1)/4 SR²)/(n − 1)), with moments from SciPy."""
    ratio = x.mean() / x.std(ddof=1)
    third, fourth = stats.skew(x), stats.kurtosis(x, fisher=False)
    return math.sqrt((1 - third * ratio + (fourth - 1) / 4 * ratio**2) / (len(x) - 1))


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e4])
@pytest.mark.parametrize("skewed", [False, True])
def test_the_error_is_that_of_mertens(unit, skewed):
    rng = np.random.default_rng(4)
    x = rng.exponential(1.0, 800) - 0.8 if skewed else rng.normal(0.1, 1.0, 800)
    assert standard_error(influence(x * unit)) == pytest.approx(error_of_mertens(x), rel=1e-12)


def test_the_error_is_how_far_ratios_of_many_samples_are_apart():
    rng = np.random.default_rng(7)
    samples = rng.standard_t(8, (4000, 250)) * 0.01 + 0.002
    ratios = samples.mean(axis=1) / samples.std(axis=1, ddof=1)
    errors = [standard_error(influence(x)) for x in samples[:200]]
    assert np.mean(errors) == pytest.approx(ratios.std(), rel=0.05)


def test_the_error_of_a_difference_counts_what_goes_together():
    rng = np.random.default_rng(8)
    shared = rng.normal(0.001, 0.01, (3000, 250))
    other = shared + rng.normal(0, 0.002, (3000, 250))

    def ratio(x):
        return x.mean(axis=1) / x.std(axis=1, ddof=1)

    errors = [
        standard_error(influence(a) - influence(b))
        for a, b in zip(shared[:200], other[:200], strict=True)
    ]
    assert np.mean(errors) == pytest.approx((ratio(shared) - ratio(other)).std(), rel=0.06)


def test_the_published_example_of_the_deflated_sharpe_ratio():
    """Bailey & López de Prado, 2014: 2.5 a year over 1,250 days, variance ½ of 100 trials."""
    ratio, variance, n = 2.5 / math.sqrt(250), 0.5 / 250, 1250

    def deflated(trials, skewness, kurtosis):
        error = math.sqrt((1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2) / (n - 1))
        return probability_above(ratio, error, expected_maximum(variance, trials))

    assert expected_maximum(variance, 100) == pytest.approx(0.1132, abs=5e-5)
    assert deflated(100, -3, 10) == pytest.approx(0.9004, abs=5e-5)
    assert deflated(46, -3, 10) == pytest.approx(0.9505, abs=5e-5)
    assert deflated(88, 0, 3) == pytest.approx(0.9505, abs=5e-5)


@pytest.mark.parametrize("trials", [10, 100, 1000])
def test_the_greatest_of_many_is_that_of_simulated_normals(trials):
    draws = np.random.default_rng(1).normal(0, 0.3, (4000, trials)).max(axis=1)
    assert expected_maximum(0.09, trials) == pytest.approx(draws.mean(), rel=0.03)


def test_one_trial_needs_no_deflation():
    assert expected_maximum(0.5, 1) == 0.0


@pytest.mark.parametrize("x", [[0.1, 0.2], [0.1] * 9, []])
def test_no_influence_of_what_does_not_vary(x):
    assert influence(np.array(x, dtype="float64")) is None
