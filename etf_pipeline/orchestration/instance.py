"""The Dagster instance that the command line and the UI share.

Belongs here: DAGSTER_HOME, the `dagster.yaml` in it, and opening it safely from several processes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from etf_pipeline.errors import DiskFullError, EtfError, SettingsError, StoreError
from etf_pipeline.orchestration import broker
from etf_pipeline.orchestration.database import (
    database_url,
    ensure_reachable,
    ensure_schema,
    outage_told,
)
from etf_pipeline.orchestration.database import examined as examined_database
from etf_pipeline.orchestration.instance_file import NAME, brought_up, first_text
from etf_pipeline.orchestration.slots import end_dead_runs, free_dead_slots
from etf_pipeline.settings import environment
from etf_pipeline.store.writer import locked, write_text

log = logging.getLogger(__name__)
_OPENING_SECONDS = 60.0
# A disk without a byte left is an I/O error to SQLite, which maps a file beside the database.
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
# Dagster's web server keeps connections for an hour, and one that a restart of the database has
# ended fails whatever asks next. None that is older than a second is used again.
_POOL_SECONDS = 1
_MIGRATE = ("instance", "migrate")
_UNWRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


def prepare_home() -> Path:
    """Make the home folder, bring its `dagster.yaml` up to the settings, and name it.

    A file of before a setting is given the section that it lacks, and that is said.

    Raises:
        SettingsError: DAGSTER_HOME is not a folder and cannot be made one, a setting is wrong, or
            the file in it contradicts one.
    """
    home, url = environment.dagster_home(), database_url()
    broker.broker_url()
    path = home / NAME
    with _home_told(home):
        home.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_text(path, first_text())
        elif (brought := brought_up(path.read_text(encoding="utf-8"), path)).added:
            write_text(path, brought.text)
            log.error(
                "%s: added %s, as the environment asks for it now; what Dagster recorded before "
                "stays where it was",
                path,
                " and ".join(brought.added),
            )
    environment.name_dagster_home(home)
    if url is not None:
        environment.name_postgres_url(url.render_as_string(hide_password=False))
    return home


@contextlib.contextmanager
def _home_told(home: Path) -> Iterator[None]:
    """Say it when the home cannot be written; that its disk is full says itself.

    Raises:
        SettingsError: naming DAGSTER_HOME and what is wrong with it.
    """
    try:
        yield
    except (OSError, StoreError) as error:
        cause = error.__cause__ if isinstance(error, StoreError) else error
        if isinstance(error, DiskFullError) or not isinstance(cause, OSError):
            raise
        raise _unusable(home, cause.strerror) from None


def _unusable(home: Path, why: object) -> SettingsError:
    return SettingsError(f"DAGSTER_HOME={home}: {why}; set it to a folder that can be written")


def examined() -> str:
    """Where Dagster's records are, and that they can be used; nothing is made or changed.

    Raises:
        SettingsError: a setting, or the file in the home, cannot be used.
        RecordsError: the database cannot be reached, or its tables are of another release.
    """
    path = environment.dagster_home() / NAME
    if path.exists():
        brought_up(path.read_text(encoding="utf-8"), path)
    return examined_database()


@contextlib.contextmanager
def disk_told() -> Iterator[None]:
    """Say it when the disk of DAGSTER_HOME is full, or cannot be written any more.

    Raises:
        DiskFullError: naming the folder, whatever SQLAlchemy wraps it in.
        SettingsError: likewise.
    """
    try:
        yield
    except Exception as error:
        cause = getattr(error, "orig", error)
        code = cause.sqlite_errorcode & 0xFF if isinstance(cause, sqlite3.Error) else None
        if code in _UNWRITABLE:
            raise _unusable(environment.dagster_home(), cause) from error
        if code not in _NO_ROOM:
            raise
        raise DiskFullError(
            f"DAGSTER_HOME={environment.dagster_home()}: {cause}; free some space on its disk, or "
            "see whether that is failing, and run again; what was published is whole"
        ) from error


def open_instance() -> dg.DagsterInstance:
    """The instance in DAGSTER_HOME, prepared.

    Two processes that make Dagster's tables at the same moment would fail on each other's, so the
    first use is under a lock.

    Raises:
        SettingsError: a setting, or the file in the home, cannot be used.
        RecordsError: the database cannot be reached, or its tables are of another release.
    """
    home = prepare_home()
    if (url := database_url()) is not None:
        ensure_reachable(url)
    with _home_told(home), locked(home / ".opening.lock", _OPENING_SECONDS), outage_told():
        instance = dg.DagsterInstance.get()
        if url is not None:
            ensure_schema(instance.run_storage)
        instance.get_runs_count()
        instance.event_log_storage.get_maximum_record_id()
        instance.all_instigator_state()
        return instance


@contextlib.contextmanager
def instance_to_look_at() -> Iterator[dg.DagsterInstance]:
    """The instance, for who changes nothing: where there is no home yet, none is made.

    What PostgreSQL has is seen all the same, from a home that goes again.

    Raises:
        SettingsError: a setting, or the file in the home, cannot be used.
        RecordsError: the database cannot be reached, or its tables are of another release.
    """
    home = environment.dagster_home()
    if (home / NAME).exists():
        with open_instance() as instance:
            yield instance
        return
    with tempfile.TemporaryDirectory() as passing:
        environment.name_dagster_home(Path(passing))
        try:
            with open_instance() as instance:
                yield instance
        finally:
            environment.name_dagster_home(home)


def main(command: Sequence[str]) -> None:
    """Run a program of Dagster's on the instance; without one, print where its home is.

    The instance is opened first, so that what is wrong is told here and not by that program; only
    the one that brings older tables up to date is begun with them as they are. Runs of this machine
    whose process is gone are ended.
    """
    try:
        with contextlib.ExitStack() as opened, disk_told():
            if tuple(command[1:3]) == _MIGRATE:
                prepare_home()
            else:
                instance = opened.enter_context(open_instance())
                free_dead_slots(instance)
                end_dead_runs(instance)
            home = environment.dagster_home()
    except EtfError as error:
        sys.exit(str(error))
    environment.bound_pool_age(_POOL_SECONDS)
    if command:
        os.execvp(command[0], list(command))  # noqa: S606
    print(home)


if __name__ == "__main__":
    main(sys.argv[1:])
