"""A cache of what was read from files, dropped when a file is replaced."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from etf_pipeline.store.forks import tell_of_forks

Stamp = tuple[int, int, int]


class FileCache:
    """Values by file, dropped when the file is replaced. Safe under threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, Path], tuple[Stamp, Any]] = {}
        tell_of_forks(self)

    def before_fork(self) -> None:
        """Nothing has to be given up."""

    def after_fork_in_child(self) -> None:
        """A thread of the parent may have had the lock."""
        self._lock = threading.Lock()

    def get(self, kind: str, path: Path) -> Any:
        """The cached value of a file as it is on disk now, else None."""
        with self._lock:
            kept = self._values.get((kind, path))
        return kept[1] if kept is not None and kept[0] == self.stamp(path) else None

    def put(self, kind: str, path: Path, stamp: Stamp, value: Any) -> None:
        """Keep a value that was read when the file had this stamp."""
        with self._lock:
            self._values[(kind, path)] = (stamp, value)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()

    @staticmethod
    def stamp(path: Path) -> Stamp:
        """What changes when a file is replaced."""
        status = path.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size
