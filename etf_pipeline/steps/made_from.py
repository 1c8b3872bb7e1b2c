"""What derived tables are made from, as fingerprints: what is made from the same is not made again.

A step gives each part of its tables (a ticker, a portfolio) a fingerprint of all that decides its
rows. The files keep them, see `store.made_from`, so that the next run takes over the rows of parts
that are the same, and writes nothing where all are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etf_pipeline._version import __version__
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.reading.declared import SUFFIX
from etf_pipeline.model.risk_free import Cash, Published, asked
from etf_pipeline.model.schemas import SCHEMA_VERSION, Table
from etf_pipeline.steps import result
from etf_pipeline.steps.derived import Assumptions, Histories
from etf_pipeline.store.hashing import file_hash
from etf_pipeline.store.made_from import Kept, MadeFrom, newest_kept
from etf_pipeline.store.store import Store
from etf_pipeline.store.stored_series import HistoryFacts, StoredSeries, read_facts

# Raise with any change of code that changes a number or a word of a derived table, so that every
# row is made anew. A release makes them anew by itself.
DERIVED_RULES = 1
_DIGITS = 32  # of a fingerprint, in hex: 128 bits


def fingerprint(*what: Any) -> str:
    """SHA-256 (its first 32 hex digits) of plain data, and of the rules that apply to it."""
    body = json.dumps(
        [__version__, SCHEMA_VERSION, DERIVED_RULES, *what], sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(body.encode()).hexdigest()[:_DIGITS]


@dataclass(frozen=True)
class Reads:
    """Versions of what a derived step reads, as plain data for `fingerprint`."""

    store: Store
    histories: Histories
    universe: Universe
    assumptions: Assumptions

    @property
    def known(self) -> bool:
        """Whether there are versions at all: not of prices that are in no store."""
        return isinstance(self.histories.series, StoredSeries)

    @cached_property
    def _currencies(self) -> Mapping[str, str]:
        return self.universe.columns()["currency"]

    def _currency(self, facts: HistoryFacts) -> str | None:
        return facts.currency or self._currencies.get(facts.ticker)

    def history(self, ticker: str) -> list[str | None]:
        """One ticker's prices; without a version where the histories have none of it."""
        facts = self.histories.facts.get(ticker)
        return [ticker] if facts is None else self._of(facts)

    def file(self, ticker: str) -> list[str | None]:
        """The same of a file of the store, whether or not it is of the universe."""
        return self._of(read_facts(self.store.layout, ticker, self.store.cache))

    def _of(self, facts: HistoryFacts) -> list[str | None]:
        return [facts.ticker, facts.version, self._currency(facts)]

    @cached_property
    def risk_free(self) -> list[Any]:
        """What is free of risk; it has to be there."""
        wanted = asked(self.assumptions.risk_free_rate)
        if isinstance(wanted, Cash):
            return ["ticker", self.file(wanted.ticker)]
        if isinstance(wanted, Published):
            path = wanted.path
            sidecar = path.with_name(path.name + SUFFIX)
            said = file_hash(sidecar) if sidecar.is_file() else None
            return ["file", path.name, file_hash(path), said]
        return ["rate", wanted]

    @cached_property
    def rates(self) -> list[Any]:
        """All exchange rates."""
        rates = self.histories.rates
        return [[self.file(pair) for pair in rates.series], dict(rates.unreadable)]

    def converting(self, read: Iterable[Sequence[str | None]], *bases: str | None) -> Any:
        """The rates, where what was `read` and `bases` are not all of one currency; else None.

        Args:
            read: as `history` and `file` have it.
            bases: currencies that prices are wanted in, None for none.
        """
        found = {one[2] for one in read if len(one) > 1} | {b for b in bases if b}
        return self.rates if len(found) > 1 else None

    def assumed(self, *names: str, free: bool = True) -> dict[str, Any]:
        """For people: these fields of the assumptions, what is free of risk, and the rules.

        Only what the rows rest on: a file made anew from the same then says the same. Where nothing
        in them is compared with what is `free` of risk, that is left out.
        """
        found = {name: getattr(self.assumptions, name) for name in names}
        beside = {"risk_free": self.risk_free} if free else {}
        return found | beside | {"release": __version__, "rules": DERIVED_RULES}


@dataclass(frozen=True)
class Before:
    """The newest files of a step's tables, as far as anything can be taken from them.

    Attributes:
        files: in the order of the tables; none where one of them is missing, damaged, changed by
            hand or of an earlier release, or where they were not made together.
    """

    files: tuple[Kept, ...] = ()

    @classmethod
    def of(
        cls, store: Store, tables: Iterable[Table], parts: Mapping[str, str] | None = None
    ) -> Before:
        """Those of a store; with `parts`, none (and not a row is read) where none is as it was."""
        found = [newest_kept(store.layout, table, parts) for table in tables]
        files = [kept for kept in found if kept is not None]
        together = {(kept.as_of, kept.made_from.as_bytes(), kept.source) for kept in files}
        return cls(tuple(files)) if len(files) == len(found) and len(together) == 1 else cls()

    @property
    def made_from(self) -> MadeFrom:
        """What they were made from; nothing where there are none."""
        return self.files[0].made_from if self.files else MadeFrom({})

    def same(self, parts: Mapping[str, str]) -> frozenset[str]:
        """The parts whose rows can be taken from the files."""
        return self.made_from.same_parts(parts)

    def told(self, taken: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """What there was to tell of these parts."""
        return {name: one for name, one in self.made_from.told.items() if name in taken}

    def unchanged(
        self, parts: Mapping[str, str], histories: Histories
    ) -> list[result.Published] | None:
        """The files, where they are of the newest session and made from exactly these parts.

        None where something is to be made.
        """
        if not self.files or self.made_from.parts != parts:
            return None
        if (self.files[0].as_of, self.files[0].source) != (histories.as_of, histories.source):
            return None
        return [
            result.Published(k.table, k.path, k.data.num_rows, k.content_hash, changed=False)
            for k in self.files
        ]

    def merged(
        self, table: Table, made: pa.Table, subject: str, taken: Collection[str]
    ) -> pa.Table:
        """Rows that were made, and those of the parts `taken` from the files; by part.

        Args:
            table: one of the tables.
            made: its rows of other parts, in order.
            subject: the column that names the part.
            taken: names of parts.
        """
        if not taken:
            return made
        (kept,) = [k.data for k in self.files if k.table == table]
        wanted = pa.array(sorted(taken), pa.string())
        rows = kept.filter(pc.is_in(kept.column(subject), wanted))
        return by_part([rows, made], subject)


NOTHING_BEFORE = Before()


def by_part(tables: Sequence[pa.Table], subject: str) -> pa.Table:
    """Rows of several tables by the column that names their part, each part's in their order."""
    whole = pa.concat_tables(tables).combine_chunks()
    names = np.array(whole.column(subject).to_pylist(), dtype=object)
    return whole.take(pa.array(np.argsort(names, kind="stable")))
