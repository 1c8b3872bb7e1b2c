"""Forks of a process that has SQLite files open: both sides go on, and the files stay whole."""

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from etf_pipeline.errors import EventError
from etf_pipeline.events.log.database import Database
from etf_pipeline_tests.events_support import wait_until
from etf_pipeline_tests.forks_support import child, exit_code

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
SCHEMA = "CREATE TABLE IF NOT EXISTS t (i INTEGER PRIMARY KEY, data TEXT);"


def insert(database, n):
    with database.writing() as db:
        db.executemany("INSERT INTO t (data) VALUES (?)", [("x" * 500,)] * n)


def count(path):
    """Rows, of a file that is whole, as a connection of our own sees it."""
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (rows,) = db.execute("SELECT count(*) FROM t").fetchone()
    db.close()
    return rows


def test_a_child_records_on_when_its_parent_exits_and_others_open_the_file(tmp_path):
    path, gone, said = tmp_path / "x.sqlite", tmp_path / "gone", tmp_path / "said"

    def parent():
        database = Database(path, SCHEMA)
        insert(database, 100)

        def go_on():
            wait_until(gone.exists, 60)
            for _ in range(40):
                insert(database, 50)
                time.sleep(0.005)
            said.touch()

        child(go_on)
        assert database.path.exists()  # and the parent is gone

    assert exit_code(child(parent)) == 0
    gone.touch()
    written = 0
    # Each time the last one closes, SQLite removes its files of shared memory and begins anew.
    deadline = time.monotonic() + 60
    while not said.exists() and time.monotonic() < deadline:
        other = Database(path, SCHEMA)
        insert(other, 200)
        written += 200
        other.close()
    wait_until(said.exists, 1)
    assert count(path) == 100 + 40 * 50 + written


def test_forks_while_threads_record(tmp_path):
    database = Database(tmp_path / "x.sqlite", SCHEMA)
    insert(database, 1)
    stop, written, failed = threading.Event(), [], []

    def record():
        try:
            while not stop.is_set():
                insert(database, 5)
                written.append(5)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        codes = [exit_code(child(lambda: insert(database, 7))) for _ in range(20)]
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert failed == []
    assert codes == [0] * 20
    database.close()
    assert count(database.path) == 1 + sum(written) + 20 * 7


def test_children_record_at_once_with_their_parent(tmp_path):
    database = Database(tmp_path / "x.sqlite", SCHEMA)
    insert(database, 1)
    children = [child(lambda: [insert(database, 1) for _ in range(50)]) for _ in range(4)]
    for _ in range(50):
        insert(database, 1)
    assert [exit_code(one) for one in children] == [0] * 4
    database.close()
    assert count(database.path) == 1 + 5 * 50


def test_no_file_of_sqlite_is_open_in_a_child(tmp_path):
    process = Path("/proc/self")
    if not process.is_dir():
        pytest.skip("open files are looked up in /proc")
    databases = [Database(tmp_path / f"{i}.sqlite", SCHEMA) for i in range(3)]
    for database in databases:
        insert(database, 10)

    def look():
        files = [str(fd.resolve()) for fd in (process / "fd").iterdir()]
        assert [f for f in files if f.startswith(str(tmp_path))] == []
        assert str(tmp_path) not in (process / "maps").read_text()

    assert exit_code(child(look)) == 0
    for database in databases:
        insert(database, 1)
        database.close()
        assert count(database.path) == 11


def test_a_fork_in_a_transaction_leaves_it_to_the_parent(tmp_path, caplog):
    database = Database(tmp_path / "x.sqlite", SCHEMA)
    insert(database, 1)

    def write():
        with database.writing() as db:
            db.execute("INSERT INTO t (data) VALUES ('once')")
            return os.fork()

    try:
        pid = write()
    except EventError as error:  # the child
        os._exit(0 if "forked" in str(error) else 1)
    except BaseException:
        os._exit(2)
    assert exit_code(pid) == 0
    assert any("forked" in m for m in caplog.messages)
    insert(database, 1)
    database.close()
    assert count(database.path) == 3
