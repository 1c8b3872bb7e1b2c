"""The tailer: from the orchestrator's log to the events of the store. Knows no orchestrator.

The log is read in order of its ids. What is relayed becomes events with deterministic ids, so
that a record read twice, or a run that failed half-way, adds nothing twice. What cannot be read is
put aside and stops nothing.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from etf_pipeline.events.cursor import OVERLAP as OVERLAP
from etf_pipeline.events.cursor import Cursor as Cursor
from etf_pipeline.events.cursors import Cursors
from etf_pipeline.events.facts import ASSETS, Told, Unreadable, told_of_record
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.orchestrator import LogRecord, Open, OrchestratorLog
from etf_pipeline.events.ownership import Ownership
from etf_pipeline.events.proof.heads import sign_daily
from etf_pipeline.events.proof.relayed import STATUS
from etf_pipeline.events.protocol import Events
from etf_pipeline.events.retelling import Puzzling, Retelling
from etf_pipeline.events.untold import Untold
from etf_pipeline.model.sayable import sayable
from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.store.layout import Layout

log = logging.getLogger(__name__)
TICK_SECONDS = 15.0
_BATCH_EVENTS = 2_000
_RECORDS = 2_000
# How far ahead is counted what is left when time runs out.
_COUNTED = 200


@dataclass(frozen=True)
class Tick:
    """What one tick did.

    Attributes:
        cursor: where the next one goes on.
        relayed: events, of `records` records.
        behind: records that are still to be read; `more` where there are more than these.
        pending: events that wait for Kafka.
        parked: what could not be told this time, and was not known to be so.
        elsewhere: records that were of other stores.
        problem: what keeps it from going on, in words.
    """

    cursor: str
    relayed: int
    records: int
    behind: int
    pending: int
    problem: str | None = None
    more: bool = False
    parked: int = 0
    elsewhere: int = 0

    @property
    def summary(self) -> str:
        """In words."""
        more = " or more" if self.more else ""
        text = (
            f"relayed {self.relayed} events of {self.records} records; {self.behind}{more} behind"
        )
        if self.elsewhere:
            text += f"; {self.elsewhere} records are of other stores"
        if self.parked:
            text += f"; {self.parked} could not be read (etf events parked)"
        if self.pending:
            text += f"; {self.pending} events wait for Kafka"
        return f"{text}; {self.problem}" if self.problem else text


@dataclass
class _Group:
    """What is told of one record, and what cannot be."""

    record: LogRecord
    events: list[Event] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    puzzling: list[Puzzling] = field(default_factory=list)
    elsewhere: bool = False


@dataclass
class _Work:
    """How far a tick has come."""

    cursor: Cursor
    deadline: float
    open: Open | None
    relayed: int = 0
    records: int = 0
    behind: int = 0
    more: bool = False
    parked: int = 0
    elsewhere: int = 0
    problem: str | None = None

    @property
    def over(self) -> bool:
        return self.problem is not None or time.monotonic() >= self.deadline


class Tailer:
    """Reads a log, records events, and moves the cursor to what is safely out.

    `files` are the files that people edit, by the name they have in the lineage.
    """

    def __init__(
        self,
        layout: Layout,
        events: Events,
        source: OrchestratorLog,
        files: dict[str, Path] | None = None,
    ) -> None:
        self._layout = layout
        self._events = events
        self._source = source
        self._files = files or {}
        self._cursors = Cursors(events, source, lambda record: self._told(record).events)
        self._retelling = Retelling(layout, events, source, self._told)
        self._untold = Untold(layout, events, source)
        self._ownership = Ownership(layout, events.log, lambda: events.instance)

    def cursor(self, given: str | None = None) -> Cursor:
        """Where to go on: see `Cursors.load`; kept from the first call on."""
        self._untold.begin()
        self._ownership.note()
        return self._cursors.load(given)

    def begin(self, moment: dt.datetime) -> None:
        """Take the place to begin, where none was taken yet, so that a run that began then is told.

        Args:
            moment: when the run was made; whatever its store and instance saw later is told too.
        """
        self._untold.begin()
        self._ownership.note()
        self._cursors.begin(moment)

    def tick(self, given: str | None = None, seconds: float = TICK_SECONDS) -> Tick:
        """Relay what is new, for at most about `seconds`.

        Args:
            given: a cursor kept elsewhere, such as Dagster's.
            seconds: after this long nothing more is begun, and nothing is waited for.
        """
        try:
            return self._ticked(given, seconds)
        finally:
            self._retelling.close()

    def _ticked(self, given: str | None, seconds: float) -> Tick:
        start, found = self.cursor(given), self._source.open()
        work = _Work(start.looked(found), time.monotonic() + seconds, found)
        fresh = self._fresh(work)
        if not self._events.recording:
            work.behind, work.problem = len(fresh), "events are not being recorded now"
            return self._finish(work)
        # Asked once: nothing is waited for while nobody answers.
        answers = self._events.answers()
        while fresh:
            left = self._relay(work, fresh, answers)
            if left or work.over:
                rest = len(self._source.records(fresh[-1].storage_id, _COUNTED))
                work.behind, work.more = left + rest, rest >= _COUNTED
                break
            fresh = self._fresh(work)
        if not fresh:
            work.cursor = work.cursor.after(())
        if work.cursor != start:
            self._cursors.keep(work.cursor)
        if not work.over:
            work.relayed += self._retelling.retell()
            self._sweep(work)
        if answers:  # what other processes left, too
            self._events.drain(max(0.0, work.deadline - time.monotonic()))
        return self._finish(work)

    def _fresh(self, work: _Work) -> list[LogRecord]:
        """The next records that are to be relayed; from the beginning of a log that was changed."""
        found = self._near(work.cursor)
        if not work.cursor.is_of(self._source.head(), {r.storage_id: r.mark for r in found}):
            work.cursor = self._cursors.begin_anew(work.cursor).looked(work.open)
            found = self._near(work.cursor)
        return [r for r in found if work.cursor.wants(r.storage_id)]

    def _near(self, cursor: Cursor) -> list[LogRecord]:
        """The records from where a cursor begins to beyond its position."""
        found = self._source.records(cursor.begin(), _RECORDS)
        while len(found) >= _RECORDS and found[-1].storage_id <= cursor.position:
            more = self._source.records(found[-1].storage_id, _RECORDS)
            found += more
            if len(more) < _RECORDS:
                break
        return found

    def _relay(self, work: _Work, fresh: list[LogRecord], answers: bool) -> int:
        """Relay these records as far as time and Kafka allow; returns how many are left."""
        done = 0
        while done < len(fresh) and not work.over:
            groups = self._next(fresh[done:])
            work.parked += self._retelling.park(
                [u for g in groups for u in g.unreadable], [p for g in groups for p in g.puzzling]
            )
            self._events.append([e for g in groups for e in g.events])
            if answers:
                self._events.drain(max(0.0, work.deadline - time.monotonic()))
            good = groups[: self._confirmed(groups)]
            done += len(good)
            left = fresh[done].storage_id if done < len(fresh) else None
            marks = {g.record.storage_id: g.record.mark for g in good}
            work.cursor = work.cursor.after(marks, left=left)
            self._cursors.keep(work.cursor)
            self._untold.told(self._manifests(good))
            work.records += len(good)
            work.relayed += sum(len(g.events) for g in good)
            work.elsewhere += sum(g.elsewhere for g in good)
            if len(good) < len(groups):
                work.problem = self._events.problem or "Kafka does not answer"
        return len(fresh) - done

    def _next(self, records: list[LogRecord]) -> list[_Group]:
        """The next records whose events fit one batch, and their events; at least one record."""
        groups: list[_Group] = []
        total = 0
        for record in records:
            group = self._group(record)
            if groups and total + len(group.events) > _BATCH_EVENTS:
                break
            groups.append(group)
            total += len(group.events)
        return groups

    def _group(self, record: LogRecord) -> _Group:
        """What is told of a record; never an error for what it holds."""
        group = _Group(record)
        try:
            if not self._ownership.ours(record):
                group.elsewhere = True
                return group
            told = self._told(record)
        except Exception as error:  # a record may hold anything, and no other waits for it
            log.exception("record %d of %s cannot be told", record.storage_id, self._source.where)
            group.puzzling.append(Puzzling.by(record, error))
            return group
        group.events, group.unreadable = told
        return group

    def _told(self, record: LogRecord) -> Told:
        """Everything that is told of one record.

        Raises:
            Exception: whatever a record that is not as it should be leads to.
        """
        if record.kind == "unreadable":
            raise ValueError(sayable(record.error or ""))
        events, unreadable = told_of_record(self._layout, record, self._events.instance)
        settings = self._events.settings
        if not settings.openlineage_disabled:
            # its client brings an HTTP library along
            from etf_pipeline.events.lineage import lineage_events

            events += lineage_events(
                self._layout,
                record,
                settings.openlineage_namespace,
                self._events.instance,
                self._files,
            )
        for event in events:
            event.data.encode()  # what cannot be written is told now, and not when all are
        return Told(events, unreadable)

    def _manifests(self, groups: Sequence[_Group]) -> list[Path]:
        """Manifests of materialisations that were told."""
        keys = [(g.record.asset, g.record.run_id, g.record.partition) for g in groups]
        return [self._layout.of(MANIFEST, *key) for key in keys if key[0] in ASSETS]

    def _confirmed(self, groups: list[_Group]) -> int:
        """How many records, from the first on, are wholly where they are to be."""
        for i, group in enumerate(groups):
            if not self._events.confirmed(group.events):
                return i
        return len(groups)

    def _sweep(self, work: _Work) -> None:
        """Tell manifests that no record led to."""
        for told in self._untold.find(work.deadline):
            work.parked += self._retelling.park(told.unreadable)
            fresh = self._events.log.lacks(told.events)
            if fresh:
                self._events.append(fresh)
                work.relayed += len(fresh)

    def _finish(self, work: _Work) -> Tick:
        sign_daily(self._events, self._layout, dt.datetime.now(dt.UTC))
        pending = self._events.count_pending()
        tick = Tick(
            work.cursor.dump(),
            work.relayed,
            work.records,
            work.behind,
            pending,
            work.problem,
            work.more,
            work.parked,
            work.elsewhere,
        )
        status = {
            "at": dt.datetime.now(dt.UTC).isoformat(),
            "behind": work.behind,
            "more": work.more,
            "pending": pending,
            "problem": None if work.problem is None else sayable(work.problem),
            "instance": self._source.instance,
            "where": self._source.where,
        }
        text = json.dumps(status)
        self._events.log.append([], facts={STATUS: text, f"{STATUS}:{status['instance']}": text})
        if work.problem is not None:
            log.warning("event relay: %s", tick.summary)
        return tick
