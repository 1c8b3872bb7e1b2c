"""A pruned log's file becomes smaller, beside readers and writers; older files too."""

import contextlib
import sqlite3
import subprocess
import sys
import threading

import pytest

from etf_pipeline.events.log import shrinking
from etf_pipeline.events.log.database import Database
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.shrinking import shrink
from etf_pipeline.events.log.sqlite import SCHEMA
from etf_pipeline_tests.events_support import ids, linked, queries, query, wait_until

EVENTS, KEPT = 12_000, 2_000


def asked(path, sql):
    """What a connection of our own finds."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchone()[0]


@pytest.fixture(params=["new", "by an earlier release"])
def log(request, tmp_path):
    path = tmp_path / "events.sqlite"
    if request.param != "new":
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.executescript(SCHEMA)
    made = Outbox(path)
    made.append(queries(EVENTS))
    with made._db.turn() as db:  # into the file itself, whose size is looked at
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert asked(path, "PRAGMA auto_vacuum") == (2 if request.param == "new" else 0)
    yield made
    made.close()


def whole(log, first, n):
    """The log is whole, from this event on."""
    assert linked(log) == n
    assert asked(log.path, "PRAGMA integrity_check") == "ok"
    assert asked(log.path, "SELECT min(seq) FROM events") == first


def test_the_file_becomes_smaller_by_what_goes(log):
    kept = ids(log.read())[-KEPT:]
    before = log.path.stat().st_size
    assert log.prune(EVENTS - KEPT) == EVENTS - KEPT
    # A sixth of the events stays, and pages at the edges are partly filled.
    assert log.path.stat().st_size < before * 0.25
    assert ids(log.read()) == kept
    whole(log, EVENTS - KEPT + 1, KEPT)
    log.append(queries(100, start=EVENTS))
    whole(log, EVENTS - KEPT + 1, KEPT + 100)
    assert log.prune(EVENTS - KEPT) == 0
    assert log.prune(EVENTS + 100) == KEPT + 100
    assert linked(log) == 0
    assert asked(log.path, "SELECT count(*) FROM anchors") == 2  # one for each that let go


def test_a_reader_beside_it_goes_on_with_all_it_began_with(log):
    before = log.path.stat().st_size
    with contextlib.closing(sqlite3.connect(log.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (EVENTS,)
        assert log.prune(EVENTS - KEPT) == EVENTS - KEPT
        assert reader.execute("SELECT min(seq) FROM events").fetchone() == (1,)
        assert len(reader.execute("SELECT id FROM events").fetchall()) == EVENTS
        reader.execute("COMMIT")
    whole(log, EVENTS - KEPT + 1, KEPT)
    log.close()
    assert log.path.stat().st_size < before * 0.25


def test_recording_goes_on_beside_it(log):
    other = Outbox(log.path)
    stop, recorded, failed = threading.Event(), [], []

    def record():
        try:
            while not stop.is_set():
                event = query()
                other.append([event])
                recorded.append(event.id)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=record) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(recorded) > 2)
    before = len(recorded)
    log.prune(EVENTS - KEPT)
    during = len(recorded) - before
    stop.set()
    for thread in threads:
        thread.join(60)
    assert failed == []
    # Ten steps, and after each the two who waited have their turn.
    assert during >= 10
    assert set(ids(log.read())).issuperset(recorded)
    whole(log, EVENTS - KEPT + 1, KEPT + len(recorded))
    other.close()


def test_a_kill_in_the_middle_leaves_a_whole_log_and_the_rest_to_the_next_time(log):
    log.close()
    code = (
        "import sys; from pathlib import Path; from etf_pipeline.events.log.outbox import Outbox; "
        f"Outbox(Path(sys.argv[1])).prune({EVENTS - KEPT})"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(log.path)])
    gone = "SELECT coalesce(max(seq), 0) FROM anchors"
    wait_until(lambda: asked(log.path, gone) > 0, 60)
    child.kill()
    child.wait()
    pruned = asked(log.path, gone)
    whole(log, pruned + 1, EVENTS - pruned)
    assert log.prune(EVENTS - KEPT) == EVENTS - KEPT - pruned
    whole(log, EVENTS - KEPT + 1, KEPT)


def test_an_old_file_too_large_to_rewrite_beside_others_keeps_its_size_and_says_so(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(shrinking, "MAX_REWRITTEN", 2**20)
    path = tmp_path / "x.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (data BLOB)")
        db.execute("INSERT INTO t VALUES (zeroblob(3000000))")
        db.execute("INSERT INTO t VALUES (zeroblob(1100000))")
        db.execute("DELETE FROM t WHERE length(data) = 3000000")
        db.commit()
    database = Database(path, "")
    shrink(database)
    database.close()
    assert path.stat().st_size > 4_000_000
    (said,) = caplog.messages
    assert str(path) in said
    assert "VACUUM" in said
