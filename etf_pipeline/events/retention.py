"""How long brokers keep events: `EVENT_STORE_RETENTION_DAYS`."""

from __future__ import annotations

_MS_PER_DAY = 86_400_000


def broker_retention(days: int) -> str:
    """`retention.ms` of topics that are made here; -1 is for ever."""
    return "-1" if days < 0 else str(days * _MS_PER_DAY)
