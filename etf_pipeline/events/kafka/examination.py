"""A close look at Kafka with the client's own settings: would events get there, and stay?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from etf_pipeline.errors import EventError
from etf_pipeline.events.kafka.client import SILENT, base_config, explained_config
from etf_pipeline.events.kafka.connecting import connect
from etf_pipeline.events.kafka.probe import ask_kafka
from etf_pipeline.events.kafka.refusals import in_words, missing_right
from etf_pipeline.events.kafka.topics import broker_retention, topic_name
from etf_pipeline.events.kafka.variables import variables
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline.events.settings import EventSettings

# A wrong password and the like are told within five seconds.
_CONNECT_SECONDS = 3.5
_ASK_SECONDS = 3.0
_NOT_ALLOWED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
_NEEDED = (AclOperation.WRITE, AclOperation.READ)
_MS_PER_DAY = 86_400_000


@dataclass(frozen=True)
class Examined:
    """What was found: `problems` keep events from arriving or staying, `remarks` do not."""

    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def examine_kafka(settings: EventSettings) -> Examined:
    """Connect, and look at the topics: are they there, may we use them, how long do they keep?

    Nothing is changed.

    Raises:
        SettingsError: a variable has a value that cannot be used.
    """
    config = base_config(settings)
    remark = variables(settings).remark()
    remarks = (remark,) if remark else ()
    servers = settings.kafka_bootstrap_servers
    if (why := ask_kafka(settings, 1.0)) is not None:
        return Examined((f"Kafka at {servers} {why}; events wait for it",), remarks)
    errors: list[KafkaError] = []
    with explained_config(config):
        heard: dict[str, Any] = {**config, "error_cb": errors.append}
        admin = AdminClient(heard, logger=SILENT)
    try:
        connect(admin, errors, config, _CONNECT_SECONDS)
    except EventError as error:
        return Examined((f"Kafka at {servers}: {error}",), remarks)
    look = _Look(admin, settings, config.get("sasl.username"))
    try:
        look.at_topics()
    except (KafkaException, TimeoutError) as error:
        said = in_words(error) if isinstance(error, KafkaException) else "no answer"
        look.problems.append(f"Kafka at {servers}: {said}")
    return Examined(tuple(look.problems), (*remarks, *look.remarks))


class _Look:
    """Looks at the topics one after the other, and notes what is wrong."""

    def __init__(self, admin: AdminClient, settings: EventSettings, user: str | None) -> None:
        self._admin = admin
        self._settings = settings
        self._user = user
        channels = CHANNELS if settings.openlineage_disabled else (*CHANNELS, LINEAGE)
        self._topics = [topic_name(settings, c) for c in channels]
        self.problems: list[str] = []
        self.remarks: list[str] = []

    def at_topics(self) -> None:
        """All of them."""
        there: list[str] = []
        asked = self._topics
        deadline = time.monotonic() + _ASK_SECONDS
        while asked := self._absent(self._described(asked, there)):
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.1)
        self._kept(there)

    def _described(self, topics: Sequence[str], there: list[str]) -> list[str]:
        """Look at topics; those that are there are added, those that are not returned."""
        asked = self._admin.describe_topics(
            TopicCollection(list(topics)),
            include_authorized_operations=True,
            request_timeout=_ASK_SECONDS,
        )
        absent = []
        for topic, future in asked.items():
            try:
                self._topic(future.result(_ASK_SECONDS))
                there.append(topic)
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    absent.append(topic)
                elif code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    self.problems.append(self._lacks("Describe", topic))
                else:
                    raise
        return absent

    def _lacks(self, operation: str, topic: str) -> str:
        return missing_right(operation, "topic", topic, self._user)

    def _topic(self, topic: TopicDescription) -> None:
        allowed = topic.authorized_operations
        if allowed is not None:  # not every broker tells
            for operation in _NEEDED:
                if operation not in allowed:
                    self.problems.append(self._lacks(operation.name.title(), topic.name))
        leaderless = [p.id for p in topic.partitions if p.leader is None]
        if leaderless:
            self.problems.append(
                f"topic {topic.name}: partitions {leaderless} have no leader, so nothing is taken; "
                "start the brokers that hold them, or see whether their disks are full or failing"
            )

    def _absent(self, topics: Sequence[str]) -> list[str]:
        """May they be made? Kafka checks that without making them.

        Returns those that were made meanwhile, of which one broker knows sooner than another.
        """
        if not topics:
            return []
        new = []
        fresh = [
            NewTopic(
                t,
                self._settings.kafka_topic_partitions,
                self._settings.kafka_replication_factor,
            )
            for t in topics
        ]
        asked = self._admin.create_topics(fresh, request_timeout=_ASK_SECONDS, validate_only=True)
        for topic, future in asked.items():
            try:
                future.result(_ASK_SECONDS)
            except KafkaException as error:
                if error.args[0].code() in _NOT_ALLOWED:
                    self.problems.append(
                        f"topic {topic} is not there, and {self._lacks('Create', topic)}; or makes "
                        f"the topic: kafka-topics --create --topic {topic} --partitions "
                        f"{self._settings.kafka_topic_partitions} --config "
                        f"retention.ms={self._retention}"
                    )
                elif error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    new.append(topic)
                else:
                    self.problems.append(f"topic {topic} cannot be made: {in_words(error)}")
        return new

    @property
    def _retention(self) -> str:
        return broker_retention(self._settings.event_store_retention_days)

    def _kept(self, topics: Sequence[str]) -> None:
        """What the topics let go of."""
        if not topics:
            return
        asked = self._admin.describe_configs(
            [ConfigResource(ResourceType.TOPIC, t) for t in topics], request_timeout=_ASK_SECONDS
        )
        hidden = []
        for resource, future in asked.items():
            try:
                values = {name: str(e.value) for name, e in future.result(_ASK_SECONDS).items()}
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    raise
                hidden.append(resource.name)
                continue
            self.problems += self._losses(resource.name, values)
        if hidden:
            self.remarks.append(
                f"how long {', '.join(hidden)} keep events is not known: "
                f"{self._lacks('DescribeConfigs', hidden[0])}"
            )

    def _losses(self, topic: str, values: dict[str, str]) -> Iterator[str]:
        alter = f"kafka-configs --alter --entity-type topics --entity-name {topic} --add-config"
        if "compact" in values.get("cleanup.policy", ""):
            yield (
                f"topic {topic} is compacted (cleanup.policy={values['cleanup.policy']}): of each "
                f"key it keeps the last event alone; {alter} cleanup.policy=delete"
            )
        kept, wanted = int(values.get("retention.ms", "-1")), int(self._retention)
        if kept >= 0 and (wanted < 0 or kept < wanted):
            asks = "ever" if wanted < 0 else f"{wanted // _MS_PER_DAY} days"
            yield (
                f"topic {topic} keeps events for {kept / _MS_PER_DAY:g} days, "
                f"EVENT_STORE_RETENTION_DAYS asks for {asks}; {alter} retention.ms={wanted}, or "
                "set EVENT_STORE_RETENTION_DAYS to what it keeps and archive well within that"
            )
        if int(values.get("retention.bytes", "-1")) >= 0:
            yield (
                f"topic {topic} keeps {values['retention.bytes']} bytes per partition, however "
                f"young events are; {alter} retention.bytes=-1"
            )
