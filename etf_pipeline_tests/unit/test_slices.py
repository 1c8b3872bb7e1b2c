"""Batch slices folded into rows, in the order they were collected."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import MixedSourceError, ReasonCode
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.slices import (
    BatchSlice,
    SliceInfo,
    build_from,
    check_origin,
    fold,
    valid,
)
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.rows import empty_rows
from etf_pipeline_tests.support import asx_days, bars, walk

DAYS = asx_days("2025-01-02", 60)
ROWS = bars(DAYS, walk(60))


def part(rows, full=False, number=0, source="yahoo", currency="AUD"):
    info = SliceInfo("VAS", "VAS.AX", "XASX", currency, full, number)
    theirs = rows["close"] * np.where(rows.index < ROWS.index[40], 0.5, 1.0)
    return BatchSlice(info, f"b{number}", source, rows.assign(adj_close_source=theirs))


def test_no_slices_change_nothing():
    folded = fold(ROWS, [])
    assert folded.rows is ROWS
    assert not folded.changed


def test_a_history_is_built_of_all_rows_and_compared_with_the_newest_whole_answer():
    basis = Basis(DAYS.astype("datetime64[D]"))
    merged, built = build_from(ROWS[:40], [part(ROWS, True)], basis)
    assert (merged.added, built.history.num_rows) == (20, 60)
    assert built.adj_close_gap == pytest.approx(1.0)  # half of theirs before the 40th
    assert build_from(ROWS[:40], [part(ROWS[30:])], basis)[1].adj_close_gap is None
    again = build_from(ROWS, [part(ROWS[30:])], basis, built.evidence)[1]
    assert again.adj_close_gap == pytest.approx(1.0)  # a later window does not hide it


def test_counts_are_totals():
    corrected = ROWS[30:50].copy()
    corrected.iloc[0, 3] *= 1.001
    folded = fold(empty_rows(), [part(ROWS[:40], True), part(corrected), part(ROWS[45:])])
    assert (folded.added, folded.revised, folded.removed) == (60, 1, 0)
    expected = ROWS["close"].copy()
    expected.iloc[30] *= 1.001
    pd.testing.assert_series_equal(folded.rows["close"], expected)


def test_the_later_slice_wins():
    one, two = ROWS[:5].copy(), ROWS[:5].copy()
    one.iloc[2, 3], two.iloc[2, 3] = ROWS.iloc[2, 3] * 1.001, ROWS.iloc[2, 3] * 1.002
    assert fold(ROWS, [part(one), part(two)]).rows.iloc[2, 3] == two.iloc[2, 3]
    assert fold(ROWS, [part(two), part(one)]).rows.iloc[2, 3] == one.iloc[2, 3]


def test_a_slice_that_may_not_be_merged_is_left_out_and_told():
    """A whole history on another level that starts later, then an ordinary window."""
    shorter = ROWS[30:].assign(close=ROWS["close"][30:] / 4)
    folded = fold(ROWS[:-1], [part(shorter, full=True), part(ROWS[-5:])])
    pd.testing.assert_frame_equal(folded.rows, ROWS, check_freq=False)
    assert [n.code for n in folded.notes] == [ReasonCode.LEVEL_SHORTENED]
    assert folded.added == 1


def test_a_window_that_continues_a_refused_answer_is_refused_with_it():
    known = ROWS[:50].copy()
    known[["open", "high", "low", "close"]] *= 0.001
    slices = [part(known, True), part(ROWS[:55], True), part(ROWS[45:])]
    folded = fold(empty_rows(), slices)
    assert [note.code for note in folded.notes] == [ReasonCode.OTHER_LEVEL] * 2
    assert "continues a whole history that was refused" in folded.notes[1].text
    assert folded.rows["close"].tolist() == known["close"].tolist()
    assert len(folded.slices) == 3
    # the next whole answer that is taken, and its windows, count again
    again = bars(DAYS[:55], np.r_[known["close"], ROWS["close"][50:55] * 0.001])
    more = bars(DAYS[50:], ROWS["close"][50:] * 0.001)
    folded = fold(empty_rows(), [*slices, part(again, True), part(more)])
    assert folded.rows["close"].tolist() == pytest.approx((ROWS["close"] * 0.001).tolist())


def test_what_is_void_is_left_out_with_the_windows_that_continue_it():
    hours = [f"20250401T{hour:02}0000000000Z-run" for hour in range(5)]
    fulls = (True, False, False, True, False)
    slices = [
        replace(part(ROWS, full), batch_id=name) for full, name in zip(fulls, hours, strict=True)
    ]

    def left(hour, minute=0, base=""):
        before = dt.datetime(2025, 4, 1, hour, minute, tzinfo=dt.UTC)
        void = Correction("VAS", before.date(), "void", "", np.nan, "r", "a", before=before)
        return [int(one.batch_id[9:11]) for one in valid(slices, void, base)]

    assert valid(slices, None) == slices
    assert left(0) == [0, 1, 2, 3, 4]  # what is collected at the instant is valid
    assert left(0, 1) == [3, 4]
    assert left(4) == left(5) == []
    assert left(1, base=hours[1]) == [1, 2, 3, 4]  # the rows that it continues are valid


def test_a_window_does_not_replace_what_a_whole_history_does():
    prices = ["open", "high", "low", "close"]
    restated = ROWS.assign(**{c: ROWS[c] / 4 for c in prices})
    folded = fold(ROWS, [part(restated, full=True)])
    pd.testing.assert_frame_equal(folded.rows, restated, check_freq=False)
    assert [n.code for n in folded.notes] == [ReasonCode.RESTATED]


@pytest.mark.parametrize(
    ("slices", "source", "currency", "words"),
    [
        ([part(ROWS), part(ROWS, source="files")], None, None, "source files and yahoo"),
        ([part(ROWS)], "simulated", None, "source simulated and yahoo"),
        ([part(ROWS), part(ROWS, currency="USD")], "yahoo", None, "currency AUD and USD"),
        ([part(ROWS)], "yahoo", "USD", "currency AUD and USD"),
    ],
)
def test_sources_and_currencies_do_not_mix(slices, source, currency, words):
    with pytest.raises(MixedSourceError, match=f"VAS: .*{words}.*--data-dir"):
        check_origin("VAS", slices, source, currency)


def test_one_origin_is_fine():
    check_origin("VAS", [part(ROWS), part(ROWS)], "yahoo", "AUD")
    check_origin("VAS", [part(ROWS)], None, None)
    check_origin("VAS", [], None, None)
