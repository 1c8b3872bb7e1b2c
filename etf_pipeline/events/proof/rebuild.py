"""Histories rebuilt from the raw batches that events name, and proven equal by hash."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from etf_pipeline.errors import CorruptFileError, EtfError, ProofError, ReasonCode
from etf_pipeline.events.model.state import EtfState
from etf_pipeline.events.model.types import ETFDataCollected, ETFDataUpdated
from etf_pipeline.history.build import RULES_VERSION, Built
from etf_pipeline.history.corrections import newest_void, of_ticker, void_in_words
from etf_pipeline.history.slices import BatchSlice, Folded, build_from, valid
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.rows import empty_rows
from etf_pipeline.model.schemas import RAW
from etf_pipeline.store.basis import basis_of
from etf_pipeline.store.batches import BatchReader, collected_at
from etf_pipeline.store.corrections import corrections_at, versions_of
from etf_pipeline.store.hashing import content_hash, file_hash
from etf_pipeline.store.histories import read_slices
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.origins import NOTHING
from etf_pipeline.store.peers import RawPeers
from etf_pipeline.store.publishing import NewHistory, publish_history

log = logging.getLogger(__name__)
Status = Literal["proved", "unproven", "differs"]


@dataclass(frozen=True)
class Rebuilt:
    """One ticker rebuilt.

    `proved` equal by hash, `unproven` (no event to compare with), or `differs`: then nothing was
    written and `reason` says why.
    """

    ticker: str
    status: Status
    rows: int = 0
    batches: int = 0
    content_hash: str | None = None
    reason: str | None = None


class Rebuilder:
    """Rebuilds tickers of one store into another folder (or the same).

    What was declared void by `instant` (aware; None for now) is not brought back.
    """

    def __init__(
        self,
        layout: Layout,
        into: Layout,
        instruments: Mapping[str, Instrument] | None = None,
        instant: dt.datetime | None = None,
    ) -> None:
        self._layout = layout
        self._into = into
        self._instruments = instruments or {}
        self._reader = BatchReader(layout)
        self._peers = RawPeers(layout, self._reader)
        self._counting = corrections_at(layout, instant)
        self._hashes: dict[tuple[str, str], str | None] = {}

    def __enter__(self) -> Rebuilder:
        return self

    def __exit__(self, *exc: object) -> None:
        self._reader.__exit__(*exc)

    def rebuild(self, etf: EtfState) -> Rebuilt:
        """The history that the newest event says there was."""
        updated = etf.updated
        if updated is None:
            return Rebuilt(etf.ticker, "unproven", reason="no event says what its history was")
        void = self._void(etf.ticker)
        if void is not None and void.before and collected_at(updated.batch_id) < void.before:
            return Rebuilt(etf.ticker, "unproven", reason=void_in_words(void))
        try:
            slices = self.slices(etf.ticker, updated.batch_id, etf.batches)
            rows = self._publish(etf.ticker, slices, updated)
        except EtfError as error:
            return _differs(etf.ticker, error)
        return Rebuilt(etf.ticker, "proved", rows, len(slices), updated.content_hash)

    def rebuild_unproven(self, ticker: str, newest: str) -> Rebuilt:
        """A history from batches alone, as no event tells what it was."""
        try:
            slices = self.slices(ticker, newest)
            rows = self._publish(ticker, slices, None)
        except EtfError as error:
            return _differs(ticker, error)
        return Rebuilt(ticker, "unproven", rows, len(slices), reason="no event to compare with")

    def _void(self, ticker: str) -> Correction | None:
        return newest_void(of_ticker(self._counting, ticker))

    def slices(
        self, ticker: str, newest: str, named: Iterable[ETFDataCollected] = ()
    ) -> list[BatchSlice]:
        """The batch slices of a ticker up to a batch, each batch that an event names checked.

        Raises:
            CorruptFileError: a batch is gone or is not what it was when the event was made.
        """
        for event in named:
            if event.batch_id <= newest:
                self._check(event)
        found = read_slices(self._layout, self._reader, self._instrument(ticker, None))
        slices = [s for s in found if s.batch_id <= newest]
        if not slices:
            raise CorruptFileError(
                f"{ticker}: none of its raw batches is in {self._layout.folder(RAW)}"
            )
        return slices

    def _check(self, event: ETFDataCollected) -> None:
        key = (event.partition, event.batch_id)
        path = self._layout.of(RAW, *key)
        if key not in self._hashes:
            self._hashes[key] = file_hash(path) if path.exists() else None
        if self._hashes[key] is None:
            raise CorruptFileError(f"raw batch {path} is gone: restore it from a backup")
        if event.batch_hash is not None and self._hashes[key] != event.batch_hash:
            raise CorruptFileError(
                f"raw batch {path} is not the file that was collected: restore it from a backup"
            )

    def _publish(
        self, ticker: str, slices: list[BatchSlice], updated: ETFDataUpdated | None
    ) -> int:
        instrument = self._instrument(ticker, slices[-1])
        expected = updated.content_hash if updated is not None else None
        merged, built = self._built(instrument, slices, expected)
        try:
            origin = NOTHING.and_with(merged.used)
            new = NewHistory.of(instrument, built, merged.slices, origin)
            publish_history(self._into, new, expected)
        except ProofError as error:
            if updated is not None and updated.rules_version not in (None, RULES_VERSION):
                raise ProofError(
                    f"{error}; the quality rules were at version {updated.rules_version} then and "
                    f"are at {RULES_VERSION} now: rebuild with the release of that time"
                ) from None
            raise
        return len(merged.rows)

    def _built(
        self, instrument: Instrument, slices: list[BatchSlice], expected: str | None
    ) -> tuple[Folded, Built]:
        """What the slices come to with the corrections that give the expected hash, if any do.

        Events do not say which corrections counted; the hash tells it, the newest come first.
        """
        ticker, found = instrument.ticker, None
        versions = versions_of(self._layout, ticker)
        now = self._void(ticker)
        for corrections in [of_ticker(self._counting, ticker)] if expected is None else versions:
            void = newest_void(corrections)
            left = valid(slices, void)
            if not left or (now is not None and (void is None or void.before != now.before)):
                continue
            found = build_from(empty_rows(), left, basis_of(instrument, self._peers, corrections))
            if expected is None or content_hash(found[1].history) == expected:
                return found
        if found is None:
            why = "nothing is left of its raw batches" if now is None else void_in_words(now)
            raise ProofError(f"{ticker}: {why}")
        return found

    def _instrument(self, ticker: str, newest: BatchSlice | None) -> Instrument:
        known = self._instruments.get(ticker)
        if known is not None:
            return known
        if newest is None:
            return Instrument(ticker, "", "", "", "", "", "")
        info = newest.info
        return Instrument(ticker, info.symbol, info.exchange, ticker, "", "", info.currency)


def _differs(ticker: str, error: EtfError) -> Rebuilt:
    """Why a ticker came out otherwise.

    Raises:
        EtfError: it came to nothing, as the folder cannot be written.
    """
    if error.code in (ReasonCode.STORE_UNUSABLE, ReasonCode.DISK_FULL):
        raise error
    return Rebuilt(ticker, "differs", reason=str(error))


def restore(
    layout: Layout, etf: EtfState, instruments: Mapping[str, Instrument] | None = None
) -> Rebuilt:
    """Put a history that is gone back into its place.

    Raises:
        ProofError: it cannot be proven to be what it was; nothing was written.
    """
    with Rebuilder(layout, layout, instruments) as rebuilder:
        found = rebuilder.rebuild(etf)
    if found.status != "proved":
        raise ProofError(f"{etf.ticker} cannot be rebuilt from events: {found.reason}")
    log.warning(
        "%s had no Parquet file: rebuilt from %d raw batches named by events, %d rows, hash %s as "
        "recorded",
        etf.ticker,
        found.batches,
        found.rows,
        str(found.content_hash)[:16],
    )
    return found
