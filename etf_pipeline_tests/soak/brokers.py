"""What is done to brokers from outside: rights, topics, records that are not ours."""

from __future__ import annotations

import random
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from etf_pipeline_tests.brokers import Broker
from etf_pipeline_tests.brokers.secured import Secured
from etf_pipeline_tests.soak.ledger import CHANNELS, LINEAGE
from etf_pipeline_tests.soak.reading import topics

USER = "etf"
_PATIENCE = 20.0
# By resource, what the program needs.
RIGHTS = {"topic": ("ALL",), "group": ("ALL",), "cluster": ("ALL",)}
# What is left of them while they are withdrawn in part.
PARTS_OF_RIGHTS: tuple[dict[str, tuple[str, ...]], ...] = (
    {},
    {"topic": ("READ", "DESCRIBE"), "group": ("ALL",), "cluster": ("ALL",)},
    {"topic": ("WRITE", "DESCRIBE"), "group": ("ALL",), "cluster": ("ALL",)},
    {"topic": ("ALL",), "cluster": ("ALL",)},
    {"topic": ("ALL",), "group": ("ALL",)},
    {"group": ("ALL",), "cluster": ("ALL",)},
)
_TYPE = b"etf_pipeline.PriceDataQueried.v2"
# Headers and values of records that no reader of ours can make an event of.
FOREIGN: tuple[tuple[list[tuple[str, bytes | None]], bytes | None], ...] = (
    ([], b"hello"),
    ([], None),
    ([("ce_id", None), ("ce_type", None)], b"{}"),
    ([("ce_id", b"\xff\xfe"), ("ce_type", _TYPE), ("ce_specversion", b"1.0")], b"{}"),
    ([("ce_id", b"a"), ("ce_type", b"org.other.Thing"), ("ce_source", b"/other")], b"{}"),
    (
        [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"b"),
            ("ce_type", _TYPE),
            ("ce_source", b"/other"),
            ("ce_subject", b"VAS"),
            ("ce_time", b"yesterday"),
        ],
        b"\xff",
    ),
    ([("content-type", b"application/cloudevents+json")], b'{"specversion": "1.0"}'),
)


def permit(broker: Broker, prefix: str, rights: dict[str, tuple[str, ...]] = RIGHTS) -> None:
    """Give the user these rights on topics and groups of the prefix, where there are rights."""
    if not isinstance(broker, Secured):
        return
    if "topic" in rights:
        broker.allow(USER, *rights["topic"], topic=prefix, prefixed=True)
    if "group" in rights:
        broker.allow(USER, *rights["group"], group=prefix, prefixed=True)
    if "cluster" in rights:
        broker.allow(USER, *rights["cluster"])


def withdraw(broker: Broker) -> None:
    """Take every right away."""
    if isinstance(broker, Secured):
        broker.withdraw(USER)


def _admin(servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": servers, "log_level": 0})


def make_anew(servers: str, prefix: str, partitions: int | None) -> None:
    """Delete the topics of a prefix; make them again unless that is left to others."""
    admin = _admin(servers)
    wanted = [f"{prefix}.{c}" for c in (*CHANNELS, LINEAGE)]
    there = [t for t in wanted if t in admin.list_topics(timeout=_PATIENCE).topics]
    if there:
        for future in admin.delete_topics(there, operation_timeout=_PATIENCE).values():
            try:
                future.result(_PATIENCE)
            except KafkaException:  # one of ours was quicker in some way
                time.sleep(0.05)
    if partitions is None:
        return
    for future in admin.create_topics([NewTopic(t, partitions) for t in wanted]).values():
        try:
            future.result(_PATIENCE)
        except KafkaException:
            time.sleep(0.05)


def delete_records(
    servers: str, prefix: str, choose: random.Random
) -> tuple[dict[tuple[str, int], int], set[str]]:
    """Have the broker let the older part of each partition go, as its retention would.

    Returns where each begins now, by channel and partition, and the ids of what went.
    """
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "soak-marks", "log_level": 0})
    there = consumer.list_topics(timeout=_PATIENCE).topics
    wanted = []
    for topic in (f"{prefix}.{c}" for c in (*CHANNELS, LINEAGE)):
        for partition in there[topic].partitions if topic in there else ():
            place = TopicPartition(topic, partition)
            try:
                low, high = consumer.get_watermark_offsets(place, timeout=_PATIENCE)
            except KafkaException:  # just made, and without a leader
                continue
            if low < high:
                wanted.append(TopicPartition(topic, partition, choose.randint(low, high)))
    consumer.close()
    if not wanted:
        return {}, set()
    there_before = topics(servers, prefix)
    gone: dict[tuple[str, int], int] = {}
    admin = _admin(servers)  # its answers end with it
    for place, future in admin.delete_records(wanted).items():
        try:
            key = (place.topic.removeprefix(f"{prefix}."), place.partition)
            gone[key] = future.result(_PATIENCE).low_watermark
        except KafkaException:
            continue
    went = {r.id for r in there_before if r.offset < gone.get((r.channel, r.partition), 0)}
    return gone, went
