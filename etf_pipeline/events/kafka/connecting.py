"""Waiting for a broker to let a client in, no longer than it takes to be refused."""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableSequence
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]

from etf_pipeline.errors import EventError
from etf_pipeline.events.kafka.refusals import AUTHENTICATION, NO_LOGIN
from etf_pipeline.events.kafka.tls import tls_fault

_TRY_SECONDS = 0.25


class Client(Protocol):
    """Any of Kafka's clients."""

    def list_topics(self, topic: str | None, *, timeout: float) -> ClusterMetadata:
        """What the brokers know."""

    def poll(self, timeout: float) -> Any:
        """Serve callbacks."""


def connect(
    client: Client,
    heard: MutableSequence[KafkaError],
    config: Mapping[str, Any],
    seconds: float,
    topic: str | None = None,
) -> ClusterMetadata:
    """What a broker knows of topics, once it lets this client in.

    Args:
        client: one that reads nothing yet, as callbacks are served.
        heard: where the client's `error_cb` puts errors.
        config: of the client.
        seconds: at the most; a refusal ends it at once.
        topic: to be told of alone; all by default.

    Raises:
        EventError: why it does not, in words: a refused login or certificate is named as such.
    """
    deadline = time.monotonic() + seconds
    said: KafkaError | None = None
    while said is None or time.monotonic() < deadline:
        try:
            return client.list_topics(topic, timeout=min(_TRY_SECONDS, seconds))
        except KafkaException as error:
            said = error.args[0]
        client.poll(0)
        if (refused := next((e for e in heard if e.code() in AUTHENTICATION), None)) is not None:
            raise EventError(f"{NO_LOGIN} ({refused.str()})")
        if any(e.code() == KafkaError._SSL for e in heard):
            break
    servers: str = config["bootstrap.servers"]
    for server in servers.split(","):
        if (fault := tls_fault(server.strip(), config, 1.0)) is not None:
            raise EventError(fault)
    raise EventError((heard[0] if heard else said).str())
