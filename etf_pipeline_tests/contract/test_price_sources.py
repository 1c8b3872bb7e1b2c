"""One suite for every price source."""

import datetime as dt

import pandas as pd
import pytest

from etf_pipeline.ingest.answers import check_identity
from etf_pipeline.ingest.source import Download, FetchFailure, Request
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.ingest.sources.simulated import SimulatedSource
from etf_pipeline.ingest.sources.yahoo import YahooSource
from etf_pipeline.model.rows import DOWNLOAD_COLUMNS
from etf_pipeline_tests.support import World, asx_days, bars, instrument, walk, yahoo_rows

ROWS = bars(asx_days("2024-09-02", 300), walk(300))
ROWS.loc[ROWS.index[250], "dividends"] = 1.25
NOW = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)


@pytest.fixture(params=["yahoo", "files", "simulated"])
def source(request, world: World, tmp_path):
    if request.param == "simulated":
        return SimulatedSource(lambda: NOW)
    folder = tmp_path / "prices"
    folder.mkdir()
    for ticker in ("VAS", "VGS"):
        world.serve(ticker, ROWS)
        yahoo_rows(ROWS).to_parquet(folder / f"{ticker}.parquet")
    return YahooSource(world.settings) if request.param == "yahoo" else FilesSource(folder)


def test_an_answer_has_the_agreed_shape(source):
    (answer,) = source.fetch([Request(instrument("VAS"))])
    assert isinstance(answer, Download)
    check_identity(answer)
    rows = answer.rows
    assert tuple(rows.columns) == DOWNLOAD_COLUMNS
    assert rows.index.tz is None
    assert rows.index.name == "date"
    assert rows.index.is_monotonic_increasing
    assert (rows.index == rows.index.normalize()).all()
    assert rows.dtypes.eq("float64").all()
    assert (rows["close"].dropna() > 0).all()


def test_a_window_is_the_end_of_the_whole_or_said_to_be_all_of_it(source):
    vas = instrument("VAS")
    (whole,) = source.fetch([Request(vas)])
    start = whole.rows.index[-20].date()
    (window,) = source.fetch([Request(vas, start)])
    right = whole.rows if window.whole else whole.rows[-20:]
    pd.testing.assert_frame_equal(window.rows, right, check_freq=False)


def test_answers_come_in_request_order(source):
    wanted = [instrument("VGS"), instrument("VAS")]
    answers = list(source.fetch([Request(i) for i in wanted]))
    assert [a.request.instrument.ticker for a in answers] == ["VGS", "VAS"]


def test_the_same_question_gets_the_same_answer(source):
    one, two = source.fetch([Request(instrument("VAS")), Request(instrument("VAS"))])
    pd.testing.assert_frame_equal(one.rows, two.rows)


def test_no_question_no_answer(source):
    assert list(source.fetch([])) == []


def test_an_unknown_symbol_is_that_symbols_failure_only(source):
    if source.name == "simulated":
        pytest.skip("everything can be simulated")
    missing, there = source.fetch([Request(instrument("NOPE")), Request(instrument("VAS"))])
    assert isinstance(missing, FetchFailure)
    assert missing.kind == "missing"
    assert isinstance(there, Download)
