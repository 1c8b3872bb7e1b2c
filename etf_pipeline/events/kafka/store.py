"""Kafka: one warm idempotent producer per process, topics, and delivery that can be trusted."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from etf_pipeline.errors import EventError, SettingsError
from etf_pipeline.events.kafka.reader import SILENT, KafkaReader
from etf_pipeline.events.model.envelope import LINEAGE_TYPE, Event, to_kafka
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline.events.settings import EventSettings, client_config, redacted
from etf_pipeline.events.store import Batches, Delivery

log = logging.getLogger(__name__)
_PRODUCER = {
    "enable.idempotence": True,
    "acks": "all",
    # No message may time out alone: those behind it would overtake it. We keep the deadline, and
    # give up all of them at once.
    "message.timeout.ms": 0,
    "linger.ms": 5,
    "compression.type": "zstd",
}
_POLL_SECONDS = 0.1
_ADMIN_SECONDS = 10.0
_MS_PER_DAY = 86_400_000


def base_config(settings: EventSettings) -> dict[str, Any]:
    """What every client gets: brokers, then whatever `KAFKA_…` variables say."""
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": "etf_pipeline",
        "log_level": 0,
        **client_config(),
    }


class _Warm:
    """The producer of this process, its poller, and how many stores use it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.users = 0
        self.pid = os.getpid()
        self.broken = False
        self.number = next(_numbers)
        self.losses = 0
        self.callback_errors = 0
        self._stop = threading.Event()
        settings = {**config, **_PRODUCER, "error_cb": self._on_error}
        with explained_config(config):
            self.producer = Producer(settings, logger=SILENT)
        self._poller = threading.Thread(target=self._poll, name="etf-kafka-poller", daemon=True)
        self._poller.start()

    def _poll(self) -> None:
        while not self._stop.is_set():
            try:
                self.producer.poll(_POLL_SECONDS)
            except Exception:  # a callback's, which must not end the poller
                self.callback_errors += 1
                log.exception("a Kafka callback failed")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self.broken = True
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
            self.losses += 1

    def discard(self) -> None:
        """Drop everything unsent and end; whatever the broker has of it is a prefix."""
        self.broken = True
        self._stop.set()
        self._poller.join(5.0)
        with contextlib.suppress(Exception):
            self.producer.purge()
            self.producer.poll(0)
            self.producer.close()


_warm: dict[tuple[tuple[str, str], ...], _Warm] = {}
_guard = threading.Lock()
_numbers = itertools.count(1)


def _forget_parents() -> None:
    # The child of a fork has the producers' memory but not their threads.
    global _guard
    _guard = threading.Lock()
    _LEFT_BEHIND.extend(_warm.values())
    _warm.clear()


_LEFT_BEHIND: list[_Warm] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)


