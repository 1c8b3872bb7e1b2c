"""SQLite files: which code of SQLite becomes which advice, and a lock that is waited for."""

import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from etf_pipeline.errors import EventError
from etf_pipeline.events.log.database import Database
from etf_pipeline_tests.soak.nursery import can_forbid_writing, without_rights

SCHEMA = "CREATE TABLE IF NOT EXISTS t (i INTEGER PRIMARY KEY);"


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path / "one" / "x.sqlite", SCHEMA)
    yield made
    made.close()


def insert(database, *values):
    with database.writing() as db:
        db.executemany("INSERT INTO t VALUES (?)", [(v,) for v in values])


def values(database):
    with database.reading() as db:
        return [i for (i,) in db.execute("SELECT i FROM t ORDER BY i")]


def test_a_full_disk_is_told_with_the_remedy(database):
    insert(database, 1)
    with database.turn() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(EventError, match=r"x\.sqlite: .*free some space"):
        insert(database, *range(2, 5_000))
    assert values(database) == [1]


def test_a_file_that_another_holds_is_told_with_the_remedy(database):
    insert(database, 1)
    with database.turn() as db:
        db.execute("PRAGMA busy_timeout = 10")
    with sqlite3.connect(database.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(EventError, match="another process is holding it"):
            insert(database, 2)
        other.execute("ROLLBACK")
    other.close()
    insert(database, 2)
    assert values(database) == [1, 2]


def test_a_file_that_may_not_be_written_is_told_with_the_remedy(database):
    insert(database, 1)
    with database.turn() as db:
        db.execute("PRAGMA query_only = 1")
    with pytest.raises(EventError, match="ETF_DATA_DIR"):
        insert(database, 2)


def test_a_folder_in_the_place_of_the_file_is_told_with_the_remedy(tmp_path):
    (tmp_path / "x.sqlite").mkdir()
    with pytest.raises(EventError, match="ETF_DATA_DIR"):
        values(Database(tmp_path / "x.sqlite", SCHEMA))


def test_a_wrong_statement_changes_nothing_and_says_so(database):
    insert(database, 1)

    def half():
        with database.writing() as db:
            db.execute("INSERT INTO t VALUES (2)")
            db.execute("INSERT INTO no_such_table VALUES (2)")

    with pytest.raises(EventError, match="nothing was changed"):
        half()
    assert values(database) == [1]


def test_a_file_of_another_kind_is_told(tmp_path):
    path = tmp_path / "x.sqlite"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 50)
    with pytest.raises(EventError, match="restore it from a backup"):
        values(Database(path, SCHEMA))


def test_threads_that_open_one_file_together_wait_for_each_other(tmp_path):
    """Switching to WAL is refused while another does the same; it is asked again."""
    path, gate = tmp_path / "x.sqlite", threading.Barrier(8)
    failed = []

    def write(i):
        mine = Database(path, SCHEMA)
        gate.wait()
        try:
            insert(mine, i)
        except EventError as error:
            failed.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failed == []
    whole = Database(path, SCHEMA)
    assert values(whole) == list(range(8))
    whole.close()


def test_who_writes_waits_for_no_reader_of_the_same_process(database):
    insert(database, 1)
    inside, done = threading.Event(), threading.Event()

    def read():
        with database.reading() as db:
            rows = db.execute("SELECT i FROM t")
            assert rows.fetchone() == (1,)
            inside.set()
            assert done.wait(60)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert inside.wait(60)
    writer = threading.Thread(target=lambda: insert(database, 2), daemon=True)
    writer.start()
    writer.join(60)
    assert not writer.is_alive()
    done.set()
    reader.join(60)
    assert values(database) == [1, 2]


def test_a_thread_reads_what_it_has_written_in_its_transaction_and_others_do_not(database):
    insert(database, 1)
    seen = []
    with database.writing() as db:
        db.execute("INSERT INTO t VALUES (2)")
        assert values(database) == [1, 2]
        other = threading.Thread(target=lambda: seen.append(values(database)), daemon=True)
        other.start()
        other.join(60)
    assert seen == [[1]]
    assert values(database) == [1, 2]


def test_nobody_writes_without_a_turn(database):
    with database.reading() as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("INSERT INTO t VALUES (1)")


@pytest.mark.parametrize("again", [False, True])
def test_nothing_is_written_to_a_file_that_was_removed_or_replaced(database, tmp_path, again):
    """SQLite would go on with what it has open, and all of it be gone with the process."""
    insert(database, 1)
    assert values(database) == [1]
    first = database.path.rename(tmp_path / "first")
    if again:
        with sqlite3.connect(database.path) as other:
            other.executescript(SCHEMA)
        other.close()
    for use in (lambda: insert(database, 2), lambda: values(database)):
        with pytest.raises(EventError, match="start the process again"):
            use()
    database.path.unlink(missing_ok=True)
    first.rename(database.path)
    if again:  # whoever used the other one has removed what lay beside the first
        with pytest.raises(EventError, match="end all processes"):
            values(database)
        database.close()
    insert(database, 3)
    assert values(database) == [1, 3]


