"""The broker that hands runs to workers: Redis or RabbitMQ, at `ETF_CELERY_BROKER`."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from urllib.parse import urlsplit

from etf_pipeline.errors import RecordsError, SettingsError
from etf_pipeline.settings import environment

# Both are below the five seconds within which it is told.
_CONNECT_SECONDS = 4
_ANSWER_SECONDS = 4.5
_VARIABLE = "ETF_CELERY_BROKER"


def broker_url() -> str:
    """Where runs are handed over; empty where they are executed beside Dagster's daemon.

    Raises:
        SettingsError: it is no URL of a broker, the database that all machines share is not set, or
            a library is missing.
    """
    text = environment.celery_broker()
    if not text:
        return ""
    try:
        readable = bool(urlsplit(text).scheme) and urlsplit(text).hostname is not None
    except ValueError:
        readable = False
    if not readable:
        raise SettingsError(f"{_VARIABLE} is no URL such as redis://:password@host:6379/0")
    if not environment.postgres_url():
        raise SettingsError(
            f"{_VARIABLE} is set, and DAGSTER_POSTGRES_URL is not: workers on other machines need "
            "Dagster's records in PostgreSQL"
        )
    if find_spec("dagster_celery") is None:
        raise SettingsError(f"{_VARIABLE} is set: pip install 'etf_pipeline[celery]'")
    return text


def shown(url: str) -> str:
    """A broker in words, without its password."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def ensure_reachable(url: str) -> None:
    """Connect once, and leave.

    Raises:
        RecordsError: within five seconds, in the words of the server or of its client.
    """
    from celery import Celery

    failed: list[Exception] = []
    over = threading.Event()

    def connect() -> None:
        try:
            with Celery(broker=url).connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=_CONNECT_SECONDS)
        except Exception as error:
            failed.append(error)
        over.set()

    threading.Thread(target=connect, name="etf-broker", daemon=True).start()
    told = f"the broker {shown(url)} ({_VARIABLE})"
    if not over.wait(_ANSWER_SECONDS):
        raise RecordsError(f"{told} does not answer; look whether it runs there")
    if failed:
        raise RecordsError(
            f"{told}: {failed[0]}; look whether it runs there, and at each part of the URL"
        )


def examined() -> str:
    """What there is to say of the broker.

    Raises:
        SettingsError: the variable cannot be used.
        RecordsError: the broker cannot be reached.
    """
    url = broker_url()
    if not url:
        return "none: runs are executed beside Dagster's daemon"
    ensure_reachable(url)
    return shown(url)