class KafkaEventStore:
    """Events in Kafka topics, one per channel; key is the subject."""

    name = "kafka"

    def __init__(self, settings: EventSettings) -> None:
        if settings.kafka_bootstrap_servers is None:
            raise SettingsError("KAFKA_BOOTSTRAP_SERVERS is not set, for example localhost:9092")
        self.settings = settings
        self.config = base_config(settings)
        self.reader = KafkaReader(settings, self.config)
        self._key = tuple(sorted((k, str(v)) for k, v in self.config.items()))
        self._mine: _Warm | None = None
        self._topics_ready = False

    def append(self, events: Sequence[Event], timeout: float = 15.0) -> list[Delivery]:
        """Send in order and wait for every delivery report, at most `timeout` seconds.

        After a failure the producer is dropped with all that it still held, so that what the
        broker has of these events is, for each subject, a prefix of them.
        """
        if not events:
            return []
        deadline = time.monotonic() + timeout
        found: list[Delivery | None] = [None] * len(events)
        done, left = threading.Event(), [len(events)]

        def report(i: int) -> Any:
            def on_delivery(error: KafkaError | None, message: Message) -> None:
                if error is None:
                    found[i] = Delivery(message.partition() or 0, message.offset() or 0)
                else:
                    found[i] = Delivery(-1, -1, error.str())
                left[0] -= 1
                if left[0] == 0:
                    done.set()

            return on_delivery

        try:
            self.ensure_topics(max(0.1, deadline - time.monotonic()))
            warm = self._producer()
            for i, event in enumerate(events):
                self._produce(warm, event, report(i), deadline)
            finished = done.wait(max(0.0, deadline - time.monotonic()))
        except (KafkaException, EventError) as error:
            self.drop_producer()
            return [d or Delivery(-1, -1, _text(error)) for d in found]
        failed = not finished or any(d is None or not d.ok for d in found)
        if failed or warm.broken:
            self.drop_producer()
        return [d or Delivery(-1, -1, f"no answer within {timeout:g} s") for d in found]

    def _produce(self, warm: _Warm, event: Event, callback: Any, deadline: float) -> None:
        if event.type == LINEAGE_TYPE:
            headers = {"content-type": b"application/json", "etf_id": event.id.encode()}
            key, value = event.subject, event.data.encode()
        else:
            message = to_kafka(event)
            headers, key, value = message.headers, event.subject, message.value
        while True:
            try:
                warm.producer.produce(
                    self.settings.topic(event.channel),
                    value,
                    key,
                    on_delivery=callback,
                    headers=list(headers.items()),
                )
                return
            except BufferError:
                if time.monotonic() > deadline or warm.broken:
                    raise EventError("the producer's queue stays full") from None
                time.sleep(0.005)

    def _producer(self) -> _Warm:
        with _guard:
            warm = _warm.get(self._key)
            if warm is None or warm.broken:
                warm = _warm[self._key] = _Warm(self.config)
            if self._mine is not warm:
                warm.users += 1
                self._mine = warm
            return warm

    def connection(self) -> tuple[int, int]:
        """Which producer there is and how often it lost a broker; equal while nothing was lost."""
        warm = self._producer()
        return warm.number, warm.losses

    @property
    def callback_errors(self) -> int:
        """How many callbacks failed, and were contained."""
        return self._mine.callback_errors if self._mine is not None else 0

    def drop_producer(self) -> None:
        """Discard the producer of this process; the next append makes another."""
        with _guard:
            warm = _warm.pop(self._key, None)
            self._mine = None
        self._topics_ready = False
        if warm is not None:
            warm.discard()

    def ensure_topics(self, timeout: float = _ADMIN_SECONDS, *, again: bool = False) -> None:
        """Make the topics that are not there, with partitions and retention as set.

        Asks once only, unless `again`.

        Raises:
            EventError: the brokers cannot be reached, or refuse.
        """
        if self._topics_ready and not again:
            return
        with explained_config(self.config):
            admin = AdminClient(self.config, logger=SILENT)
        wanted = [self.settings.topic(c) for c in (*CHANNELS, LINEAGE)]
        days = self.settings.event_store_retention_days
        retention = "-1" if days < 0 else str(days * _MS_PER_DAY)
        try:
            there = admin.list_topics(timeout=timeout).topics
            fresh = [
                NewTopic(
                    t,
                    self.settings.kafka_topic_partitions,
                    self.settings.kafka_replication_factor,
                    config={"retention.ms": retention},
                )
                for t in wanted
                if t not in there
            ]
            for future in (
                admin.create_topics(fresh, request_timeout=timeout).values() if fresh else ()
            ):
                try:
                    future.result(timeout)
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                        raise
            if not again:
                _warn_of_retention(admin, [t for t in wanted if t in there], retention, timeout)
        except (KafkaException, TimeoutError) as error:
            raise EventError(f"Kafka at {self._where()}: {_text(error)}") from None
        self._topics_ready = True

    def _where(self) -> str:
        return str(self.settings.kafka_bootstrap_servers)

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[tuple[str, int], int] | None = None,
        from_us: int | None = None,
    ) -> Batches:
        """Everything below the end offsets of this moment, in order within a partition."""
        return self.reader.read(channels, start, from_us)

    def close(self) -> None:
        """Let go of the producer; it ends with its last user in this process."""
        with _guard:
            warm, self._mine = self._mine, None
            if warm is None:
                return
            warm.users -= 1
            last = warm.users == 0 and _warm.get(self._key) is warm
            if last:
                del _warm[self._key]
        if last:
            warm.discard()


def _warn_of_retention(admin: AdminClient, topics: list[str], wanted: str, timeout: float) -> None:
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


@contextlib.contextmanager
def explained_config(config: Mapping[str, Any]) -> Any:
    """Turn librdkafka's complaint about a setting into ours, without secrets.

    Raises:
        SettingsError: naming the variable.
    """
    try:
        yield
    except (KafkaException, ValueError, TypeError) as error:
        text = _text(error)
        for key, shown in redacted(config).items():
            if shown == "***":
                text = text.replace(str(config[key]), "***")
        raise SettingsError(
            f"Kafka settings: {text}; KAFKA_… variables are librdkafka's settings in capitals, "
            "with _ for each dot"
        ) from None


def _text(error: Exception) -> str:
    inner = error.args[0] if error.args else error
    return inner.str() if isinstance(inner, KafkaError) else str(inner) or type(error).__name__
