"""Which `KAFKA_…` variables are settings of Kafka's client: librdkafka itself is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, Producer

from etf_pipeline.errors import SettingsError
from etf_pipeline.events.settings import EventSettings, redacted, variable_of

# A name that no release of librdkafka has.
_NONSENSE = "etf.no.such.setting"
# What the Python client takes besides, none of which can be a text.
_NO_SETTING = frozenset(
    {
        _NONSENSE,
        "default.topic.config",
        "error_cb",
        "logger",
        "oauth_cb",
        "on_commit",
        "on_delivery",
        "stats_cb",
        "throttle_cb",
    }
)
# What this program gives its clients itself, wherever it may be said.
_OURS = frozenset(
    {
        "auto.offset.reset",
        "enable.partition.eof",
        "group.id",
        "isolation.level",
        "metadata.broker.list",
        "partition.assignment.strategy",
    }
)
_FILES = (
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.crl.location",
)
# A word in place of a path, by which librdkafka looks in the usual places.
_USUAL_PLACES = "probe"


class Variables(NamedTuple):
    """What the environment says of Kafka's client.

    `known` are librdkafka's settings by their own names; `unknown` are variables that are none, and
    `ours` those whose settings this program gives itself.
    """

    known: dict[str, str]
    unknown: tuple[str, ...]
    ours: tuple[str, ...]

    def remark(self) -> str:
        """In words: what is left out; empty when nothing is."""
        parts = []
        if self.unknown:
            parts.append(f"{', '.join(self.unknown)}: not known to Kafka's client (librdkafka)")
        if self.ours:
            parts.append(f"{', '.join(self.ours)}: set by this program itself")
        return f"left out: {'; '.join(parts)}" if parts else ""


def variables(settings: EventSettings) -> Variables:
    """Tell the client's settings from whatever else begins with `KAFKA_`.

    Containers and Kubernetes set such variables by themselves, so those that mean nothing to
    librdkafka must stop nothing.

    Raises:
        SettingsError: librdkafka refuses the value of a setting; the message names the variable.
    """
    known: dict[str, str] = {}
    unknown: list[str] = []
    ours: list[str] = []
    nothing = _complaint({})
    for key, value in settings.client_config().items():
        said = _complaint({key: value})
        if key in _OURS:
            ours.append(variable_of(key))
        elif said == nothing and key not in _NO_SETTING:
            known[key] = value
        elif key in _NO_SETTING or said.replace(key, _NONSENSE) == nothing:
            unknown.append(variable_of(key))
        else:
            shown = redacted({key: value})[key]
            told = said.replace(value, str(shown)) if value and shown != value else said
            raise SettingsError(f"{variable_of(key)}={shown}: {told.strip()}")
    return Variables(known, tuple(unknown), tuple(ours))


def _complaint(config: Mapping[str, Any]) -> str:
    """What is said of these settings; if they are good, what is said of a name that is not known.

    The nonsense comes last, so that no client is ever made.
    """
    try:
        Producer({**config, _NONSENSE: ""})
    except KafkaException as error:
        return str(error.args[0].str())
    except (TypeError, ValueError, AttributeError) as error:  # of the Python client's own names
        return str(error)
    raise AssertionError(_NONSENSE)


def missing_files(config: Mapping[str, Any]) -> list[str]:
    """The variables that name a file which is not there, with the file."""
    return [
        f"{variable_of(key)}={config[key]}: there is no such file"
        for key in _FILES
        if config.get(key, _USUAL_PLACES) != _USUAL_PLACES and not Path(config[key]).exists()
    ]
