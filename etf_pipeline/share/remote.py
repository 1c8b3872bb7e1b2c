"""Buckets of S3, Google and Azure, through obstore; the only module that imports it.

Endpoint and credentials are the environment variables that obstore knows (`AWS_…`, `GOOGLE_…`,
`AZURE_…`).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import obstore
from obstore import exceptions
from obstore.store import from_url

from etf_pipeline.errors import ShareUnreadableError
from etf_pipeline.share.place import Found, TakenError, away, said

_CHUNK = 8 * 2**20
_DEADLINE = dt.timedelta(seconds=120)
_TAKEN = (
    exceptions.AlreadyExistsError,
    exceptions.PreconditionError,
    exceptions.NotModifiedError,
)
_ANSWERED = re.compile(r"status code: (\d{3}(?: [A-Z][A-Za-z]+)*)")
_OF_TRIES = re.compile(
    r" in [\d.]+[mµn]?s, after \d+ retries, max_retries: \d+, retry_timeout: \S+"
)
_REFUSED = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)


class RemotePlace:
    """A bucket, and a folder in it.

    Args:
        url: `s3://…`, `gs://…` or `az://…`, without credentials.
        patience: seconds for which a request is tried again after a 429, a 5xx or a lost
            connection.
        plain_http: whether endpoints may be reached without TLS.
    """

    def __init__(self, url: str, patience: float, plain_http: bool) -> None:
        self._url = url
        with self._told():
            self._store: Any = from_url(
                url,
                client_options={
                    "allow_http": plain_http,
                    "connect_timeout": dt.timedelta(seconds=min(5.0, patience)),
                    "timeout": _DEADLINE,
                },
                retry_config={
                    "max_retries": 30,
                    "retry_timeout": dt.timedelta(seconds=patience),
                    "backoff": {
                        "init_backoff": dt.timedelta(milliseconds=100),
                        "max_backoff": dt.timedelta(seconds=5),
                        "base": 2,
                    },
                },
            )

    @property
    def url(self) -> str:
        """Where it is; there are no credentials in it."""
        return self._url

    def list(self, folder: str) -> dict[str, Found]:
        """Every object below a folder, by name."""
        with self._told():
            return {
                o["path"]: _found(o) for some in obstore.list(self._store, folder) for o in some
            }

    def fetch(self, name: str, into: BinaryIO) -> Found:
        """Copy an object into an open file."""
        with self._told():
            got = obstore.get(self._store, name)
            for part in got.stream(min_chunk_size=_CHUNK):
                into.write(part)
            return _found(got.meta)

    def create(self, name: str, data: bytes) -> Found:
        """Make an object, by `If-None-Match`."""
        return self._put(name, data, "create")

    def replace(self, name: str, data: bytes, known: Found) -> Found:
        """Replace a version, by `If-Match`."""
        version = {} if known.version is None else {"version": known.version}
        return self._put(name, data, {"e_tag": known.etag, **version})

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with self._told():
            try:
                obstore.delete(self._store, name)
            except FileNotFoundError:
                return

    def _put(self, name: str, data: bytes, mode: Any) -> Found:
        with self._told():
            done = obstore.put(self._store, name, data, mode=mode, use_multipart=False)
        return Found(done["e_tag"] or "", len(data), done.get("version"))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What obstore raises, as ours; that an object is not there is left as it is."""
        try:
            yield
        except _TAKEN as error:
            raise TakenError(said(error)) from None
        except exceptions.BaseError as error:
            status = _status(error)
            if isinstance(error, _REFUSED) or status[:3] in ("401", "403"):
                raise ShareUnreadableError(
                    f"the share {self._url} (ETF_STORE_URL) refuses this machine ({status}): give "
                    "its credentials the right to list and read there, and to write and delete "
                    "where runs are"
                ) from None
            raise away(self._url, _why(error)) from None


def _why(error: exceptions.BaseError) -> str:
    """What went wrong, without what the library says of its own tries."""
    return _status(error) or _OF_TRIES.sub(" ", said(error)).strip(" -")


def _status(error: exceptions.BaseError) -> str:
    """The status that was answered, as `403 Forbidden`; empty where there was no answer."""
    found = _ANSWERED.search(str(error))
    return "" if found is None else found[1]


def _found(meta: Mapping[str, Any]) -> Found:
    return Found(meta["e_tag"] or "", meta["size"], meta.get("version"))
