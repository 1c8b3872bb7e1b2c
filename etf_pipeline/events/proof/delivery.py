"""Whether brokers have what was recorded here, and whether it is archived before they let it go."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

from etf_pipeline.errors import EtfError
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.model.checks import Check, first_few
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.positions import Key, Range
from etf_pipeline.events.model.sums import Sums

# Part of the retention after which an event should be in the archive.
_LATE = 0.5


def all_sent(log: Outbox, gone: int) -> Check:
    """Whether brokers have what they confirmed, and what waits for them.

    Args:
        log: the local log.
        gone: how many events they confirmed and have no longer.
    """
    if gone:
        text = f"Kafka confirmed {gone} events and has them no longer; they are sent again"
        return Check("all sent", False, f"{text} while any process that records is open")
    waiting, (refused, named) = log.count_pending(), log.undeliverable(3)
    if refused:
        text = "; ".join(f"{u.type} of {u.subject}: {u.reason}" for u in named)
        return Check(
            "all sent",
            False,
            f"Kafka refuses {sum(refused.values())} events ({', '.join(refused)}), which are in "
            f"the local log only: {text}; have its topics take them, and they are sent at the next "
            "start",
        )
    if not waiting:
        return Check("all sent", True, "Kafka has every event of this machine, or had it in time")
    return Check("all sent", False, f"{waiting} events wait for Kafka; none is lost")


def same_there(sums: Sums) -> Check:
    """Whether brokers have of this machine's events what it recorded, and no others."""
    bad = []
    if sums.differing:
        bad.append(
            f"Kafka has {len(sums.differing)} events otherwise than the log that sent them, such "
            f"as {first_few(list(sums.differing)[:1])}: one of the two was changed"
        )
    if sums.lacking:
        bad.append(
            f"Kafka has {len(sums.lacking)} events of this log that it lacks, such as "
            f"{first_few(list(sums.lacking)[:1])}: events were removed, or an older copy of the "
            "log was put back"
        )
    text = first_few(bad) if bad else "what Kafka has of this machine is what it recorded"
    return Check("as sent", not bad, text)


def archived_in_time(
    days: int,
    look: Callable[[], tuple[Mapping[Key, int], Mapping[Key, Range]]],
    event_at: Callable[[str, int, int], Event | None],
) -> Check:
    """Whether the archive is far enough ahead of the brokers' retention.

    Args:
        days: of retention.
        look: gives where the archive ends, and what range the brokers have, by partition.
        event_at: the event at an offset of a partition, None when none is there.
    """
    late = []
    try:
        start, ranges = look()
        for (channel, partition), (low, high) in ranges.items():
            first = max(low, start.get((channel, partition), 0))
            event = event_at(channel, partition, first) if first < high else None
            if event is not None:
                age = (dt.datetime.now(dt.UTC) - event.recorded).total_seconds() / 86_400
                if age > _LATE * days:
                    late.append(f"{channel}[{partition}]: {age:.0f} days old of {days}")
    except EtfError as error:
        return Check("archived in time", False, str(error))
    text = "run `etf events archive`: " + first_few(late) if late else "well before retention"
    return Check("archived in time", not late, text)
