"""What every Kafka client is set up with, and what its complaints are turned into."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from etf_pipeline.errors import SettingsError
from etf_pipeline.events.settings import EventSettings, redacted

# librdkafka's own lines; what matters comes as errors.
SILENT = logging.getLogger("etf_pipeline.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def base_config(settings: EventSettings) -> dict[str, Any]:
    """What every client gets: brokers, then what `KAFKA_…` variables said.

    Raises:
        SettingsError: no broker is named, or a variable sets what delivery rests on.
    """
    if settings.kafka_bootstrap_servers is None:
        raise SettingsError("KAFKA_BOOTSTRAP_SERVERS is not set, for example localhost:9092")
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": "etf_pipeline",
        "log_level": 0,
        **settings.client_config(),
    }


@contextlib.contextmanager
def explained_config(config: Mapping[str, Any]) -> Iterator[None]:
    """Turn librdkafka's complaint about a setting into ours, without secrets.

    Raises:
        SettingsError: naming the variable.
    """
    try:
        yield
    except (KafkaException, ValueError, TypeError) as error:
        text = in_words(error)
        for key, shown in redacted(config).items():
            if shown == "***":
                text = text.replace(str(config[key]), "***")
        raise SettingsError(
            f"Kafka settings: {text}; KAFKA_… variables are librdkafka's settings in capitals, "
            "with _ for each dot"
        ) from None


def in_words(error: Exception) -> str:
    """What an error of the client says."""
    inner = error.args[0] if error.args else error
    return inner.str() if isinstance(inner, KafkaError) else str(inner) or type(error).__name__
