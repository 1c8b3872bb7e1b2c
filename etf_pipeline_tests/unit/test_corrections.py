"""Declared corrections: read with every bad line named, applied, undone."""

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import pytest

from etf_pipeline.cli.exit_codes import ExitCode, of_error
from etf_pipeline.errors import CorrectionsError
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.build import build
from etf_pipeline.history.corrections import corrected, corrections_hash, declared_since
from etf_pipeline.history.evidence import NOTHING_SAID
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.corrections import Correction, load_corrections
from etf_pipeline.model.instruments import Universe
from etf_pipeline.store.corrections import corrections_at, keep_corrections, versions_of
from etf_pipeline.store.store import Store
from etf_pipeline_tests.support import asx_days, bars, instrument, walk

UNIVERSE = Universe((instrument("VAS", aliases=("OLD",)), instrument("VGS")))
HEADER = "ticker,date,field,value,reason,author\n"
DAYS = asx_days("2024-01-02", 100)
ROWS = bars(DAYS, walk(100, seed=3))
NOW = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)
TODAY = NOW.date()


def day(i):
    return DAYS[i].astype("datetime64[D]").astype(dt.date)


def one(i, field, value=math.nan, rule="", declared=TODAY, ticker="VAS"):
    return Correction(ticker, day(i), field, rule, value, "exchange's notice", "ann", declared)


def basis(*corrections):
    return Basis(sessions("XASX"), corrections=corrections)


def changed(position, **columns):
    rows = ROWS.copy()
    for name, value in columns.items():
        rows.iloc[position, rows.columns.get_loc(name)] = value
    return rows


def findings(built):
    return {(r["date"], r["rule"]): r for r in built.quarantine.to_pylist()}


def read(tmp_path, text):
    path = tmp_path / "corrections.csv"
    path.write_text(text)
    return load_corrections(path, UNIVERSE, dt.datetime(2024, 3, 1, 22, 0, tzinfo=dt.UTC))


def test_a_file_is_read(tmp_path):
    text = (
        "# what we know better\n"
        + HEADER
        + 'OLD,2024-03-01,close,12.5,"typo, says the exchange",ann\n'
        + "VGS,2024-03-01,accept,zero_open,nobody traded at the open,bob\n"
    )
    vas, vgs = read(tmp_path, text)
    assert (vas.ticker, vas.date, vas.field, vas.value) == (
        "VAS",
        dt.date(2024, 3, 1),
        "close",
        12.5,
    )
    assert vas.reason == "typo, says the exchange"
    assert (vgs.field, vgs.rule) == ("accept", "zero_open")
    assert read(tmp_path, HEADER) == ()
    assert load_corrections(tmp_path / "none.csv", UNIVERSE) == ()


def test_an_instant_is_one_whatever_its_zone(tmp_path):
    line = "VAS,2024-03-01,void,2024-03-01T23:30+11:00,wrong fund,ann\n"
    (sydney,) = read(tmp_path, HEADER + line)
    assert sydney.before == dt.datetime(2024, 3, 1, 12, 30, tzinfo=dt.UTC)
    (london,) = read(tmp_path, HEADER + line.replace("23:30+11:00", "12:30Z"))
    assert sydney.identity == london.identity
    other = read(tmp_path, HEADER + line.replace("23:30", "23:29"))
    assert corrections_hash(other) != corrections_hash((sydney,))


