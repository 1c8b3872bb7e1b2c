"""Prices out of a store: what footers say, rows when they are asked for, and a bounded cache."""

import dataclasses
import datetime as dt
import hashlib

import pandas as pd
import pytest

from etf_pipeline.errors import CorruptFileError, InsufficientDataError
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.steps.derived import read_histories
from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.prices import load_prices
from etf_pipeline.store.reader import file_info
from etf_pipeline.store.store import Store
from etf_pipeline.store.stored_series import StoredSeries, read_facts
from etf_pipeline_tests.stored_support import damage_rows, publish_closes
from etf_pipeline_tests.support import asx_days, walk

N = 300
DAYS = asx_days("2023-01-03", N)
FIRST, LAST = DAYS[0].item(), DAYS[-1].item()
TICKERS = ("VAS", "VAF", "VGS")


@pytest.fixture
def root(tmp_path):
    for i, ticker in enumerate(TICKERS):
        publish_closes(tmp_path, ticker, DAYS[: N - i], walk(N - i, seed=i))
    return tmp_path


def series_of(root, tickers=TICKERS, cache=None):
    return StoredSeries(Layout(root), tickers, cache or FileCache())


def save_mine(root, closes=(1.0, 2.0, 4.0)):
    path = root / "historical" / "MINE.parquet"
    index = pd.bdate_range("2024-01-01", periods=len(closes), name="Date")
    pd.DataFrame({"Close": closes}, index).to_parquet(path)
    return path


def test_footers_say_as_much_as_the_rows(root):
    facts = series_of(root).facts
    assert list(facts) == sorted(TICKERS)
    for ticker in TICKERS:
        told, prices = facts[ticker], load_prices(Layout(root), ticker)
        assert (told.rows, told.first_date, told.last_date) == (
            len(prices.prices),
            prices.days[0].item(),
            prices.end,
        )
        assert (told.source, told.currency, told.exchange) == ("files", "AUD", "XASX")
        assert told.content_hash == file_info(Layout(root).of(HISTORY, ticker)).content_hash


def test_what_footers_say_needs_no_row(root):
    """Rows that cannot be read show that none is: those of every file are spoilt."""
    for ticker in TICKERS:
        damage_rows(Layout(root).of(HISTORY, ticker))
    histories = read_histories(Store.at(root, 1.0), TICKERS)
    assert (histories.as_of, histories.source) == (LAST, "files")
    assert histories.facts["VAF"].last_date == DAYS[N - 2].item()
    assert histories.series.keys() == set(TICKERS)
    assert len(histories.series) == 3
    assert not histories.damaged


def test_prices_are_those_of_the_file_and_absent_ones_are_absent(root):
    series = series_of(root, [*TICKERS, "NONE"])
    assert list(series) == sorted(TICKERS)
    assert "NONE" not in series
    assert series.get("NONE") is None
    pd.testing.assert_series_equal(series["VAS"].prices, load_prices(Layout(root), "VAS").prices)


def test_a_file_that_is_damaged_further_in_fails_alone_and_for_all_that_follow(root):
    store = Store.at(root, 1.0)
    second = read_histories(store, TICKERS)
    damage_rows(Layout(root).of(HISTORY, "VAS"))
    first = read_histories(store, TICKERS)
    assert [s.ticker for s in first.each()] == ["VAF", "VGS"]
    assert isinstance(first.damaged["VAS"], CorruptFileError)
    assert first.series.keys() == {"VAF", "VGS"}
    # its day is no longer the newest: nothing that was read is of it
    assert first.as_of == DAYS[N - 2].item()
    # the step that comes after in this process knows it from the beginning
    third = read_histories(store, TICKERS)
    assert third.damaged.keys() == {"VAS"}
    with pytest.raises(CorruptFileError, match=r"VAS\.parquet"):
        second.series["VAS"]
    assert "VAS" not in second.series
    # and no longer when the file is another
    publish_closes(root, "VAS", DAYS, walk(N, seed=9))
    assert read_histories(store, TICKERS).series.keys() == set(TICKERS)


def test_only_what_is_asked_for_is_read(root):
    damage_rows(Layout(root).of(HISTORY, "VGS"))
    histories = read_histories(Store.at(root, 1.0), TICKERS)
    assert histories.read(["VAS", "NONE", "VAF", "VAS"]).keys() == {"VAS", "VAF"}
    assert not histories.damaged
    assert histories.read(["VAS", "VGS"]).keys() == {"VAS"}
    assert histories.damaged.keys() == {"VGS"}


def test_without_a_history_there_is_no_session(tmp_path):
    histories = read_histories(Store.at(tmp_path, 1.0), TICKERS)
    with pytest.raises(InsufficientDataError, match="etf run"):
        assert histories.as_of
    assert list(histories.each()) == []


