"""The tailer: from the orchestrator's log to the events of the store. Knows no orchestrator.

The log is read in order of its ids. What is relayed becomes events with deterministic ids, so
that a record read twice, or a run that failed half-way, adds nothing twice.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from etf_pipeline.events.facts import events_of_record
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.orchestrator import LogRecord, OrchestratorLog
from etf_pipeline.events.proof.heads import sign_daily
from etf_pipeline.events.protocol import Events
from etf_pipeline.store.layout import Layout

log = logging.getLogger(__name__)
OVERLAP = 1_000
TICK_SECONDS = 15.0
_BATCH_EVENTS = 2_000
_RECORDS = 2_000
# Names of facts beside the events; the tailer was called relay when they were first kept.
CURSOR, STATUS = "relay", "relay_status"


@dataclass(frozen=True)
class Cursor:
    """Everything after `since` and up to `position` was relayed, `seen` being the ids near it.

    On some databases an id can become visible after a greater one: what lies in the overlap
    below `position` and was not seen is still relayed.
    """

    position: int
    since: int
    seen: frozenset[int] = frozenset()

    def dump(self) -> str:
        """As text."""
        return json.dumps(
            {"position": self.position, "since": self.since, "seen": sorted(self.seen)}
        )

    @classmethod
    def load(cls, text: str | None) -> Cursor | None:
        """From text; None for none, or for one that no tailer wrote."""
        try:
            body = json.loads(text or "")
            seen = frozenset(map(int, body["seen"]))
            return cls(int(body["position"]), int(body["since"]), seen)
        except (ValueError, TypeError, KeyError):
            return None

    def begin(self, overlap: int = OVERLAP) -> int:
        """The id after which records are to be read."""
        return max(0, self.position - overlap)

    def after(self, ids: Sequence[int], overlap: int = OVERLAP) -> Cursor:
        """The cursor once these records were relayed too."""
        position = max(self.position, *ids) if ids else self.position
        seen = {i for i in {*self.seen, *ids} if i > position - overlap}
        return Cursor(position, self.since, frozenset(seen))

    def wants(self, storage_id: int) -> bool:
        """Whether a record is still to be relayed."""
        return storage_id > self.since and storage_id not in self.seen


@dataclass(frozen=True)
class Tick:
    """What one tick did."""

    cursor: str
    relayed: int
    records: int
    behind: int
    pending: int
    problem: str | None = None

    @property
    def summary(self) -> str:
        """In words."""
        text = f"relayed {self.relayed} events of {self.records} records; {self.behind} behind"
        if self.pending:
            text += f"; {self.pending} events wait for Kafka"
        return f"{text}; {self.problem}" if self.problem else text


class Tailer:
    """Reads a log, records events, and moves the cursor to what is safely out."""

    def __init__(self, layout: Layout, events: Events, source: OrchestratorLog) -> None:
        self._layout = layout
        self._events = events
        self._source = source

    def cursor(self, given: str | None = None) -> Cursor:
        """Where to go on: the lower of the cursor kept beside the events and the one given.

        On an instance never seen before: its head, or what `EVENT_RELAY_START` says.
        """
        kept, given_one = Cursor.load(self._events.log.fact(CURSOR)), Cursor.load(given)
        known = [c for c in (kept, given_one) if c is not None]
        if known:
            return min(known, key=lambda c: c.position)
        start = self._start()
        first = Cursor(start, start)
        self._keep(first)
        return first

    def _start(self) -> int:
        start = self._events.settings.event_relay_start.strip()
        if start == "now":
            return self._source.head()
        if start == "beginning":
            return 0
        return self._source.position_before(dt.datetime.fromisoformat(start))

    def tick(self, given: str | None = None, seconds: float = TICK_SECONDS) -> Tick:
        """Relay what is new, for at most about `seconds`.

        Args:
            given: a cursor kept elsewhere, such as Dagster's.
            seconds: after this long nothing more is begun, and nothing is waited for.
        """
        deadline = time.monotonic() + seconds
        cursor = self.cursor(given)
        fresh = [
            r for r in self._source.records(cursor.begin(), _RECORDS) if cursor.wants(r.storage_id)
        ]
        if not self._events.recording:
            return self._finish(cursor, 0, 0, len(fresh), "events are not being recorded now")
        relayed = done = 0
        problem: str | None = None
        # Asked once: nothing is waited for while nobody answers.
        answers = self._events.answers()
        while done < len(fresh) and time.monotonic() < deadline:
            part, groups = self._next(fresh[done:])
            self._events.append([e for group in groups for e in group])
            if answers:
                self._events.drain(max(0.0, deadline - time.monotonic()))
            good = self._confirmed(groups)
            cursor = cursor.after([r.storage_id for r in part[:good]])
            self._keep(cursor)
            done += good
            relayed += sum(map(len, groups[:good]))
            if good < len(part):
                problem = self._events.problem or "Kafka does not answer"
                break
        if answers:  # what other processes left
            self._events.drain(max(0.0, deadline - time.monotonic()))
        return self._finish(cursor, relayed, done, len(fresh) - done, problem)

    def _next(self, records: list[LogRecord]) -> tuple[list[LogRecord], list[list[Event]]]:
        """The next records whose events fit one batch, and their events; at least one record."""
        settings = self._events.settings
        groups: list[list[Event]] = []
        total = 0
        for record in records:
            events = events_of_record(self._layout, record, self._events.instance)
            if not settings.openlineage_disabled:
                # its client brings an HTTP library along
                from etf_pipeline.events.lineage import lineage_events

                events += lineage_events(
                    self._layout, record, settings.openlineage_namespace, self._events.instance
                )
            if groups and total + len(events) > _BATCH_EVENTS:
                break
            groups.append(events)
            total += len(events)
        return records[: len(groups)], groups

    def _confirmed(self, groups: list[list[Event]]) -> int:
        """How many records, from the first on, are wholly where they are to be."""
        for i, group in enumerate(groups):
            if not self._events.confirmed(group):
                return i
        return len(groups)

    def _keep(self, cursor: Cursor) -> None:
        self._events.log.append([], facts={CURSOR: cursor.dump()})

    def _finish(
        self, cursor: Cursor, relayed: int, done: int, behind: int, problem: str | None
    ) -> Tick:
        sign_daily(self._events, self._layout, dt.datetime.now(dt.UTC))
        pending = self._events.count_pending()
        tick = Tick(cursor.dump(), relayed, done, behind, pending, problem)
        status = {
            "at": dt.datetime.now(dt.UTC).isoformat(),
            "behind": behind,
            "pending": pending,
            "problem": problem,
        }
        self._events.log.append([], facts={STATUS: json.dumps(status)})
        if problem is not None:
            log.warning("event relay: %s", tick.summary)
        return tick
