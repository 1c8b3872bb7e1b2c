"""What comes to read models: this machine's log and archive first, then the topics."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence

from confluent_kafka import Message

from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.kafka.messages import said_id
from etf_pipeline.events.kafka.others import not_held
from etf_pipeline.events.kafka.places import beginnings
from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.log.catching_up import TAKEN_IN, Local, prove_whole
from etf_pipeline.events.log.projections import Place, Projections
from etf_pipeline.events.model.numbers import Gap, missing
from etf_pipeline.events.model.positions import Key
from etf_pipeline.events.model.types import CHANNELS

log = logging.getLogger(__name__)
# Another machine may be sending what is missing.
_AGAIN_SECONDS, _GAP_SECONDS = 5.0, 60.0
_GAP_TRIES = 3


class Intake:
    """Takes events into read models, and minds that none is missing.

    Attributes:
        names: channels by topic.
        next: the offset after the last record that was taken in here, by partition.
        looked: when the log of this machine was looked at last (monotonic seconds).
        missing: what stays missing, in words; empty when nothing does.
        taken: how many events were new.
    """

    def __init__(self, broker: KafkaLog, projections: Projections, local: Local | None) -> None:
        self._broker = broker
        self._projections = projections
        self._local = local
        # When each gap was seen first, and those for which topics were read again.
        self._seen: dict[Gap, float] = {}
        self._sought: set[Gap] = set()
        self.names = {topic_name(broker.settings, c): c for c in CHANNELS}
        self.next: dict[Key, int] = {}
        self.looked = 0.0
        self.missing = ""
        self.taken = 0

    def bind(self) -> None:
        """Have the read models be of this store alone.

        Raises:
            EventError: they are of another.
        """
        if self._local is not None:
            self._projections.bind(self._local.store)

    def look(self) -> None:
        """Take in what is new in the log of this machine."""
        self.looked = time.monotonic()
        if self._local is not None:
            self.taken += self._local.take_in(self._projections)

    def apply(self, messages: Sequence[Message]) -> None:
        """Take in messages; those that are no events move their partitions too."""
        if not messages:
            return
        newest = {(m.topic() or "", m.partition() or 0): m for m in messages}
        places = {
            (self.names[topic], partition): Place((m.offset() or 0) + 1, said_id(m) or "")
            for (topic, partition), m in newest.items()
        }
        if self._local is not None:
            messages = not_held(messages, self.names, self._local.held)
        events = self._broker.reader.events(messages, self.names)
        self.taken += self._projections.apply(events, places=places)
        self.next.update({key: place.next for key, place in places.items()})

    def read_all(self, stop: threading.Event) -> None:
        """Take in everything that there is now, outside of any group.

        Raises:
            EventError: the brokers cannot be reached, or events are missing.
        """
        for tries in range(_GAP_TRIES):
            given = self._given()
            self.look()
            start = beginnings(self._broker.reader, self._projections)
            for messages in self._broker.reader.messages(CHANNELS, start):
                self.apply(messages)
                if stop.is_set():
                    return
            gaps = self._projections.gaps(given)
            if not gaps or stop.wait(tries + 1):
                break
            if tries == _GAP_TRIES - 2:
                self.read_again(gaps, self._projections.places())
        prove_whole(self._projections, given)

    def read_again(self, gaps: Iterable[Gap], keys: Iterable[Key]) -> set[Key]:
        """Have those of these partitions be read from the beginning that may have what is missing.

        A topic that was made anew may be longer than what was read of the one before. Who did not
        notice went on in the middle of it, and each place seems to be right since.
        """
        channels = {g.channel for g in gaps}
        chosen = {key for key in keys if key[0] in channels}
        if chosen:
            log.warning("events seem to be missing: %s is read again", ", ".join(sorted(channels)))
            self._projections.read_again(chosen)
        return chosen

    def mind_gaps(self) -> list[Gap]:
        """Say what stays missing; returns what is to be looked for in the topics again, once.

        What another machine is sending comes by itself.
        """
        given, now = self._given(), time.monotonic()
        self.look()
        gaps = self._projections.gaps(given)
        self._seen = {g: self._seen.get(g, now) for g in gaps}
        self._sought &= self._seen.keys()
        stay = [g for g in gaps if now - self._seen[g] >= _GAP_SECONDS]
        text = missing(stay, TAKEN_IN) if stay else ""
        if text and text != self.missing:
            log.error("%s", text)
        self.missing = text
        again = [g for g in gaps if g not in self._sought and now - self._seen[g] >= _AGAIN_SECONDS]
        self._sought.update(again)
        return again

    def _given(self) -> dict[tuple[str, str], int]:
        return {} if self._local is None else self._local.given()
