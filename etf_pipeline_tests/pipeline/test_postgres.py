"""Dagster with its records in PostgreSQL, whose clock may be in any zone."""

import shutil
import tempfile
from pathlib import Path

import dagster as dg
import pytest
import yaml

from etf_pipeline.events.cursor import OVERLAP
from etf_pipeline.events.cursors import cursor_of
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.model.types import LINEAGE
from etf_pipeline.events.tailer import Tailer
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.orchestration.instance import prepare_home
from etf_pipeline.orchestration.jobs import store_tags
from etf_pipeline.orchestration.kept_open import sqlite_files
from etf_pipeline.settings import environment
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import embedded_settings
from etf_pipeline_tests.pipeline.postgres import Postgres
from etf_pipeline_tests.pipeline.relayed import RunlessLog, materialise, relayed_tickers
from etf_pipeline_tests.pipeline.support import execute, make_pipeline

WHOLE = "ETFDataCollectionFailed"


@pytest.fixture(scope="module")
def server():
    """Thirteen hours ahead of UTC, in summer; Dagster's tables are made once, and copied."""
    if (why := Postgres.missing()) is not None:
        pytest.skip(why)
    made = Postgres("Pacific/Auckland").start()
    made.query("postgres", "CREATE DATABASE fresh")
    with tempfile.TemporaryDirectory() as home:
        storage = {"postgres": {"postgres_url": made.url("fresh")}}
        (Path(home) / "dagster.yaml").write_text(yaml.safe_dump({"storage": storage}))
        dg.DagsterInstance.from_config(home).dispose()
    yield made
    made.stop()


@pytest.fixture
def open_home(server, tmp_path, monkeypatch):
    """Opens the instance whose tables are in a database of the server, with one home for all."""
    opened = []

    def get(database):
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", server.url(database))
        opened.append(dg.DagsterInstance.from_config(str(prepare_home())))
        return opened[-1]

    def leave():
        while opened:
            opened.pop().dispose()

    get.leave = leave
    yield get
    leave()


def recorder_of(layout):
    return open_events(layout.root, embedded_settings(), publish=False)


def test_the_first_run_is_told_whole_whatever_the_servers_zone(server, tmp_path, open_home):
    server.query("postgres", "CREATE DATABASE first TEMPLATE fresh")
    instance = open_home("first")
    assert sqlite_files(instance) == []
    pipeline = make_pipeline(tmp_path, {"VAS": "XASX"})
    pipeline.event_settings = embedded_settings()
    assert execute(pipeline, instance, "ingest", "XASX").success
    recorder = pipeline.events
    Tailer(pipeline.layout, recorder, DagsterLog(instance)).tick(seconds=60.0)
    told = [(e.type, e.subject) for b in recorder.log.read() for e in b]
    assert told == [("ETFDataCollected", "VAS"), ("ETFDataUpdated", "VAS")]
    states = [e.data for b in recorder.log.read([LINEAGE]) for e in b if e.subject == "ingest"]
    assert ['"eventType":"START"' in s for s in states] == [True, False]
    recorder.close()


def test_homes_and_databases_come_and_go(server, tmp_path, open_home):
    """A home has no records: they are the database's, and so is the instance's id."""
    layout = Layout(tmp_path / "store")
    recorder = recorder_of(layout)
    server.query("postgres", "CREATE DATABASE one TEMPLATE fresh")
    start = Tailer(layout, recorder, RunlessLog(open_home("one"))).cursor()
    wanted = materialise(open_home("one"), layout, 3)
    assert Tailer(layout, recorder, RunlessLog(open_home("one"))).tick(seconds=60.0).records == 3

    open_home.leave()
    shutil.rmtree(environment.dagster_home())
    wanted += materialise(open_home("one"), layout, 2, first=3)
    tick = Tailer(layout, recorder, RunlessLog(open_home("one"))).tick(seconds=60.0)
    assert tick.records == 2
    assert DagsterLog(open_home("one")).instance == start.instance

    open_home.leave()
    server.query("postgres", "CREATE DATABASE backup TEMPLATE one")
    lost = materialise(open_home("one"), layout, 2, first=5)
    assert Tailer(layout, recorder, RunlessLog(open_home("one"))).tick(seconds=60.0).records == 2
    open_home.leave()
    fresh = materialise(open_home("backup"), layout, 3, first=7)
    tick = Tailer(layout, recorder, RunlessLog(open_home("backup"))).tick(seconds=60.0)
    assert tick.problem is None
    assert sorted(relayed_tickers(recorder)) == wanted + lost + fresh
    recorder.close()


