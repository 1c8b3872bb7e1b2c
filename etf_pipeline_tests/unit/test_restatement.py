"""A whole history that differs from the known one: restated, or a fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import ReasonCode, RejectedDataError
from etf_pipeline.history.merge import merge_full, merge_window
from etf_pipeline.history.restatement import check_restatement
from etf_pipeline_tests.support import asx_days, bars, walk

DAYS = asx_days("2024-01-02", 300)
PRICES = ["open", "high", "low", "close"]
ROWS = bars(DAYS, walk(300))


def scaled(rows, factor, part=slice(None), splits=()):
    """Prices of a part times a factor, and `(position, ratio)` splits recorded."""
    out = rows.copy()
    out.loc[out.index[part], PRICES] *= factor
    for position, ratio in splits:
        out.iloc[position, 6] = ratio
    return out


def code(known, full):
    try:
        check_restatement(known, full)
    except RejectedDataError as error:
        return error.code
    return None


@pytest.mark.parametrize("factor", [0.01, 100, 0.1, 10, 0.001, 1000])
def test_a_power_of_ten_without_a_split_is_refused(factor):
    """GBp prices that come in pounds, label still GBp."""
    assert code(ROWS, scaled(ROWS, factor)) is ReasonCode.OTHER_LEVEL
    assert code(ROWS[:280], scaled(ROWS, factor)) is ReasonCode.OTHER_LEVEL
    with pytest.raises(RejectedDataError, match=f"are {1 / factor:.6g} times the new ones"):
        merge_full(ROWS, scaled(ROWS, factor))


@pytest.mark.parametrize("size", [3, 20, 149, 200, 299])
def test_the_newest_rows_divided_by_a_hundred_are_refused(size):
    assert code(ROWS, scaled(ROWS, 0.01, slice(-size, None))) is ReasonCode.OTHER_LEVEL


@pytest.mark.parametrize("size", [3, 20, 149])
def test_a_part_that_the_source_has_mended_is_taken(size):
    """The known rows have the fault: the same difference, the other way round."""
    assert code(scaled(ROWS, 0.01, slice(-size, None)), ROWS) is None
    assert code(scaled(ROWS, 10, slice(0, size)), ROWS) is None


@pytest.mark.parametrize("ratio", [2.0, 3.0, 10.0, 100.0, 0.2, 0.1, 0.01, 1.05, 15.0])
def test_a_split_restates(ratio):
    """Recorded on a day that was not known yet: every row before it is divided by its ratio."""
    restated = scaled(ROWS, 1 / ratio, slice(0, 290), splits=[(290, ratio)])
    assert code(ROWS[:290], restated) is None
    merged = merge_full(ROWS[:290], restated)
    np.testing.assert_allclose(merged.rows["close"].iloc[:290] * ratio, ROWS["close"].iloc[:290])


@pytest.mark.parametrize("ratio", [2.0, 3.0, 0.2, 1.05, 4.0, 1 / 15])
def test_other_ratios_need_no_split(ratio):
    assert code(ROWS, scaled(ROWS, 1 / ratio)) is None


@pytest.mark.parametrize("ratios", [(10.0, 10.0), (10.0, 5.0), (2.0, 5.0), (20.0, 0.5)])
def test_several_splits_since_the_known_rows_explain_their_product(ratios):
    one, two = ratios
    restated = scaled(ROWS, 1 / one, slice(0, 250), splits=[(250, one), (290, two)])
    restated = scaled(restated, 1 / two, slice(0, 290))
    assert code(ROWS[:200], restated) is None


def test_a_split_explains_only_its_own_ratio():
    """Two for one is recorded, and pence became pounds as well."""
    both = scaled(ROWS, 1 / 200, slice(0, 290), splits=[(290, 2.0)])
    assert code(ROWS[:290], both) is ReasonCode.OTHER_LEVEL


def test_a_split_that_was_known_before_explains_nothing_new():
    known = scaled(ROWS, 1.0, splits=[(200, 10.0)])
    assert code(known, scaled(known, 0.1)) is ReasonCode.OTHER_LEVEL
    # The rows before it were never divided, and are now.
    unapplied = scaled(known, 10, slice(0, 200))
    assert code(unapplied, known) is None


def test_a_split_that_is_recorded_upside_down_explains_too():
    restated = scaled(ROWS, 0.1, slice(0, 290), splits=[(290, 0.1)])
    assert code(ROWS[:290], restated) is None


@pytest.mark.parametrize("ratio", [-2.0, np.inf, 1e9])
def test_an_impossible_split_explains_nothing(ratio):
    full = scaled(ROWS, 0.01, splits=[(299, ratio)])
    assert code(ROWS[:290], full) is ReasonCode.OTHER_LEVEL


@pytest.mark.parametrize(
    "closes",
    [
        walk(300, seed=9) * 3,  # a stranger
        walk(300) * 1.5 * np.cumprod(1 + np.random.default_rng(1).normal(0, 0.005, 300)),
    ],
    ids=["another security", "another currency"],
)
def test_another_series_is_refused(closes):
    assert code(ROWS, bars(DAYS, closes)) is ReasonCode.OTHER_SECURITY


def test_rounded_prices_are_the_same_series():
    """A penny share, divided by four and written to three decimals."""
    known = bars(DAYS, np.round(walk(300) / 50, 3))
    assert code(known, known.assign(close=np.round(known["close"] / 4, 3))) is None


def test_a_few_corrections_are_no_restatement():
    corrected = ROWS.copy()
    corrected.iloc[[-1, -2, 40], 3] *= 1.01
    corrected.iloc[-1, 3] /= 100  # one bar: the quality rules find it
    assert code(ROWS, corrected) is None


@given(
    st.floats(1.02, 1200),
    st.integers(1, 280),
    st.booleans(),
    st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_a_recorded_split_restates_whatever_its_ratio_and_the_unit(ratio, known, reverse, unit):
    ratio = 1 / ratio if reverse else ratio
    restated = scaled(ROWS, 1 / ratio, slice(0, 290), splits=[(290, ratio)])
    prices = {c: ROWS[c] * unit for c in PRICES}
    assert (
        code(
            ROWS[:known].assign(**{c: v[:known] for c, v in prices.items()}),
            restated.assign(**{c: restated[c] * unit for c in PRICES}),
        )
        is None
    )
    window = merge_window(ROWS[:known], ROWS[:known])
    assert not window.changed
