"""`auto` with a Kafka that does not answer yet: nothing is recorded until it does."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Sequence

from etf_pipeline.errors import EtfError
from etf_pipeline.events.kafka.probe import ask_kafka
from etf_pipeline.events.log.archive import Archive, ArchiveReport
from etf_pipeline.events.log.comparison import Comparison
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.log.retention import Pruned
from etf_pipeline.events.model.checks import Check
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.numbers import Held
from etf_pipeline.events.model.positions import Batches, Gone, Key, Range
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.events.protocol import EXIT_SECONDS, Events, Projector
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.store.forks import tell_of_forks

log = logging.getLogger(__name__)
_RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_PROBE_SECONDS = 1.0


class Waiting:
    """Asks Kafka again and again; is `off` before it answers, what `begin` gives from then on.

    Args:
        off: what records nothing.
        begin: makes what records.
    """

    def __init__(self, off: Events, begin: Callable[[], Events]) -> None:
        self._now = off
        self._begin = begin
        self._ended = threading.Event()
        self._changing = threading.Lock()
        self._ask_in_background()
        tell_of_forks(self)

    def _ask_in_background(self) -> None:
        threading.Thread(target=self._ask_again, name="etf-probe", daemon=True).start()

    def before_fork(self) -> None:
        """The thread stays in the parent."""

    def after_fork_in_child(self) -> None:
        """Go on asking, or the child would never record."""
        ended, self._ended = self._ended.is_set(), threading.Event()
        self._changing = threading.Lock()
        if ended:
            self._ended.set()
        elif not self._now.recording:
            self._ask_in_background()

    def _ask_again(self) -> None:
        settings = self.settings
        attempt = 0
        while not self._ended.wait(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)]):
            attempt += 1
            if ask_kafka(settings, _PROBE_SECONDS) is None:
                try:
                    self._go_over()
                except EtfError as error:  # a setting that Kafka's client refuses, say
                    if attempt == 1:
                        log.warning("%s; events are not being recorded", error)
                    continue
                return

    def _go_over(self) -> None:
        with self._changing:
            if self._ended.is_set():
                return
            off, self._now = self._now, self._begin()
            off.close()
        servers = self.settings.kafka_bootstrap_servers
        log.warning("Kafka at %s answers; events are being recorded from now on", servers)

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Stop asking, and close what there is."""
        with self._changing:
            self._ended.set()
            self._now.close(timeout)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._ended.is_set()

    # The rest is what there is now.

    @property
    def name(self) -> str:
        """The mode, for display."""
        return self._now.name

    @property
    def settings(self) -> EventSettings:
        """What it was set up with."""
        return self._now.settings

    @property
    def log(self) -> Outbox:
        """The local log."""
        return self._now.log

    @property
    def recording(self) -> bool:
        """Whether events are being recorded."""
        return self._now.recording

    @property
    def instance(self) -> str:
        """Id of the store."""
        return self._now.instance

    @property
    def problem(self) -> str | None:
        """What keeps events from being sent now."""
        return self._now.problem

    def describe(self) -> str:
        """In words: where events go."""
        return self._now.describe()

    def append(self, events: Sequence[Event], facts: dict[str, str] | None = None) -> None:
        """Keep events, once Kafka answers."""
        self._now.append(events, facts)

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[Key, int] | None = None,
    ) -> Batches:
        """What the topics hold, once Kafka answers."""
        return self._now.read(channels, start)

    def ranges(self, channels: Sequence[str] = CHANNELS) -> dict[Key, Range]:
        """What the topics hold, once Kafka answers."""
        return self._now.ranges(channels)

    def count_pending(self) -> int:
        """How much waits."""
        return self._now.count_pending()

    def answers(self) -> bool:
        """Whether what waits could be sent."""
        return self._now.answers()

    def drain(self, seconds: float) -> int:
        """Send what waits."""
        return self._now.drain(seconds)

    def confirmed(self, events: Sequence[Event]) -> bool:
        """Whether all of these were recorded and wait for nothing."""
        return self._now.confirmed(events)

    def seam(self, archive: Archive) -> dict[Key, int]:
        """Where reading goes on after the archive."""
        return self._now.seam(archive)

    def gone(self, archive: Archive) -> list[Gone]:
        """What retention took too early."""
        return self._now.gone(archive)

    def pass_over(self, archive: Archive, gone: Sequence[Gone]) -> None:
        """Go on after it."""
        self._now.pass_over(archive, gone)

    def elsewhere(
        self,
        channels: Sequence[str],
        start: dict[Key, int],
        held: Held | None = None,
        comparison: Comparison | None = None,
    ) -> Batches:
        """What other machines recorded."""
        return self._now.elsewhere(channels, start, held, comparison)

    def besides(self, channels: Sequence[str], start: dict[Key, int]) -> Batches:
        """What this machine did not send."""
        return self._now.besides(channels, start)

    def archive(self, archive: Archive, now: dt.datetime) -> ArchiveReport:
        """Copy into the archive what it does not have."""
        return self._now.archive(archive, now)

    def prune(self, archive: Archive) -> Pruned:
        """Let old events go."""
        return self._now.prune(archive)

    def comparison(self, archive: Archive) -> Comparison | None:
        """What compares what brokers have, once Kafka answers."""
        return self._now.comparison(archive)

    def delivery_checks(self, archive: Archive, found: Comparison | None = None) -> list[Check]:
        """Whether everything arrived."""
        return self._now.delivery_checks(archive, found)

    def projector(self, projections: Projections, group: str | None = None) -> Projector:
        """What keeps read models up to date."""
        return self._now.projector(projections, group)
