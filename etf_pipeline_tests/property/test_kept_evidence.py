"""What is published holds all that was answered: updates equal a rebuild, byte for byte."""

import datetime as dt
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.history.basis import Basis
from etf_pipeline.history.merge import compare_window
from etf_pipeline.history.slices import BatchSlice, SliceInfo, build_from
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.rows import empty_rows
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.store.histories import read_known
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.origins import NOTHING, Origin
from etf_pipeline.store.publishing import NewHistory, publish_history
from etf_pipeline_tests.support import asx_days, bars, instrument, walk

N = 120
DAYS = asx_days("2024-01-02", N)
BASIS = Basis(sessions("XASX"))
VAS = instrument()
NOTES = ("implied", "USD", "GBP")


@st.composite
def answers(draw):
    """A whole answer, then windows of what the source says by then, faults and notes included."""
    rows = bars(DAYS, walk(N, seed=draw(st.integers(0, 10_000))))
    rows["adj_close_source"] = rows["close"] * draw(st.sampled_from([1.0, 0.98, np.nan]))
    for i in draw(st.sets(st.integers(1, N - 1), max_size=8)):
        rows.iloc[i, 5] = draw(st.sampled_from([0.5, 0.51, 40.0, 300.0, -1.0]))
        rows.iloc[i, 7] = draw(st.sampled_from([0.0, 0.0, 0.3, 2.0]))
        rows.iloc[:i, 8] *= draw(st.sampled_from([1.0, 0.995]))
    for i in draw(st.sets(st.integers(0, N - 1), max_size=3)):
        rows.iloc[i, 0] = 0.0
    for i in draw(st.sets(st.integers(0, N - 1), max_size=2)):
        rows.iloc[i, :5] = np.nan
    paid = [d.date() for d in rows.index[rows["dividends"] != 0]]
    notes = {d: draw(st.sampled_from(NOTES)) for d in paid if draw(st.booleans())}
    ends = sorted(draw(st.sets(st.integers(40, N), min_size=1, max_size=4)))
    out = [_answer(rows[: ends[0]], notes, True, 0)]
    for k, end in enumerate(ends[1:], 1):
        out.append(_answer(rows[max(0, end - 35) : end], notes, False, k))
    return out


def _answer(rows, notes, full, number):
    inside = {d: n for d, n in notes.items() if pd.Timestamp(d) in rows.index}
    info = SliceInfo("VAS", "VAS.AX", "XASX", "AUD", full, number)
    return BatchSlice(info, f"b{number}", "yahoo", rows, inside)


@given(answers())
@settings(max_examples=40)
def test_updates_equal_a_rebuild_and_a_second_answer_is_no_news(parts):
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        layout, rebuilt = Layout(Path(one)), Layout(Path(two))
        for k, part in enumerate(parts, 1):
            known = read_known(layout, "VAS")
            more, built = build_from(known.rows, [part], BASIS, known.said)
            before = NOTHING if known.info is None else Origin.of(known.info)
            new = NewHistory.of(VAS, built, [part], before.and_with(more.used))
            publish_history(layout, new)
            merged, whole = build_from(empty_rows(), parts[:k], BASIS)
            origin = NOTHING.and_with(merged.used)
            publish_history(rebuilt, NewHistory.of(VAS, whole, parts[:k], origin))
            for table in (HISTORY, QUARANTINE):
                paths = layout.of(table, "VAS"), rebuilt.of(table, "VAS")
                assert paths[0].read_bytes() == paths[1].read_bytes()
            after = read_known(layout, "VAS")
            pd.testing.assert_frame_equal(after.rows, merged.rows, check_exact=True)
            assert after.said == whole.evidence
            assert not compare_window(after.rows, part.rows).changed


def test_a_withheld_amount_comes_back_and_stays_withheld(tmp_path):
    """A foreign dividend of the whole answer, long before the window that comes next."""
    rows = bars(DAYS, walk(N)).assign(adj_close_source=np.nan)
    rows.iloc[20, 5] = 0.4
    day = DAYS[20].astype("datetime64[D]").astype(dt.date)
    first = _answer(rows[:100], {day: "USD"}, True, 0)
    layout = Layout(tmp_path)
    publish_history(
        layout, NewHistory.of(VAS, build_from(empty_rows(), [first], BASIS)[1], [first])
    )
    known = read_known(layout, "VAS")
    assert known.rows["dividends"].iloc[20] == 0.4
    later = _answer(rows[80:], {}, False, 1)
    _, built = build_from(known.rows, [later], BASIS, known.said)
    assert built.withheld == (day,)
    assert built.history.column("dividends")[20].as_py() == 0.0
