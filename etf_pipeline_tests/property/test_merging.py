"""Merging in any order and any split of batches equals one full download."""

import datetime as dt
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from etf_pipeline.errors import RejectedDataError
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.build import build
from etf_pipeline.history.merge import (
    compare_full,
    compare_window,
    merge_full,
    merge_window,
    needs_full,
    tidy,
)
from etf_pipeline.history.slices import BatchSlice, SliceInfo, fold
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.rows import empty_rows
from etf_pipeline.store.batches import collected_at, new_batch_id
from etf_pipeline.store.hashing import content_hash
from etf_pipeline_tests.support import asx_days, bars, walk

N = 80
DAYS = asx_days("2024-03-01", N)
BASIS = Basis(sessions("XASX"))


@st.composite
def downloads(draw):
    """Rows of one full download: a walk with dividends, faults and null days."""
    rows = bars(DAYS, walk(N, seed=draw(st.integers(0, 10_000))))
    for i in draw(st.sets(st.integers(1, N - 1), max_size=5)):
        rows.iloc[i, 5] = draw(st.floats(0.01, 3).map(lambda v: round(v, 4)))
    for i in draw(st.sets(st.integers(0, N - 1), max_size=4)):
        rows.iloc[i, :4] *= draw(st.sampled_from([10.0, 0.1, 100.0]))
    for i in draw(st.sets(st.integers(0, N - 1), max_size=4)):
        rows.iloc[i, 0] = 0.0
    for i in draw(st.sets(st.integers(0, N - 1), max_size=4)):
        rows.iloc[i, :5] = np.nan
    return rows


slices = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(1, N)).map(lambda s: slice(s[0], s[0] + s[1])),
    max_size=8,
)


@given(downloads(), slices, st.randoms(use_true_random=False))
def test_any_split_in_any_order_equals_one_download(rows, parts, random):
    parts = [*parts, slice(0, 37), slice(30, N)]
    random.shuffle(parts)
    known = empty_rows()
    for part in parts:
        known = merge_window(known, rows[part]).rows
    whole = merge_full(empty_rows(), rows).rows
    pd.testing.assert_frame_equal(known, whole, check_exact=True)
    one, two = build(known, BASIS), build(whole, BASIS)
    assert content_hash(one.history) == content_hash(two.history)
    assert content_hash(one.quarantine) == content_hash(two.quarantine)


@given(downloads(), slices)
def test_merging_again_changes_nothing(rows, parts):
    known = merge_full(empty_rows(), rows).rows
    for part in parts:
        merge = merge_window(known, rows[part])
        assert not merge.changed
        assert merge.rows.equals(known)
        if rows[part]["close"].notna().any():
            assert needs_full(known, rows[part]) is None


@given(downloads(), downloads(), slices, st.sampled_from([1.0, 1.0, 4.0]), st.integers(0, 30))
def test_comparing_counts_what_merging_does(rows, other, parts, level, lost):
    """Against the rows that a merge gives, counted here one by one."""
    known = empty_rows()
    for part in parts:
        known = merge_window(known, rows[part]).rows
    other = other.assign(close=other["close"] / level)
    for compare, merge, download in (
        (compare_window, merge_window, other[lost : lost + 25]),
        (compare_full, merge_full, other[lost:]),
    ):
        try:
            merged = merge(known, download)
        except RejectedDataError as error:
            with pytest.raises(RejectedDataError, match=re.escape(str(error))):
                compare(known, download)
            continue
        compared = compare(known, download)
        after = merged.rows
        both = known.index.intersection(after.index)
        before, now = known.loc[both].fillna(-1.0), after.loc[both].fillna(-1.0)
        differs = ~np.isclose(before, now, rtol=1e-7, atol=0).all(axis=1)
        assert compared.added == merged.added == len(after.index.difference(known.index))
        assert compared.revised == merged.revised == differs.sum()
        assert compared.removed == merged.removed == len(known.index.difference(after.index))
        assert compared.notes == merged.notes
        priced = after.index[after["close"].notna()]
        assert compared.first == (priced[0].date() if len(priced) else None)
        assert compared.last == (priced[-1].date() if len(priced) else None)


@given(downloads())
def test_history_and_quarantine_hold_every_row_between_them(rows):
    """Nothing is lost: the two files together are the rows that came in."""
    known = tidy(rows)
    built = build(known, BASIS)
    kept = set(built.history.column("date").to_pylist())
    held = {
        r["date"]
        for r in built.quarantine.to_pylist()
        if r["severity"] in ("quarantined", "pending")
    }
    assert kept | held == {d.date() for d in known.index}
    assert not kept & held


@given(downloads(), st.integers(5, N - 5), st.floats(1.05, 20))
def test_a_restatement_is_one_version(rows, cut, ratio):
    """Old rows never survive beside rows on another level."""
    assume(abs(ratio / 10 - 1) > 0.03)  # a unit, unless a split is recorded
    rows = rows.dropna(subset=["close"])
    known = merge_full(empty_rows(), rows[:cut]).rows
    restated = rows.assign(**{c: rows[c] / ratio for c in ("open", "high", "low", "close")})
    assert needs_full(known, restated[max(0, cut - 15) :]) is not None
    merge = merge_full(known, restated)
    assert merge.rows["close"].tolist() == restated["close"].tolist()


@given(downloads(), slices)
def test_folding_slices_is_the_same_as_merging_one_after_another(rows, parts):
    start = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    found, known = [], empty_rows()
    for i, part in enumerate([slice(0, 20), *parts]):
        info = SliceInfo("VAS", "VAS.AX", "XASX", "AUD", i == 0, 0)
        batch_id = new_batch_id(start + dt.timedelta(seconds=i), f"run-{i}")
        answer = rows[part].assign(adj_close_source=rows["close"])
        found.append(BatchSlice(info, batch_id, "yahoo", answer))
        known = (merge_full if i == 0 else merge_window)(known, rows[part]).rows
    assert fold(empty_rows(), found).rows.equals(known)
    assert [s.batch_id for s in found] == sorted(s.batch_id for s in found)
    assert collected_at(found[-1].batch_id) == start + dt.timedelta(seconds=len(found) - 1)
