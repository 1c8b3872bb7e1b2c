"""Where events lie: channel, partition and position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from etf_pipeline.events.model.envelope import Event

Batches = Iterator[list[Event]]
# Channel and partition; the local log has one partition, 0.
Key = tuple[str, int]
# The first position there is, and the one after the last.
Range = tuple[int, int]


class Gone(NamedTuple):
    """Offsets of a partition that its broker let go: the first and the last."""

    channel: str
    partition: int
    first: int
    last: int


class Delivery(NamedTuple):
    """Where an appended event went; `error` says why it went nowhere, `code` for deciding by."""

    partition: int
    position: int
    error: str | None = None
    code: str = ""

    @property
    def ok(self) -> bool:
        """Whether the event is in the log."""
        return self.error is None
