"""The Dagster instance that the command line and the UI share.

Belongs here: DAGSTER_HOME, the `dagster.yaml` in it, and opening it safely from several processes.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from etf_pipeline.errors import DiskFullError, SettingsError
from etf_pipeline.settings import environment
from etf_pipeline.settings.defaults import default_text
from etf_pipeline.store.writer import locked, write_text

_OPENING_SECONDS = 60.0
# A disk without a byte left is an I/O error to SQLite, which maps a file beside the database.
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)

_POSTGRES = """
storage:
  postgres:
    postgres_url:
      env: DAGSTER_POSTGRES_URL
"""


def prepare_home() -> Path:
    """Make the home folder, put `dagster.yaml` into it unless there is one, and name it.

    Raises:
        SettingsError: DAGSTER_HOME is not a folder and cannot be made one.
    """
    home = environment.dagster_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "dagster.yaml").exists():
            postgres = _POSTGRES if environment.postgres_url() else ""
            write_text(home / "dagster.yaml", default_text("dagster.yaml") + postgres)
    except OSError as error:
        raise SettingsError(
            f"DAGSTER_HOME={home}: {error.strerror}; set it to a folder that can be written"
        ) from None
    environment.name_dagster_home(home)
    return home


@contextlib.contextmanager
def disk_told() -> Iterator[None]:
    """Say it when the disk of DAGSTER_HOME is full.

    Raises:
        DiskFullError: naming the folder, whatever SQLAlchemy wraps it in.
    """
    try:
        yield
    except Exception as error:
        cause = getattr(error, "orig", error)
        if not isinstance(cause, sqlite3.Error) or cause.sqlite_errorcode & 0xFF not in _NO_ROOM:
            raise
        raise DiskFullError(
            f"DAGSTER_HOME={environment.dagster_home()}: {cause}; free some space on its disk, or "
            "see whether that is failing, and run again; what was published is whole"
        ) from error


def open_instance() -> dg.DagsterInstance:
    """The instance in DAGSTER_HOME, prepared.

    Two processes that make Dagster's tables at the same moment would fail on each other's, so the
    first use is under a lock.
    """
    home = prepare_home()
    with locked(home / ".opening.lock", _OPENING_SECONDS):
        instance = dg.DagsterInstance.get()
        instance.get_runs_count()
        instance.event_log_storage.get_maximum_record_id()
        instance.all_instigator_state()
        return instance


if __name__ == "__main__":
    print(prepare_home())
