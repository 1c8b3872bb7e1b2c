"""What could not be told when its record was read: put aside, and told as soon as it can be.

A manifest that cannot be read is parked under its path, a record that cannot be made sense of under
its id. Both are tried again, some at a time and in turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.events.facts import Told, Unreadable, told_of_manifest
from etf_pipeline.events.log.parked import MANIFEST, ORCHESTRATOR, Parked, Spot, parked_record
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.orchestrator import LogRecord, OrchestratorLog
from etf_pipeline.events.protocol import Events
from etf_pipeline.model.sayable import sayable
from etf_pipeline.store.layout import Layout

_AT_ONCE = 100
_TRIED = "parked_tried"
_DETAIL = 1_500


class Puzzling(NamedTuple):
    """A record of the orchestrator that nothing can be told of."""

    record: LogRecord
    code: ReasonCode
    why: str

    @classmethod
    def by(cls, record: LogRecord, error: Exception) -> Puzzling:
        """By the error that it caused."""
        code = error.code if isinstance(error, EtfError) else ReasonCode.UNREADABLE_RECORD
        return cls(record, code, f"{type(error).__name__}: {error}")


class Retelling:
    """What is parked of one store, for the tailer of one instance."""

    def __init__(
        self,
        layout: Layout,
        events: Events,
        source: OrchestratorLog,
        tell: Callable[[LogRecord], Told],
    ) -> None:
        self._layout = layout
        self._events = events
        self._source = source
        self._tell = tell
        self._parked = Parked(layout.event_log)

    def park(self, unreadable: Sequence[Unreadable], puzzling: Sequence[Puzzling] = ()) -> int:
        """Put aside what cannot be told now; how many of it was not aside before."""
        manifests = [
            parked_record(
                Spot(MANIFEST, name := self._layout.relative(u.manifest), 0, 0),
                u.code,
                sayable(u.why, _DETAIL),
                name.encode(),
                missing=True,
            )
            for u in unreadable
        ]
        records = [
            parked_record(
                Spot(ORCHESTRATOR, self._source.instance, 0, p.record.storage_id),
                p.code,
                sayable(f"run {p.record.run_id}, {p.record.kind}: {p.why}", _DETAIL),
                p.record.mark.encode(),
                missing=True,
            )
            for p in puzzling
        ]
        return self._parked.add([*manifests, *records])

    def retell(self) -> int:
        """Record what is parked and can be told by now; how many events that were."""
        spots = self._turn()
        told = {spot: self._told(spot) for spot in spots}
        ready = {spot: events for spot, events in told.items() if events is not None}
        fresh = self._events.log.lacks([e for events in ready.values() for e in events])
        if fresh:
            self._events.append(fresh)
        for spot in ready:
            self._parked.release(spot)
        return len(fresh)

    def close(self) -> None:
        """Close the file."""
        self._parked.close()

    def _turn(self) -> list[Spot]:
        """The next ones to try; what is beyond help does not keep others from their turn."""
        mine = [s for s in self._parked.spots(ORCHESTRATOR) if s.name == self._source.instance]
        spots = self._parked.spots(MANIFEST) + mine
        if len(spots) <= _AT_ONCE:
            return spots
        tried = int(self._events.log.fact(_TRIED) or 0) % len(spots)
        self._events.log.append([], facts={_TRIED: str(tried + _AT_ONCE)})
        return (spots[tried:] + spots[:tried])[:_AT_ONCE]

    def _told(self, spot: Spot) -> list[Event] | None:
        """Everything that is to be told of it; None while that cannot be had."""
        if spot.kind == MANIFEST:
            path = self._layout.absolute(spot.name)
            told = told_of_manifest(self._layout, path, self._events.instance)
            return None if told.unreadable else told.events
        after = self._source.records(spot.position - 1, 1)
        for record in after:
            if record.storage_id == spot.position:
                try:
                    return self._tell(record).events
                except Exception:  # as it was when it was parked
                    return None
        return None
