"""Correlations against arithmetic and pandas; what cannot be computed is NaN."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.risk.correlation import distance, listwise, pairwise

RNG = np.random.default_rng(4)
RETURNS = RNG.normal(0.0003, 0.01, (300, 6)) + RNG.normal(0, 0.007, (300, 1))


def test_pairwise_correlation_may_not_be_psd_and_says_so():
    """Three pairs on three disjoint blocks: 1, 1 and −1, eigenvalues −1, 2, 2."""
    x, hole = np.array([0.01, 0.02, -0.01, -0.02]), np.full(4, np.nan)
    blocks = [np.column_stack(b) for b in ((x, x, hole), (hole, x, x), (x, hole, -x))]
    returns = np.vstack(blocks)
    found = pairwise(returns)
    assert found.least_eigenvalue == pytest.approx(-1.0)
    assert found.n_obs[0, 1] == 4
    assert found.matrix[0, 2] == pytest.approx(-1.0)
    with pytest.raises(InsufficientDataError, match="0 of 12 rows have every ticker"):
        listwise(returns)


def test_listwise_is_pandas_on_complete_rows():
    holes = RETURNS.copy()
    holes[::7, 2] = np.nan
    found = listwise(holes)
    expected = pd.DataFrame(holes).dropna().corr().to_numpy()
    assert found.matrix == pytest.approx(expected, abs=1e-12)
    assert found.least_eigenvalue > 0
    flat = listwise(np.column_stack([RETURNS, np.zeros(300)]))
    assert np.isnan(flat.matrix[6]).all()
    assert flat.least_eigenvalue is None


def test_by_hand():
    """Deviations (−1, 0, 1) and (−1, 1, 0): 1/√(2 · 2)."""
    found = listwise(np.array([[1.0, 1.0], [2.0, 3.0], [3.0, 2.0]]))
    assert found.matrix == pytest.approx(np.array([[1.0, 0.5], [0.5, 1.0]]))
    assert found.least_eigenvalue == pytest.approx(0.5)
    assert (found.n_obs == 3).all()


@pytest.mark.parametrize("correlate", [listwise, pairwise])
def test_one_asset_goes_with_itself(correlate):
    found = correlate(RETURNS[:, :1])
    assert found.matrix.tolist() == [[1.0]]
    assert found.least_eigenvalue == pytest.approx(1.0)


@pytest.mark.parametrize("correlate", [listwise, pairwise])
def test_an_asset_against_itself_turned_round(correlate):
    found = correlate(np.column_stack([RETURNS[:, 0], -2 * RETURNS[:, 0]]))
    assert found.matrix == pytest.approx(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert np.abs(found.matrix).max() <= 1.0
    assert found.least_eigenvalue == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("correlate", [listwise, pairwise])
def test_an_asset_that_does_not_move_goes_with_none(correlate):
    found = correlate(np.column_stack([RETURNS[:, 0], np.full(300, 0.1), RETURNS[:, 1]]))
    assert np.isnan(found.matrix[1]).all()
    assert np.isnan(found.matrix[:, 1]).all()
    assert found.matrix[0, 2] == pytest.approx(np.corrcoef(RETURNS[:, 0], RETURNS[:, 1])[0, 1])
    assert found.least_eigenvalue is None


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_complete_rows_name_the_remedy(n):
    with pytest.raises(InsufficientDataError, match=f"{n} of {n} rows .*ask for pairwise"):
        listwise(RETURNS[:n])
    assert np.isnan(pairwise(RETURNS[:n]).matrix).all()


@given(st.integers(1, 6), st.integers(2, 40), st.integers(0, 2**31), st.floats(0, 0.5))
def test_pairwise_is_pandas(n, t, seed, missing):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.01, (t, n))
    returns[rng.random((t, n)) < missing] = np.nan
    found = pairwise(returns)
    expected = pd.DataFrame(returns).corr(min_periods=2).to_numpy()
    assert found.matrix == pytest.approx(expected, abs=1e-9, nan_ok=True)
    there = ~np.isnan(returns)
    assert found.n_obs.tolist() == [
        [int((there[:, i] & there[:, j]).sum()) for j in range(n)] for i in range(n)
    ]


@given(st.integers(1, 6), st.integers(3, 40), st.integers(0, 2**31))
def test_listwise_is_positive_semidefinite_and_has_no_unit(n, t, seed):
    returns = np.random.default_rng(seed).normal(0, 0.01, (t, n))
    found = listwise(returns)
    assert found.least_eigenvalue >= -1e-12
    assert np.diag(found.matrix) == pytest.approx(1.0)
    scaled = listwise(returns * np.linspace(1, 1e3, n))
    assert scaled.matrix == pytest.approx(found.matrix, abs=1e-9)


def test_the_distance_of_a_correlation():
    found = distance(
        np.array([[1.0, 0.5, -1.0], [0.5, 1.0, 1.0 + 1e-12], [-1.0, 1.0 + 1e-12, 1.0]])
    )
    assert found == pytest.approx(np.array([[0, 0.5, 1], [0.5, 0, 0], [1, 0, 0]]))
