"""Direct mode: Parquet files only, nothing is recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from etf_pipeline.errors import EventsOffError
from etf_pipeline.events.log.archive import Archive, ArchiveReport
from etf_pipeline.events.log.comparison import Comparison
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.log.retention import Pruned
from etf_pipeline.events.model.checks import Check
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.positions import Batches, Key, Range
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.events.modes.local import Local
from etf_pipeline.events.protocol import Projector
from etf_pipeline.events.settings import EventSettings

OFF = (
    "events are not being recorded: set EVENT_STORE_TYPE=embedded (a file, no infrastructure) or "
    "KAFKA_BOOTSTRAP_SERVERS"
)


class Off(Local):
    """Records nothing, holds nothing."""

    name = "none"
    recording = False

    @staticmethod
    def examine(settings: EventSettings) -> str:
        """In words: whether all is well."""
        return "off (direct mode)"

    def describe(self) -> str:
        """In words: where events go."""
        return "direct: Parquet files only, nothing is recorded"

    def append(self, events: Sequence[Event], facts: dict[str, str] | None = None) -> None:
        """Let them go."""

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[Key, int] | None = None,
    ) -> Batches:
        """There is nothing."""
        return iter(())

    def ranges(self, channels: Sequence[str] = CHANNELS) -> dict[Key, Range]:
        """There is nothing."""
        return {}

    def answers(self) -> bool:
        """There is nobody to answer."""
        return False

    def confirmed(self, events: Sequence[Event]) -> bool:
        """Nothing is recorded, so no event is."""
        return not events

    def archive(self, archive: Archive, now: dt.datetime) -> ArchiveReport:
        """Refuse.

        Raises:
            EventsOffError: always.
        """
        raise EventsOffError(OFF)

    def prune(self, archive: Archive) -> Pruned:
        """Nothing goes: what an earlier mode recorded is not this one's to judge."""
        return Pruned(0, 0)

    def delivery_checks(self, archive: Archive, found: Comparison | None = None) -> list[Check]:
        """Nothing is recorded, so nothing is to be sent."""
        return []

    def projector(self, projections: Projections, group: str | None = None) -> Projector:
        """Refuse.

        Raises:
            EventsOffError: always.
        """
        raise EventsOffError(OFF)
