"""A PostgreSQL server for the tests, in whatever time zone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg2

from etf_pipeline_tests.brokers import free_port

_NOBODY = "postgres"  # root may not run a server


class Postgres:
    """One server in a folder of its own, on loopback; what it holds need survive no power cut."""

    def __init__(self, zone: str) -> None:
        self._zone = zone
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
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-A", "trust", "-U", "dagster", "-E", "UTF8", "--no-sync")
        options = f"-p {self.port} -k '' -h 127.0.0.1 -c timezone={self._zone} -c fsync=off"
        self._run("pg_ctl", "-D", data, "-o", options, "-l", f"{data}.log", "-w", "start")
        return self

    def stop(self) -> None:
        """End it at once."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self._folder)

    def url(self, database: str) -> str:
        """Of a database, as SQLAlchemy has it."""
        return f"postgresql+psycopg2://dagster@127.0.0.1:{self.port}/{database}"

    def query(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """Run a statement outside of a transaction; its rows."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="dagster", dbname=database
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
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


def _programs() -> Path | None:
    """Where the newest server's programs are: on the path, or where Debian puts them."""
    found = [Path(p).resolve().parent for p in [shutil.which("pg_ctl")] if p]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in found if (f / "initdb").exists()), None)
