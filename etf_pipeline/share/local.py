"""A folder that several machines mount, as a share: locks, fsync and rename.

obstore's local backend cannot replace a version that is known, so this is ours.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from etf_pipeline.share.place import Found, TakenError, away, said
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.writer import atomic_file, locked

# Writers of different objects seldom wait for each other, and locks stay few.
_LOCKS = 64


class LocalPlace:
    """A folder, which has to be there: one that is not is not mounted.

    Args:
        root: the folder.
        patience: seconds to wait for another machine that is writing.
    """

    def __init__(self, root: Path, patience: float) -> None:
        self._root, self._patience = root, patience
        self._there()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"file://{self._root.as_posix()}"

    def list(self, folder: str) -> dict[str, Found]:
        """Every object below a folder, by name; what begins with a dot is none."""
        with self._told():
            return dict(self._walk(folder))

    def _walk(self, folder: str) -> Iterator[tuple[str, Found]]:
        for at, folders, files in os.walk(self._root / folder, onerror=_refused):
            folders[:] = [f for f in folders if not f.startswith(".")]
            for file in files:
                if not file.startswith("."):
                    path = Path(at, file)
                    try:
                        found = _found(path.stat())
                    except FileNotFoundError:  # gone since the folder was read
                        continue
                    yield path.relative_to(self._root).as_posix(), found

    def fetch(self, name: str, into: BinaryIO) -> Found:
        """Copy an object into an open file."""
        with self._told(), (self._root / name).open("rb") as source:
            shutil.copyfileobj(source, into)
            return _found(os.fstat(source.fileno()))

    def create(self, name: str, data: bytes) -> Found:
        """Make an object, under its lock."""
        path = self._root / name
        with self._turn(name):
            if path.exists():
                raise TakenError(name)
            return self._write(path, data, 0)

    def replace(self, name: str, data: bytes, known: Found) -> Found:
        """Replace a version, under the object's lock."""
        path = self._root / name
        with self._turn(name):
            if path.exists():
                status = path.stat()
                if _found(status).etag != known.etag:
                    raise TakenError(name)
                return self._write(path, data, status.st_mtime_ns + 1)
        raise FileNotFoundError(path)

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with self._turn(name):
            (self._root / name).unlink(missing_ok=True)

    def _write(self, path: Path, data: bytes, not_before: int) -> Found:
        """Write a file whole, later than the one before it: the time is what tells them apart."""
        with atomic_file(path) as handle:
            handle.write(data)
            handle.flush()
            status = os.fstat(handle.fileno())
            moment = max(status.st_mtime_ns, not_before)
            os.utime(handle.name, ns=(moment, moment))
        return _found(path.stat())

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        lock = Layout(self._root).lock("share", f"{zlib.crc32(name.encode()) % _LOCKS:02d}")
        with self._told():
            self._there()
            with locked(lock, self._patience):
                yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            self._there()
            raise
        except OSError as error:
            raise away(self.url, said(error)) from error

    def _there(self) -> None:
        """Raises `ShareAwayError` unless the folder is there; it is never made here."""
        if not self._root.is_dir():
            raise away(self.url, "there is no such folder (is it mounted?)")


def _refused(error: OSError) -> None:
    """A folder that cannot be opened is not one in which nothing is.

    Raises:
        OSError: that one, unless there is no such folder, or none any more.
    """
    if not isinstance(error, FileNotFoundError):
        raise error


def _found(status: os.stat_result) -> Found:
    return Found(f"{status.st_mtime_ns:x}-{status.st_size:x}", status.st_size)
