"""What a consumer group leaves unread."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

_ASK_SECONDS = 5.0


def left_out(admin: AdminClient, group: str, topics: Iterable[str]) -> set[tuple[str, int]]:
    """Partitions of these topics that no member of the group has; none while it is being formed.

    librdkafka compares the topics that it finds with those of its last assignment. Topics that
    went and came back are equal, though the group was formed without them in between.

    Raises:
        KafkaException: the brokers cannot be reached, or refuse.
    """
    found = admin.describe_consumer_groups([group], request_timeout=_ASK_SECONDS)[group].result()
    if found.state != ConsumerGroupState.STABLE:
        return set()
    taken = {
        (place.topic, place.partition)
        for member in found.members
        for place in member.assignment.topic_partitions
    }
    there = admin.list_topics(timeout=_ASK_SECONDS).topics
    return {
        (topic, partition)
        for topic in topics
        if topic in there and there[topic].error is None
        for partition in there[topic].partitions
    } - taken
