"""What is asked of events: of a log, and of the one object that the rest of the package has.

The logs are `log/sqlite.py` and `kafka/log.py`; the implementations of `Events` lie in `modes/`,
and `factory.py` alone chooses among them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

from etf_pipeline.events.log.archive import Archive, ArchiveReport
from etf_pipeline.events.log.comparison import Comparison
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.log.retention import Pruned
from etf_pipeline.events.model.checks import Check
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.numbers import Held
from etf_pipeline.events.model.positions import Batches, Delivery, Gone, Key, Range
from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.events.settings import EventSettings

EXIT_SECONDS = 2.0


class EventLog(Protocol):
    """Append-only, at least once; readers fold duplicates by event id."""

    def append(self, events: Sequence[Event], timeout: float = 15.0) -> list[Delivery]:
        """Add events in order; when this returns without an error they are in the log.

        Never raises for a log that cannot be reached: each delivery says what became of it.
        """
        ...

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[Key, int] | None = None,
    ) -> Batches:
        """Everything that is in the log when reading begins, in batches, then end.

        Args:
            channels: which channels.
            start: first position wanted by (channel, partition).

        Raises:
            EventError: the log cannot be reached, or stopped answering part-way.
        """
        ...

    def ranges(self, channels: Sequence[str] = CHANNELS) -> dict[Key, Range]:
        """First position there is, and the one after the last, of every partition, now.

        Raises:
            EventError: the log cannot be reached, or does not answer in time.
        """
        ...

    def close(self) -> None:
        """Give back connections and threads."""
        ...


class Projector(Protocol):
    """Keeps read models up to date."""

    def run(self, once: bool = False) -> int:
        """Take events in until it is stopped or, with `once`, up to the end of what is there.

        Returns how many were new.
        """
        ...

    def stop(self) -> None:
        """Have `run` end after the batch under way. May be called by a signal handler."""
        ...


class Events(Protocol):
    """The events of one store, for one process: what everything else asks, whatever the mode."""

    @property
    def name(self) -> str:
        """The mode, for display: `kafka`, `embedded` or `none`; archive files begin with it."""
        ...

    @property
    def settings(self) -> EventSettings:
        """What it was set up with."""
        ...

    @property
    def log(self) -> Outbox:
        """The local log, and the small facts beside it; there is none on disk before its use."""
        ...

    @property
    def recording(self) -> bool:
        """Whether events are being recorded."""
        ...

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        ...

    @property
    def instance(self) -> str:
        """Id of the store, part of every event id."""
        ...

    @property
    def problem(self) -> str | None:
        """What keeps events from being sent now, in words; None when nothing does."""
        ...

    def describe(self) -> str:
        """In words: where events go."""
        ...

    def append(self, events: Sequence[Event], facts: dict[str, str] | None = None) -> None:
        """Keep events (and facts); they are on disk when this returns. Nothing when not recording.

        Raises:
            EventError: the local log cannot be written (full or read-only disk).
        """
        ...

    def read(
        self,
        channels: Sequence[str] = CHANNELS,
        start: dict[Key, int] | None = None,
    ) -> Batches:
        """What the log that replays read holds, as `EventLog.read`; perhaps without what waits."""
        ...

    def ranges(self, channels: Sequence[str] = CHANNELS) -> dict[Key, Range]:
        """As `EventLog.ranges`, of the log that replays read."""
        ...

    def count_pending(self) -> int:
        """How many events were recorded here and are to be sent yet."""
        ...

    def answers(self) -> bool:
        """Whether what is pending could be sent now."""
        ...

    def drain(self, seconds: float) -> int:
        """Send what is pending, for at most `seconds`; returns how many are still waiting."""
        ...

    def confirmed(self, events: Sequence[Event]) -> bool:
        """Whether all of these were recorded and wait for nothing, or for a closed topic alone."""
        ...

    def seam(self, archive: Archive) -> dict[Key, int]:
        """Where topics go on after what the archive has of other machines' events.

        From the start of a partition that lost its end; empty where there are no topics.

        Raises:
            EventError: between the archive's end and a topic's beginning events are missing.
        """
        ...

    def gone(self, archive: Archive) -> list[Gone]:
        """Why `seam` refuses: what topics let go before it was archived here."""
        ...

    def pass_over(self, archive: Archive, gone: Sequence[Gone]) -> None:
        """Have `seam` go on after what is gone, for it was declared lost."""
        ...

    def elsewhere(
        self,
        channels: Sequence[str],
        start: dict[Key, int],
        held: Held | None = None,
        comparison: Comparison | None = None,
    ) -> Batches:
        """What other machines recorded for this store, from these positions on.

        Some of this machine's own may come too, but not those that are `held`. All that brokers
        have is told to the `comparison`, from before these positions too.

        Raises:
            EventError: the topics cannot be read.
        """
        ...

    def besides(self, channels: Sequence[str], start: dict[Key, int]) -> Batches:
        """The same, but only where brokers have what this machine was not told it sent.

        Quick where nobody else records. What a broker lost and replaced is seen once the publisher
        has looked.

        Raises:
            EventError: the topics cannot be read.
        """
        ...

    def archive(self, archive: Archive, now: dt.datetime) -> ArchiveReport:
        """Copy into the archive what it does not have: this machine's events, and others'.

        Raises:
            EventError: a log had let events go before they were archived.
        """
        ...

    def prune(self, archive: Archive) -> Pruned:
        """Let events of the local log go that are older than the retention.

        Only what was read back from the archive, and waits for nothing, goes.
        """
        ...

    def comparison(self, archive: Archive) -> Comparison | None:
        """What brokers have is compared by this with what is recorded here; None without any."""
        ...

    def delivery_checks(self, archive: Archive, found: Comparison | None = None) -> list[Check]:
        """Whether what was recorded here got to where it is sent, and is archived in time.

        Args:
            archive: of the store.
            found: what was compared when all was read; without it, that is done here.
        """
        ...

    def projector(self, projections: Projections, group: str | None = None) -> Projector:
        """What keeps read models up to date; `group` names those that share the work."""
        ...

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Send what can be sent within `timeout`, then give back threads and files."""
        ...
