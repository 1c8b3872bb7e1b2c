"""The fast trace: the same corners as by hand, and a refusal where a pivot is too small."""

import numpy as np
import pytest
from hypothesis import given

from etf_pipeline.portfolio import stated
from etf_pipeline.portfolio.solvers.critical_line import corner_portfolios
from etf_pipeline.portfolio.solvers.tableau import first_free, trace
from etf_pipeline_tests.portfolios_support import TWO_MEANS, boxes, invested, stationary, two


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e3])
def test_two_assets_by_hand_in_any_unit(unit):
    """x = 0.1 + λ; λ has the unit of variance over return, that of returns itself."""
    problem = stated(TWO_MEANS * unit, two().covariance * unit**2, ("a", "b"))
    weights, multipliers = trace(problem, problem.means)
    assert weights == pytest.approx(np.array([[0, 1], [0.9, 0.1]]), abs=1e-7)
    assert multipliers == pytest.approx([0.9 * unit, 0.0], abs=1e-7 * unit)


@given(boxes())
def test_each_corner_is_optimal(problem):
    weights, multipliers = trace(problem, problem.means)
    for corner, multiplier in zip(weights, multipliers, strict=True):
        assert invested(problem, corner)
        assert stationary(problem, corner, multiplier)


@given(boxes())
def test_the_careful_trace_finds_the_same_end(problem):
    fast, _ = trace(problem, problem.means)
    slow = corner_portfolios(problem, careful=True).weights
    assert fast[-1] == pytest.approx(slow[-1], abs=1e-6)
    assert fast[0] == pytest.approx(slow[0], abs=1e-6)


def test_a_pivot_too_small_to_trust_is_refused():
    """An asset without variance: its pivot is the ridge alone, a ten-billionth."""
    problem = stated([0.3, 0.1], np.diag([0.0, 1.0]), ("a", "b"))
    assert trace(problem, problem.means) is None


@pytest.mark.parametrize(
    ("lower", "weights", "expected"),
    [
        ([0, 0, 0], [0, 0.4, 0.6], 1),  # filled from the best: stopped at the second
        ([0, 0, 0], [0, 0, 1], 2),
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5], 2),  # nothing above its bound: the best asset
    ],
)
def test_the_first_free_asset_is_where_the_fill_stopped(lower, weights, expected):
    mu = np.array([0.1, 0.2, 0.3])
    assert first_free(np.array(lower, float), np.array(weights, float), mu) == expected
