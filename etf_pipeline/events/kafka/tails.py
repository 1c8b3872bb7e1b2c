"""What the brokers have of what was sent: confirmations are noted, and losses are found."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from etf_pipeline.events.kafka import refusals
from etf_pipeline.events.kafka.restored import begin_anew, sent_more
from etf_pipeline.events.log.outbox import Outbox, Place
from etf_pipeline.events.model.positions import Delivery, Key
from etf_pipeline.events.model.types import CHANNELS, LINEAGE

if TYPE_CHECKING:
    from etf_pipeline.events.kafka.log import KafkaLog
    from etf_pipeline.events.model.envelope import Event

log = logging.getLogger(__name__)
# How far back copies that come late are looked for among what others wrote.
_MOST_BETWEEN = 10_000
# Offset and event id; no id where only the offset is known.
Confirmed = tuple[int, str]


class Tails:
    """The ends of the partitions, as the last look and the confirmations since have them.

    What is confirmed while the connection was lost, or out of turn, is read back before it counts,
    and then the brokers have to be looked at again before anything else is sent.
    """

    def __init__(self, outbox: Outbox, broker: KafkaLog) -> None:
        self._log = outbox
        self._broker = broker
        self._checked = False
        self._epoch = -1
        self._seen = (0, 0)
        self._ends: dict[Key, Confirmed] = {}
        # By channel, the number of the first event of which a copy came late.
        self._late: dict[str, int] = {}

    @property
    def quiet(self) -> bool:
        """Whether the connection is the one that the last look was at."""
        return self._checked and self._seen == self._broker.connection()

    @property
    def doubted(self) -> bool:
        """Whether something that was noted as confirmed may be gone by now."""
        return self._epoch >= 0 and not self._checked

    def distrust(self) -> None:
        """Have the brokers looked at again before anything is sent."""
        self._checked = False

    def look_if_needed(self) -> None:
        """Look at the brokers, unless nothing can have changed since.

        Raises:
            EventError: the brokers do not answer.
        """
        seen, self._seen = self._seen, self._broker.connection()
        if seen != self._seen or self._epoch != self._log.epoch():
            self._checked = False
        if not self._checked:
            self.look()

    def look(self) -> None:
        """Find what the brokers confirmed and no longer have, and have it sent again.

        Raises:
            EventError: the brokers do not answer.
        """
        self._broker.ensure_topics(again=self._epoch >= 0)
        reader = self._broker.reader
        channels = [c for c in (*CHANNELS, LINEAGE) if c not in self._broker.closed]
        self._broker.refresh(channels)
        ranges = reader.ranges(channels)
        if self._epoch < 0 and sent_more(self._log, self._broker, ranges):
            log.warning(
                "%s is older than what it sent: it begins anew. Run `etf events archive`: until "
                "then only Kafka has what was recorded after that copy",
                self._log.path,
            )
            begin_anew(self._log, self._broker)
        losses: list[tuple[Place, int]] = []
        for place, newest in self._log.tails().items():
            if place.channel not in channels:
                continue
            key = (place.channel, place.partition)
            low, high = ranges.get(key, (0, 0))

            def in_place(c: Confirmed, key: Key = key, high: int = high) -> bool:
                return c[0] < high and reader.id_at(*key, c[0]) == c[1]

            if newest[0] < low or in_place(newest):
                continue  # gone by retention, or there: and then all before it are too
            ever = self._log.confirmed(place)
            confirmed = [c for c in ever if c[0] >= low]
            lost = first_lost(confirmed, in_place)
            if lost is not None and lost == confirmed[0][0]:
                # It may be another topic by that name, and what came before was never in it.
                confirmed, lost = ever, ever[0][0]
            if lost is not None:
                losses.append((place, lost))
                log.warning(
                    "%s[%d]: the broker lost %d events it had confirmed, from offset %d on; "
                    "sending them again, and what came after them",
                    *key,
                    sum(offset >= lost for offset, _ in confirmed),
                    lost,
                )
        for place, lost in losses:  # which takes others of the channel along
            self._log.forget_deliveries(place, lost)
        self._epoch = self._log.begin_epoch(checked=True)
        self._ends = {key: (high - 1, "") for key, (_, high) in ranges.items()}
        self._checked = True

    def note(self, events: Sequence[Event], deliveries: list[Delivery]) -> list[Delivery]:
        """Note what the broker confirmed and, where a loss can have come in between, still has.

        Returns the deliveries as they are now.

        Raises:
            EventError: the brokers do not answer; then nothing is noted.
        """
        found = _places(events, deliveries)
        trusted = self._broker.connection() == self._seen and all(
            self._follows(key, new) for key, new in found.items()
        )
        if not trusted:
            self._checked = False
            deliveries = self._read_back(events, deliveries, found)
            self._epoch = self._log.begin_epoch()
        self._ends.update({k: c[-1] for k, c in found.items()})
        if not self._log.delivered(*in_turn(events, deliveries), self._epoch):
            # Another process took over while this one was away: what it sent in the meantime is
            # before these now, and has to come after them.
            self._checked = False
            self._log.send_again(_first(events))
        if self._late:
            late, self._late, self._checked = self._late, {}, False
            self._log.send_again(late)
        return deliveries

    def _follows(self, key: Key, new: list[Confirmed]) -> bool:
        """Whether these were appended to all that was there before in this epoch."""
        before = self._ends.get(key)
        if before is None:
            return False  # no such partition when the brokers were looked at
        if any(b[0] <= a[0] for a, b in pairwise([before, *new])):
            return False
        if new[-1][0] - before[0] == len(new):
            return True
        return self._among_others(key, before, new)

    def _among_others(self, key: Key, before: Confirmed, new: list[Confirmed]) -> bool:
        """The same where something else was written too, which may be copies that come late.

        What was on its way when a connection was given up, or when this process or another was
        frozen, can arrive after what was sent since. Then all goes again, from there on.
        """
        reader, mine = self._broker.reader, {offset for offset, _ in new}
        first = max(before[0] + 1, new[0][0] - _MOST_BETWEEN)
        between = [
            e
            for e in reader.events_between(*key, first, new[-1][0] - 1)
            if e.position not in mine and e.log == self._log.id
        ]
        sent = {name: offset for offset, name in new}
        late = [e for e in between if sent.get(e.id, -1) < e.position]
        if late:
            numbers = self._log.numbers_of(late)
            self._late[key[0]] = min([*numbers, self._late.get(key[0], numbers[0])])
        # Others write to this partition too, or it was cut and has grown past where it was.
        return not before[1] or reader.id_at(*key, before[0]) == before[1]

    def _read_back(
        self,
        events: Sequence[Event],
        deliveries: list[Delivery],
        found: dict[Key, list[Confirmed]],
    ) -> list[Delivery]:
        """The deliveries, without those of which the broker does not have the event there now."""
        there = {
            (*key, offset): name
            for key, new in found.items()
            for offset, name in self._broker.reader.ids_between(
                *key, min(new)[0], max(new)[0]
            ).items()
        }
        return [
            d
            if not d.ok or there.get((e.channel, d.partition, d.position)) == e.id
            else refusals.lost()
            for e, d in zip(events, deliveries, strict=True)
        ]


def _places(events: Sequence[Event], deliveries: Sequence[Delivery]) -> dict[Key, list[Confirmed]]:
    found: dict[Key, list[Confirmed]] = {}
    for event, delivery in zip(events, deliveries, strict=True):
        if delivery.ok:
            places = found.setdefault((event.channel, delivery.partition), [])
            places.append((delivery.position, event.id))
    return found


def _first(events: Sequence[Event]) -> dict[str, int]:
    """By channel, the number of the first of these events."""
    return {e.channel: e.position for e in reversed(events)}


def in_turn(
    events: Sequence[Event], deliveries: Sequence[Delivery]
) -> tuple[list[Event], list[Delivery]]:
    """Those that were delivered and that no event of the same key has to follow yet."""
    held_up: set[tuple[str, str]] = set()
    good: list[tuple[Event, Delivery]] = []
    for event, delivery in zip(events, deliveries, strict=True):
        key = (event.channel, event.subject)
        if not delivery.ok:
            held_up.add(key)
        elif key not in held_up:
            good.append((event, delivery))
    return [e for e, _ in good], [d for _, d in good]


def first_lost(confirmed: Sequence[Confirmed], in_place: Callable[[Confirmed], bool]) -> int | None:
    """Offset from which confirmed events are gone, None when all are there.

    What is left of a log is a prefix of what it was, so bisection finds the place.

    Args:
        confirmed: (offset, event id), oldest first.
        in_place: whether the broker still has this event at this offset.
    """
    good = bisect_left(confirmed, True, key=lambda c: not in_place(c))
    return confirmed[good][0] if good < len(confirmed) else None
