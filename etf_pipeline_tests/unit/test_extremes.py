"""Blocks of a correlation matrix against numpy's whole one, and what is kept against a sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.risk.extremes import Block, Extremes, Product, blocks, unit_rows


def drawn(seed, n, t, twins):
    """Returns, shape (n, t), of which some are copies of others: their correlations tie."""
    rng = np.random.default_rng(seed)
    found = rng.normal(0, 0.01, (n, t)) + rng.normal(0, 0.01, t)
    for _ in range(twins):
        found[rng.integers(n)] = found[rng.integers(n)] * rng.choice([1.0, 3.0])
    return found


SIZES = (st.integers(0, 2**31), st.integers(1, 30), st.integers(3, 40), st.integers(0, 20))


@given(*SIZES, st.integers(1, 31))
def test_blocks_are_the_upper_triangle_of_numpy_s_matrix(seed, n, t, twins, rows):
    returns = drawn(seed, n, t, twins)
    expected = np.atleast_2d(np.corrcoef(returns))
    found = np.full((n, n), np.nan)
    for block in blocks(unit_rows(returns.copy()), rows):
        assert block.values.shape[1] == n - block.first
        found[block.rows, block.first :] = block.values
        square = block.values[:, : len(block.values)]
        assert (square == square.T).all()
    upper = np.triu_indices(n)
    assert found[upper] == pytest.approx(expected[upper], abs=1e-12)
    assert np.abs(found[upper]).max() <= 1.0
    assert (np.diag(found) == 1.0).all()


@given(*SIZES, st.integers(1, 31), st.integers(0, 31), st.sampled_from([1.0, -1.0]))
def test_what_is_kept_is_the_beginning_of_a_sort(seed, n, t, twins, rows, k, sign):
    """Whatever the blocks: by the correlation (but for rounding), then by the column."""
    unit = unit_rows(drawn(seed, n, t, twins))
    matrix = np.clip(unit @ unit.T, -1, 1)
    expected = {}
    for i in range(n):
        others = [j for j in range(n) if j != i]
        others.sort(key=lambda j, i=i: (-sign * round(matrix[i, j], 10), j))
        expected |= {(i, rank): j for rank, j in enumerate(others[:k], start=1)}
    kept = Extremes(n, k, sign)
    for block in blocks(unit, rows):
        kept.add(block)
    i, j, values, ranks = kept.ranked()
    assert dict(zip(zip(i.tolist(), ranks.tolist(), strict=True), j, strict=True)) == expected
    assert values == pytest.approx(matrix[i, j], abs=1e-12)


@pytest.mark.parametrize(("row", "column"), [(0, 3), (2, 2), (1, 6), (4, 5)])
def test_a_wrong_number_in_a_block_is_noticed(row, column):
    unit = unit_rows(drawn(1, 7, 20, 0))
    right, wrong = Product(unit), Product(unit)
    for block in blocks(unit, 3):
        right.add(block)
        values = block.values.copy()
        if block.first <= row < block.first + len(values):
            values[row - block.first, column - block.first] += 1e-3
        wrong.add(Block(block.first, values))
    right.check()
    with pytest.raises(EtfError, match="matrix of 7 correlations") as caught:
        wrong.check()
    assert caught.value.code is ReasonCode.OUR_MISTAKE


def test_a_number_that_is_none_is_noticed():
    unit = unit_rows(drawn(1, 3, 20, 0))
    product = Product(unit)
    (block,) = blocks(unit)
    block.values[0, 2] = np.nan
    product.add(block)
    with pytest.raises(EtfError, match="off by nan"):
        product.check()
