"""Another security under the same symbol, after a pause."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import ReasonCode, RejectedDataError
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.identity import other_security, same_prices, since
from etf_pipeline.history.slices import BatchSlice, SliceInfo, build_from, fold
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.rows import empty_rows
from etf_pipeline.store.hashing import content_hash
from etf_pipeline_tests.support import asx_days, bars, walk

DAYS = asx_days("2023-01-03", 400)
OLD = bars(DAYS[:150], walk(150, seed=1, start=12))
NEW = bars(DAYS[250:290], walk(40, seed=2, start=184))
BOTH = pd.concat([OLD, NEW])
XASX = sessions("XASX")


def paused(factor, sessions_absent, after=40, seed=5):
    closes = walk(400, seed=seed)
    closes[150:] *= factor
    rows = bars(DAYS, closes)
    return rows.iloc[np.r_[0:150, 150 + sessions_absent : 150 + sessions_absent + after]]


def part(rows, number, full=False):
    info = SliceInfo("VAS", "VAS.AX", "XASX", "AUD", full, 0)
    return BatchSlice(info, f"b{number}", "yahoo", rows.assign(adj_close_source=np.nan))


def test_forty_rows_at_184_after_150_at_12_five_months_apart():
    text = other_security(BOTH)
    assert text is not None
    assert f"listed_since={DAYS[250]}" in text
    for words in ("another security", "alias", "corrections", "nothing for"):
        assert words in text


@pytest.mark.parametrize(
    ("factor", "absent", "held"),
    [
        (15.3, 100, True),
        (1 / 15.3, 100, True),
        (2.5, 100, True),
        (4 / 3, 91, False),  # 30, then 40: a gap, but one that a fund may cross
        (15.3, 20, False),  # a month: a level shift
        (10, 100, False),  # units
        (0.01, 100, False),
        (1.0, 200, False),
    ],
)
def test_what_holds_a_ticker(factor, absent, held):
    assert (other_security(paused(factor, absent)) is not None) == held


def test_a_split_in_the_pause_explains_its_ratio():
    rows = paused(2.5, 100)
    assert other_security(rows) is not None
    rows.iloc[150, 6] = 2.5
    assert other_security(rows) is None


def test_a_security_that_always_moved_so_far_is_the_same():
    """Five per cent a day: a factor of 2.5 in 150 days is two of its deviations."""
    closes = 50 * np.cumprod(1 + np.random.default_rng(2).normal(0, 0.05, 400))
    closes[250:] *= 2.5 * closes[149] / closes[250]
    rows = bars(DAYS, closes).iloc[np.r_[0:150, 250:290]]
    assert other_security(rows) is None


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e5])
def test_the_unit_does_not_matter(unit):
    for factor, held in ((15.3, True), (1.3, False)):
        rows = paused(factor, 100)
        assert (other_security(rows.assign(close=rows["close"] * unit)) is not None) == held


def test_monthly_rows_have_no_pause():
    assert other_security(BOTH.iloc[::21]) is None


def test_the_slice_with_the_other_security_and_later_ones_are_not_applied():
    late = part(BOTH[-30:], 3)
    folded = fold(empty_rows(), [part(OLD, 1, full=True), part(NEW, 2), late])
    pd.testing.assert_frame_equal(folded.rows, OLD, check_freq=False)
    assert [s.batch_id for s in folded.slices] == ["b1"]
    assert folded.held is not None
    assert folded.held.code is ReasonCode.OTHER_SECURITY


def test_nothing_is_built_of_a_first_download_with_both():
    with pytest.raises(RejectedDataError) as caught:
        build_from(empty_rows(), [part(BOTH, 1, full=True)], Basis(XASX))
    assert caught.value.code is ReasonCode.OTHER_SECURITY


def test_listed_since_leaves_the_older_rows_out_whichever_way_they_came():
    basis = Basis(XASX, listed_since=DAYS[250].astype(object))
    at_once = build_from(empty_rows(), [part(BOTH, 1, full=True)], basis)[1]
    in_two = build_from(empty_rows(), [part(OLD, 1, full=True), part(NEW, 2)], basis)[1]
    alone = build_from(empty_rows(), [part(NEW, 2, full=True)], basis)[1]
    assert at_once.history.column("close").to_pylist() == NEW["close"].tolist()
    assert at_once.quarantine.num_rows == 0
    assert {content_hash(b.history) for b in (at_once, in_two, alone)} == {
        content_hash(at_once.history)
    }


def test_listed_since_before_everything_says_that_all_is_one_security():
    basis = Basis(XASX, listed_since=dt.date(2000, 1, 1))
    folded = fold(empty_rows(), [part(paused(2.5, 100), 1, full=True)], basis.listed_since)
    assert folded.held is None
    assert len(folded.rows) == 190


def test_since_keeps_the_day_itself():
    assert since(OLD, None) is OLD
    assert list(since(OLD, OLD.index[20].date()).index) == list(OLD.index[20:])


CLOSES = pd.Series(walk(40, seed=7), DAYS[:40])


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (CLOSES[10:], True),
        (CLOSES / 4, True),  # one of them was split since
        (CLOSES.where(CLOSES.index != DAYS[5], 1.0), True),  # a close that was corrected
        (CLOSES[:1], True),
        (CLOSES[:1] / 4, False),  # a session is no proof of a split
        (pd.Series(walk(40, seed=8), DAYS[:40]), False),
        (pd.Series(walk(40, seed=7), DAYS[60:100]), False),  # no session in common
    ],
)
def test_whether_prices_are_the_same_security_s(other, same):
    assert same_prices(CLOSES, other) is same
    assert same_prices(other, CLOSES) is same
