"""What keeps the process that sends to the brokers from it, for those who ask another process."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from typing import Any

from etf_pipeline.errors import EtfError
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.store.processes import is_gone

_FACT = "sender"


def tell(log: SqliteLog, owner: str, why: str | None, closed: Collection[str] = ()) -> None:
    """Note what it is, None when all is well. A log that cannot be written is said elsewhere.

    Args:
        log: the local log.
        owner: the process, named so that a dead one is told (`process_name`).
        why: in words.
        closed: channels whose topics take nothing, whatever the connection.
    """
    with contextlib.suppress(EtfError):
        said = {"owner": owner, "why": why, "closed": sorted(closed)}
        log.append([], facts={_FACT: json.dumps(said)})


def told(log: SqliteLog) -> str | None:
    """What was noted last; None when all was well, or that process is gone."""
    why: str | None = _said(log).get("why")
    return why


def closed(log: SqliteLog) -> frozenset[str]:
    """Channels whose topics take nothing, as was noted last; none when that process is gone."""
    return frozenset(_said(log).get("closed") or ())


def _said(log: SqliteLog) -> dict[str, Any]:
    text = log.fact(_FACT)
    found: dict[str, Any] = {} if text is None else json.loads(text)
    return {} if not found or is_gone(found["owner"]) else found
