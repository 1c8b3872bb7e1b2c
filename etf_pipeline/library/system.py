"""`ETFSystem`: replay, time travel and proofs over the recorded events."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from etf_pipeline.errors import ArgumentError, EventsOffError, SettingsError
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.model.envelope import Event, micros
from etf_pipeline.events.model.state import SystemState
from etf_pipeline.events.model.types import CHANNELS, DATA
from etf_pipeline.events.modes.off import OFF
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.events.proof.newest import newest
from etf_pipeline.events.proof.own import own_first
from etf_pipeline.events.protocol import Events
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.library.arguments import instant_of, new_folder, one_of
from etf_pipeline.library.freshness import refresh_by_settings
from etf_pipeline.library.provider import ETFDataProvider
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.settings import Settings, load_settings
from etf_pipeline.store.batches import (
    BatchReader,
    collected_at,
    list_batch_ids,
    partitions_with_batches,
)
from etf_pipeline.store.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etf_pipeline.events.proof.rebuild import Rebuilt
    from etf_pipeline.model.instruments import Instrument

Clock = Literal["event", "record"]


class ETFSystem:
    """A store with its events. Async methods do their work in a thread.

    Args:
        settings: of the pipeline; from the environment by default.
        events: event settings, or another object's events to share; from the environment by
            default.
    """

    def __init__(
        self, settings: Settings | None = None, events: EventSettings | Events | None = None
    ) -> None:
        self.settings = settings or load_settings()
        self.layout = Layout(self.settings.data_dir)
        refresh_by_settings(self.settings, raw=True)
        if events is None or isinstance(events, EventSettings):
            events = open_events(self.layout, events)
        self.event_store = events

    @property
    def mode(self) -> str:
        """`kafka`, `embedded` or `none`, for display."""
        return self.event_store.name

    @cached_property
    def provider(self) -> ETFDataProvider:
        """The store as a library, recording to the same events."""
        return ETFDataProvider(self.layout.root, events=self.event_store)

    @property
    def archive(self) -> Archive:
        """Events that were moved to Parquet."""
        return Archive(self.layout)

    def events(self, channels: Sequence[str] = CHANNELS) -> Iterator[list[Event]]:
        """Log, archive and what other machines sent, in batches; duplicates may come.

        Of what this machine recorded there are no copies of others, which may tell another time.

        Raises:
            EventsOffError: events are not being recorded.
            EventError: the log cannot be read, or lacks events that it should have.
        """
        if not self.event_store.recording:
            raise EventsOffError(OFF)
        found = read_all(self.event_store, self.archive, channels)
        yield from own_first(found, self.event_store.log)

    def newest_events(
        self, limit: int, subject: str | None = None, kind: str | None = None
    ) -> list[Event]:
        """The events that happened last (of a subject, of a type), the last first, each once.

        Found without reading everything, and so without a proof that nothing is missing.

        Raises:
            EventsOffError: events are not being recorded.
            EventError: the log cannot be read.
        """
        if not self.event_store.recording:
            raise EventsOffError(OFF)
        return newest(self.event_store, self.archive, limit, subject, kind)

    async def replay_events(
        self, from_timestamp: dt.datetime | None = None, to_timestamp: dt.datetime | None = None
    ) -> SystemState:
        """The state that the events of a span of event time add up to.

        Args:
            from_timestamp: first instant, inclusive; the beginning when None. Here and wherever an
                instant is taken: UTC, with a `UserWarning`, when it has no time zone.
            to_timestamp: last instant, inclusive; the end when None.

        Raises:
            ArgumentError: it is no time, or the first is after the last.
            EventsOffError: events are not being recorded.
        """
        first = None if from_timestamp is None else _moment(from_timestamp, "from_timestamp")
        last = None if to_timestamp is None else _moment(to_timestamp, "to_timestamp")
        if first is not None and last is not None and first > last:
            raise ArgumentError(
                f"from_timestamp {from_timestamp} is after to_timestamp {to_timestamp}"
            )
        return await asyncio.to_thread(self._replay, first, last, None)

    async def state_at(self, instant: dt.datetime, clock: Clock = "event") -> SystemState:
        """The state as it was at `instant`.

        With `clock="event"`: of all that had happened by then, as known today. With
        `clock="record"`: of what had been recorded by then, which is what was known.
        """
        one_of("clock", clock, ("event", "record"))
        moment = _moment(instant, "instant")
        if clock == "event":
            return await asyncio.to_thread(self._replay, None, moment, None)
        return await asyncio.to_thread(self._replay, None, None, moment)

    def _replay(self, first: int | None, last: int | None, recorded: int | None) -> SystemState:
        state = SystemState()
        whole = first is None and last is None and recorded is None
        low = -(2**62) if first is None else first
        high = 2**62 if last is None else last
        known = 2**62 if recorded is None else recorded
        for batch in self.events():
            state.apply(
                batch
                if whole
                else [e for e in batch if low <= e.time_us <= high and e.recorded_us <= known]
            )
        return state

    async def rebuild_history(self, instant: dt.datetime, into: str | Path) -> list[Rebuilt]:
        """`historical/` as it was at `instant`, rebuilt from raw batches below `into`.

        Each ticker is proven equal, by hash, to what its newest event says it was; one that
        differs is not written, and says why. Without events nothing can be proven, and every
        ticker says so.

        Raises:
            ArgumentError: `instant` is no time, or `into` holds something, or is in the store.
            StoreError: `into` cannot be written.
        """
        moment = _moment(instant, "instant")
        target = Layout(new_folder(into, self.layout.root))
        return await asyncio.to_thread(self._rebuild, moment, target)

    def _rebuild(self, moment: int, target: Layout) -> list[Rebuilt]:
        from etf_pipeline.events.proof.rebuild import Rebuilder

        state = SystemState()
        if self.event_store.recording:
            for batch in self.events([DATA]):
                state.apply(e for e in batch if e.time_us <= moment)
        when = dt.datetime.fromtimestamp(moment / 1e6, dt.UTC)
        with Rebuilder(self.layout, target, self.instruments(), when) as rebuilder:
            told = [e for e in state.etfs.values() if e.updated is not None]
            found = [rebuilder.rebuild(e) for e in told]
            for ticker, newest in _batches_until(self.layout, moment).items():
                if ticker not in {e.ticker for e in told}:
                    found.append(rebuilder.rebuild_unproven(ticker, newest))
        return sorted(found, key=lambda r: r.ticker)

    def instruments(self) -> dict[str, Instrument]:
        """The universe by ticker; empty when there is no usable universe file."""
        from etf_pipeline.errors import UniverseError
        from etf_pipeline.model.portfolio_file import universe_with_rates

        chosen = self.settings
        try:
            universe = universe_with_rates(
                chosen.universe_file, chosen.portfolios_file, chosen.base_currency
            )
            return {i.ticker: i for i in universe}
        except (UniverseError, SettingsError, OSError):
            return {}

    def close(self) -> None:
        """Send what a healthy broker will take, then give back threads and files."""
        self.event_store.close()


def _moment(value: object, name: str) -> int:
    """Microseconds since 1970 UTC of a time."""
    return micros(instant_of(value, name), name)


def _batches_until(layout: Layout, moment: int) -> dict[str, str]:
    """The newest batch of every ticker that was collected by then."""
    found: dict[str, str] = {}
    with BatchReader(layout) as reader:
        for folder in partitions_with_batches(layout):
            partition = decode_ticker(folder.name)
            for batch_id in list_batch_ids(layout, partition):
                if micros(collected_at(batch_id)) <= moment:
                    for ticker in reader.batch(partition, batch_id).slices:
                        found[ticker] = max(batch_id, found.get(ticker, ""))
    return found


def get_etf_system(
    data_dir: str | Path | None = None, events: EventSettings | None = None
) -> ETFSystem:
    """The system over one data folder (`ETF_DATA_DIR` by default)."""
    return ETFSystem(load_settings(data_dir=data_dir), events)
