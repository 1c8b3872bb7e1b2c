"""What `etf status` and `etf events status` tell of a store's events, without a broker's help."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etf_pipeline.events.factory import asked_for, detect
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.parked import Parked
from etf_pipeline.events.proof.heads import SIGNING
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.events.tailer import STATUS
from etf_pipeline.store.layout import Layout


@dataclass
class EventsStatus:
    """How events are recorded, and what is in the local log.

    `store` is what was asked for, `mode` what came of it and `why` the reason when that is less;
    `types` counts events by type, `waiting` those that wait for a broker; `relay` is what the
    tailer said last, under the name it had when this was first printed. `parked` counts records
    that could not be read by reason, `parked_missing` those of them that an event is missing for.
    `signing` says why the head of the log was not signed when it was last to be.
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

    @property
    def events(self) -> int:
        """How many events there are in the local log."""
        return sum(self.types.values())


def events_status(data_dir: Path, settings: EventSettings) -> EventsStatus:
    """Mode, event counts, what waits for a broker, and how far behind the tailer is."""
    found = detect(settings)
    status = EventsStatus(asked_for(settings), found.mode, found.reason, settings.event_store_type)
    path = Layout(data_dir).event_log
    if path.exists():
        log = Outbox(path)
        try:
            status.types = log.counts()
            if settings.kafka_bootstrap_servers is not None:
                status.waiting = log.count_pending()
            text = log.fact(STATUS)
            status.relay = None if text is None else json.loads(text)
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
