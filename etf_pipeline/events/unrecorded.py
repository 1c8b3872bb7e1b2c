"""What has to stay because it is not recorded as events yet: manifests, and an orchestrator's runs.

For whoever lets old files go. Asks the local log and the archive; no broker, and nobody is told
anything.
"""

from __future__ import annotations

import contextlib
from functools import cached_property
from pathlib import Path

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.events.cursors import cursor_of
from etf_pipeline.events.factory import asked_for
from etf_pipeline.events.facts import ASSETS, told_of_manifest
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.parked import MANIFEST, ORCHESTRATOR, Parked
from etf_pipeline.events.model.envelope import Event, from_micros
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.events.untold import swept_since
from etf_pipeline.model.schemas import EVENTS
from etf_pipeline.store.closed import is_there
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table


class Unrecorded:
    """What one store's events are still to be made from.

    `settings` say whether events are asked for at all; None for nowhere. What was begun to be
    recorded goes on being waited for when they are switched off.
    """

    def __init__(self, layout: Layout, settings: EventSettings | None) -> None:
        self._layout = layout
        self._asked = settings is not None and asked_for(settings)
        self._log = Outbox(layout.event_log) if is_there(layout.event_log) else None
        self._archived: dict[Path, frozenset[str]] = {}

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()

    def waits(self, manifest: Path) -> bool:
        """Whether anything that a manifest tells is neither in the log nor in the archive.

        One that cannot be told now (it or its table cannot be read) waits too.
        """
        asset = manifest.parent.name
        if asset not in ASSETS:
            return False
        if self._log is None:
            return self._asked
        if self._layout.relative(manifest) in self._parked:
            return True
        since = swept_since(self._log)
        if since is None:
            return self._asked
        with contextlib.suppress(FileNotFoundError):
            if manifest.stat().st_mtime_ns < since:
                return False  # from before events were begun: nobody looks for it
        told = told_of_manifest(self._layout, manifest, self._store)
        return bool(told.unreadable) or any(map(self._lacks, self._log.lacks(told.events)))

    def read_up_to(self, instance: str) -> int | None:
        """Id of the last record of an orchestrator's instance that was read, 0 before the first.

        None where nobody has read any, and nobody is to.
        """
        cursor = None if self._log is None else cursor_of(self._log, instance)
        if cursor is None:
            return 0 if self._asked else None
        return cursor.position

    def parked_records(self, instance: str) -> list[int]:
        """Ids of records of the instance that could not be told yet."""
        if self._log is None:
            return []
        table = Parked(self._layout.event_log)
        try:
            return [s.position for s in table.spots(ORCHESTRATOR) if s.name == instance]
        finally:
            table.close()

    @cached_property
    def _store(self) -> str:
        """Id of the store, as events have it."""
        return "" if self._log is None else self._log.fact("instance") or ""

    @cached_property
    def _parked(self) -> frozenset[str]:
        table = Parked(self._layout.event_log)
        try:
            return frozenset(s.name for s in table.spots(MANIFEST))
        finally:
            table.close()

    def _lacks(self, event: Event) -> bool:
        """Whether the archive does not hold an event, which the log has not or no longer."""
        day = f"day={from_micros(event.time_us):%Y-%m-%d}"
        mine = [f for f in self._files if f.parent.parent.name == f"topic={event.channel}"]
        # An event is recorded after it happened, and archived after that, unless clocks differ.
        likely = sorted(mine, key=lambda f: (f.parent.name < day, f.parent.name, f.name))
        return not any(event.id in self._ids(file) for file in likely)

    @cached_property
    def _files(self) -> list[Path]:
        """Files of the archive."""
        return self._layout.files(EVENTS)

    def _ids(self, file: Path) -> frozenset[str]:
        if file not in self._archived:
            ids: frozenset[str] = frozenset()
            with contextlib.suppress(CorruptFileError, FileNotFoundError):
                ids = frozenset(read_table(file, ["id"]).column("id").to_pylist())
            self._archived = {file: ids}  # manifests come by age, and so do files
        return self._archived[file]
