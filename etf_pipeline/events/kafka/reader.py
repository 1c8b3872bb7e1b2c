"""Reading Kafka topics from start to a fixed end: what is there now, then stop."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from etf_pipeline.errors import EventError, EventFormatError
from etf_pipeline.events.kafka import fetching
from etf_pipeline.events.kafka.client import SILENT, explained_config
from etf_pipeline.events.kafka.connecting import connect
from etf_pipeline.events.kafka.messages import parse, said_id, set_aside
from etf_pipeline.events.kafka.refusals import in_words, refusal
from etf_pipeline.events.kafka.timeouts import Timeouts
from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.log.parked import Parked, ParkedRecord
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.positions import Batches, Key, Range
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.events.settings import EventSettings

log = logging.getLogger(__name__)
_BATCH = 2_000
# `consume` waits for a full batch or this long, and the last one is never full.
_WAIT_SECONDS = 0.03
_MAY_PASS = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE)
_OF_THE_GROUP = (KafkaError.GROUP_AUTHORIZATION_FAILED,)
_LEADERLESS = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
_NOTHING_THERE = (
    KafkaError._PARTITION_EOF,
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError.OFFSET_OUT_OF_RANGE,
)


class KafkaReader:
    """Bounded reads; each opens a consumer of its own, outside any group.

    Args:
        settings: naming the brokers and the topics.
        config: of the clients.
        timeouts: how long Kafka is waited for.
        parked: takes what is no event; without it that is only told.
    """

    def __init__(
        self,
        settings: EventSettings,
        config: dict[str, Any],
        timeouts: Timeouts,
        parked: Parked | None = None,
    ) -> None:
        self.settings = settings
        self._config = config
        self._timeouts = timeouts
        self._parked = parked
        self._heard: deque[KafkaError] = deque(maxlen=50)

    def consumer(self, defaults: Mapping[str, Any] | None = None, **changes: Any) -> Consumer:
        """A consumer that commits nothing by itself and fails loudly at a lost position.

        `KAFKA_…` variables win over `defaults`, `changes` over them.
        """
        config = {
            **fetching.defaults(self._config),
            "error_cb": self._heard.append,
            **(defaults or {}),
            **self._config,
            "group.id": f"{self.settings.kafka_topic_prefix}.replay",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            # A stranger's transaction that is never ended must not hold up what is behind it.
            "isolation.level": "read_uncommitted",
            **changes,
        }
        with explained_config(self._config):
            return Consumer(config, logger=SILENT)

    def ranges(self, channels: Sequence[str]) -> dict[Key, Range]:
        """Low and high offset of every partition of these channels, now.

        Raises:
            EventError: the brokers cannot be reached, or do not answer in time.
        """
        consumer = self.consumer()
        try:
            return self._ranges(consumer, channels)
        finally:
            consumer.close()

    def _ranges(self, consumer: Consumer, channels: Sequence[str]) -> dict[Key, Range]:
        found: dict[Key, Range] = {}
        topic = ""
        try:
            for channel in channels:
                if not topic:
                    self._connect(consumer, topic_name(self.settings, channel))
                topic = topic_name(self.settings, channel)
                metadata = consumer.list_topics(topic, timeout=self._timeouts.ask).topics[topic]
                if metadata.error is not None:
                    if metadata.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                        continue
                    raise KafkaException(metadata.error)
                for partition in metadata.partitions:
                    found[(channel, partition)] = self._marks(consumer, topic, partition)
            return found
        except KafkaException as error:
            raise self._gone(in_words(error), topic) from None

    def _connect(self, consumer: Consumer, topic: str) -> None:
        self._heard.clear()
        try:
            connect(consumer, self._heard, self._config, self._timeouts.ask, topic)
        except EventError as error:
            raise self._gone(str(error)) from None

    def _marks(self, consumer: Consumer, topic: str, partition: int) -> Range:
        """The offsets of a partition; one that has just been made may have no leader yet."""
        deadline = time.monotonic() + self._timeouts.ask
        while True:
            try:
                marks = consumer.get_watermark_offsets(
                    TopicPartition(topic, partition), timeout=self._timeouts.ask
                )
            except KafkaException as error:
                if error.args[0].code() not in _LEADERLESS or time.monotonic() > deadline:
                    raise
                time.sleep(_WAIT_SECONDS)
                continue
            if marks is None:
                raise self._gone(f"no offsets of {topic}[{partition}]")
            return marks

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[Key, int] | None = None,
    ) -> Batches:
        """Events below the end offsets of the moment the first batch is asked for.

        What is no event is parked.
        """
        names = {topic_name(self.settings, c): c for c in channels}
        for messages in self.messages(channels, start):
            if batch := self.events(messages, names):
                yield batch

    def messages(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[Key, int] | None = None,
    ) -> Iterator[list[Message]]:
        """The messages that `read` takes events from."""
        consumer = self.consumer()
        try:
            ranges = self._ranges(consumer, channels)
            begin = {
                k: max(low, min((start or {}).get(k, low), high))
                for k, (low, high) in ranges.items()
            }
            ends = {k: high for k, (_, high) in ranges.items() if begin[k] < high}
            if ends:
                names = {topic_name(self.settings, c): c for c in channels}
                yield from self._drain(consumer, names, begin, ends)
        finally:
            consumer.close()

    def between(self, spans: dict[Key, Range]) -> Iterator[list[Message]]:
        """The messages in a span of offsets of each partition, which are there."""
        names = {topic_name(self.settings, channel): channel for channel, _ in spans}
        begin, ends = ({key: span[i] for key, span in spans.items()} for i in (0, 1))
        consumer = self.consumer()
        try:
            yield from self._drain(consumer, names, begin, ends)
        finally:
            consumer.close()

    def _drain(
        self,
        consumer: Consumer,
        names: dict[str, str],
        begin: dict[Key, int],
        ends: dict[Key, int],
    ) -> Iterator[list[Message]]:
        """Messages between two offsets of each partition."""
        try:
            for part in fetching.parts(begin, ends):
                yield from self._between(consumer, names, begin, part)
        except KafkaException as error:
            raise self._gone(in_words(error)) from None

    def _between(
        self,
        consumer: Consumer,
        names: dict[str, str],
        begin: dict[Key, int],
        ends: dict[Key, int],
    ) -> Iterator[list[Message]]:
        places = [TopicPartition(topic_name(self.settings, c), p, begin[(c, p)]) for c, p in ends]
        consumer.assign(places)
        heard, total = time.monotonic(), 0
        while ends:
            messages = consume(consumer, _BATCH, _WAIT_SECONDS)
            batch = []
            for message in messages:
                error, topic = message.error(), message.topic() or ""
                channel = names.get(topic)
                if channel is None:
                    self._judge_client(error)
                    continue
                key = (channel, message.partition() or 0)
                end = ends.get(key)
                if end is None:
                    continue
                offset = message.offset() or 0
                if error is None:
                    if offset < end:
                        batch.append(message)
                    after = offset + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    after = offset
                else:
                    self._judge(error, key)
                    continue
                if after >= end:
                    del ends[key]
                    consumer.pause([TopicPartition(topic, key[1])])
            if any(m.topic() in names for m in messages):
                heard = time.monotonic()
            elif time.monotonic() - heard > self._timeouts.stall:
                raise self._gone(f"silent for {self._timeouts.stall:g} s after {total} events")
            if batch:
                total += len(batch)
                yield batch

    def _judge(self, error: KafkaError, key: Key) -> None:
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise EventError(
                f"{key[0]}[{key[1]}]: events were removed from Kafka while being read; read again"
            )
        if not error.retriable() and error.code() not in _MAY_PASS:
            raise self._gone(in_words(error), topic_name(self.settings, key[0]))

    def _judge_client(self, error: KafkaError | None) -> None:
        """What is said of no topic: only a refusal of this client ends the reading.

        A group is joined by no reader of this kind, so its rights are not needed.
        """
        if error is not None and refusal(error) and error.code() not in _OF_THE_GROUP:
            raise self._gone(in_words(error))

    def id_at(self, channel: str, partition: int, offset: int) -> str | None:
        """Id of the event at exactly this offset; None when another or none is there."""
        message = self._message_at(channel, partition, offset)
        if message is None:
            return None
        return said_id(message)

    def event_at(self, channel: str, partition: int, offset: int) -> Event | None:
        """The event at exactly this offset; None when none is there."""
        message = self._message_at(channel, partition, offset)
        if message is None:
            return None
        return next(iter(self.events([message], {message.topic() or "": channel})), None)

    def events(self, messages: Sequence[Message], names: dict[str, str]) -> list[Event]:
        """The events in messages; whatever is none is parked, so that the rest goes on.

        Args:
            messages: without errors.
            names: channels by topic.
        """
        found, bad = [], []
        for message in messages:
            try:
                found.append(parse(message, names[message.topic() or ""]))
            except EventFormatError as error:
                bad.append(set_aside(message, error))
        if bad:
            self.park(bad)
        return found

    def park(self, records: Sequence[ParkedRecord]) -> None:
        """Put records aside, and say so the first time that they are met."""
        new = len(records)
        if self._parked is not None:
            try:
                new = self._parked.add(records)
            except EventError as error:
                log.warning("%d records cannot be read and could not be parked: %s", new, error)
                return
        if new:
            log.warning(
                "%s[%d]: %d records are not events of etf_pipeline, the first at offset %d (%s); "
                "they are parked and the rest is read: see `etf events parked`",
                *records[0].spot[1:3],
                new,
                records[0].spot.position,
                records[0].detail,
            )

    def ids_between(self, channel: str, partition: int, first: int, last: int) -> dict[int, str]:
        """By offset, the ids of the events from `first` to `last` that are there now."""
        found = self._messages_between((channel, partition), first, last)
        ids = {m.offset() or 0: said_id(m) for batch in found for m in batch}
        return {offset: name for offset, name in ids.items() if name is not None}

    def events_between(self, channel: str, partition: int, first: int, last: int) -> list[Event]:
        """The events from offset `first` to `last` that are there now."""
        names = {topic_name(self.settings, channel): channel}
        found = self._messages_between((channel, partition), first, last)
        return [e for batch in found for e in self.events(batch, names)]

    def _messages_between(self, key: Key, first: int, last: int) -> Iterator[list[Message]]:
        low, high = self.ranges([key[0]]).get(key, (0, 0))
        span = (max(first, low), min(last + 1, high))
        return self.between({key: span}) if span[0] < span[1] else iter(())

    def ids_at(self, places: dict[Key, int]) -> dict[Key, str | None]:
        """The id that the record at exactly this offset of each partition, if any, says it has."""
        names = {topic_name(self.settings, c): c for c, _ in places}
        spans = {key: (offset, offset + 1) for key, offset in places.items()}
        batches = self.between(spans) if places else iter(())
        return {
            (names[m.topic() or ""], m.partition() or 0): said_id(m) for b in batches for m in b
        }

    def _message_at(self, channel: str, partition: int, offset: int) -> Message | None:
        consumer = self.consumer()
        topic = topic_name(self.settings, channel)
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            deadline = time.monotonic() + self._timeouts.ask
            while time.monotonic() < deadline:
                message = consumer.poll(0.5)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    return message if message.offset() == offset else None
                if error.code() in _NOTHING_THERE:
                    return None
                if refusal(error) and error.code() not in _OF_THE_GROUP:
                    raise self._gone(in_words(error), topic)
            raise self._gone(f"no answer about {topic}[{partition}]")
        except KafkaException as error:
            raise self._gone(in_words(error), topic) from None
        finally:
            consumer.close()

    def _gone(self, what: str, topic: str = "") -> EventError:
        where = f"{topic}: " if topic else ""
        return EventError(
            f"Kafka at {self.settings.kafka_bootstrap_servers} does not answer as it should "
            f"({where}{what}); nothing was concluded from what had been read. Try again once "
            "that is well"
        )


def consume(consumer: Consumer, most: int, seconds: float) -> list[Message]:
    """Up to `most` messages, waiting no longer than this.

    Raises:
        KeyboardInterrupt: a signal's handler raised while a callback was served; confluent-kafka
            loses what it raised and gives a SystemError in its place.
    """
    try:
        return consumer.consume(most, timeout=seconds)
    except SystemError:
        raise KeyboardInterrupt from None
