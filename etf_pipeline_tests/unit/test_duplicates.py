"""Two rows for one day: one rule, whatever order they come in."""

import datetime as dt

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.history.basis import Basis
from etf_pipeline.history.duplicates import one_row_per_day
from etf_pipeline.history.slices import BatchSlice, SliceInfo, build_from
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.rows import empty_rows
from etf_pipeline.store.hashing import content_hash
from etf_pipeline_tests.support import asx_days, bars, walk

DAYS = asx_days("2018-11-01", 60)
ROWS = bars(DAYS, walk(60), adj_close_source=np.nan)
TWICE = pd.Timestamp("2019-01-25")
BASIS = Basis(sessions("XASX"))


def doubled(**changes):
    """With one more row for 2019-01-25, of less volume unless said otherwise."""
    rows = ROWS.copy()
    rows.loc[TWICE, "volume"] = 4959679.0
    more = rows.loc[[TWICE]].assign(**({"volume": 4945900.0} | changes))
    return pd.concat([rows, more])


def part(rows, full=True):
    info = SliceInfo("VAS", "VAS.AX", "XASX", "AUD", full, 0)
    return BatchSlice(info, "b1", "yahoo", rows)


def test_the_row_with_the_greater_volume_is_kept_with_a_word():
    rows, notes = one_row_per_day(doubled())
    assert rows.at[TWICE, "volume"] == 4959679
    assert len(rows) == 60
    close = ROWS.at[TWICE, "close"]
    assert notes == {
        dt.date(2019, 1, 25): f"2 rows for this day: kept close {close:g} with volume 4959679; "
        f"left out close {close:g} with volume 4945900"
    }


def test_rows_that_are_equal_are_one_without_a_word():
    rows, notes = one_row_per_day(pd.concat([ROWS, ROWS[20:30]]))
    pd.testing.assert_frame_equal(rows, ROWS, check_freq=False)
    assert notes == {}


def test_a_price_goes_before_none_whatever_the_volume_and_events_are_kept():
    nothing = dict.fromkeys(("open", "high", "low", "close"), np.nan)
    rows, _ = one_row_per_day(doubled(**nothing, volume=9e9, dividends=0.4))
    assert rows.at[TWICE, "close"] == ROWS.at[TWICE, "close"]
    assert rows.at[TWICE, "dividends"] == 0.4


def test_unique_rows_are_not_touched():
    assert one_row_per_day(ROWS)[0] is ROWS


@given(
    st.randoms(use_true_random=False),
    st.sampled_from(["volume", "close", "high", "low", "open", "dividends"]),
    st.sampled_from([0.5, 1.5]),
)
def test_the_order_of_rows_changes_nothing(random, column, factor):
    one = doubled(volume=4959679.0)
    one.iloc[-1, one.columns.get_loc(column)] = factor * (ROWS.at[TWICE, column] or 1.0)
    order = list(range(len(one)))
    random.shuffle(order)
    built = [build_from(empty_rows(), [part(r)], BASIS)[1] for r in (one, one.iloc[order])]
    assert content_hash(built[0].history) == content_hash(built[1].history)
    assert content_hash(built[0].quarantine) == content_hash(built[1].quarantine)


def test_the_finding_stays_when_a_later_answer_has_one_row():
    merged, first = build_from(empty_rows(), [part(doubled())], BASIS)
    _, later = build_from(merged.rows, [part(ROWS[-30:], full=False)], BASIS, first.evidence)
    _, at_once = build_from(empty_rows(), [part(doubled()), part(ROWS[-30:], full=False)], BASIS)
    for built in (first, later, at_once):
        found = [(r["rule"], str(r["date"])) for r in built.quarantine.to_pylist()]
        assert found == [("several_rows", "2019-01-25")]
        flags = dict(
            zip(
                built.history.column("date").to_pylist(),
                built.history.column("flag").to_pylist(),
                strict=True,
            )
        )
        assert flags[dt.date(2019, 1, 25)] == "several_rows"
    assert content_hash(later.quarantine) == content_hash(at_once.quarantine)