def test_an_id_that_becomes_visible_after_a_greater_one_is_told(server, tmp_path, open_home):
    """As that of a transaction that takes longer than one that began later."""
    layout = Layout(tmp_path / "store")
    recorder = recorder_of(layout)
    server.query("postgres", "CREATE DATABASE slow TEMPLATE fresh")
    instance = open_home("slow")
    tailer = Tailer(layout, recorder, RunlessLog(instance))
    tailer.cursor()
    ((slow,),) = server.query("slow", "SELECT nextval('event_logs_id_seq')")
    wanted = materialise(instance, layout, 1)
    assert tailer.tick(seconds=60.0).records == 1
    late = materialise(instance, layout, 1, first=1)
    server.query(
        "slow", f"UPDATE event_logs SET id = {slow} WHERE id = (SELECT max(id) FROM event_logs)"
    )
    assert tailer.tick(seconds=60.0).records == 1
    assert relayed_tickers(recorder) == wanted + late
    recorder.close()


def failing(instance, root, name):
    """A run that Dagster has on record, and what records that it failed."""
    run = dg.DagsterRun(
        "ingest", f"run-{name}", tags={"dagster/partition": name} | store_tags(root)
    )
    instance.add_run(run)
    return run.run_id, lambda: instance.report_run_failed(run, f"{name} failed")


def told_failures(recorder):
    """Partitions of the runs that were told to have failed, in order of telling."""
    return [e.subject for b in recorder.log.read() for e in b if e.type == WHOLE]


@pytest.mark.parametrize(
    ("committed", "others"),
    [(True, 1), (True, 10 * OVERLAP), (False, 10 * OVERLAP)],
    ids=["soon", "long_after", "never"],
)
def test_a_transaction_that_is_open_while_later_ids_are_read(
    server, tmp_path, open_home, committed, others
):
    """Nothing but its record tells of the run: what it was to download left nothing behind."""
    database = f"open_{committed}_{others}".lower()
    server.query("postgres", f"CREATE DATABASE {database} TEMPLATE fresh")
    instance, layout = open_home(database), Layout(tmp_path / "store")
    recorder = recorder_of(layout)

    def tick():
        """By a tailer that knows no more than the store does, as after a restart."""
        found = Tailer(layout, recorder, DagsterLog(instance)).tick(seconds=60.0)
        assert (found.behind, found.problem) == (0, None)

    tick()
    with server.open_transaction(database, *failing(instance, layout.root, "SLOW")) as slow:
        wanted = []
        for name in ("ONE", "TWO"):
            # as if other records had been added meanwhile, each with an id
            server.query(
                database,
                f"SELECT setval('event_logs_id_seq', nval + {others}) FROM "
                "(SELECT last_value AS nval FROM event_logs_id_seq) AS s",
            )
            failing(instance, layout.root, name)[1]()
            wanted.append(name)
            tick()
            assert told_failures(recorder) == wanted
        if committed:
            slow.commit()
            wanted.append("SLOW")
        else:
            slow.roll_back()
        tick()
        assert told_failures(recorder) == wanted
    failing(instance, layout.root, "LAST")[1]()
    for _ in range(2):
        tick()
    assert told_failures(recorder) == [*wanted, "LAST"]
    kept = cursor_of(recorder.log, DagsterLog(instance).instance)
    assert kept.begin() >= kept.position - OVERLAP, "what is over is waited for no longer"
    recorder.close()
