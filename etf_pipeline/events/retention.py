"""How long events are kept, by brokers and by the local log: `EVENT_STORE_RETENTION_DAYS`."""

from __future__ import annotations

import datetime as dt

from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.model.envelope import micros

_MS_PER_DAY = 86_400_000


def broker_retention(days: int) -> str:
    """`retention.ms` of topics that are made here; -1 is for ever."""
    return "-1" if days < 0 else str(days * _MS_PER_DAY)


def prune(log: Outbox, days: int, safe: int) -> int:
    """Let events of the local log go that are older than `days`; returns how many.

    Args:
        log: the local log.
        days: -1 keeps everything.
        safe: number of the last event that is kept elsewhere, with all before it.
    """
    if days < 0:
        return 0
    before = micros(dt.datetime.now(dt.UTC) - dt.timedelta(days=days))
    return log.prune(min(safe, log.last_recorded_before(before)))
