"""A cache of what was read from files, dropped when a file is replaced."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from etf_pipeline.store.forks import tell_of_forks

Stamp = tuple[int, int, int]
# Prices of 1,000 tickers over twenty years are as much; of 10,000 they would be a machine's memory.
_MOST = 256 * 2**20  # bytes


class FileCache:
    """Values by file, dropped when the file is replaced. Safe under threads.

    What was not asked for longest is dropped where all of it together would be more than `most`
    bytes. A value is counted as what its file has, which is about what it takes.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._lock = threading.Lock()
        self._most, self._held = most, 0
        self._values: OrderedDict[tuple[str, Path], tuple[Stamp, Any, int]] = OrderedDict()
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
            if kept is not None:
                self._values.move_to_end((kind, path))
        return kept[1] if kept is not None and kept[0] == self.stamp(path) else None

    def put(self, kind: str, path: Path, stamp: Stamp, value: Any, size: int | None = None) -> None:
        """Keep a value that was read when the file had this stamp; `size` in bytes where known."""
        counted = stamp[2] if size is None else size
        with self._lock:
            before = self._values.pop((kind, path), None)
            self._held += counted - (0 if before is None else before[2])
            self._values[kind, path] = (stamp, value, counted)
            while self._held > self._most and len(self._values) > 1:
                self._held -= self._values.popitem(last=False)[1][2]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self._held = 0

    @staticmethod
    def stamp(path: Path) -> Stamp:
        """What changes when a file is replaced."""
        status = path.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size
