"""Whose records an orchestrator's log holds: one instance may be used for several stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.orchestrator import LogRecord
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.store.layout import Layout

_ROOTS = "roots"


class Ownership:
    """Tells records of this store from those of others.

    A record is another store's only where it says so: a store may be moved, and then its earlier
    records name the folder that it was in. So every folder that it was ever seen in is kept.
    """

    def __init__(self, layout: Layout, log: SqliteLog, store_id: Callable[[], str]) -> None:
        self._layout = layout
        self._id_of_store = store_id
        self._log = log
        self._roots: list[Path] = []
        self._store_id = ""

    def note(self) -> None:
        """Note which store this is, and where it is now; before `ours` is asked."""
        self._store_id = self._id_of_store()
        here = self._layout.root.resolve()
        self._roots = [Path(p) for p in json.loads(self._log.fact(_ROOTS) or "[]")]
        if here not in self._roots:
            self._roots.append(here)
            self._log.append([], facts={_ROOTS: json.dumps([str(p) for p in self._roots])})

    def ours(self, record: LogRecord) -> bool:
        """Whether a record is of this store, as far as anybody can know.

        The id decides where a run said it. Else it is another's where it names other folders and
        has left nothing here: the same store may be mounted under several paths.
        """
        if record.store_id is not None:
            return record.store_id == self._store_id
        folders = [Path(record.store)] if record.store is not None else []
        places = [*folders, *(p for p in map(_path, record.places) if p is not None)]
        if not places or any(p.is_relative_to(r) for p in places for r in self._roots):
            return True
        return any(self._layout.manifests_of(asset, record.run_id) for asset in LINEAGE)


def _path(place: str) -> Path | None:
    """A file that a record names by its path or URI; None for what is neither."""
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))  # which undoes the percent signs too
    path = Path(place)
    return path if path.is_absolute() else None
