"""From the local log to Kafka: in order, as often as it takes, by one process at a time."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from etf_pipeline.errors import EtfError
from etf_pipeline.events.kafka import refusals
from etf_pipeline.events.kafka.pauses import Pauses
from etf_pipeline.events.kafka.probe import ask_kafka
from etf_pipeline.events.kafka.tails import Tails
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.sender import tell
from etf_pipeline.events.model.positions import Delivery
from etf_pipeline.store.processes import process_name

if TYPE_CHECKING:
    from etf_pipeline.events.kafka.log import KafkaLog
    from etf_pipeline.events.model.envelope import Event

log = logging.getLogger(__name__)
# How often the log is looked at for what other processes recorded; the own one wakes the thread.
_IDLE_SECONDS = 0.5
_LEASE_SECONDS = 5.0
# Who sends holds the lease of this name, as it was called when it was first kept.
_LEASE = "forwarder"
_BATCH, _MORE = 2_000, 100
_CONNECTION = ""


class Publisher:
    """Sends what the log holds and no broker has confirmed. Start it, or `drain` by hand.

    One process has the lease; the others stand by and take over within seconds of its death.
    After every reconnection it asks the broker whether what was confirmed is still there, and sends
    again from the first event that is not. An event that the broker refuses is set aside, and a
    topic that is closed is left for a while: nothing else waits for either.
    """

    def __init__(self, outbox: Outbox, broker: KafkaLog) -> None:
        self._log = outbox
        self._broker = broker
        self._tails = Tails(outbox, broker)
        self._servers = str(broker.settings.kafka_bootstrap_servers)
        self._report_seconds = broker.timeouts.report
        self._owner = f"{process_name()}-{uuid.uuid4()}"
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._working = threading.Lock()
        self._stepped = threading.Condition()
        # Of the connection, and of each channel by its name.
        self._pauses = Pauses()
        self._size = _BATCH
        self._idle_at: tuple[int, int] | None = None
        self._tried_again = False
        # Channel and code of what was refused and said.
        self._refusals: set[tuple[str, str]] = set()
        self.problem: str | None = None
        self._told: str | None = ""  # of what another process said, nothing is known
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
        if self._told:
            self._tell(None)
        with contextlib.suppress(EtfError):  # it ends by itself, too
            self._log.release(_LEASE, self._owner)

    def wait(self, seconds: float) -> None:
        """Until the thread has tried once more, for at most `seconds`."""
        with self._stepped:
            self._stepped.wait(seconds)

    def _tell(self, why: str | None) -> None:
        if why != self._told:
            tell(self._log, self._owner, why, self._pauses.names - {_CONNECTION})
            self._told = why

    def drain(self, seconds: float) -> int:
        """Send everything, for at most `seconds`; returns how many events are still waiting.

        A closed topic is tried anew, and not waited for after two seconds.
        """
        deadline = time.monotonic() + seconds
        self._pauses.try_now(*self._pauses.names - {_CONNECTION})
        while self._tails.doubted or self._log.pending(1, self._pauses.given_up()):
            if time.monotonic() >= deadline:
                break
            # Another process may have the lease and be sending: then waiting is all there is to do.
            if not self._step(deadline):
                self._stop.wait(min(0.05, max(0.0, deadline - time.monotonic())))
        return self._log.count_pending()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                busy = self._step(time.monotonic() + self._report_seconds)
            except Exception as error:  # the thread must outlive a full disk or a locked file
                self._failed(str(error))
                busy = False
            with self._stepped:
                self._stepped.notify_all()
            if not busy:
                self._wake.wait(_IDLE_SECONDS)
                self._wake.clear()

    def _step(self, deadline: float) -> bool:
        """Send one batch; False when there was nothing to do, or nothing could be done."""
        if self._pauses.holds(_CONNECTION) or not self._working.acquire(blocking=False):
            return False
        try:
            if self._idle():
                return False
            seconds = _LEASE_SECONDS + self._report_seconds
            if not self._log.lease(_LEASE, self._owner, seconds):
                return False
            try:
                return self._send(deadline)
            finally:
                self._tell(self.problem)
                self._log.lease(_LEASE, self._owner, _LEASE_SECONDS)
        finally:
            self._working.release()

    def _idle(self) -> bool:
        """Whether there is nothing to do since the last look: neither to send nor to examine."""
        if not self._tried_again:
            self._log.try_again()
            self._tried_again = True
        if not self._tails.quiet:
            return False
        mark = self._log.mark()
        if mark != self._idle_at and not self._log.pending(1, self._pauses.held):
            # A topic that is left for a while has to be come back to.
            self._idle_at = None if self._pauses.names else mark
            return True
        return mark == self._idle_at

    def _send(self, deadline: float) -> bool:
        settings = self._broker.settings
        if (why := ask_kafka(settings)) is not None and (why := ask_kafka(settings, 1.0)):
            self._tails.distrust()
            self._failed(f"Kafka at {self._servers} {why}")
            return False
        try:
            self._tails.look_if_needed()
            events = self._log.pending(self._size, self._pauses.held)
            if not events:
                self._answered()
                return False
            wait = min(self._report_seconds, max(0.5, deadline - time.monotonic()))
            deliveries = self._tails.note(events, self._broker.append(events, wait))
        except EtfError as error:
            self._tails.distrust()
            self._failed(str(error))
            return False
        self.sent += sum(d.ok for d in deliveries)
        return self._judge(events, deliveries)

    def _judge(self, events: Sequence[Event], deliveries: Sequence[Delivery]) -> bool:
        """What is to be done about those that failed; whether to go on at once."""
        failed = [(e, d) for e, d in zip(events, deliveries, strict=True) if not d.ok]
        unsure = next((d for _, d in failed if refusals.unsure(d)), None)
        if unsure is not None:
            self._tails.distrust()
            self._failed(f"Kafka at {self._servers}: {unsure.error}")
            return len(failed) < len(events)
        for channel, delivery in {
            e.channel: d for e, d in failed if refusals.refuses_topic(d)
        }.items():
            self._closed(channel, delivery)
        if any(refusals.refuses_event(d) for _, d in failed):
            self._refused(events, deliveries[0])
        else:
            self._size = min(_BATCH, self._size + _MORE)
        good = {e.channel for e, d in zip(events, deliveries, strict=True) if d.ok}
        self._answered(*good)
        return True

    def _refused(self, events: Sequence[Event], refusal: Delivery) -> None:
        """An event was refused, with all that were in its batch: fewer, down to it alone."""
        if len(events) > 1:
            self._size = len(events) // 2
            return
        (event,) = events
        self._log.set_aside(event, refusal)
        kind = (event.channel, refusal.code)
        if kind in self._refusals:
            return
        self._refusals.add(kind)
        log.warning(
            "Kafka at %s refuses the event %s (%s of %s): %s; it is set aside and stays in %s, and "
            "so do others that are refused for the same reason: `etf events status` counts them",
            self._servers,
            event.id,
            event.type,
            event.subject,
            refusal.error,
            self._log.path,
        )

    def _closed(self, channel: str, delivery: Delivery) -> None:
        if channel not in self._pauses.names:
            log.warning(
                "Kafka at %s: topic %s.%s: %s; its events wait in %s, others are sent",
                self._servers,
                self._broker.settings.kafka_topic_prefix,
                channel,
                delivery.error,
                self._log.path,
            )
        self._pauses.lengthen(channel, f"{channel}: {delivery.error}")
        self._tails.distrust()  # it may have to be made

    def check(self) -> None:
        """Have sent again what Kafka confirmed and no longer has.

        Raises:
            EventError: Kafka does not answer.
        """
        with self._working:
            self._tails.look()

    def _answered(self, *channels: str) -> None:
        """The brokers answer, and took events of these channels."""
        if self._pauses.names & {_CONNECTION, *channels}:
            log.warning("Kafka at %s answers again", self._servers)
        self._pauses.end(_CONNECTION, *channels)
        self.problem = self._pauses.reasons

    def _failed(self, why: str) -> None:
        if _CONNECTION not in self._pauses.names:
            log.warning("%s; events wait in %s and are sent once it is well", why, self._log.path)
        self._pauses.lengthen(_CONNECTION, why)
        self.problem = why
