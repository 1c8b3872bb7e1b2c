"""Topics: their names, their making, and how long they keep events."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from etf_pipeline.errors import EventError
from etf_pipeline.events.kafka.client import SILENT, explained_config
from etf_pipeline.events.kafka.connecting import connect
from etf_pipeline.events.kafka.refusals import NOT_TO_BE_MADE, in_words
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline.events.settings import EventSettings

log = logging.getLogger(__name__)
_MS_PER_DAY = 86_400_000


def topic_name(settings: EventSettings, channel: str) -> str:
    """Topic of a channel, e.g. `etf.query-events`."""
    return f"{settings.kafka_topic_prefix}.{channel}"


def broker_retention(days: int) -> str:
    """`retention.ms` of topics that are made here; -1 is for ever."""
    return "-1" if days < 0 else str(days * _MS_PER_DAY)


def ensure_topics(
    settings: EventSettings, config: dict[str, Any], timeout: float, *, warn: bool = True
) -> dict[str, KafkaError]:
    """Make the topics that are not there, with partitions and retention as set.

    With `warn`, those that are there and keep events for another time are told. Returns the
    channels whose topics are not there and cannot be made, by this client or as they are asked for.

    Raises:
        EventError: the brokers cannot be reached, or refuse.
        SettingsError: the client refuses a setting.
    """
    heard: list[KafkaError] = []
    with explained_config(config):
        admin = AdminClient(config | {"error_cb": heard.append}, logger=SILENT)
    channels = {topic_name(settings, c): c for c in (*CHANNELS, LINEAGE)}
    wanted = list(channels)
    retention = broker_retention(settings.event_store_retention_days)
    try:
        there = connect(admin, heard, config, timeout).topics
        refused = _make(admin, settings, [t for t in wanted if t not in there], retention, timeout)
        if warn:
            _warn_of_retention(admin, [t for t in wanted if t in there], retention, timeout)
    except (KafkaException, TimeoutError, EventError) as error:
        where = settings.kafka_bootstrap_servers
        raise EventError(f"Kafka at {where}: {in_words(error)}") from None
    return {channels[topic]: error for topic, error in refused.items()}


def _make(
    admin: AdminClient,
    settings: EventSettings,
    topics: Sequence[str],
    retention: str,
    timeout: float,
) -> dict[str, KafkaError]:
    if not topics:
        return {}
    fresh = [
        NewTopic(
            t,
            settings.kafka_topic_partitions,
            settings.kafka_replication_factor,
            config={"retention.ms": retention},
        )
        for t in topics
    ]
    refused: dict[str, KafkaError] = {}
    for topic, future in admin.create_topics(fresh, request_timeout=timeout).items():
        try:
            future.result(timeout)
        except KafkaException as error:
            if error.args[0].code() in NOT_TO_BE_MADE:
                refused[topic] = error.args[0]
            elif error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return refused


def _warn_of_retention(
    admin: AdminClient, topics: Sequence[str], wanted: str, timeout: float
) -> None:
    if not topics:
        return
    resources = [ConfigResource(ResourceType.TOPIC, t) for t in topics]
    for resource, future in admin.describe_configs(resources, request_timeout=timeout).items():
        with contextlib.suppress(KafkaException, TimeoutError):
            entry = future.result(timeout).get("retention.ms")
            if entry is not None and str(entry.value) != wanted:
                log.warning(
                    "topic %s keeps events for %s ms, EVENT_STORE_RETENTION_DAYS asks for %s ms; "
                    "the topic was left as it is",
                    resource.name,
                    entry.value,
                    wanted,
                )
