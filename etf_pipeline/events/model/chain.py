"""The hash chain over the events of a local log: each hash vouches for all events before it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

GENESIS = b"\0" * 32
# Fields of an event that are hashed; where it lies is not among them.
_HASHED = 9


@dataclass(frozen=True)
class Verified:
    """A log that is whole: how many events, up to which, and the hash that vouches for them."""

    events: int
    last: int
    head: str


def chain(before: bytes, event: Sequence[object]) -> bytes:
    """SHA-256 of the hash before and every field of the event (the columns of the log)."""
    body = "\x1f".join(map(str, event[:_HASHED]))
    return hashlib.sha256(before + body.encode()).digest()
