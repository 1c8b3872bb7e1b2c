"""Is the local log an older copy of what it was? Told by what topics have of it, and it has not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.model.positions import Key, Range
from etf_pipeline.events.model.types import CHANNELS, LINEAGE

if TYPE_CHECKING:
    from confluent_kafka import Message

    from etf_pipeline.events.kafka.log import KafkaLog

# Fact with how far partitions were looked through, after which last confirmed event of them: others
# may have written very much there, and an older copy knows no more than when it was made.
_LOOKED = "looked_for_sent"
# Records of a partition that are looked through at once.
_AT_ONCE = 2_000
_ALL = (*CHANNELS, LINEAGE)


def sent_more(log: Outbox, broker: KafkaLog, ranges: Mapping[Key, Range]) -> bool:
    """Whether this log sent events, after the last it knows of, that it does not hold.

    So it is where an older copy was put back; its next numbers were given already.

    Args:
        log: the local log.
        broker: the topics.
        ranges: of their partitions.

    Raises:
        EventError: the brokers do not answer.
    """
    if not log.numbers():
        return False
    ends = _ends(log)
    upto = _looked(log, ends)
    spans = {}
    for key, (low, high) in ranges.items():
        done = upto.get(key, 0)
        after = max(low, ends.get(key, -1) + 1, done if done <= high else 0)
        if after < high:
            spans[key] = (after, high)
    while spans:
        part = {key: (after, min(high, after + _AT_ONCE)) for key, (after, high) in spans.items()}
        if _lacks(log, broker, part):
            return True
        upto |= {key: after for key, (_, after) in part.items()}
        spans = {key: (upto[key], high) for key, (_, high) in spans.items() if upto[key] < high}
        if spans:  # a process that ends before has not looked in vain
            kept = [[*key, ends.get(key, -1), after] for key, after in upto.items()]
            log.append([], facts={_LOOKED: json.dumps(kept)})
    return False


def begin_anew(log: Outbox, broker: KafkaLog) -> None:
    """Have an older copy of a log go on as another one.

    Events that it holds and had not sent by then may have been sent since, under their numbers:
    those keep them too.

    Raises:
        EventError: the brokers do not answer.
    """
    start = {key: end + 1 for key, end in _ends(log).items()}
    names, own = {topic_name(broker.settings, c): c for c in _ALL}, log.id.encode()
    sent: dict[str, int] = {}
    for messages in broker.reader.messages(_ALL, start):
        mine = broker.reader.events([m for m in messages if _of(m) == own], names)
        for channel, last in log.last_alike(mine).items():
            sent[channel] = max(last, sent.get(channel, 0))
    log.begin_anew(sent)


def _ends(log: Outbox) -> dict[Key, int]:
    """The offset of the last confirmed event of each partition."""
    found: dict[Key, int] = {}
    for place, (offset, _) in log.tails().items():
        key = (place.channel, place.partition)
        found[key] = max(offset, found.get(key, -1))
    return found


def _lacks(log: Outbox, broker: KafkaLog, spans: dict[Key, Range]) -> bool:
    """Whether these spans of offsets have an event that this log sent and does not hold."""
    own = log.id.encode()
    names = {topic_name(broker.settings, channel): channel for channel, _ in spans}
    for messages in broker.reader.between(spans):
        mine = [m for m in messages if _of(m) == own]
        lacking = log.lacks([e for e in broker.reader.events(mine, names) if e.number > 0])
        # What it let go of has lower numbers than what it holds.
        first = {channel: log.first_number(channel) for channel in {e.channel for e in lacking}}
        if any(e.number >= first[e.channel] for e in lacking):
            return True
    return False


def _looked(log: Outbox, ends: Mapping[Key, int]) -> dict[Key, int]:
    """The offsets before which partitions were looked through, since they had these ends."""
    kept = json.loads(log.fact(_LOOKED) or "[]")
    return {(c, p): after for c, p, end, after in kept if ends.get((c, p), -1) == end}


def _of(message: Message) -> Any:
    """The id of the log that a message says it is of."""
    headers: dict[str, Any] = dict(message.headers() or ())
    return headers.get("ce_logid") or headers.get("etf_logid")
