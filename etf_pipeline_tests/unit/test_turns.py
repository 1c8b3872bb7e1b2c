"""Turns among writers: in order, freed by a death, never in the way of writing."""

import logging
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time

import pytest

from etf_pipeline.events.log import turns
from etf_pipeline.events.log.database import Database
from etf_pipeline.events.log.turns import Turns
from etf_pipeline_tests.events_support import wait_until

fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.skipif(turns._SET is None, reason="no locks of open files here")
SCHEMA = "CREATE TABLE IF NOT EXISTS t (i INTEGER PRIMARY KEY, who TEXT);"
# A process that wants to write `who`, says so, and with "hold" keeps its turn until it is killed.
WRITER = f"""
import sys, time
from pathlib import Path
from etf_pipeline.events.log.database import Database
from etf_pipeline.events.log.turns import Turns
path, who = Path(sys.argv[1]), sys.argv[2]
if who == "hold":
    with Turns(path).turn():
        print("has it", flush=True)
        time.sleep(600)
database = Database(path, {SCHEMA!r})
with database.writing() as db:
    db.execute("INSERT INTO t (who) VALUES (?)", (who,))
"""


def held(path, upto=40):
    """How many of the first bytes of the queue's file somebody has locked, asked of the kernel."""
    queue = path.with_name(f"{path.name}-queue")
    if not queue.exists():
        return 0
    with queue.open("rb") as file:
        found = 0
        for byte in range(upto):
            asked = struct.pack("hhqqi0q", fcntl.F_WRLCK, 0, byte, 1, 0)
            answer = fcntl.fcntl(file.fileno(), fcntl.F_OFD_GETLK, asked)
            found += struct.unpack("hhqqi0q", answer)[0] != fcntl.F_UNLCK
    return found


def written(path):
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT who FROM t ORDER BY i").fetchall()
    db.close()
    return [who for (who,) in rows]


@pytest.fixture
def path(tmp_path):
    made = Database(tmp_path / "x.sqlite", SCHEMA)
    with made.writing():
        pass
    made.close()
    return made.path


@pytest.fixture
def start(path):
    children = []

    def one(who):
        before = held(path)
        pipe = subprocess.PIPE
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), who], stdout=pipe, stderr=pipe, text=True
        )
        children.append(child)
        wait_until(lambda: held(path) == before + 1 or child.poll() is not None, 60)
        assert child.poll() is None, child.stderr.read()
        return child

    yield one
    for child in children:
        child.kill()
        child.communicate()


@pytest.fixture
def patient(monkeypatch):
    """Nobody is passed over."""
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 1e6)


def in_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def ended(thread):
    thread.join(60)
    return not thread.is_alive()


def insert(path, who):
    database = Database(path, SCHEMA)
    with database.writing() as db:
        db.execute("INSERT INTO t (who) VALUES (?)", (who,))
    database.close()


def test_writers_of_threads_and_processes_have_their_turns_in_the_order_they_came(
    path, start, patient
):
    gate = Turns(path)
    with gate.turn():
        assert held(path) == 1
        waiting = []
        for i in range(3):
            child = start(f"process {i}")
            waiting.append(lambda child=child: child.wait(60) == 0)
            thread = in_thread(lambda i=i: insert(path, f"thread {i}"))
            wait_until(lambda i=i: held(path) == 2 * i + 3, 60)
            waiting.append(lambda thread=thread: ended(thread))
        assert written(path) == []
    assert all(one() for one in waiting)
    assert written(path) == [f"{kind} {i}" for i in range(3) for kind in ("process", "thread")]
    assert held(path) == 0


def test_threads_that_share_one_database_have_theirs_too(path, patient):
    shared = Database(path, SCHEMA)

    def write(i):
        with shared.writing() as db:
            db.execute("INSERT INTO t (who) VALUES (?)", (str(i),))

    threads = []
    with Turns(path).turn():
        for i in range(5):
            threads.append(in_thread(lambda i=i: write(i)))
            wait_until(lambda i=i: held(path) == i + 2, 60)
        # Whoever reads waits for nobody.
        with shared.reading() as db:
            assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert all(map(ended, threads))
    assert written(path) == ["0", "1", "2", "3", "4"]
    shared.close()


