"""From a Kafka record to the event in it: CloudEvents in binary mode, or OpenLineage's own JSON.

Anybody can write to a topic, so anything may come: what is not an event of this package is refused
with a code that says in which way.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence

from etf_pipeline.errors import EventFormatError, ReasonCode
from etf_pipeline.events.model.envelope import LINEAGE_SOURCE, LINEAGE_TYPE, Event, micros
from etf_pipeline.events.model.types import LINEAGE

Headers = Sequence[tuple[str, bytes | str | None]]
_TYPE = re.compile(r"etf_pipeline\.([A-Za-z.]{1,200})\.v(\d{1,6})", re.ASCII)
_TYPES: dict[bytes, tuple[str, int]] = {}
_MOST_TYPES = 1_000
# Headers that have a number and its log.
_CE, _ETF = ("ce_sequence", "ce_logid"), ("etf_sequence", "etf_logid")
_NUMBERS = 2**62


def from_kafka(
    headers: Headers | None,
    value: bytes | None,
    channel: str,
    partition: int,
    position: int,
    timestamp_ms: int,
) -> Event:
    """The event in a Kafka record.

    Taken apart here: the CloudEvents library is a quarter as fast, and makes up an id or a time
    where there is none.

    Raises:
        EventFormatError: it is not an event of this package; the code says whether somebody else
            wrote it (`FOREIGN_RECORD`) or it says that it is ours and cannot be read.
    """
    found = dict(headers or ())
    read = _lineage if channel == LINEAGE else _cloud_event
    try:
        return read(found, value, channel, partition, position, timestamp_ms)  # type: ignore[arg-type]
    except Exception as error:  # whatever a stranger's bytes can raise
        ours = _says_ours(found, channel)
        raise EventFormatError(
            f"{channel}[{partition}] offset {position} is not an event of etf_pipeline "
            f"({type(error).__name__}: {error})"
            + ("" if ours else "; another program writes to this topic"),
            code=ReasonCode.UNREADABLE_RECORD if ours else ReasonCode.FOREIGN_RECORD,
        ) from None


def _cloud_event(
    headers: dict[str, bytes],
    value: bytes | None,
    channel: str,
    partition: int,
    position: int,
    timestamp_ms: int,
) -> Event:
    raw = headers["ce_type"]
    kind = _TYPES.get(raw) or _type(raw)
    recorded = headers.get("ce_recordedtime")
    if value is None:
        raise ValueError("it has no value")
    return Event(
        _some(headers["ce_id"]),
        *kind,
        _some(headers["ce_source"]),
        headers.get("ce_subject", b"").decode(),
        _micros(headers["ce_time"]),
        timestamp_ms * 1000 if recorded is None else _micros(recorded),
        value.decode(),
        channel,
        partition,
        position,
        *_numbered(headers, _CE),
    )


def _lineage(
    headers: dict[str, bytes],
    value: bytes | None,
    channel: str,
    partition: int,
    position: int,
    timestamp_ms: int,
) -> Event:
    name = _some(headers["etf_id"])
    text = (value or b"").decode()
    recorded, time = headers.get("etf_recordedtime"), headers.get("etf_time")
    if time is None:  # by an earlier release, which left these to the body
        body = json.loads(text)
        subject, time = str(body["job"]["name"]), str(body["eventTime"]).encode()
    else:
        subject = headers["etf_subject"].decode()
    return Event(
        name,
        LINEAGE_TYPE,
        2,
        _some(headers.get("etf_source", LINEAGE_SOURCE.encode())),
        subject,
        _micros(time),
        timestamp_ms * 1000 if recorded is None else _micros(recorded),
        text,
        channel,
        partition,
        position,
        *_numbered(headers, _ETF),
    )


def id_in(headers: Headers | None) -> str | None:
    """The id that a record says its event has; None when it says none."""
    found = dict(headers or ())
    name = found.get("ce_id") or found.get("etf_id") or b""
    return (name if isinstance(name, str) else name.decode(errors="replace")) or None


def _says_ours(headers: Mapping[str, bytes | str | None], channel: str) -> bool:
    if channel == LINEAGE:
        return bool(headers.get("etf_id"))
    kind = headers.get("ce_type")
    return isinstance(kind, bytes) and kind.startswith(b"etf_pipeline.")


def _type(raw: bytes) -> tuple[str, int]:
    match = _TYPE.fullmatch(raw.decode())
    if match is None:
        raise ValueError(f"type {raw[:200]!r} is not one of ours")
    kind = (match[1], int(match[2]))
    if len(_TYPES) < _MOST_TYPES:
        _TYPES[raw] = kind
    return kind


def _some(raw: bytes) -> str:
    if not raw:
        raise ValueError("an id or a source is empty")
    return raw.decode()


def _numbered(headers: Mapping[str, bytes], names: tuple[str, str]) -> tuple[str, int]:
    """Log and number, unknown in what earlier releases sent."""
    digits = headers.get(names[0])
    if digits is None:
        return "", 0
    number = int(digits)
    if not 0 < number < _NUMBERS:
        raise ValueError(f"number {number} is none that a log gives")
    return _some(headers[names[1]]), number


def _micros(raw: bytes) -> int:
    return micros(dt.datetime.fromisoformat(raw.decode()))
