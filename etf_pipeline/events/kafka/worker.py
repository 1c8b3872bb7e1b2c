"""A projection worker: one of a consumer group that shares the partitions."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from etf_pipeline.errors import EventError, SettingsError
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.kafka.reader import consume, said_id
from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.log.projections import Place, Projections
from etf_pipeline.events.model.positions import Key
from etf_pipeline.events.model.types import CHANNELS

log = logging.getLogger(__name__)
_BATCH = 1_000
_WAIT_SECONDS = 0.2
# What a variable may change.
_DEFAULTS = {
    "session.timeout.ms": 6_000,
    "max.poll.interval.ms": 20_000,
    # How soon partitions are found that were added.
    "topic.metadata.refresh.interval.ms": 5_000,
}
_JOIN = "the brokers or a topic were gone; joining it anew"
_REFUSED = (
    KafkaError._AUTHENTICATION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
_UNKNOWN = (
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
)
_PAUSE_SECONDS = 1.0
_LOST = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION)


class Worker:
    """Keeps read models up to date until it is stopped.

    Positions come from the read models, not from the group, so that they are exactly as far as
    the rows. A partition whose last event is no longer where it was is read again from its
    beginning; event ids keep anything from counting twice.
    """

    def __init__(self, broker: KafkaLog, projections: Projections, group: str) -> None:
        self._broker = broker
        self._projections = projections
        self._group = group
        self._stop = threading.Event()
        self._eof: set[Key] = set()
        self._names = {topic_name(broker.settings, c): c for c in CHANNELS}
        self._recheck = False
        self._gone = False
        self.assigned: set[Key] = set()
        self.taken = 0

    def stop(self) -> None:
        """Have `run` end after the batch under way."""
        self._stop.set()

    def run(self, once: bool = False) -> int:
        """Take events in; with `once`, until every assigned partition is at its end.

        Without `once` it goes on after any trouble of the brokers.

        Raises:
            EventError: the brokers cannot be reached at the start, or ever with `once`.
            SettingsError: they refuse this client.
        """
        self._broker.ensure_topics()
        while not self._stop.is_set():
            try:
                self._consume(once)
                break
            except (EventError, KafkaException) as error:
                if once:
                    raise EventError(str(error)) from None
                log.warning("%s; trying again in %g s", error, _PAUSE_SECONDS)
            self._await_topics()
        return self.taken

    def _await_topics(self) -> None:
        """Until the topics are there.

        librdkafka compares the topics that it finds with those of its last assignment. Topics
        that went and came back are equal, though the group was formed without them in between.
        So every worker joins the group again, once they are there.
        """
        while not self._stop.wait(_PAUSE_SECONDS):
            try:
                self._broker.ensure_topics(again=True)
                return
            except EventError as error:
                log.info("%s", error)

    def _consume(self, once: bool) -> None:
        consumer = self._broker.reader.consumer(
            _DEFAULTS,
            **{
                "group.id": self._group,
                "error_cb": self._on_error,
                "partition.assignment.strategy": "range",
            },
        )
        consumer.subscribe(
            list(self._names),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )
        started = time.monotonic()
        self._gone = self._recheck = False
        try:
            while not self._stop.is_set():
                self._take(consumer, consume(consumer, _BATCH, _WAIT_SECONDS))
                if self._recheck:
                    self._recheck = False
                    self._seek(consumer, self.assigned)
                if self._gone and not once:
                    raise EventError(f"group {self._group}: {_JOIN}")
                if once and self.assigned and self._eof >= self.assigned:
                    break
                if once and not self.assigned and time.monotonic() - started > 60.0:
                    raise EventError(f"group {self._group}: no partition was assigned within 60 s")
        finally:
            self.assigned = set()
            consumer.close()

    def _take(self, consumer: Consumer, messages: list[Any]) -> None:
        good: list[Any] = []
        places: dict[Key, Place] = {}
        for message in messages:
            key = (self._names[message.topic()], message.partition()) if message.topic() else None
            error = message.error()
            if error is None and key is not None:
                good.append(message)
                places[key] = Place(message.offset() + 1, said_id(message) or "")
                self._eof.discard(key)
            elif (
                error is not None and error.code() == KafkaError._PARTITION_EOF and key is not None
            ):
                self._eof.add(key)
            elif error is not None and error.code() in _LOST and key is not None:
                log.warning("%s[%d]: the broker lost events; reading it again", *key)
                low = self._broker.reader.ranges([key[0]]).get(key, (0, 0))[0]
                consumer.seek(TopicPartition(message.topic(), key[1], low))
            elif error is not None and error.code() in _REFUSED:
                raise SettingsError(
                    f"Kafka refuses this client: {error.str()}; it must be allowed to read the "
                    f"topics {self._broker.settings.kafka_topic_prefix}.* and the group "
                    f"{self._group}"
                )
            elif error is not None and error.fatal():
                raise EventError(f"Kafka: {error.str()}")
            elif error is not None:
                log.warning("Kafka: %s; going on", error.str())
                self._gone |= error.code() in _UNKNOWN
        if good:
            events = self._broker.reader.events(good, self._names)
            self.taken += self._projections.apply(events, places=places)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.assigned = {(self._names[p.topic], p.partition) for p in partitions}
        self._eof.clear()
        for place in partitions:
            place.offset = self._begin(self._names[place.topic], place.partition)
        consumer.assign(partitions)
        log.info("group %s: reading %d partitions", self._group, len(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.assigned = set()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
            self._recheck = True
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._gone = True

    def _seek(self, consumer: Consumer, keys: set[Key]) -> None:
        """After a lost connection: go on only where the broker is what it was."""
        try:
            for channel, partition in sorted(keys):
                place = self._projections.place(channel, partition)
                begin = self._begin(channel, partition)
                if place is not None and begin < place.next:
                    topic = topic_name(self._broker.settings, channel)
                    log.warning(
                        "%s[%d]: the broker lost events; reading it again", topic, partition
                    )
                    consumer.seek(TopicPartition(topic, partition, begin))
        except (EventError, KafkaException):
            self._recheck = True  # not back yet

    def _begin(self, channel: str, partition: int) -> int:
        reader = self._broker.reader
        low, high = reader.ranges([channel]).get((channel, partition), (0, 0))
        place = self._projections.place(channel, partition)
        if place is None or place.next <= low:
            return low
        intact = (
            place.next <= high
            and (reader.id_at(channel, partition, place.next - 1) or "") == place.last_id
        )
        return place.next if intact else low
