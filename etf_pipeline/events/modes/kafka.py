"""Events in Kafka, by way of the local log: an event is on disk before it is sent."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from etf_pipeline.errors import EtfError, EventError, SettingsError
from etf_pipeline.events.kafka.probe import ask_kafka
from etf_pipeline.events.kafka.publisher import Publisher
from etf_pipeline.events.kafka.timeouts import Timeouts
from etf_pipeline.events.log.archive import Archive, ArchiveReport
from etf_pipeline.events.log.catching_up import Local as LocalPart
from etf_pipeline.events.log.comparison import Comparison
from etf_pipeline.events.log.parked import Parked
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.log.retention import Pruned, archive_log, prune
from etf_pipeline.events.log.sender import closed
from etf_pipeline.events.model.checks import Check
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.numbers import Held
from etf_pipeline.events.model.positions import Batches, Gone, Key, Range
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline.events.modes.local import Local
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.events.proof.delivery import (
    all_sent,
    archived_in_time,
    same_there,
)
from etf_pipeline.events.protocol import EXIT_SECONDS, Projector
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.store.layout import Layout

if TYPE_CHECKING:
    from etf_pipeline.events.kafka.log import KafkaLog
    from etf_pipeline.events.kafka.others import Others

_PROBE_SECONDS = 1.0
# How long a confirmation is waited for, and for how long where Kafka is known to be away.
_CONFIRMED_SECONDS, _AWAY_SECONDS = 30.0, 5.0
# Another process may be the one that sends: the log is looked at this often.
_LOOK_SECONDS = 0.1


class Kafka(Local):
    """The local log as an outbox, and the topics that a publisher sends it to.

    Args:
        layout: of the store.
        settings: naming the brokers.
        publish: whether a thread sends what is recorded; else `drain` does.
        timeouts: how long Kafka is waited for.
    """

    name = "kafka"
    recording = True

    def __init__(
        self,
        layout: Layout,
        settings: EventSettings,
        *,
        publish: bool = True,
        timeouts: Timeouts | None = None,
    ) -> None:
        super().__init__(layout, settings)
        self._publish = publish
        self._timeouts = timeouts
        self._publisher: Publisher | None = None
        self._broker: KafkaLog | None = None
        self._others: Others | None = None
        self._pid = os.getpid()
        if publish:
            self.publisher.start()

    @classmethod
    def opened(cls, layout: Layout, settings: EventSettings, publish: bool) -> Self:
        """One whose thread sends what is recorded, with `publish`."""
        return cls(layout, settings, publish=publish)

    @staticmethod
    def examine(settings: EventSettings) -> str:
        """In words: whether all is well.

        Raises:
            EventError: events would not get to Kafka, or not stay there; says why, and the remedy.
            SettingsError: a variable has a value that cannot be used, or Kafka's client is missing.
        """
        try:
            from etf_pipeline.events.kafka.examination import examine_kafka
        except ImportError as error:
            raise _not_installed(error) from None
        found = examine_kafka(settings)
        if found.problems:
            raise EventError("; ".join((*found.problems, *found.remarks)))
        return "; ".join(("kafka", *found.remarks))

    def describe(self) -> str:
        """In words: where events go."""
        servers = self.settings.kafka_bootstrap_servers
        kept = " once Kafka has confirmed it" if self._waits else ""
        return f"{self.name} ({servers}): calls and runs are recorded{kept}"

    @property
    def broker(self) -> KafkaLog:
        """The topics, as this process reaches them.

        Raises:
            SettingsError: Kafka's client is not installed.
        """
        self._check_fork()
        if self._broker is None:
            try:
                from etf_pipeline.events.kafka.log import KafkaLog
            except ImportError as error:
                raise _not_installed(error) from None
            self._broker = KafkaLog(self.settings, self._timeouts, Parked(self.log.path))
        return self._broker

    @property
    def publisher(self) -> Publisher:
        """What sends the outbox to Kafka."""
        self._check_fork()
        if self._publisher is None:
            self._publisher = Publisher(self.log, self.broker)
        return self._publisher

    @property
    def problem(self) -> str | None:
        """What keeps events from being sent now."""
        return self.publisher.problem

    def append(self, events: Sequence[Event], facts: dict[str, str] | None = None) -> None:
        """Keep events; they are on disk when this returns, and are sent as soon as may be.

        With `EVENT_DURABILITY=broker` Kafka has confirmed them, too.

        Raises:
            EventError: the local log cannot be written, or Kafka did not confirm them in time.
        """
        self._check_fork()
        self.log.append(events, facts=facts)
        if self._publish:
            self.publisher.start()
            self.publisher.wake()
        if events and self._waits:
            self._await(events)

    @property
    def _waits(self) -> bool:
        """The relay, whose process sends by `drain`, sees to confirmations itself."""
        return self._publish and self.settings.event_durability == "broker"

    def _await(self, events: Sequence[Event]) -> None:
        """Return once a broker has each of these.

        Raises:
            EventError: that takes too long; says what keeps it.
        """
        began = time.monotonic()
        while not self.log.all_confirmed(events):
            waited, refused = time.monotonic() - began, self.log.all_delivered(events)
            if refused or waited > (_AWAY_SECONDS if self.problem else _CONFIRMED_SECONDS):
                raise self._unconfirmed(events[0], refused)
            self.publisher.wait(_LOOK_SECONDS)

    def _unconfirmed(self, event: Event, refused: bool) -> EventError:
        why = self.problem or f"no confirmation within {_CONFIRMED_SECONDS:g} s"
        if refused:
            why = "Kafka refuses it (`etf events status` says why)"
        return EventError(
            f"EVENT_DURABILITY=broker: {why}; {event.type} of {event.subject} is on this disk "
            f"alone, in {self.log.path}, and is sent from there once Kafka takes it; mend that and "
            "ask again"
        )

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[Key, int] | None = None,
    ) -> Batches:
        """What the topics hold at this moment."""
        return self.broker.read(channels, start)

    def ranges(self, channels: Sequence[str] = CHANNELS) -> dict[Key, Range]:
        """Low and high offset of every partition."""
        return self.broker.ranges(channels)

    def count_pending(self) -> int:
        """How many events no broker has confirmed."""
        return self.log.count_pending()

    def answers(self) -> bool:
        """Whether a broker answers."""
        return ask_kafka(self.settings, _PROBE_SECONDS) is None

    def drain(self, seconds: float) -> int:
        """Send what is pending, for at most `seconds`; returns how many are still waiting."""
        return self.publisher.drain(seconds)

    def confirmed(self, events: Sequence[Event]) -> bool:
        """Whether a broker has confirmed every one of these, but for topics that take none now.

        Those wait in the local log, for as long as it takes.
        """
        waiting = closed(self.log)
        return self.log.all_delivered([e for e in events if e.channel not in waiting]) and not (
            waiting and self.log.lacks(events)
        )

    @property
    def others(self) -> Others:
        """What other machines recorded for this store."""
        if self._others is None:
            broker = self.broker  # says so when the client is not installed
            from etf_pipeline.events.kafka.others import Others

            self._others = Others(broker, self.log, self.instance)
        return self._others

    def seam(self, archive: Archive) -> dict[Key, int]:
        """Where topics go on after what the archive has of other machines' events."""
        return self.others.start(archive)

    def gone(self, archive: Archive) -> list[Gone]:
        """What retention took before it was archived, and may have been other machines'."""
        return self.others.gone(archive)

    def pass_over(self, archive: Archive, gone: Sequence[Gone]) -> None:
        """Go on after it."""
        self.others.pass_over(archive, gone)

    def elsewhere(
        self,
        channels: Sequence[str],
        start: dict[Key, int],
        held: Held | None = None,
        comparison: Comparison | None = None,
    ) -> Batches:
        """What the topics hold of this store."""
        if comparison is not None:
            comparison.ranges = self.ranges(channels)
        return self.others.read(channels, start, held, comparison)

    def besides(self, channels: Sequence[str], start: dict[Key, int]) -> Batches:
        """What the topics hold of this store that this machine did not send."""
        return self.others.besides(channels, start)

    def archive(self, archive: Archive, now: dt.datetime) -> ArchiveReport:
        """Copy into the archive what it does not have."""
        mine, theirs = archive_log(self.log, archive, now), self.others.archive(archive, now)
        return ArchiveReport([*mine.files, *theirs.files], mine.events + theirs.events)

    def prune(self, archive: Archive) -> Pruned:
        """Let go of what is older than the retention, in the archive and in Kafka as of now."""
        days = self.settings.event_store_retention_days
        if days < 0 or not self.answers():
            return prune(self.log, archive, days, 0, "to be asked for in Kafka, which is away")
        self.publisher.check()
        safe = self.log.sent_up_to()
        return prune(self.log, archive, days, safe, "at or after one that Kafka does not have")

    def comparison(self, archive: Archive) -> Comparison | None:
        """What compares what brokers have with what is recorded here."""
        return Comparison(self.log, archive)

    def delivery_checks(self, archive: Archive, found: Comparison | None = None) -> list[Check]:
        """Whether everything arrived and, where brokers let events go, is archived in time."""
        if found is None:
            found = Comparison(self.log, archive)
            deque(read_all(self, archive, (*CHANNELS, LINEAGE), found), 0)
        checks = [all_sent(self.log, found.gone()), same_there(found.sums)]
        days = self.settings.event_store_retention_days
        if days > 0:
            checks.append(
                archived_in_time(
                    days,
                    lambda: (self.seam(archive), self.ranges()),
                    lambda *place: self.broker.reader.event_at(*place),
                )
            )
        return checks

    def projector(self, projections: Projections, group: str | None = None) -> Projector:
        """One of a consumer group that shares the partitions."""
        broker = self.broker  # says so when the client is not installed
        from etf_pipeline.events.kafka.worker import Worker

        local = LocalPart(self.log, Archive(self._layout), self.instance)
        return Worker(broker, projections, group, local)

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Send what a healthy Kafka will take within `timeout`, then stop; the rest keeps."""
        if self.closed:
            return
        self._check_fork()
        if self._publisher is not None:
            if self._publisher.problem is None:
                # What was recorded is on the disk, and the next one that sends finds what waits.
                with contextlib.suppress(EtfError):
                    self._publisher.drain(timeout)
            self._publisher.stop()
        if self._broker is not None:
            self._broker.close()
        super().close()

    def _check_fork(self) -> None:
        if self._pid != os.getpid():  # the threads stayed in the parent
            self._publisher = self._broker = self._others = None
            self._pid = os.getpid()


def _not_installed(error: ImportError) -> SettingsError:
    return SettingsError(f"Kafka events need {error.name}: pip install 'etf_pipeline[kafka]'")
