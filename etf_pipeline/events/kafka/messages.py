"""What a message of Kafka holds: an event, or what is parked of it."""

from __future__ import annotations

from confluent_kafka import Message

from etf_pipeline.errors import EventFormatError, ReasonCode
from etf_pipeline.events.log.parked import KAFKA, ParkedRecord, Spot, parked_record
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.records import from_kafka, id_in

_RECORDS = (ReasonCode.FOREIGN_RECORD, ReasonCode.UNREADABLE_RECORD)


def parse(message: Message, channel: str) -> Event:
    """The event in a message of a channel.

    Raises:
        EventFormatError: there is none.
    """
    value = message.value()
    return from_kafka(
        headers_of(message),
        value.encode() if isinstance(value, str) else value,
        channel,
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
    )


def said_id(message: Message) -> str | None:
    """The id that a message says its event has; None when it says none."""
    return id_in(headers_of(message))


def headers_of(message: Message) -> list[tuple[str, bytes | str | None]]:
    """The headers of a message, none where the client cannot tell them (a name in no encoding)."""
    try:
        return message.headers() or []  # type: ignore[return-value]
    except (UnicodeDecodeError, SystemError):
        return []


def set_aside(message: Message, error: EventFormatError) -> ParkedRecord:
    """What is parked of a message that is no event, and why."""
    value = message.value() or b""
    spot = Spot(KAFKA, message.topic() or "", message.partition() or 0, message.offset() or 0)
    told = ", ".join(f"{k}={v!r}" for k, v in headers_of(message))
    code = error.code if error.code in _RECORDS else ReasonCode.UNREADABLE_RECORD
    raw = value.encode() if isinstance(value, str) else value
    return parked_record(spot, code, f"{error}; headers: {told or 'none'}", raw)
