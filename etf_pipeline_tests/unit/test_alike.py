"""Nearest and farthest others, against sorting every row of a matrix."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.report.alike import NOBODY, alike


def table(pairs):
    """A table of pairs, shuffled, as there is no order to rely on."""
    order = np.random.default_rng(1).permutation(len(pairs))
    columns = list(zip(*(pairs[i] for i in order), strict=True)) or [(), (), ()]
    kinds = (pa.string(), pa.string(), pa.float64())
    names = ("ticker", "other", "correlation")
    return pa.table({n: pa.array(c, k) for n, c, k in zip(names, columns, kinds, strict=True)})


@given(n=st.integers(2, 9), count=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_they_are_the_first_of_each_sorted_row(n, count, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-3, 4, (n, n)) / 4  # ties, and values out of order
    matrix = np.triu(matrix, 1) + np.triu(matrix, 1).T
    tickers = [f"T{i}" for i in range(n)]
    pairs = [(tickers[i], tickers[j], matrix[i, j]) for i in range(n) for j in range(n) if i != j]
    found = alike(table(pairs), tickers, count)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for who, by, sign in (
            (found.nearest, found.nearest_by, -1),
            (found.farthest, found.farthest_by, 1),
        ):
            expected = sorted(others, key=lambda j: (sign * matrix[i, j], j))[:count]
            assert who[i].tolist() == expected + [NOBODY] * (count - len(expected))
            assert by[i, : len(expected)].tolist() == [matrix[i, j] for j in expected]
            assert np.isnan(by[i, len(expected) :]).all()


@given(n=st.integers(3, 12), kept=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_a_table_of_the_extremes_alone_gives_the_same(n, kept, seed):
    """As it is stored for many tickers: each one's nearest and farthest, and pairs beyond."""
    matrix = np.corrcoef(np.random.default_rng(seed).normal(size=(n, 30)))
    tickers = [f"T{i:02d}" for i in range(n)]
    every = [(tickers[i], tickers[j], matrix[i, j]) for i in range(n) for j in range(n) if i != j]
    few = {("T00", "T01", matrix[0, 1])}
    for i in range(n):
        row = sorted((p for p in every if p[0] == tickers[i]), key=lambda p: p[2])
        few |= {*row[:kept], *row[-kept:]}
    whole, part = (alike(table(list(pairs)), tickers, kept) for pairs in (every, few))
    for name in ("nearest", "nearest_by", "farthest", "farthest_by"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(part, name))


def test_what_is_null_a_pair_with_itself_or_of_strangers_does_not_count():
    pairs = table(
        [("A", "A", 1.0), ("A", "B", None), ("A", "Z", 0.9), ("Z", "A", 0.9), ("A", "C", 0.5)]
    )
    found = alike(pairs, ["A", "B", "C"], 2)
    assert found.nearest.tolist() == [[2, NOBODY], [NOBODY] * 2, [NOBODY] * 2]
    assert found.nearest_by[0, 0] == pytest.approx(0.5)
    assert alike(table([]), ["A", "B"], 1).farthest.tolist() == [[NOBODY], [NOBODY]]
