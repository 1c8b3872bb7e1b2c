"""Returns and falls from a peak, by hand, of arrays, series and frames."""

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.risk.returns import drawdowns, simple_returns


def prices():
    index = pd.bdate_range("2024-01-01", periods=9)
    return pd.Series([100, 110, 99, 104.5, 121, 96.8, 108.9, 130, 117.0], index)


def of(values):
    return pd.Series(values, pd.bdate_range("2024-01-01", periods=len(values)), dtype="float64")


@pytest.mark.parametrize("kind", ["array", "matrix", "series", "frame"])
def test_simple_returns_of_anything(kind):
    """By hand: 100, 110, 99 gives +10 % and −10 %."""
    column = prices()[:3]
    given = {
        "array": column.to_numpy(),
        "matrix": np.column_stack([column, 2 * column]),
        "series": column,
        "frame": pd.DataFrame({"a": column, "b": 2 * column}),
    }[kind]
    found = simple_returns(given)
    assert type(found) is type(given)
    for values in np.atleast_2d(np.asarray(found).T):
        assert values.tolist() == pytest.approx([0.1, -0.1], rel=1e-12)
    if kind in ("series", "frame"):
        assert found.index.equals(column.index[1:])


def test_a_missing_price_is_no_drawdown():
    found = drawdowns(pd.Series([10.0, np.nan, 8.0, 12.0]))
    assert np.isnan(found.iloc[1])
    assert found.dropna().tolist() == pytest.approx([0.0, -0.2, 0.0])


def test_simple_returns_by_hand():
    found = simple_returns(of([100, 110, 99]))
    assert found.tolist() == pytest.approx([0.1, -0.1])
    assert list(found.index) == list(of([100, 110, 99]).index[1:])
    assert simple_returns(of([100])).empty


def test_drawdowns_by_hand():
    assert drawdowns(of([100, 110, 99, 121, 60.5])).tolist() == pytest.approx([0, 0, -0.1, 0, -0.5])
