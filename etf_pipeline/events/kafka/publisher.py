"""From the local log to Kafka: in order, as often as it takes, by one process at a time."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from etf_pipeline.errors import EtfError
from etf_pipeline.events.kafka.probe import ask_kafka
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.model.positions import Delivery, Key
from etf_pipeline.store.processes import process_name

if TYPE_CHECKING:
    from etf_pipeline.events.kafka.log import KafkaLog
    from etf_pipeline.events.model.envelope import Event

log = logging.getLogger(__name__)
_IDLE_SECONDS = 0.1
_FOLLOWER_SECONDS = 0.5
_LEASE_SECONDS = 5.0
_BACKOFF_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
# Who sends holds the lease of this name, as it was called when it was first kept.
_LEASE = "forwarder"
_BATCH = 2_000
Confirmed = tuple[int, str]


class Publisher:
    """Sends what the log holds and no broker has confirmed. Start it, or `drain` by hand.

    One process has the lease; the others stand by and take over within seconds of its death.
    After every reconnection it asks the broker whether the last confirmed events are still
    there, and sends again from the first that is not. What is confirmed while the connection was
    lost, or out of turn, is read back before it counts.
    """

    def __init__(self, outbox: Outbox, broker: KafkaLog) -> None:
        self._log = outbox
        self._broker = broker
        self._servers = str(broker.settings.kafka_bootstrap_servers)
        self._report_seconds = broker.timeouts.report
        self._owner = f"{process_name()}-{uuid.uuid4()}"
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._working = threading.Lock()
        self._failures = 0
        self._not_before = 0.0
        self._checked = False
        self._epoch = -1
        self._seen = (0, 0)
        self._ends: dict[Key, Confirmed] = {}
        self.problem: str | None = None
        self.sent = 0

    def start(self) -> None:
        """Send in the background from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="etf-publisher", daemon=True)
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
        self._log.release(_LEASE, self._owner)

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
                busy = self._step(time.monotonic() + self._report_seconds)
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
            if not events and self._checked and self._seen == self._broker.connection():
                return False
            seconds = _LEASE_SECONDS + self._report_seconds
            if not self._log.lease(_LEASE, self._owner, seconds):
                return False
            try:
                return self._send(deadline)
            finally:
                self._log.lease(_LEASE, self._owner, _LEASE_SECONDS)
        finally:
            self._working.release()

    def _send(self, deadline: float) -> bool:
        settings = self._broker.settings
        if (why := ask_kafka(settings)) is not None and (why := ask_kafka(settings, 1.0)):
            self._checked = False
            self._failed(f"Kafka at {self._servers} {why}")
            return False
        try:
            seen, self._seen = self._seen, self._broker.connection()
            if seen != self._seen or self._epoch != self._log.epoch():
                self._checked = False
            if not self._checked:
                self._check_tails()
            events = self._log.pending(_BATCH)
            if not events:
                self._answered()
                return False
            wait = min(self._report_seconds, max(0.5, deadline - time.monotonic()))
            deliveries = self._broker.append(events, wait)
            deliveries = self._note(events, deliveries)
        except EtfError as error:
            self._checked = False
            self._failed(str(error))
            return False
        good = sum(d.ok for d in deliveries)
        self.sent += good
        bad = next((d.error for d in deliveries if not d.ok), None)
        if bad is not None:
            self._checked = False
            self._failed(f"Kafka at {self._servers}: {bad}")
            return good > 0
        self._answered()
        return True

    def _note(self, events: Sequence[Event], deliveries: list[Delivery]) -> list[Delivery]:
        """Note what the broker confirmed and, where a loss can have come in between, still has."""
        found: dict[Key, list[Confirmed]] = {}
        for event, delivery in zip(events, deliveries, strict=True):
            if delivery.ok:
                places = found.setdefault((event.channel, delivery.partition), [])
                places.append((delivery.position, event.id))
        lost = self._broker.connection() != self._seen
        if lost or not all(self._follows(k, c) for k, c in found.items()):
            self._checked = False
            deliveries = self._read_back(events, deliveries, found)
            self._epoch = self._log.begin_epoch()
        self._ends.update({k: c[-1] for k, c in found.items()})
        if not self._log.delivered(events, deliveries, self._epoch):
            self._checked = False  # another process took over; what it finds missing it sends
        return deliveries

    def _follows(self, key: Key, new: list[Confirmed]) -> bool:
        """Whether these were appended to all that was confirmed before in this epoch."""
        before = self._ends.get(key)
        if any(b[0] <= a[0] for a, b in pairwise([*([before] if before else []), *new])):
            return False
        if before is None or new[0][0] == before[0] + 1:
            return True
        # Others write to this partition too, or it was cut and has grown past where it was.
        return self._broker.reader.id_at(*key, before[0]) == before[1]

    def _read_back(
        self,
        events: Sequence[Event],
        deliveries: list[Delivery],
        found: dict[Key, list[Confirmed]],
    ) -> list[Delivery]:
        """Those deliveries of which the broker has the event in its place now."""
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
            else Delivery(-1, -1, "the broker lost it after it had confirmed it")
            for e, d in zip(events, deliveries, strict=True)
        ]

    def check(self) -> None:
        """Have sent again what Kafka confirmed and no longer has.

        Raises:
            EventError: Kafka does not answer.
        """
        with self._working:
            self._check_tails()

    def _check_tails(self) -> None:
        """Find what the broker confirmed and no longer has, and have it sent again."""
        reader = self._broker.reader
        tails = self._log.tails()
        ranges = reader.ranges(sorted({place.channel for place in tails})) if tails else {}
        for place, newest in tails.items():
            key = (place.channel, place.partition)
            low, high = ranges.get(key, (0, 0))

            def in_place(c: Confirmed, key: Key = key, high: int = high) -> bool:
                return c[0] < high and reader.id_at(*key, c[0]) == c[1]

            if newest[0] < low or in_place(newest):
                continue  # gone by retention, or there: and then all before it are too
            lost = first_lost([c for c in self._log.confirmed(place) if c[0] >= low], in_place)
            if lost is not None:
                n = self._log.forget_deliveries(place, lost)
                log.warning(
                    "%s[%d]: the broker lost %d events it had confirmed, from offset %d on; "
                    "sending them again",
                    *key,
                    n,
                    lost,
                )
        self._epoch = self._log.begin_epoch(checked=True)
        self._ends = {}
        self._checked = True

    def _answered(self) -> None:
        if self.problem is not None:
            log.warning("Kafka at %s answers again", self._servers)
        self._failures, self._not_before, self.problem = 0, 0.0, None

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
