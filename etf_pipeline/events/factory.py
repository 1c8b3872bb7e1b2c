"""Which mode events are in: decided here, once, from the settings and whether Kafka answers.

Everything else asks the object that `open_events` gives.
"""

from __future__ import annotations

import atexit
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from etf_pipeline.errors import EtfError, EventError
from etf_pipeline.events.kafka.probe import ask_kafka
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.modes.kafka import Kafka
from etf_pipeline.events.modes.off import Off
from etf_pipeline.events.modes.waiting import Waiting
from etf_pipeline.events.protocol import Events
from etf_pipeline.events.settings import EventSettings, load_event_settings
from etf_pipeline.settings.environment import wants_events
from etf_pipeline.store.layout import Layout

log = logging.getLogger(__name__)
Mode = Literal["kafka", "embedded", "none"]
# From a mode's word to what does it.
_MODES: dict[Mode, type[Off | Embedded | Kafka]] = {
    "none": Off,
    "embedded": Embedded,
    "kafka": Kafka,
}
_open: set[Events] = set()
_shared: dict[Path, Events] = {}
_warned: set[str] = set()


@dataclass(frozen=True)
class Detected:
    """The mode, and why it is not the one that was hoped for (None when it is)."""

    mode: Mode
    reason: str | None = None

    @property
    def sends(self) -> bool:
        """Whether what is recorded is sent to a broker."""
        return self.mode == "kafka"


def asked_for(settings: EventSettings) -> bool:
    """Whether the settings ask for events, be they recorded now or not."""
    return wants_events(settings.event_store_type, settings.kafka_bootstrap_servers)


def detect(settings: EventSettings) -> Detected:
    """`auto` is Kafka when it is set and answers, else none; the others are what they say.

    Whoever wants events at a broker before a call returns wants no call that records nothing.
    """
    if settings.event_store_type == "auto" and settings.event_durability == "broker":
        return Detected("kafka")
    if settings.event_store_type != "auto":
        return Detected(settings.event_store_type)
    servers = settings.kafka_bootstrap_servers
    if servers is None:
        return Detected("none")
    reason = ask_kafka(settings)
    if reason is None:
        return Detected("kafka")
    return Detected("none", f"Kafka at {servers} {reason}")


def examine(settings: EventSettings) -> str:
    """The mode in words, when all is well with it.

    Raises:
        EventError: events are not recorded although they were asked for, or cannot be sent.
    """
    found = detect(settings)
    if found.reason is not None:
        raise EventError(f"{found.reason}; events are not being recorded")
    return _MODES[found.mode].examine(settings)


def open_events(
    where: Layout | Path, settings: EventSettings | None = None, *, publish: bool = True
) -> Events:
    """The events of one store for this process.

    Args:
        where: the store.
        settings: from the environment by default.
        publish: whether a thread of this process sends them to Kafka, where they go there.

    Raises:
        SettingsError: a setting has a value that cannot be used.
    """
    layout = where if isinstance(where, Layout) else Layout(where)
    made = _make(layout, settings or load_event_settings(), publish)
    _open.difference_update([e for e in _open if e.closed])
    _open.add(made)
    return made


def _make(layout: Layout, settings: EventSettings, publish: bool) -> Events:
    found = detect(settings)
    if found.reason is not None:
        _warn_once(
            f"{found.reason}; events are not being recorded until it does "
            "(EVENT_STORE_TYPE=kafka would keep them for it)"
        )
        return Waiting(Off(layout, settings), lambda: Kafka.opened(layout, settings, publish))
    return _MODES[found.mode].opened(layout, settings, publish)


def shared_events(data_dir: Path) -> Events:
    """The events of a store that this process shares, set up from the environment on first use.

    Raises:
        SettingsError: a setting has a value that cannot be used.
        EventError: the local event log cannot be opened.
    """
    key = data_dir.absolute()
    found = _shared.get(key)
    if found is None or found.closed:
        found = _shared[key] = open_events(key)
    return found


@atexit.register
def _close_all() -> None:
    for events in list(_open):
        try:
            events.close()
        except EtfError as error:  # what was recorded is on the disk; nobody is left to catch it
            log.warning("%s", error)


def _warn_once(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        log.warning(text)
