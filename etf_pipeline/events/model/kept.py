"""Events that are kept by the hundred thousand: the newest as they are, older ones compressed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from etf_pipeline.events.model.envelope import Event

# How many are held as objects, a kilobyte each.
_OBJECTS = 20_000
# Fewer of one subject are not worth the head of a compressed table.
_LEAST = 16


class KeptEvents:
    """Events by subject."""

    def __init__(self, objects: int = _OBJECTS) -> None:
        self._most = self._limit = objects
        self._objects: dict[str, list[Event]] = {}
        self._packed: dict[str, list[bytes]] = {}
        self._held = 0

    def add(self, events: Iterable[Event]) -> None:
        """Keep events."""
        for event in events:
            self._objects.setdefault(event.subject, []).append(event)
            self._held += 1
        if self._held > self._limit:
            self._pack()

    def of(self, subject: str) -> Iterator[Event]:
        """The events of one subject, in the order in which they came."""
        from etf_pipeline.events.model.table import from_bytes

        for packed in self._packed.get(subject, ()):
            yield from from_bytes(packed)
        yield from self._objects.get(subject, ())

    def _pack(self) -> None:
        from etf_pipeline.events.model.table import to_bytes

        for subject, events in list(self._objects.items()):
            if len(events) >= _LEAST:
                self._packed.setdefault(subject, []).append(to_bytes(events))
                self._held -= len(events)
                del self._objects[subject]
        self._limit = self._held + self._most
