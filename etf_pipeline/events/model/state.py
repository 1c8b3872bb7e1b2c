"""What the events add up to. Pure: the same events in any order, once or often, give one state."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeVar, cast

from etf_pipeline.events.model.envelope import Event, from_micros
from etf_pipeline.events.model.types import (
    ETFDataCollected,
    ETFDataCollectionFailed,
    ETFDataRejected,
    ETFDataUpdated,
    EventData,
    PortfolioOptimized,
    RiskMetricsCalculated,
)

_D = TypeVar("_D", bound=EventData)


class AuditEntry(NamedTuple):
    """One line of the audit trail."""

    time: dt.datetime
    recorded: dt.datetime
    type: str
    subject: str
    id: str


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

    Payloads are read when they are asked for, so that folding is as fast as reading.
    """

    def __init__(self) -> None:
        self._recorded: dict[str, int] = {}  # by id
        self._latest: dict[tuple[str, str], Event] = {}
        self._collected: dict[str, list[Event]] = {}
        self._queries: Counter[str] = Counter()
        self._trail: list[tuple[int, str, str, str]] = []

    def apply(self, events: Iterable[Event]) -> None:
        """Fold events in; one that was folded in before changes nothing."""
        recorded, latest, trail = self._recorded, self._latest, self._trail
        for event in events:
            key = event[0]
            known = recorded.setdefault(key, event[6])
            if len(recorded) == len(trail):  # it was there
                if event[6] < known:
                    self._copy(event)
                continue
            kind, subject, time_us = event[1], event[4], event[5]
            trail.append((time_us, key, kind, subject))
            if kind == "PriceDataQueried":
                self._queries[subject] += 1
            elif kind == "ETFDataCollected":
                self._collected.setdefault(subject, []).append(event)
            before = latest.get((kind, subject))
            if before is None or (before[5], before[0]) < (time_us, key):
                latest[(kind, subject)] = event

    def _copy(self, event: Event) -> None:
        """Have a copy that was recorded earlier count in place of the one folded in before."""
        self._recorded[event.id] = event.recorded_us
        key = (event.type, event.subject)
        if self._latest[key].id == event.id:
            self._latest[key] = event
        collected = self._collected.get(event.subject, [])
        collected[:] = [event if e.id == event.id else e for e in collected]

    def __len__(self) -> int:
        return len(self._recorded)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SystemState) and self.digest() == other.digest()

    __hash__ = None  # type: ignore[assignment]

    def digest(self) -> str:
        """SHA-256 over every event id and the newest payloads: equal states, equal digests."""
        found = hashlib.sha256()
        for key in sorted(self._recorded):
            found.update(key.encode())
        for _, event in sorted(self._latest.items()):
            found.update(f"{event.id}\x1f{event.time_us}\x1f{event.data}\x1e".encode())
        return found.hexdigest()

    @property
    def event_ids(self) -> frozenset[str]:
        """Ids of all events folded in."""
        return frozenset(self._recorded)

    @property
    def etfs(self) -> Mapping[str, EtfState]:
        """By ticker.

        Raises:
            EventFormatError: an event is of a version that is not known here.
        """
        kinds = ("ETFDataCollected", "ETFDataUpdated", "ETFDataRejected", "ETFDataCollectionFailed")
        tickers = sorted({s for k, s in self._latest if k in kinds})
        return MappingProxyType({t: self.etf(t) for t in tickers})

    def etf(self, ticker: str) -> EtfState:
        """One ticker's state."""
        collected = sorted(self._collected.get(ticker, ()), key=lambda e: (e.time_us, e.id))
        return EtfState(
            ticker,
            tuple(cast(ETFDataCollected, e.payload()) for e in collected),
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
    def query_counts(self) -> Mapping[str, int]:
        """How often each ticker's prices were handed out."""
        return MappingProxyType(dict(sorted(self._queries.items())))

    @property
    def audit_trail(self) -> list[AuditEntry]:
        """Every event, in order of time."""
        return [
            AuditEntry(from_micros(time), from_micros(self._recorded[key]), kind, subject, key)
            for time, key, kind, subject in sorted(self._trail)
        ]

    def _newest(self, kind: type[_D], subject: str) -> _D | None:
        event = self._latest.get((kind.__name__, subject))
        return None if event is None else cast(_D, event.payload())

    def _all_newest(self, kind: type[_D]) -> Mapping[str, _D]:
        found = {
            s: cast(_D, e.payload())
            for (k, s), e in sorted(self._latest.items())
            if k == kind.__name__
        }
        return MappingProxyType(found)


def fold(batches: Iterable[list[Event]]) -> SystemState:
    """The state that batches of events add up to."""
    state = SystemState()
    for batch in batches:
        state.apply(batch)
    return state
