"""What every Kafka client is set up with, and what its complaints are turned into."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaException

from etf_pipeline.errors import SettingsError
from etf_pipeline.events.kafka.refusals import in_words
from etf_pipeline.events.kafka.variables import missing_files, variables
from etf_pipeline.events.settings import EventSettings, redacted

log = logging.getLogger(__name__)
# librdkafka's own lines; what matters comes as errors. Heard only by who asks for them.
SILENT = logging.getLogger("etf_pipeline.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False
_ASK_FOR_LINES = ("debug", "log_level")
_warned: set[str] = set()


def base_config(settings: EventSettings) -> dict[str, Any]:
    """What every client gets: brokers, then what `KAFKA_…` variables said.

    Those that are no settings of librdkafka are left out, and named once.

    Raises:
        SettingsError: no broker is named, or a variable sets what delivery rests on, or has a value
            that cannot be used.
    """
    if settings.kafka_bootstrap_servers is None:
        raise SettingsError("KAFKA_BOOTSTRAP_SERVERS is not set, for example localhost:9092")
    found = variables(settings)
    if (remark := found.remark()) and remark not in _warned:
        _warned.add(remark)
        log.warning("%s", remark)
    if any(key in found.known for key in _ASK_FOR_LINES):
        SILENT.setLevel(logging.DEBUG)
        SILENT.propagate = True
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": "etf_pipeline",
        "log_level": 0,
        **found.known,
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
        if missing := missing_files(config):
            raise SettingsError("; ".join(missing)) from None
        text = in_words(error)
        for key, shown in redacted(config).items():
            if shown == "***":
                text = text.replace(str(config[key]), "***")
        raise SettingsError(
            f"Kafka settings: {text}; KAFKA_… variables are librdkafka's settings in capitals, "
            "with _ for each dot"
        ) from None
