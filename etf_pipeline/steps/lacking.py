"""Which raw batches each ticker's history lacks, at the cost of the batches that are new."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.steps.one_history import Lacking, Updated
from etf_pipeline.store.batches import BatchReader
from etf_pipeline.store.watermark import Looked


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

    def __post_init__(self) -> None:
        self._names: dict[str, frozenset[str] | None] = {}
        self._since = self.looked.ids[-1] if self.looked.ids else ""

    def of(self, instruments: Iterable[Instrument]) -> list[Lacking]:
        """Each ticker with what it lacks; one that holds nothing is made from all there is."""
        return [self._lacking(one) for one in instruments]

    def _lacking(self, instrument: Instrument) -> Lacking:
        held = self.holds.get(instrument.ticker)
        if held is None:
            return Lacking(instrument, held)
        before = self.looked.lacking.get(_key(instrument.names))
        found = [] if before is None else [b for b in before if b > held]
        found += self._with(instrument.names, held if before is None else max(held, self._since))
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

    def save(self, lacking: Sequence[Lacking], updated: Sequence[Updated]) -> None:
        """Keep what is known after a run, of its tickers and of those that it left alone."""
        ids = tuple(self.reader.ids(self.partition))
        if not ids:
            return
        after: dict[str, list[str]] = {}
        for key, before in self.looked.lacking.items():
            after[key] = [*before, *self._with(json.loads(key), self._since)]
        for one, done in zip(lacking, updated, strict=True):
            after.pop(_key(one.instrument.names), None)
            held = done.newest or one.held
            if held is not None and held < ids[-1]:
                settled = done.newest is None and done.outcome.good
                left = [] if settled else [b for b in one.batches if b > held]
                after[_key(one.instrument.names)] = left
        Looked(self.looked.path, ids, after).save()


def _key(names: Sequence[str]) -> str:
    return json.dumps(list(names))
