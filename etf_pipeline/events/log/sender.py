"""What keeps the process that sends to the brokers from it, for those who ask another process."""

from __future__ import annotations

import contextlib
import json

from etf_pipeline.errors import EtfError
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.store.processes import is_gone

_FACT = "sender"


def tell(log: SqliteLog, owner: str, why: str | None) -> None:
    """Note what it is, None when all is well. A log that cannot be written is said elsewhere.

    Args:
        log: the local log.
        owner: the process, named so that a dead one is told (`process_name`).
        why: in words.
    """
    with contextlib.suppress(EtfError):
        log.append([], facts={_FACT: json.dumps({"owner": owner, "why": why})})


def told(log: SqliteLog) -> str | None:
    """What was noted last; None when all was well, or that process is gone."""
    text = log.fact(_FACT)
    if text is None:
        return None
    found = json.loads(text)
    return None if is_gone(found["owner"]) else found["why"]
