"""Environment variables that are read without pydantic, whose import takes a tenth of a second.

Those that are fields of `Settings` or `EventSettings` too are read by pydantic's rules, so that
both readers tell the same: a name in any case, the last one counts, and an empty value is a value.
For all others the name is exact, and empty is the same as unset.
"""

from __future__ import annotations

import os
from pathlib import Path

DATA_DIR = "data/etf"
UNIVERSE_FILE = "data/universe.csv"
LOCK_TIMEOUT_SECONDS = 300.0


def data_dir() -> Path:
    """Root of the Parquet store: ETF_DATA_DIR."""
    return Path(_setting("ETF_DATA_DIR", DATA_DIR))


def same_folder(one: Path, other: Path) -> bool:
    """Whether two paths name one folder, which need not be there."""
    return one.expanduser().resolve() == other.expanduser().resolve()


def store_url() -> str | None:
    """The share that the store is a working copy of: ETF_STORE_URL; None for none."""
    return _setting("ETF_STORE_URL", "") or None


def plain_http_allowed() -> bool:
    """Whether a share may be reached without TLS: AWS_ALLOW_HTTP and its like, as obstore reads it.

    It has to be read here, since obstore asks the environment only where no client is set up.
    """
    names = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")
    return any(_text(name).strip().lower() in ("1", "true", "yes", "on") for name in names)


def universe_file() -> Path:
    """Which ETFs there are: ETF_UNIVERSE_FILE."""
    return Path(_setting("ETF_UNIVERSE_FILE", UNIVERSE_FILE))


def base_currency() -> str | None:
    """Currency of returns side by side: ETF_BASE_CURRENCY; None for the one that tickers share."""
    return _setting("ETF_BASE_CURRENCY", "") or None


def periods_fixed() -> bool:
    """Whether ETF_PERIODS_PER_YEAR is set at all; what it says is left to `Settings`."""
    return any(name.upper() == "ETF_PERIODS_PER_YEAR" for name in os.environ)


def events_asked_for() -> bool:
    """Whether events may have to be recorded: EVENT_STORE_TYPE and KAFKA_BOOTSTRAP_SERVERS.

    A look that never says no where `EventSettings` says yes; what it lets through is checked there.
    """
    chosen = _setting("EVENT_STORE_TYPE", "auto").strip().lower()
    return wants_events(chosen, _setting("KAFKA_BOOTSTRAP_SERVERS", ""))


def wants_events(kind: str, servers: str | None) -> bool:
    """Whether a type of event store, with these brokers, is one that records when it can."""
    return bool(servers) if kind == "auto" else kind != "none"


def dagster_home() -> Path:
    """DAGSTER_HOME, or `.dagster` in the working folder; absolute."""
    return Path(_text("DAGSTER_HOME") or ".dagster").absolute()


def name_dagster_home(home: Path) -> None:
    """Set DAGSTER_HOME for this process and its children: Dagster looks nowhere else."""
    os.environ["DAGSTER_HOME"] = str(home)


def postgres_url() -> str:
    """Where Dagster keeps its tables: DAGSTER_POSTGRES_URL, empty for SQLite."""
    return _text("DAGSTER_POSTGRES_URL")


def name_postgres_url(url: str) -> None:
    """Set DAGSTER_POSTGRES_URL for this process and its children, as Dagster can read it."""
    os.environ["DAGSTER_POSTGRES_URL"] = url


def bound_pool_age(seconds: int) -> None:
    """How old a connection to the database Dagster's web server uses again, unless that is set.

    For this process and its children, as the option `--db-pool-recycle` of that server.
    """
    os.environ.setdefault("DAGSTER_WEBSERVER_DB_POOL_RECYCLE", str(seconds))


def celery_broker() -> str:
    """Where runs are handed to workers on other machines: ETF_CELERY_BROKER, empty for nowhere."""
    return _text("ETF_CELERY_BROKER")


def traceback_wanted() -> bool:
    """Whether an error on the command line shows where it happened: ETF_TRACEBACK."""
    return _text("ETF_TRACEBACK") not in ("", "0")


def _text(name: str) -> str:
    return os.environ.get(name, "")


def _setting(name: str, default: str) -> str:
    found = [value for key, value in os.environ.items() if key.upper() == name]
    return found[-1] if found else default
