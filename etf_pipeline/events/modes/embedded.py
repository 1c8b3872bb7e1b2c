"""Events in one SQLite file, `events/events.sqlite`: what is recorded is what is read."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence

from etf_pipeline.events.log.archive import Archive, ArchiveReport
from etf_pipeline.events.log.catching_up import Local as LocalPart
from etf_pipeline.events.log.catching_up import prove_whole
from etf_pipeline.events.log.comparison import Comparison
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.log.retention import Pruned, archive_log, prune
from etf_pipeline.events.model.checks import Check
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.positions import Batches, Key, Range
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.events.modes.local import Local
from etf_pipeline.events.settings import EventSettings

_PAUSE_SECONDS = 0.5


class Embedded(Local):
    """The local log alone."""

    name = "embedded"
    recording = True

    @staticmethod
    def examine(settings: EventSettings) -> str:
        """In words: whether all is well."""
        return "embedded"

    def describe(self) -> str:
        """In words: where events go."""
        return f"{self.name} (SQLite): calls and runs are recorded"

    def append(self, events: Sequence[Event], facts: dict[str, str] | None = None) -> None:
        """Keep events; they are on disk when this returns."""
        self.log.append(events, facts=facts)

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[Key, int] | None = None,
    ) -> Batches:
        """Events in order of recording, up to the last one there is now."""
        return self.log.read(channels, start)

    def ranges(self, channels: Sequence[str] = CHANNELS) -> dict[Key, Range]:
        """Numbers of the first event there is and after the last."""
        return self.log.ranges(channels)

    def answers(self) -> bool:
        """A file always does."""
        return True

    def confirmed(self, events: Sequence[Event]) -> bool:
        """Nothing waits once it was recorded."""
        return True

    def archive(self, archive: Archive, now: dt.datetime) -> ArchiveReport:
        """Copy into the archive what it does not have."""
        return archive_log(self.log, archive, now)

    def prune(self, archive: Archive) -> Pruned:
        """Let go of what is older than the retention and in the archive."""
        return prune(self.log, archive, self.settings.event_store_retention_days, self.log.last())

    def delivery_checks(self, archive: Archive, found: Comparison | None = None) -> list[Check]:
        """There is nowhere to send to."""
        return [Check("all sent", True, "nothing is to be sent in this mode")]

    def projector(self, projections: Projections, group: str | None = None) -> LogProjector:
        """What keeps read models up to date with the log."""
        local = LocalPart(self.log, Archive(self._layout), self.instance)
        return LogProjector(local, projections)


class LogProjector:
    """Looks at the log and the archive now and then."""

    def __init__(self, local: LocalPart, projections: Projections) -> None:
        self._local = local
        self._projections = projections
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Have `run` end after the batch under way."""
        self._stopped.set()

    def run(self, once: bool = False) -> int:
        """Take events in; returns how many were new.

        Raises:
            EventError: the read models are of another store, or events are missing.
        """
        self._projections.bind(self._local.store)
        taken = 0
        while True:
            given = self._local.given()
            new = self._local.take_in(self._projections)
            if new or not taken:
                prove_whole(self._projections, given)
            taken += new
            if once or self._stopped.wait(_PAUSE_SECONDS):
                return taken
