"""Kafka's topics as a log: sent in order, and delivery that can be trusted."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from etf_pipeline.errors import EventError
from etf_pipeline.events.kafka import refusals
from etf_pipeline.events.kafka.client import base_config
from etf_pipeline.events.kafka.producer import ProducerLease, WarmProducer
from etf_pipeline.events.kafka.reader import KafkaReader
from etf_pipeline.events.kafka.refusals import in_words
from etf_pipeline.events.kafka.timeouts import Timeouts
from etf_pipeline.events.kafka.topics import ensure_topics, topic_name
from etf_pipeline.events.log.parked import Parked
from etf_pipeline.events.model.envelope import Event, to_kafka
from etf_pipeline.events.model.positions import Batches, Delivery, Key, Range
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.events.settings import EventSettings


class KafkaLog:
    """Events in Kafka topics, one per channel; key is the subject."""

    def __init__(
        self,
        settings: EventSettings,
        timeouts: Timeouts | None = None,
        parked: Parked | None = None,
    ) -> None:
        self.settings = settings
        self.timeouts = timeouts or Timeouts()
        self.config = base_config(settings)
        self.reader = KafkaReader(settings, self.config, self.timeouts, parked)
        self._parked = parked
        self.producer = ProducerLease(self.config)
        self._topics_ready = False
        # Channels whose topics are not there, and cannot be made.
        self.closed: dict[str, KafkaError] = {}

    def append(self, events: Sequence[Event], timeout: float = 15.0) -> list[Delivery]:
        """Send in order and wait for every delivery report, at most `timeout` seconds.

        After a failure of the connection the producer is dropped with all that it still held, so
        that what the broker has of these events is, for each subject, a prefix of them. An event or
        a topic that is refused leaves the others as they are.
        """
        if not events:
            return []
        deadline = time.monotonic() + timeout
        found: list[Delivery | None] = [None] * len(events)
        done, left = threading.Event(), [len(events)]

        def report(i: int) -> Any:
            def on_delivery(error: KafkaError | None, message: Message | None) -> None:
                if error is None and message is not None:
                    found[i] = Delivery(message.partition() or 0, message.offset() or 0)
                elif error is not None:
                    found[i] = refusals.failure(error)
                left[0] -= 1
                if left[0] == 0:
                    done.set()

            return on_delivery

        try:
            self.ensure_topics(max(0.1, deadline - time.monotonic()))
            warm = self.producer.get()
            for i, event in enumerate(events):
                if (closed := self.closed.get(event.channel)) is not None:
                    report(i)(closed, None)
                else:
                    self._produce(warm, event, report(i), deadline)
            finished = warm.wait(done, deadline - time.monotonic())
        except (KafkaException, EventError) as error:
            self.drop_producer()
            return [d or Delivery(-1, -1, in_words(error)) for d in found]
        if not finished or warm.broken or any(d is None or refusals.unsure(d) for d in found):
            self.drop_producer()
        if warm.problem is not None:  # it took all that it held with it
            return [d if d and d.ok else Delivery(-1, -1, warm.problem) for d in found]
        return [d or Delivery(-1, -1, f"no answer within {timeout:g} s") for d in found]

    def _produce(self, warm: WarmProducer, event: Event, callback: Any, deadline: float) -> None:
        message = to_kafka(event)
        while True:
            try:
                warm.producer.produce(
                    topic_name(self.settings, event.channel),
                    message.value,
                    event.subject,
                    on_delivery=callback,
                    headers=list(message.headers.items()),
                )
                return
            except BufferError:
                if time.monotonic() > deadline or warm.broken:
                    raise EventError("the producer's queue stays full") from None
                time.sleep(0.005)
            except KafkaException as error:
                if error.args[0].code() not in refusals.OF_THE_EVENT:
                    raise
                callback(error.args[0], None)
                return

    def connection(self) -> tuple[int, int]:
        """Which producer there is and how often it lost a broker; equal while nothing was lost."""
        warm = self.producer.get()
        return warm.number, warm.losses

    def drop_producer(self) -> None:
        """Discard the producer of this process; the next append makes another."""
        self._topics_ready = False
        self.producer.drop()

    def ensure_topics(self, timeout: float | None = None, *, again: bool = False) -> None:
        """Make the topics that are not there. Asks once only, unless `again`.

        Raises:
            EventError: the brokers cannot be reached, or refuse.
        """
        if self._topics_ready and not again:
            return
        wait = self.timeouts.ask if timeout is None else timeout
        self.closed = ensure_topics(self.settings, self.config, wait, warn=not again)
        self._topics_ready = True

    def refresh(self, channels: Sequence[str]) -> None:
        """Have the producer know the topics as they are: a key's partition depends on their number.

        Raises:
            EventError: the brokers cannot be reached.
        """
        producer = self.producer.get().producer
        try:
            for channel in channels:
                topic = topic_name(self.settings, channel)
                producer.list_topics(topic, timeout=self.timeouts.ask)
        except KafkaException as error:
            servers = self.settings.kafka_bootstrap_servers
            raise EventError(f"Kafka at {servers}: {in_words(error)}") from None

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[Key, int] | None = None,
    ) -> Batches:
        """Everything below the end offsets of this moment, in order within a partition."""
        return self.reader.read(channels, start)

    def ranges(self, channels: Sequence[str] = CHANNELS) -> dict[Key, Range]:
        """Low and high offset of every partition."""
        return self.reader.ranges(channels)

    def close(self) -> None:
        """Let go of the producer; it ends with its last user in this process."""
        self.producer.release()
        if self._parked is not None:
            self._parked.close()
