"""The address of every table and of the other files of a store: as earlier releases have them."""

import datetime as dt
from pathlib import Path

import pytest

from etf_pipeline.model.schemas import (
    CORRECTIONS,
    EVENTS,
    HISTORY,
    MANIFEST,
    QUARANTINE,
    RAW,
    RISK_METRICS,
    TABLES,
    WEIGHTS,
    Granularity,
)
from etf_pipeline.store.layout import Layout

DAY = dt.date(2025, 11, 12)
KEYS = {
    Granularity.BATCH: ("XNYS-00", "20251112T120000-run"),
    Granularity.TICKER: ("BRK/B",),
    Granularity.RUN: ("raw_prices", "run/1", "XASX"),
    Granularity.VERSION: ("20251112T120000000000Z-0a1b2c3d",),
    Granularity.AS_OF: (DAY,),
    Granularity.EVENTS: ("etf-data-events", DAY, "0-5"),
}


@pytest.mark.parametrize("ticker", ["BRK/A", "^AXJO", "EURUSD=X", "BRK-B", "A..B", "../x", ".."])
def test_no_ticker_leaves_the_folder(tmp_path, ticker):
    path = Layout(tmp_path).of(HISTORY, ticker)
    assert path.parent == tmp_path / "historical"
    assert path.resolve().parent == (tmp_path / "historical").resolve()


@pytest.mark.parametrize(
    ("table", "key", "path"),
    [
        (RAW, ("XASX", "b1"), "raw/XASX/b1.parquet"),
        (HISTORY, ("VAS",), "historical/VAS.parquet"),
        (HISTORY, ("^AXJO",), "historical/%5EAXJO.parquet"),
        (QUARANTINE, ("vas",), "quarantine/%76%61%73.parquet"),
        (MANIFEST, ("price_history", "r1", "XASX"), "manifests/price_history/r1-XASX.parquet"),
        (MANIFEST, ("backtests", "r/1"), "manifests/backtests/r_1-ALL.parquet"),
        (CORRECTIONS, ("v",), "corrections/v.parquet"),
        (RISK_METRICS, (DAY,), "risk/risk_metrics/as_of=2025-11-12/part.parquet"),
        (WEIGHTS, (DAY,), "portfolios/weights/as_of=2025-11-12/part.parquet"),
        (EVENTS, ("t", DAY, "n"), "events/archive/topic=t/day=2025-11-12/n.parquet"),
    ],
)
def test_the_address_of_a_table(table, key, path):
    assert Layout(Path("store")).of(table, *key) == Path("store") / path


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_what_is_written_is_found_again(tmp_path, table):
    layout = Layout(tmp_path)
    assert layout.files(table) == []
    path = layout.of(table, *KEYS[table.granularity])
    path.parent.mkdir(parents=True)
    path.touch()
    (path.parent / f".{path.name}.tmp").touch()
    assert layout.files(table) == [path]
    assert path.is_relative_to(layout.folder(table))
    assert tmp_path / layout.relative(path) == path
    assert layout.absolute(layout.relative(path)) == path
    others = [t for t in TABLES if layout.folder(t) != layout.folder(table)]
    assert [t.name for t in others if layout.files(t)] == []


def test_what_lies_elsewhere_below_a_table_is_none_of_its_files(tmp_path):
    stray = tmp_path / "risk" / "risk_metrics" / "copy" / "part.parquet"
    stray.parent.mkdir(parents=True)
    stray.touch()
    assert Layout(tmp_path).files(RISK_METRICS) == []


def test_no_two_tables_share_a_file(tmp_path):
    layout = Layout(tmp_path)
    paths = [layout.of(t, *KEYS[t.granularity]) for t in TABLES]
    assert len(set(paths)) == len(TABLES)


def test_the_newest_day(tmp_path):
    layout = Layout(tmp_path)
    assert layout.newest(WEIGHTS) is None
    for day in (DAY, dt.date(2024, 12, 31), dt.date(2025, 2, 3)):
        path = layout.of(WEIGHTS, day)
        path.parent.mkdir(parents=True)
        path.touch()
    assert layout.newest(WEIGHTS) == layout.of(WEIGHTS, DAY)


@pytest.mark.parametrize(
    "name",
    ["as_of=tmp/part.parquet", "as_of=2025-02-31/part.parquet", "as_of=2025-11-12/copy.parquet"],
)
def test_what_is_no_day_is_none_of_the_days_of_a_table(tmp_path, name):
    layout = Layout(tmp_path)
    day, stray = layout.of(WEIGHTS, DAY), layout.folder(WEIGHTS) / name
    for path in (day, stray):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert layout.newest(WEIGHTS) == day
    assert layout.files(WEIGHTS) == [day]
    assert layout.strays(WEIGHTS) == [stray]


def test_a_users_file_is_read_unless_there_is_one_of_ours(tmp_path):
    layout = Layout(tmp_path)
    ours, theirs = layout.of(HISTORY, "vas"), tmp_path / "historical" / "vas.parquet"
    assert layout.find_history("vas") == ours
    theirs.parent.mkdir()
    theirs.touch()
    assert layout.find_history("vas") == theirs
    assert layout.find_history("../historical/vas") == layout.of(HISTORY, "../historical/vas")
    ours.touch()
    assert layout.find_history("vas") == ours


def test_manifests_of_a_run_whatever_the_partition(tmp_path):
    layout = Layout(tmp_path)
    wanted = [layout.of(MANIFEST, "raw_prices", "r1", p) for p in ("XASX", "XNYS")]
    for path in (*wanted, layout.of(MANIFEST, "raw_prices", "r2", "XASX")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert layout.manifests_of("raw_prices", "r1") == wanted
    assert layout.manifests_of("price_history", "r1") == []


@pytest.mark.parametrize(
    ("made", "path"),
    [
        (lambda layout: layout.catalogue, "etf.duckdb"),
        (lambda layout: layout.event_log, "events/events.sqlite"),
        (lambda layout: layout.watermark("XASX"), "manifests/price_history/XASX.applied"),
        (lambda layout: layout.published("XASX"), "manifests/price_history/XASX.published"),
        (lambda layout: layout.looked("XASX"), "manifests/price_history/XASX.looked"),
        (lambda layout: layout.seen("XASX"), "manifests/price_history/XASX.seen"),
        (lambda layout: layout.lock("raw", "a/b"), ".locks/raw/%61%2F%62.lock"),
        (lambda layout: layout.damaged("vas"), "historical/%76%61%73.parquet.damaged"),
        (lambda layout: layout.reports, "reports"),
        (lambda layout: layout.report(None), "reports/universe.html"),
        (lambda layout: layout.report("core"), "reports/portfolio-core.html"),
        (lambda layout: layout.report("a b"), "reports/portfolio-%61%20%62.html"),
    ],
)
def test_other_files(made, path):
    assert made(Layout(Path("store"))) == Path("store") / path
