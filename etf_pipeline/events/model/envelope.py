"""The envelope: CloudEvents 1.0, Kafka binary content mode, deterministic ids, two clocks.

Spec: CloudEvents 1.0.2 with its Kafka protocol binding, and the extension `recordedtime`.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import TYPE_CHECKING, NamedTuple

from etf_pipeline.events.model.types import LINEAGE, REGISTRY, EventData

if TYPE_CHECKING:  # needed for Kafka alone
    from cloudevents.core.bindings.kafka import KafkaMessage
    from cloudevents.core.v1.event import CloudEvent

TYPE_PREFIX = "etf_pipeline."
LINEAGE_TYPE = "OpenLineage.RunEvent"
# What earlier releases had as the source of lineage events.
LINEAGE_SOURCE = "/etf_pipeline/openlineage"
_NAMESPACE = uuid.UUID("6d0f1c1e-6a3e-5b52-9a55-0a3b8a5f1f1d")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Event(NamedTuple):
    """One event. Times are microseconds since 1970 UTC.

    `time_us` says when it happened, `recorded_us` when it was handed to a store. `partition` and
    `position` (offset, or sequence number) say where it was read from, −1 before that. `log` is
    the id of the local log that recorded it and `number` its place in its channel there, from 1
    on without a gap; empty and 0 before that, and where an earlier release did not say.
    """

    id: str
    type: str
    version: int
    source: str
    subject: str
    time_us: int
    recorded_us: int
    data: str
    channel: str
    partition: int = -1
    position: int = -1
    log: str = ""
    number: int = 0

    @property
    def time(self) -> dt.datetime:
        """When it happened (UTC)."""
        return from_micros(self.time_us)

    @property
    def recorded(self) -> dt.datetime:
        """When it was recorded (UTC)."""
        return from_micros(self.recorded_us)

    def payload(self) -> EventData:
        """The payload, as the newest version of its type.

        Raises:
            EventFormatError: unknown type or version, or a payload that is not of it.
        """
        return REGISTRY.parse(self.type, self.version, self.data)


def micros(moment: dt.datetime, what: str = "time") -> int:
    """Microseconds since 1970 UTC of an aware time.

    Raises:
        ValueError: the time is naive; it could be any of two dozen instants.
    """
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(
            f"{what} {moment.isoformat()} has no time zone; pass an aware one, for example "
            "datetime(2025, 11, 1, tzinfo=UTC)"
        )
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(value: int) -> dt.datetime:
    """The aware time (UTC) of `micros`."""
    return _EPOCH + dt.timedelta(microseconds=value)


def now_micros() -> int:
    """The present."""
    return micros(dt.datetime.now(dt.UTC))


def event_id(*parts: str) -> str:
    """UUIDv5 (RFC 9562) of what makes an event one of a kind: equal parts give an equal id."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts, separators=(",", ":"))))


def make_event(
    data: EventData,
    subject: str,
    identity: tuple[str, ...],
    time: dt.datetime,
    instance: str,
    recorded: dt.datetime | None = None,
) -> Event:
    """An event ready to be recorded.

    Args:
        data: the payload.
        subject: ticker or portfolio; events of one subject keep their order.
        identity: with type, subject and time, what makes the event one of a kind.
        time: when it happened (aware); telling it again must give the same.
        instance: id of the store that the event is about.
        recorded: when it is being recorded; now by default.

    Raises:
        ValueError: `time` is naive.
    """
    name, version = REGISTRY.name_of(data)
    return Event(
        event_id(instance, *identity, name, subject, str(micros(time))),
        name,
        version,
        source_of(instance),
        subject,
        micros(time),
        now_micros() if recorded is None else micros(recorded, "recorded"),
        data.model_dump_json(),
        REGISTRY.channel(name),
    )


def source_of(store: str) -> str:
    """What events of a store have as their source."""
    return f"/etf_pipeline/{store}"


def lineage_event(
    identity: tuple[str, ...], subject: str, time_us: int, body: str, store: str
) -> Event:
    """An OpenLineage run event, carried like the others; its body is OpenLineage's own JSON."""
    return Event(
        event_id("lineage", *identity, str(time_us)),
        LINEAGE_TYPE,
        2,
        source_of(store),
        subject,
        time_us,
        now_micros(),
        body,
        LINEAGE,
    )


def to_cloudevent(event: Event) -> CloudEvent:
    """The event as the CloudEvents library has it.

    `sequence` is that of CloudEvents' extension of this name, within log and channel.
    """
    from cloudevents.core.v1.event import CloudEvent

    numbered = {"logid": event.log, "sequence": str(event.number)} if event.number else {}
    return CloudEvent(
        {
            "specversion": "1.0",
            "id": event.id,
            "source": event.source,
            "type": f"{TYPE_PREFIX}{event.type}.v{event.version}",
            "subject": event.subject,
            "time": event.time,
            "datacontenttype": "application/json",
            "dataschema": f"urn:etf_pipeline:event:{event.type}:{event.version}",
            "partitionkey": event.subject,
            "recordedtime": _rfc3339(event.recorded),
            **numbered,
        },
        event.data.encode(),
    )


def to_kafka(event: Event) -> KafkaMessage:
    """Headers, key and value of the Kafka message.

    OpenLineage events go as their own JSON, with what we have to know of them in headers of ours.
    """
    from cloudevents.core.bindings.kafka import KafkaMessage, to_binary_event

    if event.type == LINEAGE_TYPE:
        told = {
            "etf_id": event.id,
            "etf_source": event.source,
            "etf_subject": event.subject,
            "etf_time": _rfc3339(event.time),
            "etf_recordedtime": _rfc3339(event.recorded),
        }
        if event.number:
            told |= {"etf_logid": event.log, "etf_sequence": str(event.number)}
        headers = {"content-type": "application/json", **told}
        return KafkaMessage(
            {k: v.encode() for k, v in headers.items()}, event.subject, event.data.encode()
        )
    return to_binary_event(to_cloudevent(event))


def _rfc3339(moment: dt.datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
