"""One warm idempotent producer per process and configuration, shared by all that send."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from etf_pipeline.events.kafka.client import SILENT, explained_config
from etf_pipeline.events.kafka.refusals import in_words

log = logging.getLogger(__name__)
# What a variable may change.
_DEFAULTS = {"linger.ms": 5, "compression.type": "zstd"}
_FIXED = {
    "enable.idempotence": True,
    "acks": "all",
    # No message may time out alone: those behind it would overtake it. We keep the deadline, and
    # give up all of them at once.
    "message.timeout.ms": 0,
}
_POLL_SECONDS = 0.1


class WarmProducer:
    """A producer, its poller, and how many use it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.users = 0
        self.broken = False
        self.problem: str | None = None
        self.number = next(_numbers)
        self.losses = 0
        self.callback_errors = 0
        self._stop = threading.Event()
        settings = {**_DEFAULTS, **config, **_FIXED, "error_cb": self._on_error}
        with explained_config(config):
            self.producer = Producer(settings, logger=SILENT)
        self._poller = threading.Thread(target=self._poll, name="etf-kafka-poller", daemon=True)
        self._poller.start()

    def _poll(self) -> None:
        while not self._stop.is_set():
            try:
                self.producer.poll(_POLL_SECONDS)
            except KafkaException as error:  # a fatal one is raised here too
                self._on_error(error.args[0])
            except Exception:  # a callback's, which must not end the poller
                self.callback_errors += 1
                log.exception("a Kafka callback failed")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self.problem = in_words(error)
            self.broken = True
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
            self.losses += 1

    def wait(self, done: threading.Event, seconds: float) -> bool:
        """Whether it was done within `seconds`; waits no longer for a producer that is broken."""
        deadline = time.monotonic() + seconds
        while not done.wait(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic()))):
            if self.broken or time.monotonic() >= deadline:
                return done.is_set()
        return True

    def discard(self) -> None:
        """Drop everything unsent and end; whatever the broker has of it is a prefix."""
        self.broken = True
        self._stop.set()
        self._poller.join(5.0)
        with contextlib.suppress(Exception):
            self.producer.purge()
            self.producer.poll(0)
            self.producer.close()


class ProducerLease:
    """One user's hold on the process's producer of a configuration."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._key = tuple(sorted((k, str(v)) for k, v in config.items()))
        self._mine: WarmProducer | None = None

    def get(self) -> WarmProducer:
        """The producer; another one once it is broken."""
        with _guard:
            warm = _warm.get(self._key)
            if warm is None or warm.broken:
                warm = _warm[self._key] = WarmProducer(self._config)
            if self._mine is not warm:
                warm.users += 1
                self._mine = warm
            return warm

    @property
    def callback_errors(self) -> int:
        """How many callbacks failed, and were contained."""
        return self._mine.callback_errors if self._mine is not None else 0

    def drop(self) -> None:
        """Discard the producer of this process; the next use makes another."""
        with _guard:
            warm = _warm.pop(self._key, None)
            self._mine = None
        if warm is not None:
            warm.discard()

    def release(self) -> None:
        """Let go of it; it ends with its last user in this process."""
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


_warm: dict[tuple[tuple[str, str], ...], WarmProducer] = {}
_guard = threading.Lock()
_numbers = itertools.count(1)
_LEFT_BEHIND: list[WarmProducer] = []


def _forget_parents() -> None:
    # The child of a fork has the producers' memory but not their threads.
    global _guard
    _guard = threading.Lock()
    _LEFT_BEHIND.extend(_warm.values())
    _warm.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)
