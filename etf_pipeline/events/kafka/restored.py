"""Is the local log an older copy of what it was? Told by what topics have of it, and it has not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.model.positions import Key, Range

if TYPE_CHECKING:
    from confluent_kafka import Message

    from etf_pipeline.events.kafka.log import KafkaLog

# How far beyond the last confirmed event of a partition its next ones are looked for.
_MOST = 2_000


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
    own, given = log.id.encode(), log.numbers()
    if not given:
        return False
    ends: dict[Key, int] = {}
    for place, (offset, _) in log.tails().items():
        key = (place.channel, place.partition)
        ends[key] = max(offset, ends.get(key, -1))
    spans = {}
    for key, (low, high) in ranges.items():
        after = max(low, ends.get(key, -1) + 1)
        if after < high:
            spans[key] = (after, min(high, after + _MOST))
    names = {topic_name(broker.settings, channel): channel for channel, _ in spans}
    for messages in broker.reader.between(spans) if spans else ():
        mine = [m for m in messages if _of(m) == own]
        lacking = log.lacks([e for e in broker.reader.events(mine, names) if e.number > 0])
        # What it let go of has lower numbers than what it holds.
        first = {channel: log.first_number(channel) for channel in {e.channel for e in lacking}}
        if any(e.number >= first[e.channel] for e in lacking):
            return True
    return False


def _of(message: Message) -> Any:
    """The id of the log that a message says it is of."""
    headers: dict[str, Any] = dict(message.headers() or ())
    return headers.get("ce_logid") or headers.get("etf_logid")
