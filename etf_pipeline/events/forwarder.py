"""From the local log to Kafka: in order, as often as it takes, by one process at a time."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from etf_pipeline.errors import EtfError
from etf_pipeline.events.mode import probe
from etf_pipeline.events.outbox import Outbox
from etf_pipeline.store.writer import HOST

if TYPE_CHECKING:
    from etf_pipeline.events.kafka import KafkaEventStore

log = logging.getLogger(__name__)
_IDLE_SECONDS = 0.1
_FOLLOWER_SECONDS = 0.5
_LEASE_SECONDS = 5.0
_BACKOFF_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_REPORT_SECONDS = 15.0
_BATCH = 2_000
Confirmed = tuple[int, str]


class Forwarder:
    """Sends what the log holds and no broker has confirmed. Start it, or `drain` by hand.

    One process has the lease; the others stand by and take over within seconds of its death.
    After every reconnection it asks the broker whether the last confirmed events are still
    there, and sends again from the first that is not.
    """

    def __init__(self, log_store: Outbox, broker: KafkaEventStore, servers: str) -> None:
        self._log = log_store
        self._broker = broker
        self._servers = servers
        self._owner = f"{HOST}-{os.getpid()}-{uuid.uuid4()}"
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._working = threading.Lock()
        self._failures = 0
        self._not_before = 0.0
        self._checked = False
        self.problem: str | None = None
        self.sent = 0

    def start(self) -> None:
        """Send in the background from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="etf-forwarder", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """There is something new."""
        self._wake.set()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread, giving what is under way up to `timeout` seconds."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None
        self._log.release("forwarder", self._owner)

    def drain(self, seconds: float) -> int:
        """Send everything, for at most `seconds`; returns how many events are still waiting."""
        deadline = time.monotonic() + seconds
        while (left := self._log.count_pending()) and time.monotonic() < deadline:
            # Another process may have the lease and be sending: then waiting is all there is to do.
            if not self._step(deadline):
                self._stop.wait(min(0.05, max(0.0, deadline - time.monotonic())))
        return left

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                busy = self._step(time.monotonic() + _REPORT_SECONDS)
            except Exception as error:  # the thread must outlive a full disk or a locked file
                self._failed(str(error))
                busy = False
            if not busy:
                leader = self._not_before == 0.0 or time.monotonic() >= self._not_before
                self._wake.wait(_IDLE_SECONDS if leader else _FOLLOWER_SECONDS)
                self._wake.clear()

    def _step(self, deadline: float) -> bool:
        """Send one batch; False when there was nothing to do, or nothing could be done."""
        if time.monotonic() < self._not_before or not self._working.acquire(blocking=False):
            return False
        try:
            events = self._log.pending(_BATCH)
            if not events and self._checked:
                return False
            if not self._log.lease("forwarder", self._owner, _LEASE_SECONDS + _REPORT_SECONDS):
                return False
            try:
                return self._send(deadline)
            finally:
                self._log.lease("forwarder", self._owner, _LEASE_SECONDS)
        finally:
            self._working.release()

    def _send(self, deadline: float) -> bool:
        if (why := probe(self._servers)) is not None and (why := probe(self._servers, 1.0)):
            self._checked = False
            self._failed(f"Kafka at {self._servers} {why}")
            return False
        if not self._checked or self._broker.disconnected:
            try:
                self._check_tails()
            except EtfError as error:
                self._failed(str(error))
                return False
        events = self._log.pending(_BATCH)
        if not events:
            return False
        wait = min(_REPORT_SECONDS, max(0.5, deadline - time.monotonic()))
        deliveries = self._broker.append(events, wait)
        self._log.delivered(events, deliveries)
        good = sum(d.ok for d in deliveries)
        self.sent += good
        bad = next((d.error for d in deliveries if not d.ok), None)
        if bad is not None:
            self._checked = False
            self._failed(f"Kafka at {self._servers}: {bad}")
            return good > 0
        if self.problem is not None:
            log.warning("Kafka at %s answers again", self._servers)
        self._failures, self._not_before, self.problem = 0, 0.0, None
        return True

    def _check_tails(self) -> None:
        """Find what the broker confirmed and no longer has, and have it sent again."""
        reader = self._broker.reader
        tails = self._log.tails()
        ranges = reader.ranges(sorted({channel for channel, _ in tails})) if tails else {}
        for (channel, partition), newest in tails.items():
            low, high = ranges.get((channel, partition), (0, 0))

            def in_place(
                c: Confirmed, where: tuple[str, int, int] = (channel, partition, high)
            ) -> bool:
                return c[0] < where[2] and reader.id_at(where[0], where[1], c[0]) == c[1]

            if newest[0] < low or in_place(newest):
                continue  # gone by retention, or there: and then all before it are too
            lost = first_lost(
                [c for c in self._log.confirmed(channel, partition) if c[0] >= low], in_place
            )
            if lost is not None:
                n = self._log.forget_deliveries(channel, partition, lost)
                log.warning(
                    "%s[%d]: the broker lost %d events it had confirmed, from offset %d on; "
                    "sending them again", channel, partition, n, lost,
                )  # fmt: skip
        self._checked = True

    def _failed(self, why: str) -> None:
        if self.problem is None:
            log.warning("%s; events wait in %s and are sent when it is back", why, self._log.path)
        self.problem = why
        pause = _BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS) - 1)]
        self._failures += 1
        self._not_before = time.monotonic() + pause


def first_lost(confirmed: Sequence[Confirmed], in_place: Callable[[Confirmed], bool]) -> int | None:
    """Offset from which confirmed events are gone, None when all are there.

    What is left of a log is a prefix of what it was, so bisection finds the place.

    Args:
        confirmed: (offset, event id), oldest first.
        in_place: whether the broker still has this event at this offset.
    """
    good = bisect_left(confirmed, True, key=lambda c: not in_place(c))
    return confirmed[good][0] if good < len(confirmed) else None
