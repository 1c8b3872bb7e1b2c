"""The newest events of a store, found without reading it all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow.parquet as pq

from etf_pipeline.events.log.archive import Archive, Archived
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.events.proof.archiving import files_beside, of_store
from etf_pipeline.events.protocol import Events

_EVER = 2**63 - 1


@dataclass
class _Newest:
    """The newest of the events it was given, each once.

    Of copies that of a log in `own`, else the one recorded first.
    """

    limit: int
    subject: str | None
    kind: str | None
    own: frozenset[str]

    def __post_init__(self) -> None:
        self.found: list[Event] = []

    def take(self, events: Iterable[Event]) -> None:
        wanted = [
            e
            for e in events
            if self.subject in (None, e.subject)
            and self.kind in (None, e.type)
            and e.time_us >= self.least
        ]
        if wanted:
            by_id: dict[str, Event] = {}
            for event in [*self.found, *wanted]:
                known = by_id.get(event.id)
                if known is None or self._rank(event) < self._rank(known):
                    by_id[event.id] = event
            ordered = sorted(by_id.values(), key=lambda e: (e.time_us, e.id), reverse=True)
            self.found = ordered[: self.limit]

    def _rank(self, event: Event) -> tuple[bool, int]:
        return event.log not in self.own, event.recorded_us

    @property
    def least(self) -> int:
        """What happened before this is not among them (microseconds)."""
        return self.found[-1].time_us if len(self.found) == self.limit else -_EVER


def newest(
    events: Events,
    archive: Archive,
    limit: int,
    subject: str | None = None,
    kind: str | None = None,
) -> list[Event]:
    """The events that happened last, the last first, each once.

    The local log has an index by time, archive files say what their newest event is, and of topics
    only that is read which this machine did not send. It is no proof that nothing is missing.

    Args:
        events: of the store.
        archive: of the store.
        limit: how many.
        subject: only of this ticker or portfolio.
        kind: only of this type.

    Raises:
        EventError: a log cannot be read.
    """
    best = _Newest(limit, subject, kind, events.log.own_ids)
    # The log first, as things only move from it to the archive.
    best.take(events.log.newest(limit, CHANNELS, subject, kind))
    start = events.seam(archive)
    files = [(_last_time(f), f) for f in files_beside(archive, events.log, CHANNELS)]
    for time_us, file in sorted(files, key=lambda one: one[0], reverse=True):
        if time_us < best.least:
            break
        for batch in of_store(file, events.instance):
            best.take(batch)
    for batch in events.besides(CHANNELS, start):
        best.take(batch)
    return best.found


def _last_time(file: Archived) -> int:
    """When the newest event of a file happened (microseconds), by its footer."""
    footer = pq.read_metadata(file.path)
    column = footer.schema.to_arrow_schema().get_field_index("time")
    found = []
    for i in range(footer.num_row_groups):
        told = footer.row_group(i).column(column).statistics
        if told is None or not told.has_min_max:
            return _EVER
        found.append(int(told.max_raw))
    return max(found, default=-_EVER)
