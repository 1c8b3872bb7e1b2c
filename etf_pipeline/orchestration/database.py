"""Dagster's records in PostgreSQL: whether the database can be used, and what its errors come to.

Belongs here: `DAGSTER_POSTGRES_URL`, and everything that is said of the database behind it. Its
password is never in words.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Protocol

import sqlalchemy
from sqlalchemy import exc, pool

from etf_pipeline.errors import RecordsError, SettingsError
from etf_pipeline.settings import environment

# Both are below the five seconds within which the first is told.
_CONNECT_SECONDS = 4
_ANSWER_SECONDS = 4.5
# A run reads and writes, gives signs of life, and watches those of others.
_AT_ONCE = 3
_SPARE_SECONDS, _PAUSE_SECONDS = 3.0, 0.2
_VARIABLE = "DAGSTER_POSTGRES_URL"
_EXAMPLE = "postgresql://user:password@host:5432/database"
_LOSSES = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
_LOSS_NAMES = frozenset(f"{e.__module__}.{e.__name__}" for e in _LOSSES)
_KINDS = frozenset({"postgresql", "postgres"})


def database_url() -> sqlalchemy.URL | None:
    """Where Dagster's tables are, None for SQLite in its home.

    Raises:
        SettingsError: what is set is no URL of a PostgreSQL database, or its driver is missing.
    """
    text = environment.postgres_url().strip()
    if not text:
        return None
    try:
        url = sqlalchemy.make_url(text)
        readable = "@" not in (url.host or "")
    except (exc.ArgumentError, ValueError):
        readable = False
    if not readable:
        # Neither what was set nor what SQLAlchemy says of it may be shown: a password may be in it.
        raise SettingsError(
            f"{_VARIABLE} is no URL such as {_EXAMPLE}; write @ : / and % of a password as "
            "%40 %3A %2F and %25"
        )
    if url.get_backend_name() not in _KINDS or not url.database:
        raise SettingsError(f"{_VARIABLE} names no database of PostgreSQL; write {_EXAMPLE}")
    if find_spec("dagster_postgres") is None or find_spec("psycopg2") is None:
        raise SettingsError(f"{_VARIABLE} is set: pip install 'etf_pipeline[postgres]'")
    return url.set(drivername="postgresql+psycopg2")


def shown(url: sqlalchemy.URL) -> str:
    """A database in words: who, where and which; neither its password nor options."""
    # what the driver is given: each may be an option of the URL instead
    given = url.get_dialect()().create_connect_args(url)[1]
    host, port = given.get("host", ""), given.get("port", 5432)
    return f"{given.get('user', '')}@{host}:{port}/{given.get('dbname', '')}"


def ensure_reachable(url: sqlalchemy.URL) -> None:
    """Connect as often as a run does at once, and leave.

    That the server is there is known by the first connection; that it has no other to spare may
    pass in a moment, and is bridged for seconds.

    Raises:
        RecordsError: within five seconds, in the server's own words, which tell a wrong port from a
            wrong password and a wrong database.
    """
    failed: list[Exception] = []
    over = threading.Event()

    def connect() -> None:
        engine = sqlalchemy.create_engine(
            url, poolclass=pool.NullPool, connect_args={"connect_timeout": _CONNECT_SECONDS}
        )
        until = time.monotonic() + _SPARE_SECONDS
        try:
            with contextlib.ExitStack() as held:
                held.enter_context(engine.connect())
                for _ in range(_AT_ONCE - 1):
                    held.enter_context(_connected(engine, until))
        except Exception as error:
            failed.append(error)
        over.set()

    # A name that nobody resolves, or a host of several addresses, may take a multiple of the limit.
    threading.Thread(target=connect, name="etf-database", daemon=True).start()
    if not over.wait(_ANSWER_SECONDS):
        raise RecordsError(f"{_of(url)} does not answer; {_remedy()}")
    if failed:
        raise RecordsError(f"{_of(url)}: {_words(failed[0])}; {_remedy()}") from None


def _connected(engine: sqlalchemy.Engine, until: float) -> sqlalchemy.Connection:
    """A connection, as soon as the server has one."""
    while True:
        try:
            return engine.connect()
        except _LOSSES:
            if time.monotonic() >= until:
                raise
        time.sleep(_PAUSE_SECONDS)


class _Versioned(Protocol):
    """A storage of Dagster's that knows the revision of its tables."""

    def alembic_version(self) -> tuple[str | None, str | tuple[str, ...] | None] | None: ...


