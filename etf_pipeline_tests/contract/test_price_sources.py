"""One suite for every price source."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import SettingsError
from etf_pipeline.ingest.answers import check_identity
from etf_pipeline.ingest.source import Download, FetchFailure, Request
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.ingest.sources.simulated import SimulatedSource, simulate
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


def test_a_window_is_the_end_of_the_whole(source):
    vas = instrument("VAS")
    (whole,) = source.fetch([Request(vas)])
    start = whole.rows.index[-20].date()
    (window,) = source.fetch([Request(vas, start)])
    pd.testing.assert_frame_equal(window.rows, whole.rows[-20:], check_freq=False)


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


# What only one of them has to do.


@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_files_without_adj_close_are_unadjusted_exactly(tmp_path, extension):
    """yfinance's default output is adjusted already; adjusting it twice would invent returns."""
    from etf_pipeline.history.adjust import adjusted_close

    adjusted = adjusted_close(ROWS["close"], ROWS["dividends"])
    factor = adjusted / ROWS["close"].to_numpy()
    published = yahoo_rows(ROWS).drop(columns="Adj Close")
    for name in ("Open", "High", "Low", "Close"):
        published[name] *= factor
    published.index = published.index.tz_localize("Australia/Sydney")
    path = tmp_path / f"VAS.{extension}"
    published.to_csv(path) if extension == "csv" else published.to_parquet(path)
    (answer,) = FilesSource(tmp_path).fetch([Request(instrument("VAS"))])
    assert list(answer.rows.index) == list(ROWS.index)
    assert answer.rows["close"].to_numpy() == pytest.approx(ROWS["close"].to_numpy(), rel=1e-12)
    assert answer.rows["open"].to_numpy() == pytest.approx(ROWS["open"].to_numpy(), rel=1e-12)


def test_an_unreadable_file_is_that_tickers_rejection(tmp_path):
    (tmp_path / "VAS.parquet").write_bytes(b"nonsense")
    (tmp_path / "VGS.csv").write_text("Date,Price\n2024-01-02,1\n")
    vas, vgs = FilesSource(tmp_path).fetch([Request(instrument("VAS")), Request(instrument("VGS"))])
    assert (vas.kind, vgs.kind) == ("rejected", "rejected")
    assert "VAS.parquet" in vas.reason
    assert "no 'close' column" in vgs.reason


def test_an_absent_folder_is_a_bad_setting(tmp_path):
    with pytest.raises(SettingsError, match="no such folder"):
        FilesSource(tmp_path / "nothing")


TICKERS = ("VAS", "VGS", "VTS", "VAF", "A200", "NDQ", "IOZ", "GOLD", "QAU", "STW")
SEEDED = {t: instrument(t) for t in TICKERS}


def at(day):
    return dt.date.fromisoformat(day)


def test_simulated_prices_only_grow_at_the_end_apart_from_the_newest_close():
    early = simulate(SEEDED["VAS"], at("2025-06-30"))
    late = simulate(SEEDED["VAS"], at("2025-07-31"))
    pd.testing.assert_frame_equal(late[: len(early) - 1], early[:-1])


def test_simulated_prices_have_dividends_a_split_a_gap_and_a_restatement():
    last = at("2025-06-30")
    rows = {t: simulate(i, last) for t, i in SEEDED.items()}
    assert all((r["dividends"] > 0).sum() > 30 for r in rows.values())
    assert all(pd.Timestamp("2022-09-07") not in r.index for r in rows.values())
    split = [t for t, r in rows.items() if (r["stock_splits"] != 0).any()]
    assert split
    before = simulate(SEEDED[split[0]], at("2023-05-09"))
    after = simulate(SEEDED[split[0]], at("2023-05-10"))
    ratio = before["close"][:-1] / after["close"][: len(before) - 1]
    assert np.allclose(ratio, 4.0)
    next_day = {t: simulate(i, at("2025-07-01")) for t, i in SEEDED.items()}
    assert any(next_day[t]["close"].iloc[-2] != rows[t]["close"].iloc[-1] for t in rows)


def test_simulated_equities_are_correlated_and_bonds_are_not_very():
    last = at("2025-06-30")
    one, two = (simulate(SEEDED[t], last)["close"].pct_change() for t in ("VAS", "VGS"))
    bond = simulate(instrument("VAF", asset_class="fixed_income"), last)["close"].pct_change()
    assert one.corr(two) > 0.5
    assert abs(one.corr(bond)) < 0.4
