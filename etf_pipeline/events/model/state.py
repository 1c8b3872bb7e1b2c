"""What the events add up to. Pure: the same events in any order, once or often, give one state.

A state of a million events is some arrays: ids, times and the number of what each event is about.
Payloads are kept of the events that count, and read when they are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import TypeVar, cast

import numpy as np

from etf_pipeline.errors import EventFormatError
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.ids import IdSet, Packed
from etf_pipeline.events.model.kept import KeptEvents
from etf_pipeline.events.model.trail import AuditEntry as AuditEntry
from etf_pipeline.events.model.trail import AuditTrail, Rows
from etf_pipeline.events.model.types import (
    ETFDataCollected,
    ETFDataCollectionFailed,
    ETFDataRejected,
    ETFDataUpdated,
    EventData,
    EventsLost,
    PipelineStageFailed,
    PortfolioOptimized,
    PriceDataQueried,
    RiskMetricsCalculated,
)

_D = TypeVar("_D", bound=EventData)
_COLLECTED, _QUERIED = ETFDataCollected.__name__, PriceDataQueried.__name__
_OF_ETFS = ("ETFDataCollected", "ETFDataUpdated", "ETFDataRejected", "ETFDataCollectionFailed")
_NEVER = -(2**63)


@dataclass(frozen=True)
class EtfState:
    """What is known of one ticker: its newest event of each kind, and its batches in order."""

    ticker: str
    batches: tuple[ETFDataCollected, ...]
    updated: ETFDataUpdated | None
    rejected: ETFDataRejected | None
    failed: ETFDataCollectionFailed | None


class SystemState:
    """A fold over events. Of two events of one kind and subject the later by (time, id) counts.

    Of two copies of one event the one recorded first counts, wherever they were read and in
    whichever order: an event is known from when it was recorded first.
    """

    def __init__(self) -> None:
        self._ids = IdSet()
        # Type and subject by number, the number of each, and when its newest event happened.
        self._kinds: list[tuple[str, str]] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._newest_us = np.full(16, _NEVER)
        self._latest: dict[tuple[str, str], Event] = {}
        self._collected = KeptEvents()
        self._rows = Rows.none().grown(0, 16)
        self._odd: dict[int, str] = {}
        self._unreadable: dict[str, str] = {}

    def apply(self, events: Iterable[Event]) -> None:
        """Fold events in; one that was folded in before changes nothing."""
        batch = events if isinstance(events, list) else list(events)
        if not batch:
            return
        ids = [e[0] for e in batch]
        packed = Packed(ids)
        before = len(self._ids)
        numbers = self._ids.add(ids, packed)
        rows = Rows(
            np.array([e[5] for e in batch], np.int64),
            np.array([e[6] for e in batch], np.int64),
            packed.high,
            packed.low,
            self._numbered([(e[1], e[4]) for e in batch]),
        )
        if len(self._ids) == before + len(batch):
            self._add(batch, rows, before)
        else:
            # New ids are numbered on in their order: a first one is beyond all before it.
            known = np.maximum.accumulate(np.concatenate([[before - 1], numbers[:-1]]))
            first = numbers > known
            self._add([batch[i] for i in np.flatnonzero(first).tolist()], rows.take(first), before)
            earlier = ~first & (rows.recorded < self._rows.recorded[numbers])
            for i in np.flatnonzero(earlier).tolist():
                self._copy(batch[i], int(numbers[i]))
        if packed.odd.any():
            odd = np.flatnonzero(packed.odd)
            self._odd |= {
                n: ids[i] for n, i in zip(numbers[odd].tolist(), odd.tolist(), strict=True)
            }

    def _add(self, events: list[Event], rows: Rows, before: int) -> None:
        """Events that are new, the first of which has the number `before`."""
        self._rows = self._rows.grown(before, before + len(events))
        self._rows.put(before, rows)
        self._keep_newest(events, rows)
        self._collected.add([e for e in events if e[1] == _COLLECTED])

    def _copy(self, event: Event, number: int) -> None:
        """Have a copy count that was perhaps recorded earlier than those folded in before."""
        if event.recorded_us >= self._rows.recorded[number]:
            return
        self._rows.recorded[number] = event.recorded_us
        newest = self._latest.get((event.type, event.subject))
        if newest is not None and newest.id == event.id:
            self._latest[(event.type, event.subject)] = event
        if event.type == _COLLECTED:
            self._collected.add([event])

    def _numbered(self, keys: list[tuple[str, str]]) -> np.ndarray:
        """The number of each type and subject, new ones added."""
        found = list(map(self._numbers.get, keys))
        if None in found:
            for key in keys:
                if key not in self._numbers:
                    self._numbers[key] = len(self._kinds)
                    self._kinds.append(key)
            found = list(map(self._numbers.get, keys))
            more = len(self._kinds) - len(self._newest_us)
            if more > 0:
                room = np.full(more + len(self._newest_us), _NEVER)
                self._newest_us = np.concatenate([self._newest_us, room])
        return np.array(found, np.int32)

    def _keep_newest(self, events: list[Event], rows: Rows) -> None:
        np.maximum.at(self._newest_us, rows.kind, rows.time)
        for n in np.flatnonzero(rows.time == self._newest_us[rows.kind]).tolist():
            event, key = events[n], self._kinds[rows.kind[n]]
            before = self._latest.get(key)
            if before is None or (before.time_us, before.id) < (event.time_us, event.id):
                self._latest[key] = event

    def __len__(self) -> int:
        return len(self._ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SystemState) and self.digest() == other.digest()

    __hash__ = None  # type: ignore[assignment]

    def digest(self) -> str:
        """SHA-256 over every event id and the newest payloads: equal states, equal digests."""
        found = hashlib.sha256()
        for part in self._ids.joined():
            found.update(part)
        for _, event in sorted(self._latest.items()):
            found.update(f"{event.id}\x1f{event.time_us}\x1f{event.data}\x1e".encode())
        return found.hexdigest()

    @property
    def event_ids(self) -> IdSet:
        """Ids of all events folded in, a set."""
        return self._ids.copy()

    @property
    def tickers(self) -> list[str]:
        """Tickers of which data events tell."""
        return sorted({s for k, s in self._latest if k in _OF_ETFS})

    @property
    def etfs(self) -> Mapping[str, EtfState]:
        """By ticker; each is made when it is asked for.

        An event that cannot be read here counts as none, and is among `unreadable`.
        """
        return _Etfs(self)

    def etf(self, ticker: str) -> EtfState:
        """One ticker's state."""
        copies = sorted(self._collected.of(ticker), key=lambda e: (e.time_us, e.id, e.recorded_us))
        collected = [next(same) for _, same in groupby(copies, key=lambda e: e.id)]
        return EtfState(
            ticker,
            tuple(p for e in collected if (p := self._read(e, ETFDataCollected)) is not None),
            self._newest(ETFDataUpdated, ticker),
            self._newest(ETFDataRejected, ticker),
            self._newest(ETFDataCollectionFailed, ticker),
        )

    @property
    def risk(self) -> Mapping[str, RiskMetricsCalculated]:
        """Newest risk metrics by ticker."""
        return self._all_newest(RiskMetricsCalculated)

    @property
    def portfolios(self) -> Mapping[str, PortfolioOptimized]:
        """Newest optimisation by portfolio."""
        return self._all_newest(PortfolioOptimized)

    @property
    def failed_stages(self) -> Mapping[str, PipelineStageFailed]:
        """Newest failure of each stage, by its name and, after a slash, the partition if any."""
        return self._all_newest(PipelineStageFailed)

    @property
    def losses(self) -> list[EventsLost]:
        """What was declared lost for good."""
        return list(self._all_newest(EventsLost).values())

    @property
    def query_counts(self) -> Mapping[str, int]:
        """How often each ticker's prices were handed out."""
        counts = np.bincount(self._held().kind, minlength=len(self._kinds)).tolist()
        found = {s: n for (k, s), n in zip(self._kinds, counts, strict=True) if k == _QUERIED and n}
        return MappingProxyType(dict(sorted(found.items())))

    @property
    def audit_trail(self) -> AuditTrail:
        """Every event, in order of time; entries are made as they are asked for."""
        rows = self._held()
        return AuditTrail(
            rows._replace(recorded=rows.recorded.copy()), self._kinds, dict(self._odd)
        )

    def _held(self) -> Rows:
        return self._rows.take(slice(len(self._ids)))

    def _newest(self, kind: type[_D], subject: str) -> _D | None:
        event = self._latest.get((kind.__name__, subject))
        return None if event is None else self._read(event, kind)

    def _all_newest(self, kind: type[_D]) -> Mapping[str, _D]:
        found = {
            s: payload
            for (k, s), e in sorted(self._latest.items())
            if k == kind.__name__ and (payload := self._read(e, kind)) is not None
        }
        return MappingProxyType(found)

    def _read(self, event: Event, kind: type[_D]) -> _D | None:
        try:
            return cast(_D, event.payload())
        except EventFormatError as error:
            self._unreadable[event.id] = f"{event.subject}: {error}"
            return None

    @property
    def unreadable(self) -> Mapping[str, str]:
        """By event id, why an event that counts cannot be read here: it may be of a newer version.

        Of an ETF or a portfolio whose newest event cannot be read, nothing is told in its place.
        """
        for event in self._latest.values():
            if event.id not in self._unreadable:
                self._read(event, EventData)
        return MappingProxyType(dict(sorted(self._unreadable.items())))


class _Etfs(Mapping[str, EtfState]):
    """What is known of each ticker, made when it is asked for: batches are many."""

    def __init__(self, state: SystemState) -> None:
        self._state, self._tickers = state, dict.fromkeys(state.tickers)

    def __getitem__(self, ticker: str) -> EtfState:
        if ticker not in self._tickers:
            raise KeyError(ticker)
        return self._state.etf(ticker)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tickers)

    def __len__(self) -> int:
        return len(self._tickers)


def fold(batches: Iterable[list[Event]]) -> SystemState:
    """The state that batches of events add up to."""
    state = SystemState()
    for batch in batches:
        state.apply(batch)
    return state
