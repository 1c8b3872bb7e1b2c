"""Event settings from the environment: `EVENT_…`, `KAFKA_…` and `OPENLINEAGE_…`.

It is read when the settings are made, and never again: who has them has all.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from etf_pipeline.errors import SettingsError
from etf_pipeline.settings.reading import MOST_DAYS, read_settings

StoreType = Literal["auto", "kafka", "embedded", "none"]
Durability = Literal["local", "broker"]
_OURS = {
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_TOPIC_PREFIX",
    "KAFKA_TOPIC_PARTITIONS",
    "KAFKA_REPLICATION_FACTOR",
}
# Ours to set, as the guarantees rest on them, with the values that change nothing.
_FIXED: dict[str, frozenset[str]] = {
    "acks": frozenset({"all", "-1"}),
    "request.required.acks": frozenset({"all", "-1"}),
    "enable.idempotence": frozenset({"true"}),
    "message.timeout.ms": frozenset({"0"}),
    "delivery.timeout.ms": frozenset({"0"}),
    "transactional.id": frozenset(),
    "enable.auto.commit": frozenset({"false"}),
    "auto.commit.enable": frozenset({"false"}),
}
_NAMESPACE = "etf_pipeline"
_SECRET = re.compile(r"password|secret|key\.pem|keystore|token|oauthbearer\.config|jaas")


def _client_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("KAFKA_")}


class EventSettings(BaseSettings):
    """Where events go. Immutable."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        # A password may have been put where none belongs.
        hide_input_in_errors=True,
    )

    event_store_type: StoreType = Field(
        "auto",
        description="`auto` (Kafka if it is set and answers, else none), `kafka`, `embedded` "
        "(SQLite) or `none`.",
    )
    event_store_retention_days: int = Field(
        -1,
        description="Days that brokers and the local log keep events; -1 is for ever, 0 refused.",
    )
    event_durability: Durability = Field(
        "local",
        description="Where an event is when a call returns: `local` (on this disk) or `broker` "
        "(confirmed by Kafka too, for machines whose disk does not last).",
    )
    event_store_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="Id of the store that this machine continues, as `etf events status` tells it "
        "on another; a store makes one of its own otherwise.",
    )
    event_relay_start: str = Field(
        "now",
        description="Where the relay begins on an instance it has not seen: `now`, `beginning` "
        "or a time such as `2025-11-01T00:00:00+00:00`.",
    )
    event_signing_key: Path | None = Field(
        None,
        description="PEM file of the Ed25519 key that signs the head of the event log once a day; "
        "nothing is signed if unset.",
    )
    event_signing_passphrase: SecretStr | None = Field(
        None, description="What that key is encrypted with."
    )
    kafka_bootstrap_servers: str | None = Field(
        None, description="Brokers, `host:port` separated by commas."
    )
    kafka_topic_prefix: str = Field(
        "etf", pattern=r"^[A-Za-z0-9._-]{1,100}$", description="First part of every topic name."
    )
    kafka_topic_partitions: int = Field(
        6, ge=1, le=1000, description="Partitions of topics that are made here."
    )
    kafka_replication_factor: int = Field(
        -1,
        ge=-1,
        le=32_767,  # what Kafka's protocol holds
        description="Copies of topics that are made here; -1 is the broker's default.",
    )
    openlineage_disabled: bool = Field(
        False, description="Whether no OpenLineage events are told: `true`, `1` or `yes`."
    )
    openlineage_namespace: str = Field(_NAMESPACE, description="Namespace of OpenLineage jobs.")
    # Of the environment when the settings were made. Private, as there are passwords among them:
    # what is private is neither shown nor dumped.
    _variables: dict[str, str] = PrivateAttr(default_factory=_client_variables)

    def client_config(self) -> dict[str, str]:
        """Settings of Kafka's clients beyond the brokers, as `client_config` reads them.

        Raises:
            SettingsError: a variable sets what the delivery guarantees rest on.
        """
        return client_config(self._variables)

    @field_validator("event_store_retention_days")
    @classmethod
    def _a_day_or_more(cls, value: int) -> int:
        if value != -1 and not 1 <= value <= MOST_DAYS:
            raise ValueError(
                f"must be 1 day or more, to {MOST_DAYS}, or -1 to keep events for ever"
            )
        return value

    @field_validator("event_signing_key", "event_signing_passphrase", mode="before")
    @classmethod
    def _unset_if_empty(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _some_server(cls, value: str | None) -> str | None:
        text = (value or "").strip()
        if "@" in text or "://" in text:
            raise ValueError(
                "must be host:port, several separated by commas; who connects and how is said by "
                "KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SECURITY_PROTOCOL"
            )
        for part in filter(None, (p.strip() for p in text.split(","))):
            host, _, port = part.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError("must be host:port, several separated by commas")
            bare = host.removeprefix("[").removesuffix("]")
            if ("[" in host or ":" in host) and (host != f"[{bare}]" or ":" not in bare):
                raise ValueError("must have IPv6 addresses in brackets, such as [::1]:9092")
        return text or None

    @field_validator("openlineage_disabled", mode="before")
    @classmethod
    def _a_yes(cls, value: object) -> bool:
        return str(value).strip().lower() in ("true", "1", "yes")

    @field_validator("openlineage_namespace")
    @classmethod
    def _some_name(cls, value: str) -> str:
        return value.strip() or _NAMESPACE

    @field_validator("event_relay_start")
    @classmethod
    def _a_place(cls, value: str) -> str:
        if value.strip() in ("now", "beginning"):
            return value.strip()
        with contextlib.suppress(ValueError):
            if dt.datetime.fromisoformat(value.strip()).tzinfo is not None:
                return value.strip()
        raise ValueError(
            "must be now, beginning or a time with its zone, such as 2025-11-01T00:00:00+00:00"
        )


def load_event_settings(**overrides: object) -> EventSettings:
    """Read the environment; `overrides` win over it.

    Raises:
        SettingsError: one line that names every variable with a bad value.
    """
    settings = read_settings(EventSettings, overrides)
    if settings.event_store_type == "kafka" and settings.kafka_bootstrap_servers is None:
        raise SettingsError(
            "EVENT_STORE_TYPE=kafka needs KAFKA_BOOTSTRAP_SERVERS, for example localhost:9092"
        )
    sends = settings.event_store_type in ("auto", "kafka") and settings.kafka_bootstrap_servers
    if settings.event_durability == "broker" and not sends:
        raise SettingsError(
            "EVENT_DURABILITY=broker needs a broker: set KAFKA_BOOTSTRAP_SERVERS, and "
            "EVENT_STORE_TYPE to kafka; or EVENT_DURABILITY=local"
        )
    return settings


def client_config(environ: Mapping[str, str]) -> dict[str, str]:
    """What `KAFKA_…` variables say, by the names that settings of librdkafka would have.

    `KAFKA_SASL_USERNAME` is `sasl.username`, and `KAFKA_LOG__LEVEL` is `log_level`: two underscores
    stand for one. Whether there is such a setting is not known here.

    Raises:
        SettingsError: a variable sets what the delivery guarantees rest on.
    """
    found: dict[str, str] = {}
    for name, value in environ.items():
        if not name.startswith("KAFKA_") or name.upper() in _OURS:
            continue
        words = name.removeprefix("KAFKA_").lower().split("__")
        key = "_".join(word.replace("_", ".") for word in words)
        if key not in _FIXED:
            found[key] = value
        elif value.strip().lower() not in _FIXED[key]:
            raise SettingsError(f"{name}: {key} is fixed, as nothing may be lost; unset it")
    return found


def variable_of(key: str) -> str:
    """The variable that gives a setting of librdkafka: `KAFKA_SASL_USERNAME` of `sasl.username`."""
    return "KAFKA_" + key.replace("_", "__").replace(".", "_").upper()


def redacted(config: Mapping[str, object]) -> dict[str, object]:
    """A client configuration that may be logged."""
    return {k: "***" if _SECRET.search(k) else v for k, v in config.items()}
