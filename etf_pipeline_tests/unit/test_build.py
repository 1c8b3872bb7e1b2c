"""From known rows to a history and its quarantine: nothing lost, nothing repaired."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from etf_pipeline.errors import ReasonCode, RejectedDataError
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.build import build, validate_history
from etf_pipeline.history.evidence import NOTHING_SAID
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.schemas import HISTORY, QUARANTINE, VALUE_COLUMNS
from etf_pipeline_tests.support import asx_days, bars, walk

BASIS = Basis(sessions("XASX"))
DAYS = asx_days("2024-01-02", 100)
ROWS = bars(DAYS, walk(100, seed=3))


def changed(position, **columns):
    rows = ROWS.copy()
    for name, value in columns.items():
        rows.iloc[position, rows.columns.get_loc(name)] = value
    return rows


def said(theirs, rows=ROWS):
    """What a source says whose adjusted close is `theirs`."""
    return NOTHING_SAID.and_then(rows.assign(adj_close_source=theirs), {}, "AUD", True)


def by_day(table):
    return {r["date"]: r for r in table.to_pylist()}


def test_good_rows_are_the_history():
    built = build(ROWS, BASIS)
    assert built.history.schema.equals(HISTORY.arrow)
    assert built.history.column("close").to_pylist() == ROWS["close"].tolist()
    assert built.history.column("adj_close").to_pylist() == ROWS["close"].tolist()
    assert built.history.column("flag").null_count == 100
    assert built.quarantine.equals(QUARANTINE.arrow.empty_table())
    assert (built.quarantined, built.adj_close_gap) == (0, None)
    validate_history(built.history)


def test_a_bad_row_is_held_back_with_its_bar_and_its_evidence():
    built = build(changed(7, open=0.0), BASIS)
    day = DAYS[7].astype(object)
    assert built.quarantined == 1
    assert day not in by_day(built.history)
    assert built.history.num_rows == 99
    held = by_day(built.quarantine)[day]
    assert (held["rule"], held["severity"]) == ("zero_open", "quarantined")
    assert held["open"] == 0.0
    assert held["close"] == ROWS["close"].iloc[7]
    assert held["evidence"].startswith("open 0")


def test_flags_of_one_day_are_joined_and_the_row_is_kept():
    """A large move that lasts, on a day when an exchange was closed but somebody traded."""
    rows = pd.concat([ROWS, bars(["2024-01-26"], [100.0])]).sort_index()
    where = rows.index.get_loc(pd.Timestamp("2024-01-26"))
    rows.iloc[where:, :4] *= 0.4
    rows.loc["2024-01-26", ["open", "high", "low", "close"]] = rows.iloc[where + 1, :4].to_numpy()
    built = build(rows, BASIS)
    day = pd.Timestamp("2024-01-26").date()
    assert set(by_day(built.history)[day]["flag"].split(",")) == {
        "large_move",
        "unscheduled_session",
    }
    assert built.quarantined == 0
    assert {r["severity"] for r in built.quarantine.to_pylist()} == {"flagged"}


def test_a_missing_session_is_recorded_without_a_bar():
    built = build(ROWS.drop(ROWS.index[50]), BASIS)
    (row,) = built.quarantine.to_pylist()
    assert (row["date"], row["severity"]) == (DAYS[50].astype(object), "missing")
    assert [row[name] for name in VALUE_COLUMNS] == [None] * 8


def test_a_distribution_adjusts_what_is_before_it():
    """1 − 2/C of the session before, which counts even where the ex-date itself is held back."""
    paid = changed(60, dividends=2.0)
    factor = 1 - 2.0 / ROWS["close"].iloc[59]
    for rows in (paid, paid.assign(open=np.where(np.arange(100) == 60, 0.0, paid["open"]))):
        built = by_day(build(rows, BASIS).history)
        before = built[DAYS[59].astype(object)]
        after = built[DAYS[61].astype(object)]
        assert before["adj_close"] == pytest.approx(before["close"] * factor)
        assert after["adj_close"] == after["close"]


def test_the_gap_to_the_sources_own_adjustment_is_the_greatest():
    theirs = ROWS["close"].copy()
    theirs.iloc[3] *= 1.01
    theirs.iloc[4] = np.nan
    theirs.iloc[5] = 0.0
    built = build(ROWS, BASIS, said(theirs))
    assert built.adj_close_gap == pytest.approx(1 - 1 / 1.01)
    assert build(ROWS, BASIS, said(theirs * np.nan)).adj_close_gap is None
    half = np.where(np.arange(100) < 60, 0.5, 1.0)  # half of ours up to a day that pays nothing
    assert build(ROWS, BASIS, said(ROWS["close"] * half)).adj_close_gap == pytest.approx(1.0)
    assert build(ROWS, BASIS, said(ROWS["close"])).adj_close_gap == 0.0


def test_a_file_that_ends_before_the_newest_ex_date_has_the_same_returns_and_no_gap():
    """Adj Close / Close is 0.984 on its last row, for a distribution that the file has not."""
    theirs = 0.984 * ROWS["close"]
    assert build(ROWS, BASIS, said(theirs)).adj_close_gap == pytest.approx(0.0, abs=1e-12)
    paid = ROWS.assign(dividends=np.where(np.arange(100) == 60, 1.5, 0.0))
    factor = np.where(np.arange(100) < 60, 1 - 1.5 / ROWS["close"].iloc[59], 1.0)
    told = build(paid, BASIS, said(theirs * factor, paid))
    assert told.adj_close_gap == pytest.approx(0.0, abs=1e-9)
    told = build(paid, BASIS, said(theirs, paid))
    assert told.adj_close_gap == pytest.approx(1.5 / ROWS["close"].iloc[59])


@pytest.mark.parametrize("n", [1, 5])
def test_nothing_usable_names_the_rules(n):
    rows = ROWS[:n].assign(open=0.0, close=-1.0)
    with pytest.raises(RejectedDataError) as caught:
        build(rows, BASIS)
    assert caught.value.code is ReasonCode.NO_USABLE_ROW
    for word in (f"of {n} ", "impossible_price", "zero_open"):
        assert word in str(caught.value)


def test_a_distribution_above_the_price_is_withheld_alone():
    built = build(changed(60, dividends=1000.0), BASIS)
    day = DAYS[60].astype(object)
    assert built.history.column("adj_close").to_pylist() == ROWS["close"].tolist()
    row, held = by_day(built.history)[day], by_day(built.quarantine)[day]
    assert (row["dividends"], row["flag"]) == (0.0, "distribution_above_price")
    assert row["close"] == ROWS["close"].iloc[60]
    assert (held["severity"], held["dividends"]) == ("withheld", 1000.0)
    assert held["evidence"].startswith("1000 is not below the close")
    assert (built.withheld, built.quarantined) == ((day,), 0)


def history(days, close):
    columns = {
        "date": pa.array(np.array(days, dtype="datetime64[D]")),
        "close": pa.array(close, pa.float64()),
        "adj_close": pa.array(np.abs(np.nan_to_num(close)) + 1, pa.float64()),
    }
    return pa.table(columns)


@pytest.mark.parametrize(
    ("days", "close", "words"),
    [
        ([], [], "not strictly ascending"),
        (["2024-01-03", "2024-01-02"], [1.0, 1.0], "not strictly ascending"),
        (["2024-01-02", "2024-01-02"], [1.0, 1.0], "not strictly ascending"),
        (["2024-01-02"], [0.0], "close has a value"),
        (["2024-01-02"], [-1.0], "close has a value"),
        (["2024-01-02"], [np.nan], "close has a value"),
        (["2024-01-02"], [np.inf], "close has a value"),
    ],
)
def test_a_table_that_no_reader_should_see_is_refused(days, close, words):
    with pytest.raises(RejectedDataError, match=words):
        validate_history(history(days, close))


def test_a_history_of_one_day_is_valid():
    validate_history(history(["2024-01-02"], [1.0]))
