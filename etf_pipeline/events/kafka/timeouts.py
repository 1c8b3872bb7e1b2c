"""How long Kafka is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timeouts:
    """Seconds.

    Attributes:
        ask: for an answer to one question (offsets, one message, topics).
        stall: between two answers while a topic is read.
        report: for the delivery reports of one batch.
    """

    ask: float = 10.0
    stall: float = 30.0
    report: float = 15.0
