"""What every mode has: settings, and the local log of the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.log.comparison import Comparison
from etf_pipeline.events.log.identity import store_id
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.model.numbers import Held
from etf_pipeline.events.model.positions import Batches, Gone, Key
from etf_pipeline.events.protocol import EXIT_SECONDS
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.store.layout import Layout


class Local:
    """Base of the modes. Opens no file before it has to."""

    def __init__(self, layout: Layout, settings: EventSettings) -> None:
        self.settings = settings
        self._layout = layout
        self.log = Outbox(layout.event_log)
        self.closed = False
        self._instance: str | None = None

    @classmethod
    def opened(cls, layout: Layout, settings: EventSettings, publish: bool) -> Self:
        """One of this mode; `publish` is for those that send what they record."""
        return cls(layout, settings)

    @property
    def instance(self) -> str:
        """Id of the store, part of every event id."""
        if self._instance is None:
            self._instance = store_id(self._layout, self.log, self.settings.event_store_id)
        return self._instance

    @property
    def problem(self) -> str | None:
        """Nothing is sent anywhere, so nothing keeps it."""
        return None

    def count_pending(self) -> int:
        """Nothing waits in a mode that sends nothing: what is recorded can be read."""
        return 0

    def drain(self, seconds: float) -> int:
        """Nothing waits."""
        return 0

    def seam(self, archive: Archive) -> dict[Key, int]:
        """Where topics go on after the archive: there are none."""
        return {}

    def gone(self, archive: Archive) -> list[Gone]:
        """No topic let anything go."""
        return []

    def pass_over(self, archive: Archive, gone: Sequence[Gone]) -> None:
        """There is nothing to go on after."""

    def elsewhere(
        self,
        channels: Sequence[str],
        start: dict[Key, int],
        held: Held | None = None,
        comparison: Comparison | None = None,
    ) -> Batches:
        """Nothing is anywhere else."""
        return iter(())

    def comparison(self, archive: Archive) -> Comparison | None:
        """There is nothing to compare with."""
        return None

    def besides(self, channels: Sequence[str], start: dict[Key, int]) -> Batches:
        """Nothing is."""
        return iter(())

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Give back the file."""
        self.closed = True
        self.log.close()