def ensure_schema(storage: _Versioned) -> None:
    """Look whether the tables are those of the installed Dagster.

    Raises:
        RecordsError: they are older or newer; names what brings them up to date.
    """
    found = storage.alembic_version()
    if found is None:
        return
    theirs, ours = found
    if theirs is not None and theirs != ours:
        raise RecordsError(
            f"the tables of Dagster's database are of another release of it (revision {theirs}, "
            f"not {ours}). Of an older one: back the database up, stop what uses it, and run "
            f"`DAGSTER_HOME={environment.dagster_home()} python -m "
            "etf_pipeline.orchestration.instance dagster instance migrate`. Of a newer one: "
            "install that release"
        )


def examined() -> str:
    """What there is to say of the database, looked at without changing anything in it.

    Raises:
        SettingsError: the variable cannot be used.
        RecordsError: the database cannot be reached, or its tables are of another release.
    """
    url = database_url()
    if url is None:
        return f"SQLite in {environment.dagster_home()}"
    ensure_reachable(url)
    from dagster_postgres import PostgresRunStorage

    text = url.render_as_string(hide_password=False)
    with outage_told():
        ensure_schema(PostgresRunStorage(text, should_autocreate_tables=False))
    return shown(url)


def outage(error: BaseException) -> RecordsError | None:
    """What an error comes to that Dagster's database was lost by; None for any other error."""
    if not environment.postgres_url():
        return None
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, RecordsError):
            return link
        # Dagster's own exception, at the end of its attempts, is from the last of these.
        if isinstance(link, _LOSSES):
            return _lost(_words(link))
        link = link.__cause__ or link.__context__
    return None


class _Recorded(Protocol):
    """An error as Dagster records it: qualified name and message as text, the cause behind it."""

    @property
    def message(self) -> str: ...
    @property
    def cause(self) -> _Recorded | None: ...


def outage_on_record(error: _Recorded) -> RecordsError | None:
    """What an error in Dagster's records comes to, as `outage` of the error itself."""
    if not environment.postgres_url():
        return None
    link: _Recorded | None = error
    while link is not None:
        name, said = _class_and_words(link)
        if name in _LOSS_NAMES:
            # behind SQLAlchemy's is the driver's, without the statement
            driver = said if link.cause is None else _class_and_words(link.cause)[1]
            return _lost(_one_line(driver))
        link = link.cause
    return None


def _class_and_words(error: _Recorded) -> tuple[str, str]:
    """The class with its module, and what was said, of "package.module.Class: words"."""
    text = error.message
    name, _, said = text.partition(": ")
    return name, said


def _lost(why: str) -> RecordsError:
    return RecordsError(
        f"Dagster's database was lost ({why}); what was published is whole: run again when it is "
        "back"
    )


@contextlib.contextmanager
def outage_told() -> Iterator[None]:
    """Say it when Dagster's database is lost within the block.

    Raises:
        RecordsError: whatever Dagster and SQLAlchemy wrap it in.
    """
    try:
        yield
    except Exception as error:
        found = outage(error)
        if found is None:
            raise
        raise found from error


def _of(url: sqlalchemy.URL) -> str:
    return f"Dagster's database {shown(url)} ({_VARIABLE})"


def _remedy() -> str:
    return (
        "look whether the server runs there and has a connection left (its own limit, the user's, "
        "the database's), and at each part of the URL"
    )


def _words(error: BaseException) -> str:
    """What the driver says, in one line; neither it nor the server quotes a password."""
    return _one_line(str(getattr(error, "orig", None) or error))


def _one_line(said: str) -> str:
    return "; ".join(line.strip() for line in said.splitlines() if line.strip()) or "no answer"
