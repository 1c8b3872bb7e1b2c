"""Events that are lost for good: declared by somebody, by name and reason, or an error for ever."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.model.envelope import make_event
from etf_pipeline.events.model.numbers import Gap
from etf_pipeline.events.model.positions import Gone
from etf_pipeline.events.model.types import CHANNELS, LINEAGE, EventsLost
from etf_pipeline.events.proof.archiving import Reading
from etf_pipeline.events.protocol import Events


@dataclass(frozen=True)
class Missing:
    """What nothing holds and nobody declared lost: numbers of logs, and offsets of topics."""

    numbers: list[Gap]
    offsets: list[Gone]


def missing_events(events: Events, archive: Archive) -> Missing:
    """What is missing. While topics let go what was not archived, numbers are not known.

    Raises:
        EventError: a log cannot be read.
    """
    if gone := events.gone(archive):
        return Missing([], gone)
    reading = Reading(events, archive, (*CHANNELS, LINEAGE))
    for _ in reading.batches():
        pass
    return Missing(reading.gaps(), [])


def declare_lost(events: Events, archive: Archive, who: str, why: str) -> list[EventsLost]:
    """Record that what is missing now is lost for good, so that replays go on without it.

    Each gap becomes an event, which every machine of the store reads and verify tells for ever.

    Args:
        events: of the store.
        archive: of the store.
        who: declares it.
        why: they are lost.
    """
    found = missing_events(events, archive)
    told = [EventsLost(**g._asdict(), who=who, why=why) for g in found.numbers]
    told += [EventsLost(log="", **g._asdict(), who=who, why=why) for g in found.offsets]
    _record(events, told)
    if found.offsets:
        events.pass_over(archive, found.offsets)
        return told + declare_lost(events, archive, who, why)
    return told


def _record(events: Events, told: list[EventsLost]) -> None:
    now = dt.datetime.now(dt.UTC)
    made = []
    for data in told:
        place = data.log if data.partition is None else str(data.partition)
        subject = f"{data.channel}/{place}/{data.first}-{data.last}"
        made.append(make_event(data, subject, (data.who, data.why), now, events.instance, now))
    events.append(made)
