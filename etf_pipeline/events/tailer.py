"""The relay: from the orchestrator's log to the event store. Knows no orchestrator.

The log is read in order of its ids. What is relayed becomes events with deterministic ids, so
that a record read twice, or a run that failed half-way, adds nothing twice.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from etf_pipeline.events.facts import events_of_record
from etf_pipeline.events.mode import probe
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.recorder import Recorder
from etf_pipeline.settings.environment import openlineage_disabled
from etf_pipeline.store.layout import Layout

log = logging.getLogger(__name__)
OVERLAP = 1_000
TICK_SECONDS = 15.0
_BATCH_EVENTS = 2_000
_RECORDS = 2_000
CURSOR, STATUS = "relay", "relay_status"
Kind = Literal["materialisation", "start", "success", "failure", "canceled"]


@dataclass(frozen=True)
class LogRecord:
    """One record of the orchestrator's log."""

    storage_id: int
    kind: Kind
    run_id: str
    job: str
    time: dt.datetime
    asset: str | None = None
    partition: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    ingests: bool = False
    run_started: dt.datetime | None = None
    nominal: str | None = None


class OrchestratorLog(Protocol):
    """Reads the orchestrator's log."""

    def head(self) -> int:
        """The greatest id there is, 0 for an empty log."""
        ...

    def position_before(self, moment: dt.datetime) -> int:
        """The id before the first record at or after `moment`."""
        ...

    def records(self, after: int, limit: int) -> list[LogRecord]:
        """Records with greater ids, ascending, at most `limit` of each kind."""
        ...


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
        """From text; None for none, or for one that this relay did not write."""
        try:
            body = json.loads(text or "")
            seen = frozenset(map(int, body["seen"]))
            return cls(int(body["position"]), int(body["since"]), seen)
        except (ValueError, TypeError, KeyError):
            return None

    def after(self, ids: Sequence[int]) -> Cursor:
        """The cursor once these records were relayed too."""
        position = max(self.position, *ids) if ids else self.position
        seen = {i for i in {*self.seen, *ids} if i > position - OVERLAP}
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


class Relay:
    """Reads a log, records events, and moves the cursor to what is safely out."""

    def __init__(self, layout: Layout, recorder: Recorder, source: OrchestratorLog) -> None:
        self._layout = layout
        self._recorder = recorder
        self._source = source
        self._lineage = not openlineage_disabled()

    def cursor(self, given: str | None = None) -> Cursor:
        """Where to go on: the lower of the cursor kept beside the events and the one given.

        On an instance never seen before: its head, or what `EVENT_RELAY_START` says.
        """
        kept, given_one = Cursor.load(self._recorder.log.fact(CURSOR)), Cursor.load(given)
        known = [c for c in (kept, given_one) if c is not None]
        if known:
            return min(known, key=lambda c: c.position)
        start = self._start()
        first = Cursor(start, start)
        self._keep(first)
        return first

    def _start(self) -> int:
        start = self._recorder.settings.event_relay_start.strip()
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
            r
            for r in self._source.records(max(0, cursor.position - OVERLAP), _RECORDS)
            if cursor.wants(r.storage_id)
        ]
        relayed = done = 0
        problem: str | None = None
        if not self._recorder.recording:
            problem = "events are not being recorded now"
            return self._finish(cursor, relayed, done, len(fresh), problem)
        answers = self._answers()
        while done < len(fresh) and time.monotonic() < deadline:
            part, events = self._next(fresh[done:])
            self._recorder.record([e for group in events for e in group])
            good = len(part)
            if self._recorder.mode == "kafka":
                if answers:
                    self._recorder.forwarder.drain(max(0.0, deadline - time.monotonic()))
                good = self._delivered(events)
                problem = None if good == len(part) else self._recorder.forwarder.problem
            cursor = cursor.after([r.storage_id for r in part[:good]])
            self._keep(cursor)
            done += good
            relayed += sum(map(len, events[:good]))
            if good < len(part):
                problem = problem or "Kafka does not answer"
                break
        if self._recorder.mode == "kafka" and answers:  # what other processes left
            self._recorder.forwarder.drain(max(0.0, deadline - time.monotonic()))
        return self._finish(cursor, relayed, done, len(fresh) - done, problem)

    def _answers(self) -> bool:
        servers = self._recorder.settings.kafka_bootstrap_servers
        return self._recorder.mode == "kafka" and probe(servers or "", 1.0) is None

    def _next(self, records: list[LogRecord]) -> tuple[list[LogRecord], list[list[Event]]]:
        """The next records whose events fit one batch, and their events; at least one record."""
        groups: list[list[Event]] = []
        total = 0
        for record in records:
            events = events_of_record(self._layout, record, self._recorder.instance)
            if self._lineage:
                # its client brings an HTTP library along
                from etf_pipeline.events.lineage import lineage_events

                events += lineage_events(self._layout, record)
            if groups and total + len(events) > _BATCH_EVENTS:
                break
            groups.append(events)
            total += len(events)
        return records[: len(groups)], groups

    def _delivered(self, groups: list[list[Event]]) -> int:
        """How many records, from the first on, are wholly confirmed by the broker."""
        for i, events in enumerate(groups):
            if not self._recorder.log.all_delivered(events):
                return i
        return len(groups)

    def _keep(self, cursor: Cursor) -> None:
        self._recorder.log.append([], facts={CURSOR: cursor.dump()})

    def _finish(
        self, cursor: Cursor, relayed: int, done: int, behind: int, problem: str | None
    ) -> Tick:
        kafka = self._recorder.mode == "kafka"
        pending = self._recorder.log.count_pending() if kafka else 0
        tick = Tick(cursor.dump(), relayed, done, behind, pending, problem)
        status = {
            "at": dt.datetime.now(dt.UTC).isoformat(),
            "behind": behind,
            "pending": pending,
            "problem": problem,
        }
        self._recorder.log.append([], facts={STATUS: json.dumps(status)})
        if problem is not None:
            log.warning("event relay: %s", tick.summary)
        return tick
