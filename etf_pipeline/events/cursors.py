"""Cursors kept beside the events, one for each orchestrator's instance that a store has seen."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from etf_pipeline.events.cursor import Cursor
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.orchestrator import LogRecord, OrchestratorLog
from etf_pipeline.events.protocol import Events

log = logging.getLogger(__name__)
# Names of facts beside the events; the tailer was called relay when they were first kept, and then
# there was one for all instances.
CURSOR = "relay"
_OF = f"{CURSOR}:"
Tell = Callable[[LogRecord], Sequence[Event]]


def cursor_of(log: SqliteLog, instance: str) -> Cursor | None:
    """How far an instance was relayed into a log; None for one that it never saw."""
    return Cursor.load(log.fact(_OF + instance))


class Cursors:
    """Where to go on in an instance's log, whatever became of it and of the store meanwhile."""

    def __init__(self, events: Events, source: OrchestratorLog, tell: Tell) -> None:
        self._events = events
        self._source = source
        self._tell = tell

    def load(self, given: str | None = None) -> Cursor:
        """The cursor of the instance; a lower one of the same instance and store is obeyed.

        The first instance that a store ever sees is begun where `EVENT_RELAY_START` says. Any
        other is read from its beginning: which of its records are told already, nobody knows, and
        what is told twice counts once.

        Args:
            given: a cursor kept elsewhere, such as in Dagster's own tables.
        """
        offered = self._acceptable(Cursor.load(given))
        kept = Cursor.load(self._events.log.fact(_OF + self._source.instance))
        if kept is None:
            kept = self._ours(self._of_release_before() or self._first(offered))
            self.keep(kept)
        if offered is not None and offered.position < kept.position:
            return self._ours(offered)
        return kept

    def begin(self, moment: dt.datetime) -> None:
        """Have an instance without a cursor begun no later than at `moment`, with a zone."""
        if self._events.log.fact(_OF + self._source.instance) is None:
            start = self._source.position_before(moment)
            self.load(Cursor(start, start).dump())

    def keep(self, cursor: Cursor) -> None:
        """Keep how far the instance was relayed."""
        mine = self._ours(cursor)
        self._events.log.append([], facts={_OF + mine.instance: mine.dump()})

    def begin_anew(self, cursor: Cursor) -> Cursor:
        """The cursor for a log that turned out to be another than it was."""
        log.warning(
            "the log of %s is not the one that was read up to record %d: it was restored or begun "
            "anew, and is read from its beginning",
            self._source.where,
            cursor.position,
        )
        found = self._ours(Cursor(0, 0))
        self.keep(found)
        return found

    def _ours(self, cursor: Cursor) -> Cursor:
        return replace(cursor, instance=self._source.instance, store=self._events.instance)

    def _acceptable(self, cursor: Cursor | None) -> Cursor | None:
        """A cursor that is given, unless it is about another instance or store."""
        if cursor is None:
            return None
        ours = self._ours(cursor)
        theirs = (cursor.instance or ours.instance, cursor.store or ours.store)
        return cursor if theirs == (ours.instance, ours.store) else None

    def _of_release_before(self) -> Cursor | None:
        """The cursor that an earlier release kept for whatever instance there was, if it is ours.

        It is when what the instance's newest record tells is in the log; the ids alone are alike
        in any two instances. Else the instance is read from its beginning.
        """
        old = Cursor.load(self._events.log.fact(CURSOR))
        if old is None or self._events.log.facts(_OF):
            return None
        records = self._source.records(old.begin(), 2_000)
        for record in reversed([r for r in records if r.storage_id in old.seen]):
            if events := self._tell(record):
                ours = old.position <= self._source.head() and not self._events.log.lacks(events)
                marks = {r.storage_id: r.mark for r in records if r.storage_id in old.seen}
                return replace(old, seen=marks) if ours else Cursor(0, 0)
        return Cursor(0, 0)

    def _first(self, offered: Cursor | None) -> Cursor:
        """Where an instance is begun that has no cursor."""
        if self._events.log.facts(_OF):
            return Cursor(0, 0)
        start = self._start()
        if offered is not None:
            start = min(start, offered.position)
        seen = self._source.records(Cursor(start, start).begin(), 2_000)
        return Cursor(start, start, {r.storage_id: r.mark for r in seen if r.storage_id <= start})

    def _start(self) -> int:
        start = self._events.settings.event_relay_start.strip()
        if start == "now":
            return self._source.head()
        if start == "beginning":
            return 0
        return self._source.position_before(dt.datetime.fromisoformat(start))