def test_a_transaction_that_is_under_way_when_the_file_is_removed_fails(database):
    insert(database, 1)

    def removed_meanwhile():
        with database.writing() as db:
            db.execute("INSERT INTO t VALUES (2)")
            database.path.unlink()

    with pytest.raises(EventError, match="was removed"):
        removed_meanwhile()


def test_a_disk_that_fails_is_told_with_the_remedy(database):
    def failing():
        with database.reading():
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
            raise error

    with pytest.raises(EventError, match="its disk is full or failing"):
        failing()


@pytest.mark.parametrize("gone", [("-wal",), ("-shm",), ("-wal", "-shm")])
def test_files_beside_it_that_are_removed_while_it_is_open_lose_nothing(database, gone):
    """Calls fail, and nobody else begins anew: what was committed is written down at the end."""
    insert(database, 1, 2)
    for suffix in gone:
        database.path.with_name(database.path.name + suffix).unlink()
    with pytest.raises(EventError, match=f"x.sqlite{gone[0]} was removed while this process"):
        insert(database, 3)
    with pytest.raises(EventError, match="was removed while this process"):
        values(database)
    done = opened_elsewhere(database.path)
    assert done.returncode == 1
    assert f"while the process {os.getpid()} has x.sqlite open" in done.stderr
    database.close()
    assert opened_elsewhere(database.path).stdout == "[1, 2]\n"


def test_what_another_has_written_meanwhile_is_not_written_over(database):
    """Where nobody can be told who has a file open, as from another container."""
    insert(database, 1)
    for suffix in ("-wal", "-shm"):
        database.path.with_name(database.path.name + suffix).unlink()
    program = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); "
        "db.execute('CREATE TABLE other (i)'); db.execute('INSERT INTO other VALUES (7)'); "
        "db.commit(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, str(database.path)], check=True, timeout=60)
    with pytest.raises(EventError, match="replaced by another file"):
        insert(database, 2)
    database.close()
    program = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); "
        "print(db.execute('SELECT i FROM other').fetchall())"
    )
    command = [sys.executable, "-c", program, str(database.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[(7,)]\n"


def test_a_folder_that_may_not_be_written_is_read(tmp_path):
    """Such as an auditor's copy; whoever may write goes on as ever."""
    path = tmp_path / "öne #1?" / "x.sqlite"
    made = Database(path, SCHEMA)
    insert(made, 1, 2)
    made.close()
    assert not path.with_name("x.sqlite-shm").exists()
    path.parent.chmod(0o555)
    try:
        done = opened_elsewhere(path, bound=True)
        assert done.stdout == "[1, 2]\n", done.stderr
        written = opened_elsewhere(path, "db.writing()", bound=True)
        assert "make the folder writable" in written.stderr
    finally:
        path.parent.chmod(0o755)


def opened_elsewhere(path, how="db.reading()", *, bound=False):
    """The values of a file as another process finds them; `bound` by rights, even if it is root."""
    program = f"""
import sys
from pathlib import Path
from etf_pipeline.errors import EventError
from etf_pipeline.events.log import open_files
from etf_pipeline.events.log.database import Database
from etf_pipeline_tests.soak.nursery import can_forbid_writing, without_rights
open_files.PATIENCE_SECONDS = 0.2
db = Database(Path(sys.argv[1]), {SCHEMA!r})
try:
    with {how} as connection:
        print([i for (i,) in connection.execute("SELECT i FROM t ORDER BY i")])
except EventError as error:
    sys.exit(str(error))
"""
    command = [sys.executable, "-c", program, str(path)]
    if bound and os.geteuid() == 0:
        rights = "-dac_override,-dac_read_search"
        command = ["setpriv", "--bounding-set", rights, "--inh-caps", rights, *command]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


_WRITER = """
import sys
from pathlib import Path
from etf_pipeline.errors import EventError
from etf_pipeline.events.log.database import Database
path = Path(sys.argv[1])
database = Database(path, "CREATE TABLE IF NOT EXISTS t (i INTEGER PRIMARY KEY);")
for line in sys.stdin:
    try:
        with database.writing() as db:
            db.execute("INSERT INTO t VALUES (?)", (int(line),))
        print("written", flush=True)
    except EventError as error:
        print(error, flush=True)
"""


@pytest.mark.skipif(not can_forbid_writing(), reason="root may write everything here")
def test_a_right_that_is_given_back_is_used_again(database):
    """At once: SQLite opens what it may not write for reading, and such a connection stays so."""
    insert(database, 1)
    command = [*without_rights(), sys.executable, "-c", _WRITER, str(database.path)]
    files = [p for p in database.path.parent.iterdir() if p.name.startswith(database.path.name)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:

        def write(value):
            writer.stdin.write(f"{value}\n")
            writer.stdin.flush()
            return writer.stdout.readline()

        for path in files:
            path.chmod(0o444)
        assert "readonly" in write(2)
        for path in files:
            path.chmod(0o644)
        assert write(3) == "written\n"
        writer.stdin.close()
    assert values(database) == [1, 3]
