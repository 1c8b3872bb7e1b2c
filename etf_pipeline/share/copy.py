"""This machine's working copy: the local store, the share, and what of it is here."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from etf_pipeline.errors import ShareError, ShareUnreadableError
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.schemas import RAW
from etf_pipeline.share.index import Index
from etf_pipeline.share.names import CURRENT, Names
from etf_pipeline.share.place import Place, TakenError, away
from etf_pipeline.store.batches import list_batch_ids
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.store import Store
from etf_pipeline.store.watermark import Watermark
from etf_pipeline.store.writer import locked

# One request at a time would wait for the network most of the time.
_AT_ONCE = 16
_ID = "share.json"
_ID_FACT = "share"
A = TypeVar("A")
B = TypeVar("B")


@dataclass
class Copy:
    """A store that is a working copy of a share.

    `reach` opens the share, and is called when it is first needed, so that a share that is away
    is told by what needs it.
    """

    store: Store
    url: str
    reach: Callable[[], Place]
    index: Index = field(init=False)
    names: Names = field(init=False)
    _place: Place | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.index = Index(self.layout.share_index)
        self.names = Names(self.layout)

    @property
    def layout(self) -> Layout:
        """Paths of the working copy."""
        return self.store.layout

    @property
    def place(self) -> Place:
        """The share, known to be the one that this is a copy of.

        Raises:
            ShareAwayError: it does not answer, or is empty now (a folder that is not mounted).
            ShareError: it refuses, or is another share than this is a copy of.
        """
        if self._place is None:
            place = self.reach()
            self._know(place)
            self._place = place
        return self._place

    def _know(self, place: Place) -> None:
        """Compare the share's id with the one that this copy knows, or begin to know it."""
        known = self.index.fact(_ID_FACT)
        there = _id_of(place)
        if there is None and known is not None:
            raise away(self.url, f"it is empty, and was not (there is no {_ID}); is it mounted?")
        if known is None:
            self._refuse_a_stranger(place, there is not None)
            if there is None:
                there = _new_id(place)
            # Until now nobody else's batches can have been here.
            for partition, path in self.layout.watermarks().items():
                mark = Watermark.load(path)
                if mark.seen is None:
                    ids = frozenset(list_batch_ids(self.layout, partition))
                    Watermark(path, mark.last, ids).save()
            self.index.keep(_ID_FACT, there)
        elif there != known:
            raise ShareError(
                f"{self.layout.root} is a working copy of another share than {self.url} "
                "(ETF_STORE_URL): give ETF_DATA_DIR an empty folder for this one"
            )

    def _refuse_a_stranger(self, place: Place, used: bool) -> None:
        """Raises `ShareError` where two stores that have nothing in common would become one."""
        ours = set(self.names.local(RAW))
        theirs = set(place.list(self.names.folder(RAW))) if used and ours else set()
        if ours and theirs and not ours & theirs:
            raise ShareError(
                f"{self.layout.root} has raw batches, and the share {self.url} (ETF_STORE_URL) has "
                "others: they are two stores; give ETF_DATA_DIR an empty folder to work on the "
                "share, or unset ETF_STORE_URL to work on this one"
            )

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """One process of this machine at a time pulls, works and publishes under a name.

        Raises:
            LockTimeoutError: another did so for longer than `ETF_LOCK_TIMEOUT_SECONDS`.
        """
        with locked(self.layout.lock("share", name), self.store.lock_timeout):
            yield

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """The lock under which a step writes a file; none where it needs none."""
        if any(self.names.has(table, name) for table in CURRENT):
            ticker = decode_ticker(self.names.path(name).stem)
            with locked(self.layout.lock("ticker", ticker), self.store.lock_timeout):
                yield
        else:
            yield

    def bytes_of(self, name: str) -> bytes:
        """The share's bytes of an object.

        Raises:
            FileNotFoundError: there is no such object.
        """
        buffer = BytesIO()
        self.place.fetch(name, buffer)
        return buffer.getvalue()


def each(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """What some work gives for each item, in order, several at a time."""
    jobs = list(items)
    if len(jobs) < 2:
        yield from map(work, jobs)
        return
    with ThreadPoolExecutor(min(_AT_ONCE, len(jobs)), thread_name_prefix="share") as pool:
        try:
            yield from pool.map(work, jobs)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def digest_of(data: bytes) -> str:
    """SHA-256 (hex) of bytes."""
    return hashlib.sha256(data).hexdigest()


def read_whole(path: Path) -> bytes | None:
    """A local file; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _id_of(place: Place) -> str | None:
    buffer = BytesIO()
    try:
        place.fetch(_ID, buffer)
        return str(json.loads(buffer.getvalue())["id"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ShareUnreadableError(
            f"{_ID} of the share {place.url} (ETF_STORE_URL) cannot be read: is that a share of "
            "this pipeline? Restore it from another version of the object, or name another share"
        ) from None


def _new_id(place: Place) -> str:
    """Give the share an id; where another machine did so just now, that one counts."""
    made = str(uuid.uuid4())
    try:
        place.create(_ID, json.dumps({"id": made}).encode())
    except TakenError:
        made = _id_of(place) or made
    except FileNotFoundError:
        raise ShareError(
            f"there is no bucket at {place.url} (ETF_STORE_URL): make it, or correct the name"
        ) from None
    return made
