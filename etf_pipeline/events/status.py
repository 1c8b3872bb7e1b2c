"""What `etf status` and `etf events status` tell of a store's events, without a broker's help."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

from etf_pipeline.events.factory import asked_for, detect
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.events.tailer import STATUS
from etf_pipeline.store.layout import Layout


def events_status(data_dir: Path) -> dict[str, Any]:
    """Mode, event counts, what waits for a broker, and how far behind the tailer is.

    `relay` is what the tailer was called when this was first printed.
    """
    settings = load_event_settings()
    found = detect(settings)
    status: dict[str, Any] = {
        "mode": found.mode,
        "why": found.reason,
        "store": settings.event_store_type,
        "events": 0,
        "types": {},
        "waiting": 0,
        "relay": None,
    }
    path = Layout(data_dir).event_log
    if path.exists():
        log = Outbox(path)
        try:
            status["types"] = log.counts()
            status["events"] = sum(status["types"].values())
            if settings.kafka_bootstrap_servers is not None:
                status["waiting"] = log.count_pending()
            text = log.fact(STATUS)
            status["relay"] = None if text is None else json.loads(text)
        finally:
            log.close()
    return status


def events_line(status: dict[str, Any], now: dt.datetime) -> str | None:
    """The same in one line; None when there is nothing to tell."""
    if not status["events"] and not asked_for(load_event_settings()):
        return None
    parts = [f"Events: {status['mode']}", f"{status['events']} in the local log"]
    if status["why"]:
        parts.append(str(status["why"]))
    if status["waiting"]:
        parts.append(f"{status['waiting']} wait for Kafka")
    relay = status["relay"]
    if relay is not None:
        age = now - dt.datetime.fromisoformat(relay["at"])
        parts.append(f"relay {relay['behind']} behind, last ran {age.total_seconds():.0f} s ago")
        if relay["problem"]:
            parts.append(str(relay["problem"]))
    return "; ".join(parts)
