"""Whether brokers have what was recorded here, and whether it is archived before they let it go."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from etf_pipeline.errors import EtfError
from etf_pipeline.events.log.archive import Archive, read_batches
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.retention import origin_of
from etf_pipeline.events.model.checks import Check, first_few
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.ids import IdSet, Packed
from etf_pipeline.events.model.positions import Key, Range
from etf_pipeline.events.model.sums import Sums
from etf_pipeline.events.model.types import CHANNELS

# Part of the retention after which an event should be in the archive.
_LATE = 0.5
_EVER = 2**62


def all_sent(log: Outbox, there: Iterable[list[Event]], ranges: Mapping[Key, Range]) -> Check:
    """Whether brokers have what they confirmed, but for what their retention took.

    Args:
        log: the local log.
        there: what the brokers have now.
        ranges: of their partitions, as of before that was read.
    """
    ids = IdSet()
    for batch in there:
        names = [e.id for e in batch]
        ids.add(names, Packed(names))
    gone = 0
    for noted in log.confirmed_by_place(CHANNELS):
        wanted = []
        for channel, partition, position, name in noted:
            low, high = ranges.get((channel, partition), (0, _EVER))
            if low <= position < high:  # what is sent meanwhile does not count
                wanted.append(name)
        gone += len(ids.missing(wanted))
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


def as_sent(
    log: Outbox, archive: Archive, there: Iterator[list[Event]]
) -> tuple[Sums, Iterator[list[Event]]]:
    """Sums of what this machine recorded, and what brokers have, compared on its way.

    Once the second was read to its end, `Sums` says which of the events differ.
    """
    sums = Sums(log.id)

    def compared() -> Iterator[list[Event]]:
        # Its end is fixed when the first batch is asked for: by then all of it was recorded here.
        first = next(there, [])
        _sum_up(sums, log, archive)
        for batch in chain([first], there):
            sums.compare(batch)
            yield batch

    return sums, compared()


def _sum_up(sums: Sums, log: Outbox, archive: Archive) -> None:
    for batch in log.read():
        sums.saw(batch)
    pruned = log.anchor()[0]
    for file in archive.files_of(origin_of(log)):
        if file.first <= pruned:
            for batch in read_batches(file.path):
                sums.saw(batch)


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
