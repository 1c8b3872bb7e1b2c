"""Whose a consumer group is: read models say so on it, so that no others share it.

Two read models in one group would get half of the partitions each. What says whose it is lies with
the group's offset of one partition, where brokers keep a line of text; it outlives the members.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from etf_pipeline.errors import EventError
from etf_pipeline.events.log.projections import Projections

_MOST_CHARACTERS = 400
_RETRY_SECONDS = 0.5
# The group has other members, or is giving out its partitions anew.
_IN_USE = (
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._NO_OFFSET,
)
# The broker that keeps the group is being found.
_MOVING = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError._WAIT_COORD,
)


class ClaimedError(EventError):
    """The group is that of other read models."""


class Claim:
    """What one file of read models says on one group.

    Args:
        projections: the read models.
        group: the group.
        topic: the topic whose first partition bears the claim.
        seconds: how long brokers are waited for.
    """

    def __init__(self, projections: Projections, group: str, topic: str, seconds: float) -> None:
        self._projections = projections
        self._group = group
        self._seconds = seconds
        self.topic = topic

    def held(self, consumer: Consumer) -> bool:
        """Whether the group says that it is ours; False when it says nothing.

        Raises:
            ClaimedError: it says that it is that of others.
            KafkaException: brokers do not answer, or refuse.
        """
        (found,) = consumer.committed([TopicPartition(self.topic, 0)], timeout=self._seconds)
        if found.error is not None:
            raise KafkaException(found.error)
        said = _read(found.metadata)
        if said is None:
            return False
        if said.get("claim") in self._projections.claims():
            return True
        raise ClaimedError(
            f"group {self._group} is that of the read models {said.get('file')} (on "
            f"{said.get('host')}), and each needs a group of its own, as members of one share the "
            f"partitions: leave out --group for {self._projections.path}, or name another; if "
            "those read models are gone, delete the group with Kafka's tools"
        )

    def renew(self, consumer: Consumer) -> bool:
        """Say that the group is ours; False when it has members of whom this is none.

        Whatever was copied from the file meanwhile does not know what is said now.
        """
        said = json.dumps(
            {
                "claim": self._projections.new_claim(),
                "file": str(self._projections.path.absolute())[-_MOST_CHARACTERS:],
                "host": socket.gethostname()[:_MOST_CHARACTERS],
            }
        )
        try:
            done = consumer.commit(
                offsets=[TopicPartition(self.topic, 0, 0, said)], asynchronous=False
            )
        except KafkaException as error:
            if error.args[0].code() in (*_IN_USE, *_MOVING):
                return False
            raise
        return all(p.error is None for p in done or ())

    def take(self, consumer: Consumer, seconds: float) -> None:
        """Make the group ours from outside of it.

        Raises:
            ClaimedError: it is that of others, or has members that do not say whose they are.
            KafkaException: brokers do not answer, or refuse.
        """
        deadline = time.monotonic() + seconds
        while True:
            late = time.monotonic() > deadline
            try:
                if self.held(consumer) or self.renew(consumer):
                    return
            except KafkaException as error:
                if late or error.args[0].code() not in _MOVING:
                    raise
            if late:
                raise ClaimedError(
                    f"group {self._group} has members that do not say which read models they keep: "
                    "another program's, or those of an earlier release; name another with --group"
                )
            time.sleep(_RETRY_SECONDS)


def _read(text: Any) -> dict[str, Any] | None:
    try:
        said = json.loads(text or "")
    except ValueError:
        return None
    return said if isinstance(said, dict) and "claim" in said else None
