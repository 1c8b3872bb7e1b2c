"""What the other tickers of a partition did, out of its raw batches.

Raw batches never change, so what they say up to a given one is the same at any later time. Few of
them are looked at for one day: the newest, and the first ones collected after the day.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from etf_pipeline.history.peers import FEWEST, Peers
from etf_pipeline.model.file_names import STAMP, decode_ticker
from etf_pipeline.store.batches import (
    BatchReader,
    SliceBars,
    list_batch_ids,
    partitions_with_batches,
)
from etf_pipeline.store.layout import Layout

_FIRST_BATCHES = 5
_ASKED = 30  # peers, for a move
_KEPT = 256  # slices in memory
_SESSION = np.timedelta64(1, "D")


@dataclass
class RawPeers:
    """The tickers of a store's partitions; made once for many tickers, as it keeps what it read."""

    layout: Layout
    reader: BatchReader
    _ids: dict[str, list[str]] = field(default_factory=dict)
    _bars: dict[tuple[str, str, str], SliceBars] = field(default_factory=dict)
    _partitions: dict[tuple[tuple[str, ...], str], str | None] = field(default_factory=dict)
    _closed: dict[tuple[str, str, np.datetime64], frozenset[str]] = field(default_factory=dict)

    def of(self, names: tuple[str, ...]) -> Peers:
        """The peers of a ticker with these names."""
        return _Others(self, names)

    def partition_of(self, names: tuple[str, ...], batch_id: str) -> str | None:
        """The partition that has this batch, with any of these names."""
        key = (names, batch_id)
        if key not in self._partitions:
            self._partitions[key] = self._find(names, batch_id)
        return self._partitions[key]

    def _find(self, names: tuple[str, ...], batch_id: str) -> str | None:
        for folder in partitions_with_batches(self.layout):
            partition = decode_ticker(folder.name)
            if batch_id in self.ids(partition):
                slices = self.reader.batch(partition, batch_id).slices
                if any(name in slices for name in names):
                    return partition
        return None

    def ids(self, partition: str) -> list[str]:
        """Its batches, oldest first."""
        if partition not in self._ids:
            self._ids[partition] = list_batch_ids(self.layout, partition)
        return self._ids[partition]

    def slices(
        self, partition: str, until: str, first: np.datetime64, last: np.datetime64
    ) -> Iterator[tuple[str, SliceBars]]:
        """`(name, bars)` of what each ticker's newest answer has from `first` to `last`.

        An answer that does not reach so far is passed over for one that does, of a few batches.
        """
        seen: set[str] = set()
        ids = self.ids(partition)
        midnight = dt.datetime.combine(last.astype(object), dt.time()).strftime(STAMP)
        begin, end = bisect_left(ids, midnight), bisect_left(ids, until)
        chosen = [until, *ids[begin : min(begin + _FIRST_BATCHES, end)]]
        for batch_id in chosen:
            for name in sorted(self.reader.batch(partition, batch_id).slices.keys() - seen):
                bars = self._read(partition, batch_id, name)
                if bars.first <= first and bars.last >= last:
                    seen.add(name)
                    yield name, bars

    def _read(self, partition: str, batch_id: str, name: str) -> SliceBars:
        key = (partition, batch_id, name)
        found = self._bars.get(key)
        if found is None:
            found = self.reader.bars(partition, batch_id, name)
            if len(self._bars) >= _KEPT:
                self._bars.clear()
            self._bars[key] = found
        return found

    def nobody_traded(self, partition: str, until: str, day: np.datetime64) -> frozenset[str]:
        """Tickers with bars around a day on which none traded; empty when any did."""
        key = (partition, until, day)
        if key not in self._closed:
            around: set[str] = set()
            for name, bars in self.slices(partition, until, day - _SESSION, day + _SESSION):
                if bars.traded(day):
                    around.clear()
                    break
                around.add(name)
            self._closed[key] = frozenset(around)
        return self._closed[key]


@dataclass(frozen=True)
class _Others:
    """See `history.peers.Peers`; nothing is read before a rule asks."""

    raw: RawPeers
    names: tuple[str, ...]
    newest: str | None = None

    def until(self, batch_id: str) -> Peers:
        """The same, as what batches up to this one say of them."""
        return replace(self, newest=batch_id)

    def moves(self, before: np.datetime64, day: np.datetime64) -> npt.NDArray[np.float64]:
        """Log returns of the first peers, by name, that have both sessions."""
        found: dict[str, float] = {}
        partition = self._partition()
        if partition is not None and self.newest is not None:
            for name, bars in self.raw.slices(partition, self.newest, before, day):
                move = bars.move(before, day)
                if move is not None and name not in self.names:
                    found[name] = move
                if len(found) == _ASKED:
                    break
        return np.array([found[name] for name in sorted(found)])

    def closed(self, day: np.datetime64) -> bool:
        """Whether at least `FEWEST` others have bars around a session and nobody traded on it."""
        partition = self._partition()
        if partition is None or self.newest is None:
            return False
        around = self.raw.nobody_traded(partition, self.newest, day)
        return len(around - set(self.names)) >= FEWEST

    def _partition(self) -> str | None:
        return None if self.newest is None else self.raw.partition_of(self.names, self.newest)
