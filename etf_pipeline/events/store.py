"""What every event store does. Backends: `sqlite.py` (embedded), `kafka.py`, and none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.types import CHANNELS

Batches = Iterator[list[Event]]


class Delivery(NamedTuple):
    """Where an appended event went; `error` says why it went nowhere."""

    partition: int
    position: int
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the event is in the store."""
        return self.error is None


class EventStore(Protocol):
    """Append-only, at least once; readers fold duplicates by event id."""

    name: str

    def append(self, events: Sequence[Event], timeout: float = 15.0) -> list[Delivery]:
        """Record events in order; when this returns without an error they are in the store.

        Never raises for a store that cannot be reached: each delivery says what became of it.
        """
        ...

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[tuple[str, int], int] | None = None,
        from_us: int | None = None,
    ) -> Batches:
        """Everything that is in the store when reading begins, in batches, then end.

        Args:
            channels: which channels.
            start: first position wanted by (channel, partition).
            from_us: events that happened earlier may be left out (some may still come).

        Raises:
            EventError: the store cannot be reached, or stopped answering part-way.
        """
        ...

    def close(self) -> None:
        """Give back connections and threads."""
        ...


class NoEventStore:
    """Records nothing: direct mode."""

    name = "none"

    def append(self, events: Sequence[Event], timeout: float = 15.0) -> list[Delivery]:
        """Drop them, and say so."""
        return [Delivery(-1, -1, "events are off (EVENT_STORE_TYPE=none)") for _ in events]

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[tuple[str, int], int] | None = None,
        from_us: int | None = None,
    ) -> Batches:
        """There is nothing."""
        return iter(())

    def close(self) -> None:
        """There is nothing to give back."""
