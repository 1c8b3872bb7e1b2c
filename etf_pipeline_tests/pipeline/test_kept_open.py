"""Dagster's SQLite files, kept open while runs are executed."""

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections import defaultdict
from pathlib import Path

import dagster as dg
import pytest

from etf_pipeline.orchestration.beginning import noting_the_beginning
from etf_pipeline.orchestration.instance import open_instance
from etf_pipeline.orchestration.kept_open import kept_open, sqlite_files
from etf_pipeline.orchestration.runner import run_graph
from etf_pipeline_tests.forks_support import child, exit_code
from etf_pipeline_tests.pipeline.support import make_pipeline

PORTFOLIO = """portfolios:
  - name: calm
    tickers: [VAS, VGS]
    objective: min_volatility
"""
FILES = {"index.db", "runs.db", "schedules.db"}
WRITER = """
import itertools
from etf_pipeline.orchestration.beginning import noting_the_beginning
from etf_pipeline.orchestration.instance import open_instance
from etf_pipeline.orchestration.kept_open import kept_open
with open_instance() as instance, kept_open(instance):
    for i in itertools.count():
        instance.add_dynamic_partitions("many", [str(i)])
        print(i, flush=True)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home in which Dagster's tables are made."""
    home = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    open_instance().dispose()
    return home


def log_of(database):
    return database.with_name(f"{database.name}-wal")


def logs(home):
    return {p.name for p in home.rglob("*.db-wal")}


def whole(home):
    """Whether each database is whole, by SQLite's own word."""
    for path in home.rglob("*.db"):
        with contextlib.closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",), path
    return True


def open_files(home):
    """Databases of this process below a home."""
    links = [p.readlink() for p in Path("/proc/self/fd").iterdir() if p.is_symlink()]
    return sorted(str(p) for p in links if ".db" in p.name and p.is_relative_to(home))


def test_each_log_lasts_for_the_whole_run(home, tmp_path):
    pipeline = make_pipeline(tmp_path, {"VAS": "XASX", "VGS": "XASX"}, portfolios=PORTFOLIO)
    seen = defaultdict(set)

    def look(_asset, _outcome):
        for path in files:
            # None between two records of Dagster's, where nobody has the file open
            seen[path.name].add(log_of(path).stat().st_ino if log_of(path).exists() else None)

    pipeline.progress = look
    with open_instance() as instance:
        files = sqlite_files(instance)
        report = run_graph(pipeline, instance)
        assert not report.errors
        assert len(instance.get_runs()) == 2
    assert seen.keys() == FILES
    assert all(len(inodes) == 1 and None not in inodes for inodes in seen.values())
    assert logs(home) == set()
    assert whole(home)


def test_whoever_watches_a_run_sees_its_events_as_they_come(home, tmp_path):
    run_id, seen, told = str(uuid.uuid4()), set(), threading.Condition()

    def watch(entry, _cursor):
        if entry.dagster_event_type is dg.DagsterEventType.STEP_START:
            with told:
                seen.add(entry.step_key)
                told.notify()

    @dg.op(required_resource_keys={"pipeline"})
    def wait_for_its_own_start(context):
        with told:
            assert told.wait_for(lambda: context.op.name in seen, 60)

    @dg.job(resource_defs={"pipeline": noting_the_beginning(make_pipeline(tmp_path))})
    def watched():
        for i in range(4):  # the making of the file may show the first, late as it is told
            wait_for_its_own_start.alias(f"step_{i}")()

    with open_instance() as instance, kept_open(instance):
        instance.watch_event_logs(run_id, None, watch)
        result = watched.execute_in_process(instance=instance, run_id=run_id, raise_on_error=False)
        instance.end_watch_event_logs(run_id, watch)
    assert result.success


def test_what_a_killed_process_leaves_is_taken_up(home):
    writer = subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, text=True)
    with writer:
        written = [next(writer.stdout).strip() for _ in range(20)]
        writer.send_signal(signal.SIGKILL)
        written += [line.strip() for line in writer.stdout]
    assert writer.returncode == -signal.SIGKILL
    assert "index.db-wal" in logs(home)
    with open_instance() as instance:
        assert set(written) <= set(instance.get_dynamic_partitions("many"))
        instance.add_dynamic_partitions("many", ["after"])
        assert instance.has_dynamic_partition("many", "after")
    assert logs(home) == set()
    assert whole(home)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_records_cost_no_file_each(home):
    with open_instance() as instance, kept_open(instance):
        instance.add_dynamic_partitions("many", ["first"])
        before = open_files(home)
        for i in range(30):
            instance.add_dynamic_partitions("many", [str(i)])
        assert open_files(home) == before
    assert open_files(home) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_nothing_crosses_a_fork(home):
    def write():
        assert open_files(home) == []
        with open_instance() as instance:
            instance.add_dynamic_partitions("many", ["child"])

    with open_instance() as instance, kept_open(instance):
        assert open_files(home)
        pid = child(write)
        for i in range(30):
            instance.add_dynamic_partitions("many", [str(i)])
        assert exit_code(pid) == 0
        assert len(instance.get_dynamic_partitions("many")) == 31
    assert whole(home)


def test_upkeep_may_write_a_file_anew_meanwhile(home):
    with open_instance() as instance, kept_open(instance):
        for path in sqlite_files(instance):
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute("VACUUM")
                # busy, pages in the log, pages copied
                assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


def test_a_home_that_goes_meanwhile_is_made_again(home):
    with open_instance() as instance, kept_open(instance):
        shutil.rmtree(home)
    with open_instance() as instance, kept_open(instance):
        instance.add_dynamic_partitions("many", ["new"])
        assert instance.has_dynamic_partition("many", "new")
    assert logs(home) == set()
    assert whole(home)


def test_what_cannot_be_opened_is_left_to_whoever_writes(home):
    with open_instance() as instance:
        names = {p.name for p in sqlite_files(instance)}
        assert names == FILES
        (home / "schedules" / "schedules.db").write_bytes(b"no database " * 99)
        with kept_open(instance):
            assert logs(home) == {"index.db-wal", "runs.db-wal"}


def test_records_elsewhere_have_no_files():
    with dg.DagsterInstance.ephemeral() as instance, kept_open(instance):
        assert sqlite_files(instance) == []
