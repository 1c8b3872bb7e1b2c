"""Conversion: what it must never change, for any prices and rates."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.risk.conversion import Conversion, Rates
from etf_pipeline.risk.converting import converted
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.returns import simple_returns
from etf_pipeline.risk.tables import metrics_row
from etf_pipeline_tests.support import asx_days, walk

EMPTY = np.array([], dtype="datetime64[D]")
DAYS = pd.DatetimeIndex(asx_days("2019-01-02", 900).astype("datetime64[s]"), name="date")
ALL_DAYS = pd.date_range("2018-12-31", periods=1500, name="date").astype("datetime64[s]")

seeds = st.integers(0, 2**31)
levels = st.floats(1e-5, 1e5)
PAIRS = [("AUD", "USD"), ("USD", "JPY"), ("USD", "ZAR"), ("EUR", "USD"), ("NZD", "USD")]


def priced(ticker, currency, values, index=DAYS):
    return PriceSeries(ticker, pd.Series(values, index), EMPTY, EMPTY, "files", currency)


def rates(seed, level=1.0):
    """A year's worth of walks for every pair of `PAIRS`, on every day."""
    return {
        f"{a}{b}=X": priced(f"{a}{b}=X", b, level * walk(1500, seed + i, 1.3), ALL_DAYS)
        for i, (a, b) in enumerate(PAIRS)
    }


def returns(series):
    return simple_returns(series.prices.to_numpy())


@given(seeds, levels)
def test_a_constant_rate_changes_no_metric_of_returns(seed, level):
    one = priced("SPY", "USD", walk(900, seed))
    flat = {"AUDUSD=X": priced("AUDUSD=X", "USD", np.full(1500, level), ALL_DAYS)}
    other = converted(one, "AUD", flat)
    for years in (1, 3, None):
        before, after = metrics_row(one, years), metrics_row(other, years)
        assert before.keys() == after.keys()
        for name, value in before.items():
            if isinstance(value, float):
                assert after[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
            else:
                assert after[name] == value or name == "currency"


@given(seeds, st.sampled_from(["AUD", "JPY", "ZAR", "EUR", "GBp"]))
def test_there_and_back_again(seed, middle):
    table = rates(seed)
    table["GBPUSD=X"] = priced("GBPUSD=X", "USD", walk(1500, seed + 99, 1.3), ALL_DAYS)
    for currency in ("USD", "NZD"):
        one = priced("X", currency, walk(900, seed + 7))
        back = converted(converted(one, middle, table), currency, table)
        np.testing.assert_allclose(back.prices, one.prices, rtol=1e-13)
        np.testing.assert_allclose(returns(back), returns(one), rtol=1e-9, atol=1e-13)


@given(seeds)
def test_through_the_dollar_is_what_the_cross_rate_says(seed):
    table = rates(seed)
    cross = table["EURUSD=X"].prices / table["AUDUSD=X"].prices
    own = {"EURAUD=X": replace(table["EURUSD=X"], ticker="EURAUD=X", prices=cross, currency="AUD")}
    one = priced("X", "EUR", walk(900, seed + 7))
    through, direct = converted(one, "AUD", table), converted(one, "AUD", own)
    np.testing.assert_allclose(through.prices, direct.prices, rtol=1e-14)


@given(seeds, st.permutations(["AUD", "USD", "JPY", "GBp"]))
def test_adding_a_ticker_changes_no_other(seed, currencies):
    table = rates(seed) | {
        "GBPUSD=X": priced("GBPUSD=X", "USD", walk(1500, seed + 99, 1.3), ALL_DAYS)
    }
    held = [priced(c, c, walk(900, seed + i)) for i, c in enumerate(currencies)]
    conversion = Conversion(Rates(table))
    whole = conversion.together(held, "EUR").series
    for one, found in zip(held, whole, strict=True):
        alone = conversion.together([one], "EUR").series[0]
        assert (alone.prices == found.prices).all()
