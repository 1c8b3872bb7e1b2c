"""A PostgreSQL server for the tests, in whatever time zone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import psycopg2.extensions
from sqlalchemy.exc import SQLAlchemyError

from etf_pipeline_tests.brokers import free_port

_NOBODY = "postgres"  # root may not run a server
# A transaction that adds a record of a run in `held` has its id, and commits once the lock is free.
_HOLDING = """
CREATE TABLE held (run_id text);
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM held WHERE run_id = NEW.run_id)
        THEN PERFORM pg_advisory_lock_shared(1); END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER holding AFTER INSERT ON event_logs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold();
"""
_WAITS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


class Postgres:
    """One server in a folder of its own, on loopback; what it holds need survive no power cut."""

    def __init__(self, zone: str, password: str | None = None) -> None:
        self._zone, self._password = zone, password
        # Others than root cannot go where pytest has its folders.
        self._folder = Path(tempfile.mkdtemp(prefix="postgres"))
        self.port = free_port()

    @staticmethod
    def missing() -> str | None:
        """Why there is none here, None when there is."""
        return None if _programs() else "PostgreSQL's server is not installed"

    def start(self) -> Postgres:
        """Make and start it."""
        if os.geteuid() == 0:
            shutil.chown(self._folder, _NOBODY)
        known = ["-A", "trust"]
        if self._password is not None:
            secret = self._folder / "secret"
            secret.write_text(self._password)
            secret.chmod(0o644)
            known = ["-A", "scram-sha-256", "--pwfile", str(secret)]
        self._run("initdb", "-D", self._data, *known, "-U", "dagster", "-E", "UTF8", "--no-sync")
        return self.up()

    def up(self) -> Postgres:
        """Start it, as it was when it went."""
        options = f"-p {self.port} -k '' -h 127.0.0.1 -c timezone={self._zone} -c fsync=off"
        self._run(
            "pg_ctl", "-D", self._data, "-o", options, "-l", f"{self._data}.log", "-w", "start"
        )
        return self

    def down(self) -> None:
        """End it at once, and keep what it holds."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop")

    def stop(self) -> None:
        """End it for good."""
        if (Path(self._data) / "postmaster.pid").exists():
            self.down()
        shutil.rmtree(self._folder)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def url(self, database: str) -> str:
        """Of a database, as SQLAlchemy has it."""
        secret = "" if self._password is None else f":{self._password}"
        return f"postgresql+psycopg2://dagster{secret}@127.0.0.1:{self.port}/{database}"

    def query(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """Run a statement outside of a transaction; its rows."""
        with self._connected(database) as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def open_transaction(
        self, database: str, run_id: str, record: Callable[[], object]
    ) -> Iterator[Held]:
        """Have Dagster record something of a run in a transaction that does not commit yet.

        Args:
            database: with Dagster's tables.
            run_id: of the run.
            record: has Dagster record it, in a thread of its own.
        """
        with self._connected(database) as cursor:
            cursor.execute(_HOLDING)
            cursor.execute("INSERT INTO held VALUES (%s)", [run_id])
            cursor.execute("SELECT pg_advisory_lock(1)")
            held = Held(lambda statement: self.query(database, statement), cursor, record)
            try:
                yield held
            finally:
                held.commit()

    @contextmanager
    def _connected(self, database: str) -> Iterator[psycopg2.extensions.cursor]:
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user="dagster",
            password=self._password,
            dbname=database,
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def _run(self, program: str, *args: str) -> None:
        folder = _programs()
        assert folder is not None
        command = [str(folder / program), *args]
        if os.geteuid() == 0:
            command = [
                "setpriv",
                "--reuid",
                _NOBODY,
                "--regid",
                _NOBODY,
                "--clear-groups",
                *command,
            ]
        # The server would keep a pipe open.
        done = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{program} failed: see {self._folder}"


class Held:
    """A transaction that is open."""

    def __init__(
        self,
        query: Callable[[str], list[tuple[object, ...]]],
        cursor: psycopg2.extensions.cursor,
        record: Callable[[], object],
    ) -> None:
        self._query, self._cursor, self._record = query, cursor, record
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        end = time.monotonic() + 60
        while not (waiting := query(_WAITS)):
            assert time.monotonic() < end, "the transaction does not wait"
            time.sleep(0.01)
        ((self._pid,),) = waiting

    def commit(self) -> None:
        """Have it commit."""
        self._cursor.execute("SELECT pg_advisory_unlock_all()")
        self._thread.join(60)

    def roll_back(self) -> None:
        """Have it fail: its id stays unused for ever."""
        self._query(f"SELECT pg_terminate_backend({self._pid})")
        self._thread.join(60)

    def _run(self) -> None:
        with contextlib.suppress(SQLAlchemyError):  # it was rolled back
            self._record()


def _programs() -> Path | None:
    """Where the newest server's programs are: on the path, or where Debian puts them."""
    found = [Path(p).resolve().parent for p in [shutil.which("pg_ctl")] if p]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in found if (f / "initdb").exists()), None)
