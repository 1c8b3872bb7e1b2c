"""SQL on the store: the catalogue, safety, formats, and reading while files are replaced."""

import csv
import dataclasses
import functools
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import QueryError
from etf_pipeline.events.log.copy import copy_log
from etf_pipeline.model.schemas import RAW
from etf_pipeline.sql.limits import Limits
from etf_pipeline.sql.safe import checked
from etf_pipeline.sql.views import MACROS, VIEWS
from etf_pipeline.steps import catalogue
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_history
from etf_pipeline.store.store import Store
from etf_pipeline_tests.events_support import embedded_settings
from etf_pipeline_tests.integration.test_docs import NOW, simulated_store
from etf_pipeline_tests.pipeline.support import execute, make_pipeline
from etf_pipeline_tests.support import leftover

ETF = str(Path(sys.executable).with_name("etf"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A store with every table, made by the real graph."""
    import dagster as dg

    folder = tmp_path_factory.mktemp("sql")
    pipeline = make_pipeline(folder)
    (folder / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(folder / "home")) as instance:
        assert execute(pipeline, instance, "ingest", "XASX").success
        assert execute(pipeline, instance, "derive").success
    return pipeline


@pytest.fixture(scope="module")
def catalogued(built, tmp_path_factory):
    """The store again with its catalogue, which holds for one place; where it was, and the copy."""
    place, kept = (tmp_path_factory.mktemp(name) / "store" for name in ("place", "kept"))
    shutil.copytree(built.layout.root, place)
    ensure_catalogue((place, built.settings.universe_file))
    shutil.move(place, kept)
    return place, kept, built.settings.universe_file


@pytest.fixture
def store(catalogued):
    """A store with its catalogue that the test may change; its root and universe."""
    place, kept, universe_file = catalogued
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(kept, place)
    return place, universe_file


@pytest.fixture
def without_catalogue(store):
    """The same before its catalogue is made, from what the test has put there."""
    Layout(store[0]).catalogue.unlink()
    return store


@pytest.fixture(scope="module")
def unchanged(built, tmp_path_factory):
    """A store for tests that read only, and the hashes of its files."""
    store = tmp_path_factory.mktemp("unchanged") / "store", built.settings.universe_file
    shutil.copytree(built.layout.root, store[0])
    ensure_catalogue(store)
    (store[0].parent / "outside.parquet").write_bytes(b"")
    return store, hashes(store[0])


def open_catalogue(store, limits=None, copy=copy_log):
    root, universe_file = store
    return catalogue.open_catalogue(Store.at(root, 10), universe_file, limits, copy)


def ensure_catalogue(store):
    root, universe_file = store
    return catalogue.ensure_catalogue(Store.at(root, 10), universe_file, copy_log)


def ask(store, sql, copy=copy_log, **limits):
    with open_catalogue(store, Limits(**limits), copy) as connection:
        return connection.query(sql)


def hashes(root):
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file() and ".locks" not in p.parts
    }


def etf(store, *arguments, **options):
    environ = os.environ | {"ETF_DATA_DIR": str(store[0]), "ETF_UNIVERSE_FILE": str(store[1])}
    return subprocess.run(
        [ETF, "sql", *arguments],
        env=environ,
        capture_output=True,
        timeout=120,
        check=False,
        **options,
    )


def test_every_view_and_macro_answers(without_catalogue):
    store = without_catalogue
    for view in VIEWS:
        assert ask(store, f"SELECT * FROM {view.name} LIMIT 3").columns, view.name
    for macro in MACROS:
        asked = "'AUD'" if macro.endswith("_in") else "'2025-11-12 12:00:00+00'"
        if macro.startswith("correlations"):
            asked = f"{asked}, ['VAS', 'VGS'], 1" if macro.endswith("_in") else "['VAS', 'VGS'], 1"
        assert ask(store, f"SELECT count(*) FROM {macro}({asked})").rows[0][0] > 0
    assert len(ask(store, "FROM universe").rows) == 3


def test_every_column_has_a_comment(store):
    rows = ask(
        store,
        "SELECT table_name, column_name, comment FROM duckdb_columns() "
        "WHERE NOT internal AND table_name <> 'catalogue_info'",
    ).rows
    assert len(rows) > 150
    assert [r for r in rows if not r[2]] == []
    views = ask(store, "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").rows
    assert {name for name, _ in views} >= {v.name for v in VIEWS}
    assert [name for name, comment in views if not comment] == []


def test_the_views_say_what_the_files_say(store):
    frame = pq.read_table(store[0] / "historical/VAS.parquet").to_pandas()
    (row,) = ask(
        store, "SELECT count(*), min(date), max(date), sum(close) FROM prices WHERE ticker = 'VAS'"
    ).rows
    assert row[:3] == (len(frame), frame["date"].min(), frame["date"].max())
    assert row[3] == pytest.approx(frame["close"].sum(), rel=1e-12)
    (latest,) = ask(store, "SELECT date, close FROM latest_prices WHERE ticker = 'VAS'").rows
    assert latest == (frame["date"].iloc[-1], frame["close"].iloc[-1])
    returns = [
        r[0]
        for r in ask(store, "SELECT return FROM returns WHERE ticker = 'VAS' ORDER BY date").rows
    ]
    expected = frame["adj_close"].pct_change()
    assert returns[0] is None
    assert np.allclose(returns[1:], expected.iloc[1:], rtol=1e-12)
    (fall,) = ask(store, "SELECT min(drawdown) FROM drawdowns WHERE ticker = 'VAS'").rows[0]
    assert fall == pytest.approx((frame["adj_close"] / frame["adj_close"].cummax() - 1).min())


def test_the_newest_tables_are_the_newest(without_catalogue):
    store = without_catalogue
    for group, table, view in (
        ("risk", "risk_metrics", "risk_metrics"),
        ("portfolios", "weights", "weights"),
    ):
        folder = store[0] / group / table
        newest = max(folder.glob("as_of=*"))
        old = folder / "as_of=2001-01-01"
        shutil.copytree(newest, old)
        rows = ask(store, f"SELECT DISTINCT as_of FROM {view}").rows
        assert [str(r[0]) for r in rows] == [newest.name.removeprefix("as_of=")]
        assert len(ask(store, f"SELECT DISTINCT as_of FROM {view}_history").rows) == 2
        (n,) = ask(store, f"SELECT count(DISTINCT as_of) FROM {view}_as_of('2005-01-01')").rows[0]
        assert n == 1


def test_a_moved_folder_is_mended(store, tmp_path):
    ensure_catalogue(store)
    moved = tmp_path / "elsewhere" / "it's here"
    moved.parent.mkdir()
    shutil.move(store[0], moved)
    assert ask((moved, store[1]), "SELECT count(*) FROM prices").rows[0][0] > 1000


def test_a_fresh_catalogue_opens_without_pandas_or_arrow(store):
    """Their import takes a second, which every `etf sql` would pay."""
    ensure_catalogue(store)
    code = (
        "import sys; from pathlib import Path; from etf_pipeline.cli.sql import _copy_log\n"
        "from etf_pipeline.steps.catalogue import open_catalogue\n"
        "from etf_pipeline.store.store import Store\n"
        f"store = Store.at(Path({str(store[0])!r}), 10)\n"
        f"with open_catalogue(store, Path({str(store[1])!r}), copy_log=_copy_log) as connection:\n"
        "    print(connection.query('SELECT count(DISTINCT ticker) FROM prices').rows)\n"
        "print(sorted({'pandas', 'pyarrow', 'numpy', 'pydantic', 'dagster'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[(3,)]", "[]"]


def test_a_catalogue_of_other_views_is_made_anew(store, monkeypatch):
    """As after an upgrade that added a column: DuckDB keeps the columns a view was made with."""
    path = ensure_catalogue(store)
    before = path.stat().st_ino
    assert ensure_catalogue(store).stat().st_ino == before
    other = dataclasses.replace(VIEWS[1], description="Something else.")
    monkeypatch.setattr("etf_pipeline.steps.catalogue_freshness.VIEWS", (VIEWS[0], other))
    assert ensure_catalogue(store).stat().st_ino != before


def test_runs_of_an_earlier_release_have_every_column(without_catalogue):
    """Its manifests knew no codes and no paths."""
    store = without_catalogue
    for path in (store[0] / "manifests").rglob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["reason_code", "path"]), path)
    rows = ask(store, "SELECT subject, reason_code, path FROM runs").rows
    assert rows
    assert {row[1:] for row in rows} == {(None, None)}


def test_days_of_an_earlier_release_have_every_column(without_catalogue):
    """Its tables lacked columns, and counted periods a year by whole numbers."""
    store = without_catalogue
    folder = store[0] / "risk" / "risk_metrics"
    newest = max(folder.glob("as_of=*/*.parquet"))
    old = folder / "as_of=2001-01-01" / newest.name
    old.parent.mkdir()
    table = pq.read_table(newest).drop_columns(["calmar_ratio", "beta"])
    at = table.schema.get_field_index("periods_per_year")
    whole = pa.array([252] * len(table), pa.int64())
    pq.write_table(table.set_column(at, "periods_per_year", whole), old)
    sql = "SELECT periods_per_year, calmar_ratio, volatility FROM risk_metrics_history WHERE as_of"
    before = ask(store, f"{sql} < '2002-01-01'").rows
    assert {row[:2] for row in before} == {(252.0, None)}
    assert any(row[2] is not None for row in before)
    assert any(row[1] is not None for row in ask(store, f"{sql} > '2002-01-01'").rows)
    shutil.rmtree(newest.parent)
    assert ask(store, "SELECT max(calmar_ratio), count(*) FROM risk_metrics").rows == [
        (None, len(table))
    ]


def test_correlations_of_an_earlier_release_have_no_places(without_catalogue):
    """They kept every pair, and ranked none."""
    store = without_catalogue
    newest = max((store[0] / "risk" / "correlations").glob("as_of=*/*.parquet"))
    old = newest.parents[1] / "as_of=2001-01-01" / newest.name
    old.parent.mkdir()
    pq.write_table(pq.read_table(newest).drop_columns(["nearest", "farthest"]), old)
    sql = (
        "SELECT ticker, other, nearest, farthest FROM correlations{} WHERE ticker = 'VAS' "
        """AND "window" = '1y' ORDER BY other"""
    )
    before = ask(store, sql.format("_history") + ", as_of").rows
    assert [r[2:] for r in before[::2]] == [(None, None)] * 3
    assert {r[:3] for r in ask(store, sql.format("")).rows if r[1] != "VAS"} == {
        ("VAS", r[1], rank)
        for rank, r in enumerate(
            ask(
                store,
                "FROM correlations_of(['VAS', 'VGS', 'VAF'], 1) SELECT correlation, other "
                "WHERE ticker = 'VAS' AND other <> 'VAS' ORDER BY correlation DESC",
            ).rows,
            start=1,
        )
    }
    shutil.rmtree(newest.parent)
    assert {r[2:] for r in ask(store, sql.format("")).rows} == {(None, None)}


def test_backtests_of_an_earlier_release_have_every_column(without_catalogue):
    """They knew no cash, no comparison, and no events at all."""
    store = without_catalogue
    folder = store[0] / "portfolios"
    (newest,) = (folder / "backtests").glob("as_of=*/*.parquet")
    table = pq.read_table(newest)
    old = folder / "backtests" / "as_of=2001-01-01" / newest.name
    old.parent.mkdir()
    pq.write_table(table.drop_columns(["cash", "comparison_wealth"]), old)
    rows = ask(store, "SELECT as_of, count(cash), count(*) FROM backtests_history GROUP BY 1").rows
    counts = {str(day): (there, rows) for day, there, rows in rows}
    assert counts.pop("2001-01-01") == (0, len(table))
    assert list(counts.values()) == [(len(table), len(table))]
    traded = "SELECT portfolio, count(*) FROM {} GROUP BY 1 ORDER BY 1"
    events = ask(store, traded.format("backtest_events WHERE event = 'traded'")).rows
    assert events
    assert events == ask(store, traded.format("backtests WHERE cost IS NOT NULL")).rows
    shutil.rmtree(folder / "backtest_events")
    assert ask(store, "SELECT reason FROM backtest_events").rows == []


def test_the_step_sweeps_what_no_other_step_does(without_catalogue):
    store = without_catalogue
    root, universe_file = store
    mine = [leftover(root), leftover(root / "events" / "log")]
    other = leftover(root / "historical")
    catalogue.sql_catalogue(Store.at(root, 10), universe_file, copy_log)
    assert [p.exists() for p in mine] == [False, False]
    assert other.exists()


KILLED_BUILD = """
import os, signal, sys
from pathlib import Path
import duckdb
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.writer import temp_beside
db = duckdb.connect(str(temp_beside(Layout(Path(sys.argv[1])).catalogue)))
db.execute("CREATE TABLE half AS SELECT 1 AS x")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_step_sweeps_all_that_a_killed_build_left(without_catalogue):
    store = without_catalogue
    root, universe_file = store
    killed = subprocess.run([sys.executable, "-c", KILLED_BUILD, str(root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert {p.suffix for p in root.glob(".etf.duckdb.*")} == {".tmp", ".wal"}
    catalogue.sql_catalogue(Store.at(root, 10), universe_file, copy_log)
    assert list(root.glob(".etf.duckdb.*")) == []


def test_any_client_opens_it(store):
    path = ensure_catalogue(store)
    with duckdb.connect(str(path), read_only=True) as db:
        assert db.execute("SELECT count(DISTINCT ticker) FROM prices").fetchone() == (3,)


@pytest.mark.parametrize("newer", [False, True])
def test_batches_of_an_earlier_release_have_every_column(store, newer):
    """They knew no notes on dividends; a batch of today may lie before them or after them."""
    whole = "SELECT ticker, date, close FROM raw_answers ORDER BY ALL"
    before = ask(store, whole).rows
    (batch,) = (store[0] / "raw").rglob("*.parquet")
    table = pq.read_table(batch)
    pq.write_table(table.drop_columns(["dividend_note"]), batch)
    columns = ask(store, "SELECT * FROM raw_answers LIMIT 1").columns
    assert columns == ["collected_at", *RAW.names]
    other = batch.parent.with_name("ZZZZ" if newer else "AAAA") / batch.name
    other.parent.mkdir()
    pq.write_table(table, other)
    assert ask(store, whole).rows == sorted(2 * before)
    assert len(ask(store, "FROM raw_answers").rows) == 2 * len(before)
    assert ask(store, "SELECT count(dividend_note) FROM raw_answers").rows == [(0,)]


@pytest.mark.parametrize("view", ["returns", "drawdowns"])
def test_a_ticker_newer_than_the_catalogue_is_there_for_any_client(store, view):
    path = ensure_catalogue(store)
    known = {r[0] for r in ask(store, "SELECT DISTINCT ticker FROM prices").rows}
    shutil.copy(store[0] / "historical/VAS.parquet", store[0] / "historical/NEW.parquet")
    with duckdb.connect(str(path), read_only=True) as db:

        def rows(ticker):
            return db.execute(
                f"SELECT * EXCLUDE ticker FROM {view} WHERE ticker = ? ORDER BY date", [ticker]
            ).fetchall()

        assert rows("NEW") == rows("VAS") != []
        counted = "SELECT ticker, count(*) FROM {} GROUP BY ticker ORDER BY ticker"
        counts = db.execute(counted.format(view)).fetchall()
        assert counts == db.execute(counted.format("prices")).fetchall()
        assert {c[0] for c in counts} == known | {"NEW"}


def test_a_store_without_tables_has_empty_views(tmp_path):
    layout = simulated_store(tmp_path / "data")
    store = (layout.root, tmp_path / "no-universe.csv")
    for view in VIEWS:
        assert ask(store, f"SELECT * FROM {view.name} LIMIT 1").columns, view.name
    assert ask(store, "FROM weights").rows == []
    assert ask(store, "FROM user_prices").rows == ask(store, "FROM user_files").rows == []
    assert len(ask(store, "FROM latest_prices").rows) == 4


def test_a_query_warns_of_a_file_that_it_has_no_rows_of(tmp_path):
    def save(ticker, close):
        days = pd.date_range("2024-01-02", periods=2)
        rows = pd.DataFrame({"date": days, "close": close})
        rows.to_parquet(tmp_path / "historical" / f"{ticker}.parquet")

    (tmp_path / "historical").mkdir()
    save("BAD", ["1,5", "2.0"])
    save("WORSE", ["1,5", "2.0"])
    save("GOOD", [1.5, 1.6])
    store, asked = (tmp_path, tmp_path / "none.csv"), "SELECT DISTINCT ticker FROM prices"
    for _ in range(2):  # the catalogue is made, and is there
        run = etf(store, asked, "--format", "csv", "--max-rows", "1")
        assert (run.returncode, run.stdout.split()) == (0, [b"ticker", b"GOOD"])
        assert run.stderr.count(b"warning: ") == 2
        assert run.stderr.startswith(b"warning: prices lack its rows: BAD: ")
        assert b"BAD.parquet" in run.stderr
    save("BAD", [1.5, 1.6])
    (tmp_path / "historical" / "WORSE.parquet").unlink()
    run = etf(store, asked, "--format", "csv")
    assert (set(run.stdout.split()), run.stderr) == ({b"ticker", b"GOOD", b"BAD"}, b"")


def test_a_new_ticker_and_a_new_table_appear(store):
    ensure_catalogue(store)
    shutil.copy(store[0] / "historical/VAS.parquet", store[0] / "historical/%76as.parquet")
    shutil.rmtree(store[0] / "portfolios/weights")
    tickers = [r[0] for r in ask(store, "SELECT ticker FROM latest_prices ORDER BY 1").rows]
    assert tickers == ["VAF", "VAS", "VGS", "vas"]
    assert ask(store, "FROM weights").rows == []


def test_a_users_own_files_are_among_the_prices(store):
    days = pd.date_range("2024-01-02", periods=5, tz="Australia/Sydney", name="Date")
    frame = pd.DataFrame({"Close": [1.0, 2, 3, 4, 5], "Volume": 7}, index=days)
    frame.to_parquet(store[0] / "historical/MINE.parquet")
    rows = ask(
        store,
        "SELECT date, close, adj_close, volume, dividends FROM prices "
        "WHERE ticker = 'MINE' ORDER BY date",
    ).rows
    assert [str(r[0]) for r in rows] == [f"2024-01-0{i}" for i in range(2, 7)]  # not a day early
    assert rows[0][1:] == (1.0, 1.0, 7, 0.0)  # as the library says
    assert ask(store, "SELECT count(DISTINCT ticker) FROM prices").rows == [(4,)]


@pytest.mark.parametrize("name", ["Adj Close", "adj_close", "AdjClose", " ADJCLOSE "])
def test_a_users_column_is_the_same_in_sql_and_in_the_library(store, name):
    days = pd.date_range("2024-01-02", periods=3, name="Date")
    frame = pd.DataFrame({"Close ": [4.0, 5, 6], name: [1.0, 2, 3], "Flag": "theirs"}, index=days)
    path = store[0] / "historical/MINE.parquet"
    frame.to_parquet(path)
    rows = ask(
        store, "SELECT close, adj_close, flag FROM prices WHERE ticker = 'MINE' ORDER BY date"
    ).rows
    assert rows == [(4, 1, None), (5, 2, None), (6, 3, None)]
    read = read_history(path, ["close", "adj_close", "flag"])
    assert [tuple(r) for r in read.itertuples(index=False)] == rows


def test_a_users_index_without_a_name_is_the_date(store):
    days = pd.date_range("2024-01-02", periods=3)
    path = store[0] / "historical/MINE.parquet"
    pd.DataFrame({"close": [4.0, 5, 6]}, index=days).to_parquet(path)
    rows = ask(store, "SELECT date FROM prices WHERE ticker = 'MINE' ORDER BY date").rows
    assert [r[0] for r in rows] == list(days.date)


def test_events_are_there(store):
    from etf_pipeline.events.factory import open_events
    from etf_pipeline.events.log.archive import Archive
    from etf_pipeline_tests.events_support import queries

    assert ask(store, "FROM events").rows == []
    recorder = open_events(store[0], embedded_settings())
    recorder.append(queries(10))
    sql = "SELECT count(*), count(DISTINCT id) FROM events"
    assert ask(store, sql).rows == [(10, 10)]
    recorder.archive(Archive(Layout(store[0])), NOW)
    recorder.append(queries(5, start=10))
    assert ask(store, sql).rows == [(15, 15)]
    asked = ask(store, "SELECT data->>'$.operation', count(*) FROM events GROUP BY ALL").rows
    assert asked == [("load_etf_data", 15)]
    recorder.close(0)


def test_the_copied_log_follows_the_log(store):
    """Whole files stay as they are; pruned, replaced and lost logs show."""
    from etf_pipeline.events.factory import open_events
    from etf_pipeline.events.log.archive import Archive
    from etf_pipeline_tests.events_support import queries

    folder = store[0] / "events" / "log"
    recorder = open_events(store[0], embedded_settings(event_store_retention_days=1))

    def there():
        copy = functools.partial(copy_log, per_file=100)
        return {r[0] for r in ask(store, "SELECT id FROM events", copy).rows}

    def files():
        return {p.name: p.stat().st_mtime_ns for p in folder.glob("*.parquet")}

    events = queries(437)
    for upto in (1, 98, 99, 100, 250, 437):
        recorder.append(events[:upto])
        before = files()
        assert there() == {e.id for e in events[:upto]}
        changed = [n for n, t in files().items() if before.get(n, t) != t]
        assert len(changed) <= 1
    assert len(files()) == 437 // 100 + 1
    before = files()
    assert len(there()) == 437
    assert files() == before

    archive = Archive(Layout(store[0]))
    recorder.archive(archive, NOW)
    assert recorder.prune(archive).events == 437
    assert there() == {e.id for e in events}
    assert files() == {}
    recorder.append(queries(3, start=1000))
    assert len(there()) == 440
    assert len(files()) == 1

    recorder.close(0)
    for path in Layout(store[0]).event_log.parent.glob("events.sqlite*"):
        path.unlink()
    shutil.rmtree(archive.root)
    assert there() == set()
    recorder = open_events(store[0], embedded_settings())
    recorder.append(queries(460, start=2000))  # as if an older copy had been put back
    assert there() == {e.id for e in queries(460, start=2000)}
    recorder.close(0)


def test_the_copy_of_an_earlier_release_had_more_events_in_a_file(store):
    """What is pruned of such a file is in the archive; the rest of it stays."""
    from etf_pipeline.events.factory import open_events
    from etf_pipeline_tests.events_support import queries

    folder = store[0] / "events" / "log"
    recorder = open_events(store[0], embedded_settings())

    def there(per_file):
        copy = functools.partial(copy_log, per_file=per_file)
        return {r[0] for r in ask(store, "SELECT id FROM events", copy).rows}

    events = queries(300)
    recorder.append(events[:250])
    assert there(100) == {e.id for e in events[:250]}
    assert len(list(folder.glob("*.parquet"))) == 3
    recorder.log.prune(150)
    recorder.append(events[250:])
    assert there(20) == {e.id for e in events if events.index(e) >= 99}
    recorder.log.prune(260)
    recorder.append(queries(1, start=300))
    assert {e.id for e in events[260:]} <= there(20)
    assert min(int(p.stem) for p in folder.glob("*.parquet")) > 200
    recorder.close(0)


def test_prices_as_of_are_what_was_known(world):
    """Against `history_as_of`, which rebuilds from the same batches by the rules of merging."""
    import datetime as dt

    from etf_pipeline.store.histories import history_as_of
    from etf_pipeline_tests.support import asx_days, bars, instrument, walk

    days, closes = asx_days("2024-01-02", 320), walk(320)
    vas = instrument("VAS")
    instants = []
    for n, shift in ((300, 0.0), (310, 0.01), (320, 0.0)):
        revised = closes.copy()
        revised[295] += shift
        world.serve("VAS", bars(days[:n], revised[:n]))
        world.now = dt.datetime.combine(days[n - 1].astype(object), dt.time(12), dt.UTC)
        world.run(vas)
        instants.append(world.now)
    store = (world.root, world.root / "none.csv")
    for instant in instants:
        expected = history_as_of(world.layout, vas, instant).history
        found = ask(
            store, f"SELECT date, close FROM prices_as_of('{instant.isoformat()}') ORDER BY date"
        ).rows
        assert found == list(
            zip(expected["date"].to_pylist(), expected["close"].to_pylist(), strict=True)
        )


HOSTILE = [
    "COPY (SELECT 1) TO '{root}/historical/VAS.parquet'",
    "COPY prices TO '{root}/x.csv'",
    "copy/**/(select 1) to '{root}/x.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{root}/historical/VAS.parquet'",
    "explain /* select */ analyze copy (select 1) to '{root}/x.csv'",
    "explain (analyze) copy (select 1) to '{root}/x.csv'",
    "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    "EXPLAIN EXPLAIN ANALYZE COPY (SELECT 1) TO '{root}/x.csv'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_parquet('{root}/../outside.parquet')",
    "SELECT * FROM read_json('/etc/hosts')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM parquet_metadata('/tmp/x.parquet')",
    "SELECT * FROM read_parquet('https://example.com/x.parquet')",
    "SELECT * FROM read_csv('s3://bucket/x.csv')",
    "ATTACH '{root}/other.db'",
    "ATTACH ':memory:' AS m",
    "DETACH etf",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '100GB'",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA enable_external_access",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CHECKPOINT",
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY (SELECT 1) TO '{root}/x.csv'",
    "-- SELECT\nDROP VIEW prices",
    "/* SELECT 1 */ DROP TABLE universe",
    "DROP TABLE universe",
    "INSERT INTO universe VALUES ('X')",
    "WITH x AS (SELECT 'X' AS t) INSERT INTO universe SELECT t FROM x",
    "UPDATE universe SET name = 'x'",
    "DELETE FROM universe",
    "TRUNCATE universe",
    "CREATE TABLE t (a INT)",
    "CREATE TEMP TABLE t AS SELECT 1",
    "CREATE MACRO prices_as_of(ts) AS TABLE SELECT 1",
    "CREATE OR REPLACE VIEW prices AS SELECT 1",
    "COMMENT ON TABLE universe IS 'x'",
    "ALTER TABLE universe ADD COLUMN x INT",
    "EXPORT DATABASE '{root}/export'",
    "IMPORT DATABASE '{root}/export'",
    "VACUUM",
    "BEGIN",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "CREATE SECRET s (TYPE s3, KEY_ID 'x')",
    "SELECT getenv('HOME')",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{root}/x.csv''')",
    "SELECT * FROM query_table('/etc/passwd')",
    "SELECT * FROM duckdb_secrets()",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "SELECT count(*) FROM range(10000000000) a, range(10000000000) b",
    "SELECT list(a) FROM range(10000000000) t(a)",
    "SELECT string_agg(repeat('x', 1000), '') FROM range(10000000)",
    "SELECT * FROM prices a, prices b, prices c ORDER BY a.close + b.close + c.close",
    "",
    ";",
    "not SQL at all",
]


def test_there_are_enough_hostile_statements():
    assert len(HOSTILE) == len(set(HOSTILE)) >= 40


@pytest.mark.parametrize("sql", HOSTILE)
def test_hostile_statements_are_refused_or_bounded(unchanged, sql):
    store, before = unchanged
    root = store[0]
    with pytest.raises(QueryError) as caught:
        ask(store, sql.format(root=root), seconds=1.5, memory="300MB", rows=1000)
    assert len(str(caught.value)) < 700
    assert hashes(root) == before


def test_a_bomb_of_text_is_bounded_by_the_process(store):
    """Text functions allocate past DuckDB's own limit."""
    done = etf(store, "SELECT repeat('x', 3000000000) AS a", "--memory", "500MB", "--format", "csv")
    assert done.returncode == 2
    assert b"memory" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "FROM prices LIMIT 1",
        "VALUES (1)",
        "DESCRIBE prices",
        "SHOW TABLES",
        "SUMMARIZE prices",
        "EXPLAIN SELECT 1",
        "TABLE universe",
        "explain analyze select 1",
        "-- a remark\nSELECT 1 -- ;",
        "SELECT ';' /* ; */;",
        "SELECT * FROM query('SELECT 1')",
        "EXPLAIN (FORMAT json) SELECT 1",
        "SELECT * FROM (PIVOT latest_prices ON ticker IN ('VAS', 'VGS') USING max(close))",
    ],
)
def test_reading_is_allowed(unchanged, sql):
    assert ask(unchanged[0], sql).columns
    assert checked(sql)


def test_errors_name_the_column_and_a_near_one(store):
    with pytest.raises(QueryError, match="clos"):
        ask(store, "SELECT clse FROM prices")
    with pytest.raises(QueryError, match="Did you mean"):
        ask(store, "SELECT * FROM price")


def test_rows_are_limited_and_it_says_so(store):
    answer = ask(store, "FROM prices", rows=10)
    assert (len(answer.rows), answer.cut) == (10, True)
    done = etf(store, "FROM prices", "--max-rows", "10", "--format", "csv")
    assert done.stdout.count(b"\n") == 11
    assert b"only the first 10 rows" in done.stderr


def test_formats(store, tmp_path):
    sql = "SELECT ticker, date, close FROM latest_prices ORDER BY ticker"
    expected = ask(store, sql).rows
    rows = list(csv.DictReader(io.StringIO(etf(store, sql, "--format", "csv").stdout.decode())))
    assert [(r["ticker"], r["date"], float(r["close"])) for r in rows] == [
        (t, str(d), c) for t, d, c in expected
    ]
    rows = json.loads(etf(store, sql, "--json").stdout)
    assert [(r["ticker"], r["date"], r["close"]) for r in rows] == [
        (t, str(d), c) for t, d, c in expected
    ]
    lines = etf(store, sql, "--format", "markdown").stdout.decode().splitlines()
    assert lines[:2] == ["| ticker | date | close |", "| --- | --- | --: |"]
    assert len(lines) == 2 + len(expected)
    out = tmp_path / "out.parquet"
    assert etf(store, sql, "--format", "parquet", "-o", str(out)).returncode == 0
    assert pq.read_table(out).to_pylist() == [
        dict(zip(("ticker", "date", "close"), r, strict=True)) for r in expected
    ]
    piped = etf(store, sql, "--format", "parquet").stdout
    assert pq.read_table(io.BytesIO(piped)).num_rows == len(expected)
    text = etf(store, sql).stdout.decode()
    assert "VAS" in text
    assert "3 rows" in text


def test_a_file_and_standard_input(store, tmp_path):
    query = tmp_path / "q.sql"
    query.write_text("SELECT count(*) AS n FROM latest_prices")
    assert etf(store, "--file", str(query), "--format", "csv").stdout == b"n\n3\n"
    done = etf(store, "--format", "csv", input=b"SELECT 42 AS n")
    assert done.stdout == b"n\n42\n"
    assert etf(store, "--file", str(tmp_path / "none.sql")).returncode == 2
    assert etf(store, "SELECT 1", "--format", "xls").returncode == 2


FOR_HOURS = "SELECT sum(hash(range)) FROM range(1000000000000)"  # in little memory


def wait_for_cpu(pid, seconds):
    """Until a process has computed for so long."""
    deadline = time.monotonic() + 60
    while cpu_seconds(pid) < seconds:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def cpu_seconds(pid):
    """User time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_ctrl_c_stops_a_query(store):
    environ = os.environ | {"ETF_DATA_DIR": str(store[0]), "ETF_UNIVERSE_FILE": str(store[1])}
    ensure_catalogue(store)
    process = subprocess.Popen([ETF, "sql", FOR_HOURS], env=environ, stderr=subprocess.PIPE)
    wait_for_cpu(process.pid, 5.0)  # imports take a second or so; more than that is the query
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in errors


def test_a_prompt_answers_and_ends(store):
    pexpect = pytest.importorskip("pexpect", reason="needs a pseudo-terminal library")
    environ = os.environ | {
        "ETF_DATA_DIR": str(store[0]),
        "ETF_UNIVERSE_FILE": str(store[1]),
        "TERM": "dumb",
        "HOME": str(store[0].parent),
    }
    child = pexpect.spawn(ETF, ["sql"], env=environ, timeout=30, encoding="utf-8")
    child.expect("etf> ")
    child.sendline("SELECT count(*) AS n FROM latest_prices;")
    child.expect("1 row")
    if Path("/proc/self/stat").exists():
        child.sendline(f"{FOR_HOURS};")
        wait_for_cpu(child.pid, cpu_seconds(child.pid) + 2.0)
        child.sendintr()
        child.expect("stopped")
    child.sendline("DROP TABLE universe;")
    child.expect("error: DROP")
    child.sendline(".quit")
    child.expect(pexpect.EOF)


def test_no_reader_fails_while_files_are_replaced(store):
    """Each file is replaced by a longer one again and again; a query sees whole versions."""
    root = store[0]
    ensure_catalogue(store)
    long = pq.read_table(root / "historical/VAS.parquet")
    short = long.slice(0, 1000)
    stop, swaps = threading.Event(), 0

    def swap(table):
        nonlocal swaps
        for ticker in ("VAS", "VGS"):
            temp = root / "historical" / f".{ticker}.tmp"
            pq.write_table(table, temp)
            temp.replace(root / "historical" / f"{ticker}.parquet")
            swaps += 1

    def replace():
        while not stop.is_set():
            for table in (short, long):
                swap(table)

    swap(long)  # from here on both hold one of the two versions
    writer = threading.Thread(target=replace)
    writer.start()
    try:
        whole = {
            (n, t.column("date").to_pylist()[-1], sum(t.column("close").to_pylist()))
            for n, t in ((long.num_rows, long), (1000, short))
        }
        deadline = time.monotonic() + 6
        seen = set()
        while time.monotonic() < deadline:
            with open_catalogue(store) as connection:
                for _ in range(5):
                    rows = connection.query(
                        "SELECT ticker, count(*), max(date), sum(close) FROM prices "
                        "WHERE ticker IN ('VAS', 'VGS') GROUP BY 1"
                    ).rows
                    assert len(rows) == 2
                    for _, n, last, total in rows:
                        match = [w for w in whole if w[0] == n]
                        assert match
                        assert last == match[0][1]
                        assert total == pytest.approx(match[0][2], rel=1e-9)
                        seen.add(n)
        assert seen == {1000, long.num_rows}
        assert swaps > 50
    finally:
        stop.set()
        writer.join()


def test_no_store_is_told(tmp_path):
    done = etf((tmp_path / "none", tmp_path / "u.csv"), "SELECT 1")
    assert done.returncode == 1
    assert b"etf run" in done.stderr
    assert not Layout(tmp_path / "none").catalogue.exists()