def test_the_death_of_whoever_has_the_turn_or_waits_frees_the_others(path, start, patient):
    holder = start("hold")
    assert holder.stdout.readline() == "has it\n"
    second, third = start("second"), start("third")
    fourth = in_thread(lambda: insert(path, "fourth"))
    wait_until(lambda: held(path) == 4, 60)
    second.kill()
    wait_until(lambda: held(path) == 3, 60)
    assert written(path) == []  # the turn is still the first one's
    holder.kill()
    assert third.wait(60) == 0
    assert ended(fourth)
    assert written(path) == ["third", "fourth"]


# Has its turn, forks, and says which process that made; both stay.
FORKING = """
import os, signal, sys
from pathlib import Path
from etf_pipeline.events.log.turns import Turns
with Turns(Path(sys.argv[1])).turn():
    if (child := os.fork()) == 0:
        signal.pause()
    print(child, flush=True)
    signal.pause()
"""


def test_a_child_of_a_fork_does_not_keep_the_turn_of_a_parent_that_died(path, patient):
    command = [sys.executable, "-c", FORKING, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            child = parent.stdout.readline()
            assert held(path) == 1
        finally:
            parent.kill()
    try:
        writer = in_thread(lambda: insert(path, "next"))
        assert ended(writer)
    finally:
        os.kill(int(child), signal.SIGKILL)
    assert written(path) == ["next"]


def test_one_that_is_stopped_is_passed_over(path, start, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.2)
    gate = Turns(path)
    mine = Database(path, SCHEMA)
    with gate.turn():
        stopped = start("stopped")
        os.kill(stopped.pid, signal.SIGSTOP)
    for i in range(3):
        with mine.writing() as db:
            db.execute("INSERT INTO t (who) VALUES (?)", (str(i),))
    assert written(path) == ["0", "1", "2"]
    os.kill(stopped.pid, signal.SIGCONT)
    assert stopped.wait(60) == 0
    assert written(path) == ["0", "1", "2", "stopped"]
    mine.close()


def test_a_queue_that_cannot_be_locked_is_said_once_and_nobody_waits_for_it(path, caplog):
    queue = path.with_name(f"{path.name}-queue")
    queue.unlink(missing_ok=True)
    queue.mkdir()
    mine = Database(path, SCHEMA)
    with caplog.at_level(logging.WARNING):
        for i in range(3):
            with mine.writing() as db:
                db.execute("INSERT INTO t (who) VALUES (?)", (str(i),))
    mine.close()
    assert written(path) == ["0", "1", "2"]
    (said,) = caplog.messages
    assert str(queue) in said
    assert "local disk" in said


def test_a_transaction_in_a_transaction_is_refused_and_waits_for_no_turn(path, patient):
    mine = Database(path, SCHEMA)

    def nested():
        with mine.writing(), mine.writing():
            pass

    thread_error = []

    def work():
        try:
            nested()
        except Exception as error:
            thread_error.append(str(error))

    assert ended(in_thread(work))
    assert "within a transaction" in thread_error[0]
    mine.close()


def test_kills_at_any_moment_leave_the_queue_free_and_the_file_whole(path, patient):
    """Of three processes that write without a pause, each time one is killed."""
    chance = random.Random(7)

    def writer():
        pid = os.fork()
        if pid == 0:
            mine = Database(path, SCHEMA)
            while True:
                with mine.writing() as db:
                    db.execute("INSERT INTO t (who) VALUES ('child')")
        return pid

    children = [writer() for _ in range(3)]
    try:
        for i in range(15):
            time.sleep(chance.uniform(0, 0.05))
            killed = children.pop(chance.randrange(3))
            os.kill(killed, signal.SIGKILL)
            os.waitpid(killed, 0)
            assert ended(in_thread(lambda i=i: insert(path, str(i))))
            children.append(writer())
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert held(path) == 0
    assert [who for who in written(path) if who != "child"] == [str(i) for i in range(15)]
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_a_system_without_such_locks_leaves_the_order_to_sqlite(path, monkeypatch):
    monkeypatch.setattr(turns, "_SET", None)
    path.with_name(f"{path.name}-queue").unlink()
    for i in range(3):
        insert(path, str(i))
    assert written(path) == ["0", "1", "2"]
    assert not path.with_name(f"{path.name}-queue").exists()