def test_a_void_is_kept_and_read_back(tmp_path):
    declared = read(tmp_path, HEADER + "VAS,2024-03-01,void,2024-03-01T12:30Z,wrong fund,ann\n")
    store = Store.at(tmp_path / "store", 5.0)
    kept = keep_corrections(store, declared, NOW)
    assert corrections_at(store.layout) == kept
    assert keep_corrections(store, declared, NOW + dt.timedelta(days=1)) == kept
    assert len(list(versions_of(store.layout, "VAS"))) == 2  # this and none


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("VASS,2024-03-01,close,1,r,a", "did you mean VAS"),
        ("VAS,01/03/2024,close,1,r,a", "not a date such as"),
        ("VAS,2024-02-30,close,1,r,a", "not a date such as"),
        ("VAS,2024-03-01,clos,1,r,a", "did you mean close"),
        ("VAS,2024-03-01,adj_close,1,r,a", "field 'adj_close'"),
        ("VAS,2024-03-01,close,1.5x,r,a", "not a number"),
        ("VAS,2024-03-01,close,nan,r,a", "must be positive"),
        ("VAS,2024-03-01,close,0,r,a", "must be positive"),
        ("VAS,2024-03-01,dividends,-1,r,a", "must be 0 or more"),
        ("VAS,2024-03-01,dividends,inf,r,a", "must be 0 or more"),
        ("VAS,2024-03-01,volume,1.5,r,a", "whole number"),
        ("VAS,2024-03-01,close,,r,a", "value is empty"),
        ("VAS,2024-03-01,close,1,,a", "reason is empty"),
        ("VAS,2024-03-01,close,1,r,", "author is empty"),
        ("VAS,2024-03-01,accept,12.5,r,a", "not the name of a quality rule"),
        ("VAS,2024-03-01,void,2024-03-01,r,a", "not a time with its zone"),
        ("VAS,2024-03-01,void,2024-03-01T10:00,r,a", "not a time with its zone"),
        ("VAS,2024-03-01,void,10:00Z,r,a", "not a time with its zone"),
        ("VAS,2024-03-01,void,2024-03-02T10:00Z,r,a", "it must be 2024-03-02"),
        ("VAS,2024-03-02,void,2024-03-02T10:00+11:00,r,a", "in the future"),
        ("VAS,2024-03-01,close,1,r", "5 cells where the header has 6"),
        ("VGS,2024-03-01,close,2,again,a", "on line 2 already"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, words):
    with pytest.raises(CorrectionsError, match="line 3: ") as caught:
        read(tmp_path, HEADER + "VGS,2024-03-01,close,1,r,a\n" + line + "\n")
    assert words in str(caught.value)
    assert of_error(caught.value) is ExitCode.USAGE


def test_bad_columns_are_named(tmp_path):
    with pytest.raises(CorrectionsError, match="line 1: the columns must be ticker,date,"):
        read(tmp_path, "ticker,date,field,value,reason\n")


def test_a_corrected_price_is_used_and_the_published_one_is_kept():
    rows = changed(7, close=1000.0)
    assert findings(build(rows, basis()))[(day(7), "level_shift")]["severity"] == "quarantined"
    right = ROWS["close"].iloc[7]
    built = build(rows, basis(one(7, "close", right)))
    assert built.history.column("close").to_pylist() == ROWS["close"].tolist()
    assert built.history.column("flag")[7].as_py() == "corrected"
    (found,) = built.quarantine.to_pylist()
    assert (found["rule"], found["severity"], found["close"]) == ("corrected", "flagged", 1000.0)
    for words in ("close 1000 →", "exchange's notice", "ann"):
        assert words in found["evidence"]
    assert built.corrected == 1
    # withdrawn, it is as it was
    assert build(rows, basis()).history.num_rows == 99


def test_a_corrected_distribution_is_not_judged_again():
    rows = changed(60, dividends=90.0)
    assert build(rows, basis()).withheld == (day(60),)
    built = build(rows, basis(one(60, "dividends", 30.0)))
    close = ROWS["close"].iloc[59]
    assert built.withheld == ()
    assert built.history.column("adj_close")[59].as_py() == pytest.approx(close - 30.0)
    impossible = build(rows, basis(one(60, "dividends", 300.0)))
    assert findings(impossible)[(day(60), "distribution_above_price")]["severity"] == "withheld"


def test_accepting_a_finding_lets_the_row_in_and_keeps_the_evidence():
    rows = changed(7, open=0.0)
    built = build(rows, basis(one(7, "accept", rule="zero_open")))
    assert (built.quarantined, built.history.num_rows) == (0, 100)
    found = findings(built)[(day(7), "zero_open")]
    assert found["severity"] == "flagged"
    assert found["evidence"].endswith("; accepted: exchange's notice (ann)")
    assert built.history.column("flag")[7].as_py() == "zero_open"


