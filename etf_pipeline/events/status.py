"""What `etf status`, `etf events status` and `etf doctor` tell of a store's events."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etf_pipeline.errors import EtfError
from etf_pipeline.events.factory import asked_for, detect, examine
from etf_pipeline.events.log.identity import check_store_id, known_store_id
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.parked import Parked
from etf_pipeline.events.log.sender import told
from etf_pipeline.events.proof.heads import SIGNING
from etf_pipeline.events.proof.relayed import STATUS
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.model.schemas import HISTORY, RAW
from etf_pipeline.store.closed import is_there
from etf_pipeline.store.layout import Layout

# What a queue takes at the most, when all is well.
_PATIENCE = dt.timedelta(minutes=1)
# Bytes on the disk of the log with which it still grows for a while.
_LEAST_FREE = 2**20


@dataclass
class EventsStatus:
    """How events are recorded, and what is in the local log.

    `store` is what was asked for, `mode` what came of it and `why` the reason when that is less;
    `types` counts events by type, `waiting` those that wait for a broker; `relay` is what the
    tailer said last, under the name it had when this was first printed, and `relays` what it said
    last of each instance of the orchestrator, the newest first. `parked` counts records
    that could not be read by reason, `parked_missing` those of them that an event is missing for.
    `signing` says why the head of the log was not signed when it was last to be.
    `sends` is whether this mode sends to a broker, `since` when the oldest of those that wait was
    recorded; `hindered` says what keeps the process that sends from it; `problem` says what is
    wrong, where and what helps; of Kafka, if it was looked at.
    `store_id` is what another machine states to continue the store; None before the first event.
    `undeliverable` counts events that a broker refused, by its reason code.
    """

    asked: bool
    mode: str
    why: str | None
    store: str
    types: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    relay: dict[str, Any] | None = None
    parked: dict[str, int] = field(default_factory=dict)
    parked_missing: int = 0
    signing: str | None = None
    sends: bool = False
    since: dt.datetime | None = None
    hindered: str | None = None
    problem: str | None = None
    store_id: str | None = None
    undeliverable: dict[str, int] = field(default_factory=dict)
    relays: list[dict[str, Any]] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many events there are in the local log."""
        return sum(self.types.values())


def events_status(data_dir: Path, settings: EventSettings) -> EventsStatus:
    """Mode, event counts, what waits for a broker, and how far behind the tailer is.

    No broker is asked for more than whether it answers.
    """
    found = detect(settings)
    status = EventsStatus(asked_for(settings), found.mode, found.reason, settings.event_store_type)
    status.sends = found.sends
    status.store_id = known_store_id(Layout(data_dir))
    path = Layout(data_dir).event_log
    if is_there(path):
        log = Outbox(path)
        try:
            if status.asked:
                status.problem = _of_one_store(Layout(data_dir), log, settings) or _no_room(path)
            status.types = log.counts()
            if settings.kafka_bootstrap_servers is not None:
                status.waiting = log.count_pending()
                status.since = next((e.recorded for e in log.pending(1)), None)
                status.hindered = told(log) if status.waiting else None
            status.undeliverable = log.undeliverable()[0]
            text = log.fact(STATUS)
            status.relay = None if text is None else json.loads(text)
            each = map(json.loads, log.facts(f"{STATUS}:").values())
            status.relays = sorted(each, key=lambda r: str(r["at"]), reverse=True)
            status.signing = log.fact(SIGNING) or None
        finally:
            log.close()
        parked = Parked(path)
        try:
            status.parked = parked.counts()
            status.parked_missing = sum(parked.missing().values())
        finally:
            parked.close()
    return status


def no_store(layout: Layout, settings: EventSettings) -> str | None:
    """Why there is nothing to tell of, in words; None where there is a store, or Kafka has one."""
    parts = (layout.event_log, layout.store_id, layout.archive, *map(layout.folder, (RAW, HISTORY)))
    if settings.event_store_id is not None or any(map(is_there, parts)):
        return None
    there = "has no store yet" if layout.root.is_dir() else "is not there"
    return (
        f"{layout.root} {there}: see --data-dir and ETF_DATA_DIR. `etf run` makes a store; "
        "EVENT_STORE_ID names one that other machines have, to be continued here"
    )


def _of_one_store(layout: Layout, log: Outbox, settings: EventSettings) -> str | None:
    """Why no call can be recorded, as the store is another one than it should be."""
    try:
        check_store_id(layout, log, settings.event_store_id)
    except EtfError as error:
        return str(error)
    return None


def _no_room(path: Path) -> str | None:
    """Why no call can be recorded, as the disk of the log is full."""
    free = shutil.disk_usage(path.parent).free
    if free >= _LEAST_FREE:
        return None
    return (
        f"{path}: its disk has {free / 2**20:.1f} MiB free, so calls and runs fail as they cannot "
        "be recorded; free some space"
    )


def examined_status(data_dir: Path, settings: EventSettings) -> tuple[EventsStatus, str]:
    """The same with a close look at Kafka, of some seconds; and in words, whether all is well."""
    status, looked = events_status(data_dir, settings), ""
    try:
        looked = examine(settings)
        age = None if status.since is None else dt.datetime.now(dt.UTC) - status.since
        stuck = age is not None and age > _PATIENCE and status.sends
        if stuck and status.problem is None:
            why = (
                "though Kafka would take them: no process is sending them. Any that records "
                "sends them, such as Dagster's sensor event_relay; so does `etf selftest`"
            )
            if status.hindered is not None:
                why = (
                    f"though Kafka answers here; the process that sends them: {status.hindered}. "
                    "If its settings are no longer right, such as a password that was changed, "
                    "start it again with the new ones"
                )
            status.problem = (
                f"{status.waiting} events wait, the oldest since {status.since:%Y-%m-%d %H:%M} "
                f"UTC, {why}"
            )
    except EtfError as error:
        status.problem = str(error)
    return status, looked
