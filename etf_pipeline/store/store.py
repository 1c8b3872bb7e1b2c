"""One data folder as the steps see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.layout import Layout


@dataclass(frozen=True)
class Store:
    """Where files are, what was read of them, and how long to wait for another writer (seconds)."""

    layout: Layout
    lock_timeout: float
    cache: FileCache = field(default_factory=FileCache, repr=False, compare=False)

    @classmethod
    def at(cls, root: Path, lock_timeout: float) -> Store:
        """The store in a folder, which need not be there yet."""
        return cls(Layout(root), lock_timeout)
