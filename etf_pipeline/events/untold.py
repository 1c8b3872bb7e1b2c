"""Manifests that no record of an orchestrator leads to: found by looking through their folders.

A run may be killed between its manifest and its record, and the orchestrator's home may be gone
before it was read. What is told twice counts once.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.events.facts import ASSETS, Told, run_of_manifest, told_of_manifest
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.orchestrator import OrchestratorLog
from etf_pipeline.events.protocol import Events
from etf_pipeline.store.killed_runs import tell_all_killed_runs
from etf_pipeline.store.layout import Layout

_SWEPT = "swept"
# A manifest may become visible a little after one that is newer.
_LATE_NS = 3_600 * 10**9
# Times of files are this coarse, at most.
_COARSE_NS = 2 * 10**9


@dataclass
class _Folder:
    """How far one folder was looked through. Times in nanoseconds since 1970, of files.

    Attributes:
        changed: of the folder when it was last looked through to its end; 0 before that.
        upto: of the newest manifest that was told, or was found to be.
        told: by name, of those near to `upto`.
    """

    changed: int = 0
    upto: int = 0
    told: dict[str, int] = field(default_factory=dict)


def swept_since(log: SqliteLog) -> int | None:
    """Time of file from which on manifests are looked for, in ns; None before the first look."""
    kept = log.fact(_SWEPT)
    return None if kept is None else int(json.loads(kept)["since"])


class Untold:
    """Looks for manifests whose events are not in the log."""

    def __init__(self, layout: Layout, events: Events, source: OrchestratorLog) -> None:
        self._layout = layout
        self._events = events
        self._source = source
        self._by_records: set[Path] = set()

    def begin(self) -> None:
        """Note from when on manifests are looked for, at the first use of a store."""
        if self._events.log.fact(_SWEPT) is None:
            self._keep(self._start(), {})

    def _start(self) -> int:
        chosen = self._events.settings.event_relay_start.strip()
        if chosen == "beginning":
            return 0
        if chosen == "now":
            return time.time_ns()
        return int(dt.datetime.fromisoformat(chosen).timestamp() * 1e9)

    def told(self, manifests: Iterable[Path]) -> None:
        """These were told by their records, and need not be looked at."""
        self._by_records.update(manifests)

    def find(self, deadline: float) -> Iterator[Told]:
        """What can be told of each, and what cannot, until `deadline` of the monotonic clock."""
        self.begin()
        tell_all_killed_runs(self._layout)
        state = json.loads(self._events.log.fact(_SWEPT) or "{}")
        since = int(state["since"])
        folders = {a: _Folder(**f) for a, f in state["folders"].items()}
        before = json.dumps(state, sort_keys=True)
        for asset in ASSETS:
            yield from self._look(folders.setdefault(asset, _Folder()), asset, since, deadline)
        after = {"since": since, "folders": {a: asdict(f) for a, f in folders.items()}}
        if json.dumps(after, sort_keys=True) != before:
            self._keep(since, folders)

    def _look(self, folder: _Folder, asset: str, since: int, deadline: float) -> Iterator[Told]:
        where = self._layout.manifests(asset)
        now = time.time_ns()
        try:
            changed = where.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed == folder.changed:
            return
        folder.upto = min(folder.upto, now)  # a clock that was ahead holds nothing up
        whole, waits = True, None
        for moment, path in self._recent(asset, max(since, folder.upto - _LATE_NS)):
            if folder.told.get(path.name) == moment:
                continue
            if time.monotonic() >= deadline:
                whole = False
                break
            if path in self._by_records:
                self._by_records.discard(path)
            elif self._goes_on(path):
                whole, waits = False, min(moment, waits or moment)
                continue
            else:
                yield told_of_manifest(self._layout, path, self._events.instance)
            folder.told[path.name] = moment
            folder.upto = max(folder.upto, moment)
        if waits is not None:
            folder.upto = min(folder.upto, waits)
        folder.told = {n: t for n, t in folder.told.items() if t >= folder.upto - _LATE_NS}
        # Another file may come within one tick of the folder's clock.
        settled = whole and changed < now - _COARSE_NS
        folder.changed = changed if settled else 0

    def _recent(self, asset: str, least: int) -> list[tuple[int, Path]]:
        found = []
        for path in self._layout.manifest_files(asset):
            with contextlib.suppress(FileNotFoundError):
                found.append((path.stat().st_mtime_ns, path))
        return sorted(one for one in found if one[0] >= least)

    def _goes_on(self, path: Path) -> bool:
        """Whether the run may replace this manifest yet, as one does that tries a step again."""
        try:
            return self._source.going_on(run_of_manifest(path))
        except (FileNotFoundError, CorruptFileError):
            return False

    def _keep(self, since: int, folders: dict[str, _Folder]) -> None:
        body = {"since": since, "folders": {a: asdict(f) for a, f in folders.items()}}
        self._events.log.append([], facts={_SWEPT: json.dumps(body)})
