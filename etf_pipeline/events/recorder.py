"""Recording: what callers hand their events to. Returns when the event is safe, never later."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etf_pipeline.errors import SettingsError
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.mode import Mode, detect_mode, probe
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.settings import EventSettings, load_event_settings
from etf_pipeline.store.layout import Layout

if TYPE_CHECKING:
    from etf_pipeline.events.kafka.publisher import Forwarder
    from etf_pipeline.events.kafka.store import KafkaEventStore

log = logging.getLogger(__name__)
_EXIT_SECONDS = 2.0
_RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_warned: set[str] = set()


class Recorder:
    """Events of one process for one store.

    Every event goes to the local log first; in Kafka mode a forwarder sends it on. In `auto` mode
    with a Kafka that did not answer, nothing is recorded until it does: a thread keeps asking.
    """

    def __init__(
        self, data_dir: Path, settings: EventSettings | None = None, *, forward: bool = True
    ) -> None:
        self.settings = settings or load_event_settings()
        self.log = Outbox(Layout(data_dir).event_log)
        self._forward = forward
        self._forwarder: Forwarder | None = None
        self._kafka: KafkaEventStore | None = None
        self._closed = threading.Event()
        self._pid_lock = threading.Lock()
        self._pid = -1
        self._instance: str | None = None
        self.mode: Mode = "none"
        found = detect_mode(self.settings)
        self._enter(found.mode)
        if found.reason is not None:
            _warn_once(
                f"{found.reason}; events are not being recorded until it does "
                "(EVENT_STORE_TYPE=kafka would keep them for it)"
            )
            threading.Thread(target=self._ask_again, name="etf-probe", daemon=True).start()
        _open.add(self)

    def _enter(self, mode: Mode) -> None:
        self.mode = mode
        if mode == "kafka" and self._forward:
            self.forwarder.start()

    @property
    def kafka(self) -> KafkaEventStore:
        """The Kafka store of this process."""
        self._check_fork()
        if self._kafka is None:
            try:
                from etf_pipeline.events.kafka.store import KafkaEventStore
            except ImportError as error:
                raise SettingsError(
                    f"Kafka events need {error.name}: pip install 'etf_pipeline[kafka]'"
                ) from None

            self._kafka = KafkaEventStore(self.settings)
        return self._kafka

    @property
    def forwarder(self) -> Forwarder:
        """What sends the log to Kafka."""
        self._check_fork()
        if self._forwarder is None:
            from etf_pipeline.events.kafka.publisher import Forwarder

            servers = self.settings.kafka_bootstrap_servers or ""
            self._forwarder = Forwarder(self.log, self.kafka, servers)
        return self._forwarder

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    @property
    def recording(self) -> bool:
        """Whether events are being recorded."""
        return self.mode != "none"

    @property
    def instance(self) -> str:
        """Id of the store, part of every event id."""
        if self._instance is None:
            self._instance = self.log.instance
        return self._instance

    def record(self, events: Sequence[Event], facts: dict[str, str] | None = None) -> None:
        """Keep events; they are on disk when this returns. Does nothing when not recording.

        Raises:
            EventError: the local log cannot be written (full or read-only disk).
        """
        if self.mode == "none":
            return
        self._check_fork()
        self.log.append(events, facts=facts)
        if self.mode == "kafka" and self._forward:
            self.forwarder.start()
            self.forwarder.wake()

    def _check_fork(self) -> None:
        import os

        if self._pid != os.getpid():
            if self._pid != -1:  # the threads stayed in the parent
                self._forwarder = self._kafka = None
            self._pid = os.getpid()

    def _ask_again(self) -> None:
        servers = self.settings.kafka_bootstrap_servers or ""
        attempt = 0
        while not self._closed.wait(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)]):
            attempt += 1
            if probe(servers, 1.0) is None:
                log.warning("Kafka at %s answers; events are being recorded from now on", servers)
                self._enter("kafka")
                return

    def close(self, timeout: float = _EXIT_SECONDS) -> None:
        """Send what a healthy Kafka will take within `timeout`, then stop; the rest keeps."""
        if self._closed.is_set():
            return
        self._closed.set()
        _open.discard(self)
        self._check_fork()
        if self._forwarder is not None:
            if self._forwarder.problem is None:
                self._forwarder.drain(timeout)
            self._forwarder.stop()
        if self._kafka is not None:
            self._kafka.close()
        self.log.close()


_open: set[Recorder] = set()
_shared: dict[Path, Recorder] = {}


def shared_recorder(data_dir: Path) -> Recorder:
    """The recorder of this process for a store, set up from the environment on first use."""
    key = data_dir.absolute()
    found = _shared.get(key)
    if found is None or found.closed:
        found = _shared[key] = Recorder(key)
    return found


@atexit.register
def _close_all() -> None:
    for recorder in list(_open):
        recorder.close()


def _warn_once(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        log.warning(text)
