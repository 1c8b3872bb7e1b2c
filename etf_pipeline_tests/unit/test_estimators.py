"""Covariances, correlations and series through time, against arithmetic and peers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.covariance import LedoitWolf

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.risk.correlation import listwise, pairwise
from etf_pipeline.risk.covariance import covariance, ewma_covariance, ledoit_wolf
from etf_pipeline.risk.returns import drawdowns, simple_returns
from etf_pipeline.risk.series import drawdown_table, rolling_volatility

RNG = np.random.default_rng(4)
RETURNS = RNG.normal(0.0003, 0.01, (300, 6)) + RNG.normal(0, 0.007, (300, 1))


def test_ledoit_wolf_is_scikit_learns_with_the_sample_scale():
    """scikit-learn has 1/T: trace(LW) = (T − 1)/T · trace(sample)."""
    peer = LedoitWolf().fit(RETURNS).covariance_ * 300 / 299
    assert ledoit_wolf(RETURNS) == pytest.approx(peer, rel=1e-9)
    sample = np.cov(RETURNS, rowvar=False)
    assert np.trace(ledoit_wolf(RETURNS)) == pytest.approx(np.trace(sample), rel=1e-12)


def test_ewma_with_equal_weights_is_the_sample_covariance():
    found = ewma_covariance(RETURNS, halflife=1e12)
    assert found == pytest.approx(np.cov(RETURNS, rowvar=False), rel=1e-6)


def test_ewma_is_pandas():
    frame = pd.DataFrame(RETURNS)
    peer = frame.ewm(halflife=20).cov().iloc[-6:].to_numpy()
    assert ewma_covariance(RETURNS, halflife=20) == pytest.approx(peer, rel=1e-9)


def test_estimators_by_name():
    assert covariance(RETURNS) == pytest.approx(np.cov(RETURNS, rowvar=False))
    with pytest.raises(ValueError, match="sample, ledoit_wolf, ewma"):
        covariance(RETURNS, "magic")
    with pytest.raises(InsufficientDataError):
        covariance(RETURNS[:1])


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


def prices():
    index = pd.bdate_range("2024-01-01", periods=9)
    return pd.Series([100, 110, 99, 104.5, 121, 96.8, 108.9, 130, 117.0], index)


def test_drawdown_table():
    table = drawdown_table(prices())
    index = prices().index
    assert table["drawdown"].tolist() == pytest.approx([-0.2, -0.1, -0.1])
    worst = table.iloc[0]
    assert (worst["peak"], worst["trough"], worst["recovery"]) == (index[4], index[5], index[7])
    assert (worst["length"], worst["to_trough"]) == (3, 1)
    still = table[table["recovery"].isna()].iloc[0]
    assert (still["peak"], still["length"]) == (index[7], 1)
    assert len(drawdown_table(prices(), 1)) == 1
    assert drawdown_table(prices()[:2]).empty


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


def test_drawdown_series_and_rolling_volatility():
    assert drawdowns(prices()).min() == pytest.approx(-0.2)
    rolled = rolling_volatility(prices(), 3, 252)
    assert len(rolled) == 6
    last = prices().pct_change().iloc[-3:].std(ddof=1) * np.sqrt(252)
    assert rolled.iloc[-1] == pytest.approx(last)
    with pytest.raises(ValueError, match="at least 2"):
        rolling_volatility(prices(), 1, 252)
