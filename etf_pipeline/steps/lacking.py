"""Which raw batches each ticker's history lacks, at the cost of the batches that are new."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.steps.updating import Lacking, Updated
from etf_pipeline.store.batches import BatchReader, partitions_with_batches
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.watermark import Looked, LookedFile


@dataclass
class Lookup:
    """The batches of one partition, and who is in those that had to be opened.

    Attributes:
        holds: the newest batch that each ticker's history holds.
        looked: what an earlier run found; it says nothing of a ticker by other names.
    """

    reader: BatchReader
    partition: str
    holds: Mapping[str, str]
    looked: Looked
    _names: dict[str, frozenset[str] | None] = field(default_factory=dict)

    def of(self, instruments: Iterable[Instrument]) -> list[Lacking]:
        """Each ticker with what it lacks of this partition."""
        return [self._lacking(one) for one in instruments]

    @property
    def _since(self) -> str:
        return self.looked.ids[-1] if self.looked.ids else ""

    def _lacking(self, instrument: Instrument) -> Lacking:
        held = self.holds.get(instrument.ticker)
        begin = held or ""
        before = self.looked.found.get(_key(instrument.names))
        if before is None or before[0] > begin:  # it held more then: its watermark was lost
            found = self._with(instrument.names, begin)
        else:
            found = [b for b in before[1:] if b > begin]
            found += self._with(instrument.names, max(begin, self._since))
        return Lacking(instrument, held, tuple(found))

    def _with(self, names: Sequence[str], after: str) -> list[str]:
        """Batches after one that have any of these names, or cannot be read."""
        later = (b for b in self.reader.ids(self.partition) if b > after)
        return [b for b in later if (those := self._in(b)) is None or not those.isdisjoint(names)]

    def _in(self, batch_id: str) -> frozenset[str] | None:
        if batch_id not in self._names:
            try:
                slices = self.reader.batch(self.partition, batch_id).slices
                self._names[batch_id] = frozenset(slices)
            except CorruptFileError:
                self._names[batch_id] = None
        return self._names[batch_id]

    def after(self, lacking: Sequence[Lacking], updated: Sequence[Updated]) -> Looked:
        """What is known after a run, of its tickers and of those that it left alone."""
        ids = tuple(self.reader.ids(self.partition))
        found: dict[str, Sequence[str]] = {}
        for key, before in self.looked.found.items():
            found[key] = [*before, *self._with(json.loads(key), self._since)]
        for one, done in zip(lacking, updated, strict=True):
            found.pop(_key(one.instrument.names), None)
            held = done.newest or one.held or ""
            if ids and held < ids[-1]:
                settled = one.held is not None and done.newest is None and done.outcome.good
                left = [] if settled else [b for b in one.batches if b > held]
                found[_key(one.instrument.names)] = [held, *left]
        return Looked(ids, found)


@dataclass
class Lookups:
    """The same for the histories of one partition: one that holds nothing may be of any batches."""

    layout: Layout
    reader: BatchReader
    partition: str
    holds: Mapping[str, str]

    def __post_init__(self) -> None:
        self._file = LookedFile.load(self.layout.looked(self.partition))
        self._own = self._lookup(self.partition, self.holds)
        self._others: list[tuple[Lookup, list[Lacking]]] = []

    def _lookup(self, partition: str, holds: Mapping[str, str]) -> Lookup:
        looked = self._file.of(partition, self.reader.ids(partition))
        return Lookup(self.reader, partition, holds, looked)

    def of(self, instruments: Sequence[Instrument]) -> list[Lacking]:
        """Each ticker with what it lacks; with all that there is of it, if it holds nothing."""
        new = [i for i in instruments if i.ticker not in self.holds]
        elsewhere: dict[str, list[tuple[str, str]]] = {i.ticker: [] for i in new}
        for partition in self._other_partitions() if new else ():
            lookup = self._lookup(partition, {})
            found = lookup.of(new)
            self._others.append((lookup, found))
            for one in found:
                elsewhere[one.instrument.ticker] += [(partition, b) for b in one.batches]
        return [
            replace(one, elsewhere=tuple(elsewhere.get(one.instrument.ticker, ())))
            for one in self._own.of(instruments)
        ]

    def _other_partitions(self) -> Iterator[str]:
        for folder in partitions_with_batches(self.layout):
            partition = decode_ticker(folder.name)
            if partition != self.partition:
                yield partition

    def save(self, lacking: Sequence[Lacking], updated: Sequence[Updated]) -> None:
        """Keep what is known after a run."""
        self._file.put(self.partition, self._own.after(lacking, updated))
        done = {one.instrument.ticker: u for one, u in zip(lacking, updated, strict=True)}
        for lookup, found in self._others:
            left = [done[one.instrument.ticker] for one in found]
            self._file.put(lookup.partition, lookup.after(found, left))
        self._file.save()


def _key(names: Sequence[str]) -> str:
    return json.dumps(list(names))