def version(root, ticker="VAS"):
    return read_facts(Layout(root), ticker, FileCache()).version


def test_a_version_changes_with_anything_that_prices_are_made_of(root):
    was = version(root)
    assert version(root) == was
    closes = walk(N, seed=0)
    closes[7] += 0.25
    publish_closes(root, "VAS", DAYS, closes)
    corrected = version(root)
    publish_closes(root, "VAS", DAYS, walk(N, seed=0), currency="USD")
    dollars = version(root)
    assert len({was, corrected, dollars}) == 3
    publish_closes(root, "VAS", DAYS, walk(N, seed=0))
    assert version(root) == was


def test_a_version_changes_with_a_quarantine_that_is_not_the_one_it_was_published_with(root):
    closes = walk(N, seed=0)
    closes[5] = -1.0
    publish_closes(root, "VAS", DAYS, closes)
    was = version(root)
    quarantine = Layout(root).of(QUARANTINE, "VAS")
    kept = quarantine.read_bytes()
    quarantine.unlink()
    without = version(root)
    elsewhere = root / "elsewhere"  # another store
    publish_closes(elsewhere, "VAS", DAYS, walk(N, seed=0))
    quarantine.write_bytes(Layout(elsewhere).of(QUARANTINE, "VAS").read_bytes())
    assert len({was, without, version(root)}) == 3
    quarantine.write_bytes(kept)
    assert version(root) == was


def test_a_user_s_own_file_is_told_by_its_rows_and_known_by_its_bytes(root):
    path = save_mine(root)
    facts = read_facts(Layout(root), "MINE", FileCache())
    assert (facts.rows, facts.first_date, facts.last_date) == (
        3,
        dt.date(2024, 1, 1),
        dt.date(2024, 1, 3),
    )
    assert (facts.source, facts.currency, facts.content_hash) == ("user", None, None)
    file = hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts.version == hashlib.sha256(f"{file} ".encode()).hexdigest()
    path.with_name("MINE.parquet.json").write_text('{"currency": "AUD"}')
    declared = read_facts(Layout(root), "MINE", FileCache())
    assert declared.currency == "AUD"
    assert declared.version != facts.version
    save_mine(root, (1.0, 2.0, 4.1))
    assert version(root, "MINE") not in {facts.version, declared.version}


def test_facts_are_of_the_file_that_is_there(root):
    cache = FileCache()
    before = read_facts(Layout(root), "VAS", cache)
    assert read_facts(Layout(root), "VAS", cache) is before
    publish_closes(root, "VAS", DAYS[:-4], walk(N - 4, seed=0))
    after = read_facts(Layout(root), "VAS", cache)
    assert dataclasses.replace(after, version=None) == dataclasses.replace(
        before,
        rows=N - 4,
        last_date=DAYS[-5].item(),
        content_hash=file_info(Layout(root).of(HISTORY, "VAS")).content_hash,
        version=None,
    )


def test_a_cache_keeps_what_was_asked_for_last(tmp_path):
    paths = [tmp_path / f"{i}" for i in range(4)]
    cache = FileCache(most=250)
    for i, path in enumerate(paths[:2]):
        path.write_bytes(bytes(100))
        cache.put("x", path, cache.stamp(path), i)
    assert cache.get("x", paths[0]) == 0  # which makes it the younger of the two
    paths[2].write_bytes(bytes(100))
    cache.put("x", paths[2], cache.stamp(paths[2]), 2)
    assert [cache.get("x", p) for p in paths[:3]] == [0, None, 2]
    # put again it counts once, and by the size that is said
    for _ in range(5):
        cache.put("x", paths[2], cache.stamp(paths[2]), 2, size=10)
    paths[3].write_bytes(bytes(1_000))
    cache.put("x", paths[3], cache.stamp(paths[3]), 3, size=140)
    assert [cache.get("x", p) for p in (paths[0], paths[2], paths[3])] == [0, 2, 3]
    # one that is larger than all there may be is the only one
    cache.put("x", paths[3], cache.stamp(paths[3]), 4)
    assert [cache.get("x", p) for p in (paths[0], paths[2], paths[3])] == [None, None, 4]
    cache.clear()
    assert cache.get("x", paths[3]) is None


def test_many_histories_are_never_in_memory_at_once(root):
    """With room for less than two, reading all of them twice keeps one."""
    size = Layout(root).of(HISTORY, "VAS").stat().st_size
    cache = FileCache(most=int(1.5 * size))
    series = series_of(root, cache=cache)
    for _ in range(2):
        for ticker in series:
            one = series[ticker]
            assert series[ticker] is one
    kept = [t for t in TICKERS if cache.get("series", Layout(root).of(HISTORY, t)) is not None]
    assert kept == ["VGS"]
