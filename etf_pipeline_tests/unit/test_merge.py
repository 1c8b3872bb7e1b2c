import numpy as np
import pytest

from etf_pipeline.errors import RejectedDataError
from etf_pipeline.history.merge import (
    drop_unfinished,
    merge_full,
    merge_window,
    needs_full,
    tidy,
)
from etf_pipeline.model.rows import empty_rows
from etf_pipeline_tests.support import asx_days, bars, walk

DAYS = asx_days("2025-01-02", 60)
ROWS = bars(DAYS, walk(60))


def test_a_first_download_is_all_new():
    merge = merge_full(empty_rows(), ROWS)
    assert (merge.added, merge.revised, merge.changed) == (60, 0, True)


def test_the_same_again_changes_nothing():
    merge = merge_window(ROWS, ROWS[-20:])
    assert not merge.changed
    assert merge.rows.equals(ROWS)


def test_noise_below_float32_is_not_a_revision():
    noisy = ROWS[-20:].assign(close=ROWS["close"][-20:] * (1 + 3e-8))
    merge = merge_window(ROWS, noisy)
    assert not merge.changed
    assert merge.rows.equals(ROWS)


def test_a_late_row_is_inserted_in_order():
    known = ROWS.drop(ROWS.index[50])
    merge = merge_window(known, ROWS[-20:])
    assert (merge.added, merge.revised) == (1, 0)
    assert merge.rows.equals(ROWS)


def test_a_correction_is_a_revision():
    corrected = ROWS[-20:].copy()
    corrected.iloc[5, 3] *= 1.001
    merge = merge_window(ROWS, corrected)
    assert (merge.added, merge.revised) == (0, 1)
    assert merge.rows["close"].iloc[45] == corrected["close"].iloc[5]


def test_a_day_that_lost_its_price_keeps_the_known_one_and_takes_the_event():
    lost = ROWS[-20:].copy()
    lost.iloc[3, :5] = np.nan
    lost.iloc[3, 5] = 0.5
    merge = merge_window(ROWS, lost)
    assert merge.revised == 1
    row = merge.rows.iloc[43]
    assert row["close"] == ROWS["close"].iloc[43]
    assert row["dividends"] == 0.5


def test_a_day_that_vanished_stays():
    assert not merge_window(ROWS, ROWS[-20:].drop(ROWS.index[45])).changed


def test_null_days_are_left_out_and_events_without_price_kept():
    rows = ROWS[-3:].copy()
    rows.iloc[0, :5] = np.nan
    rows.iloc[1, :5] = np.nan
    rows.iloc[1, 5] = 0.395
    kept = tidy(rows)
    assert list(kept.index) == list(ROWS.index[-2:])
    assert np.isnan(kept["close"].iloc[0])
    assert kept["dividends"].iloc[0] == 0.395


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (ROWS[-20:].assign(close=ROWS["close"][-20:] / 4), "known closes are 4 times"),
        (ROWS[-20:].assign(close=ROWS["close"][-20:] * 10), "known closes are 0.1 times"),
        (bars(asx_days("2026-01-02", 5), walk(5)), "does not overlap"),
    ],
)
def test_what_needs_a_full_download(window, words):
    assert words in (needs_full(ROWS, window) or "")


def test_what_needs_no_full_download():
    one = ROWS[-20:].copy()
    one.iloc[5, 3] *= 1.001
    assert needs_full(ROWS, one) is None
    assert needs_full(ROWS, ROWS[-20:]) is None


def test_a_split_in_the_window_needs_a_full_download():
    window = ROWS[-20:].copy()
    window.iloc[-1, 6] = 4.0
    assert needs_full(ROWS[:-1], window) == f"split of 4 on {ROWS.index[-1]:%Y-%m-%d}"


def test_a_restated_history_replaces_everything_as_one_version():
    restated = ROWS.assign(**{c: ROWS[c] / 4 for c in ("open", "high", "low", "close")})
    merge = merge_full(ROWS, restated)
    assert merge.rows.equals(restated)
    assert merge.revised == 60
    assert "4 times" in (merge.note or "")


def test_a_shorter_history_never_replaces_a_longer_one():
    short = ROWS[30:]
    assert merge_full(ROWS, short).rows.equals(ROWS)
    restated = short.assign(close=short["close"] / 4)
    with pytest.raises(RejectedDataError, match="later than the known 2025-01-02"):
        merge_full(ROWS, restated)


def test_a_live_quote_is_not_a_close_but_its_dividend_is_kept():
    rows = ROWS.copy()
    rows.iloc[-1, 5] = 0.4
    last_final = ROWS.index[-3].date()
    kept = drop_unfinished(rows, last_final)
    assert list(kept.index) == [*ROWS.index[:-2], ROWS.index[-1]]
    assert np.isnan(kept["close"].iloc[-1])
    assert kept["dividends"].iloc[-1] == 0.4