def test_accepting_a_withheld_distribution_counts_it():
    rows = changed(60, dividends=90.0)
    rule = build(rows, basis()).quarantine.to_pylist()[0]["rule"]
    built = build(rows, basis(one(60, "accept", rule=rule)))
    assert built.withheld == ()
    assert built.history.column("dividends")[60].as_py() == 90.0
    assert findings(built)[(day(60), rule)]["severity"] == "flagged"
    assert ROWS["close"].iloc[59] > 90.0


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"close": -1.0}, "impossible_price"),
        ({"dividends": 1000.0}, "distribution_above_price"),
        ({"dividends": -1.0}, "negative_distribution"),
        ({}, "zero_open"),
    ],
)
def test_what_is_impossible_or_no_finding_cannot_be_accepted_and_that_is_said(columns, rule):
    built = build(changed(60, **columns), basis(one(60, "accept", rule=rule)))
    found = findings(built)
    assert found[(day(60), "correction_unused")]["severity"] == "flagged"
    if columns:
        assert found[(day(60), rule)]["severity"] in ("quarantined", "withheld")


def test_a_correction_of_a_day_without_a_row_is_said():
    built = build(ROWS.drop(ROWS.index[50]), basis(one(50, "close", 1.0)))
    found = findings(built)
    assert "no row of this day" in found[(day(50), "correction_unused")]["evidence"]
    assert (day(50), "missing_session") in found


def test_a_value_is_on_the_basis_of_the_day_it_was_declared():
    """Declared at 80 before a split of 4: 20 on today's basis; declared after it: 80."""
    rows = ROWS.copy()
    rows.iloc[70, rows.columns.get_loc("stock_splits")] = 4.0
    before, after = (one(7, "close", 80.0, declared=day(i)) for i in (60, 70))
    assert corrected(rows, [before]).rows["close"].iloc[7] == 20.0
    assert corrected(rows, [after]).rows["close"].iloc[7] == 80.0
    volume = one(7, "volume", 100.0, declared=day(60))
    assert corrected(rows, [volume]).rows["volume"].iloc[7] == 400.0


def test_versions_are_kept_once_each_and_found_by_instant(tmp_path):
    store = Store.at(tmp_path, 1.0)
    hour = dt.timedelta(hours=1)
    first = keep_corrections(store, [one(7, "close", 1.0, declared=None)], NOW)
    assert first[0].declared == NOW.date()
    assert keep_corrections(store, [one(7, "close", 1.0, declared=None)], NOW + hour) == first
    two = [one(7, "close", 1.0, declared=None), one(8, "accept", rule="zero_open", declared=None)]
    later = NOW + dt.timedelta(days=30)
    second = keep_corrections(store, two, later)
    assert [c.declared for c in second] == [NOW.date(), later.date()]
    # a clock that goes back makes no version older than the one before
    assert keep_corrections(store, [], NOW) == ()
    files = sorted(p.name for p in (tmp_path / "corrections").iterdir())
    assert len(files) == 3
    assert corrections_at(store.layout) == ()
    assert corrections_at(store.layout, later) == second
    assert corrections_at(store.layout, later - hour) == first
    assert corrections_at(store.layout, NOW - hour) == ()
    assert list(versions_of(store.layout, "VAS")) == [(), second, first]
    assert list(versions_of(store.layout, "VGS")) == [()]


def test_no_file_and_no_corrections_leave_nothing_behind(tmp_path):
    assert keep_corrections(Store.at(tmp_path, 1.0), (), NOW) == ()
    assert not (tmp_path / "corrections").exists()


def test_equal_corrections_have_equal_hashes_and_others_do_not():
    two = [one(7, "close", 1.0), one(7, "open", 1.0)]
    assert corrections_hash([]) is None
    assert corrections_hash(two) == corrections_hash(list(two))
    assert len({corrections_hash([c]) for c in [*two, one(7, "close", 2.0)]}) == 3


