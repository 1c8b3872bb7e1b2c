"""What a portfolio of given weights becomes, recomputed day by day with plain arithmetic."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.portfolio.fixed_weights import RESTORED, series_of_weights, wealth_of
from etf_pipeline.risk.metrics import compute_metrics
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline_tests.support import asx_days, walk

NONE = np.array([], dtype="datetime64[D]")
DAYS = pd.DatetimeIndex(asx_days("2020-01-02", 800).astype("datetime64[s]"))


def series(ticker, values, days=DAYS, **changes):
    return PriceSeries(
        ticker,
        pd.Series(values, days),
        NONE,
        NONE,
        "files",
        "AUD",
        **{"exchange": "XASX"} | changes,
    )


TWO = [series("VAS", walk(800, seed=1)), series("VAF", walk(800, seed=2))]


def day_by_day(prices, weights, restored):
    """Units are held; at the end of a period (every day when daily) they are bought anew."""
    units = weights / prices[0]
    worth = [1.0]
    for i in range(1, len(prices)):
        worth.append(float(units @ prices[i]))
        last = i == len(prices) - 1
        ends = {
            "daily": lambda i=i: True,
            "monthly": lambda i=i, last=last: not last and DAYS[i].month != DAYS[i + 1].month,
            "quarterly": lambda i=i, last=last: not last and DAYS[i].quarter != DAYS[i + 1].quarter,
            "yearly": lambda i=i, last=last: not last and DAYS[i].year != DAYS[i + 1].year,
            "never": lambda: False,
        }[restored]()
        if ends:
            units = worth[-1] * weights / prices[i]
    return np.array(worth)


@pytest.mark.parametrize("restored", RESTORED)
@pytest.mark.parametrize("weights", [(0.6, 0.4), (1.0, 0.0), (1.3, -0.3)])
def test_wealth(restored, weights):
    prices = pd.DataFrame({s.ticker: s.prices for s in TWO})
    found = wealth_of(prices, np.array(weights), restored)
    expected = day_by_day(prices.to_numpy(), np.array(weights), restored)
    assert found.to_numpy() == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5), st.sampled_from(RESTORED))
def test_equal_prices_are_the_portfolio_whatever_the_weights(parts, restored):
    weights = np.array(parts) / sum(parts)
    prices = pd.DataFrame({f"T{i}": walk(800, seed=3) for i in range(len(parts))}, DAYS)
    found = wealth_of(prices, weights, restored).to_numpy()
    assert found == pytest.approx(prices["T0"].to_numpy() / prices["T0"].iloc[0], rel=1e-10)


def test_daily_returns_are_the_weighted_ones():
    """So mean and variance are those of mean-variance analysis."""
    held = {"VAS": 0.6, "VAF": 0.4}
    found = series_of_weights(TWO, held, None)
    returns = pd.DataFrame({s.ticker: s.prices.pct_change() for s in TWO}).dropna()
    expected = 0.6 * returns["VAS"] + 0.4 * returns["VAF"]
    metrics = compute_metrics(found.prices.to_numpy(), found.days, 252)
    assert metrics.mean_return == pytest.approx(252 * expected.mean(), rel=1e-9)
    assert metrics.volatility == pytest.approx(np.sqrt(252) * expected.std(), rel=1e-9)


def test_a_window_begins_with_what_is_invested_then():
    """Weights that drift are those of the window's first day, not of an earlier one."""
    held = {"VAS": 0.5, "VAF": 0.5}
    found = series_of_weights(TWO, held, 1, "never")
    start = pd.Timestamp(DAYS[-1]) - pd.DateOffset(years=1)
    parts = [s.prices[s.prices.index >= DAYS[start >= DAYS][-1]] for s in TWO]
    assert found.prices.iloc[0] == 1.0
    expected = sum(0.5 * p / p.iloc[0] for p in parts)
    assert found.prices.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12)


def test_only_common_dates_count():
    fewer = series("VAF", walk(800, seed=2)[::2], DAYS[::2])
    found = series_of_weights([TWO[0], fewer], {"VAS": 0.5, "VAF": 0.5}, None)
    assert list(found.days) == list(fewer.days)
    abroad = series("VTS", walk(800, seed=2), exchange="XNYS")
    both = series_of_weights([TWO[0], abroad], {"VAS": 0.5, "VTS": 0.5}, None)
    assert both.exchange == "XASX+XNYS"  # other than either: closing hours differ


def test_a_portfolio_that_lost_everything_says_when():
    up = series("UP", np.geomspace(1.0, 9.0, 800))
    flat = series("FLAT", np.ones(800))
    day = DAYS[int(np.argmax(np.geomspace(1.0, 9.0, 800) >= 2.0))].date()
    with pytest.raises(InsufficientDataError, match=f"worth nothing on {day}"):
        series_of_weights([up, flat], {"UP": -1.0, "FLAT": 2.0}, None, "never")