def test_other_words_or_another_author_do_not_make_it_declared_today():
    """Else it would be taken on the basis of today, after splits since."""
    before = one(40, "close", 98.0, declared=dt.date(2024, 3, 1))
    after = replace(before, reason="better words", author="bob", declared=None)
    (kept,) = declared_since([after], [before], TODAY)
    assert (kept.declared, kept.author) == (dt.date(2024, 3, 1), "bob")
    (new,) = declared_since([replace(after, value=99.0)], [before], TODAY)
    assert new.declared == TODAY


def test_a_corrected_close_explains_what_the_source_s_adjusted_close_knows_nothing_of():
    rows = changed(40, close=ROWS["close"].iloc[40] * 1.2)
    answer = rows.assign(adj_close_source=ROWS["close"])
    said = NOTHING_SAID.and_then(answer, {}, "AUD", True)
    built = build(rows, basis(one(40, "close", ROWS["close"].iloc[40])), said)
    assert built.adj_close_gap == pytest.approx(0.0, abs=1e-9)
    assert build(rows.assign(high=rows["high"] * 1.2), basis(), said).adj_close_gap > 0.1


@pytest.mark.parametrize("ratio", [1.25, 1.5, 2.0, 0.5, 10.0])
def test_a_declared_split_is_applied_to_rows_that_lack_it_and_only_to_those(ratio):
    """The remedy for a lasting jump: rows before it are taken over the ratio, volumes times it."""
    paid = np.where(np.arange(100) == 20, 1.0, 0.0)
    right = ROWS.assign(dividends=paid / ratio)
    lacking = ROWS.assign(dividends=paid)
    lacking.iloc[:70, :4] *= ratio
    right.iloc[:70, 4] = np.round(1000.0 * ratio)
    split = one(70, "stock_splits", ratio)
    built = build(lacking, basis(split))
    history = built.history.to_pandas()
    for name in ("open", "close", "volume"):
        assert history[name].to_numpy() == pytest.approx(right[name].to_numpy(), rel=1e-12)
    assert history["dividends"].iloc[20] == pytest.approx(1.0 / ratio)
    assert history["stock_splits"].iloc[70] == ratio
    assert built.large_moves == ()
    assert (built.quarantined, built.corrected) == (0, 71)
    # What was published stays beside it, so that the next update starts from that.
    asis = {r["date"]: r for r in built.quarantine.to_pylist() if r["rule"] == "corrected"}
    assert [asis[day(i)]["close"] for i in range(70)] == lacking["close"][:70].tolist()
    # Once the source has applied it, there is nothing left to do.
    done = build(right.assign(stock_splits=0.0), basis(split)).history.to_pandas()
    assert done["close"].to_numpy() == pytest.approx(right["close"].to_numpy(), rel=1e-12)


def test_a_line_that_was_away_counts_from_the_day_that_it_first_did(tmp_path):
    """A file that was lost or emptied for a run, and put back after a split."""
    store = Store.at(tmp_path, 1.0)
    line = one(7, "dividends", 0.9, declared=None)
    (first,) = keep_corrections(store, [line], NOW)
    later = NOW + dt.timedelta(days=30)
    assert keep_corrections(store, [], later) == ()
    (back,) = keep_corrections(store, [replace(line, reason="put back")], later)
    assert (back.declared, back.reason) == (first.declared, "put back")
    (other,) = keep_corrections(store, [replace(line, value=0.45)], later)
    assert other.declared == later.date()


def test_where_splits_leave_a_choice_the_finding_says_on_which_basis_a_value_is():
    rows = changed(60, stock_splits=2.0)
    for declared, amount in ((day(50), 0.45), (day(70), 0.9)):
        built = build(rows, basis(one(40, "dividends", 0.9, declared=declared)))
        text = findings(built)[(day(40), "corrected")]["evidence"]
        assert text.startswith(f"dividends 0 → {amount} (on the basis of {declared}, when ")
    after = build(rows, basis(one(80, "dividends", 0.9)))
    assert "basis" not in findings(after)[(day(80), "corrected")]["evidence"]
