"""Refusing to rebuild a history from raw batches that are not all there any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from etf_pipeline.errors import RawMissingError
from etf_pipeline.history.losses import not_again, unexplained
from etf_pipeline.history.slices import BatchSlice, Folded
from etf_pipeline.model import assets
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.store.histories import Known, read_known
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.origins import (
    NOTHING,
    Origin,
    Present,
    check_base,
    gone_in_words,
    origin_of,
    remedies,
    whole_since,
)
from etf_pipeline.store.reader import read_table


@dataclass(frozen=True)
class Rebuild:
    """One ticker whose history is to be made from raw batches alone.

    Attributes:
        known: what is published of it.
        slices: the valid ones that are there, oldest first.
        void: what is declared void of them.
        of_void: whether what is published may hold some of that.
        held: the newest batch that its history holds; empty for none.
    """

    layout: Layout
    present: Present
    instrument: Instrument
    known: Known
    slices: Sequence[BatchSlice]
    void: Correction | None
    of_void: bool
    held: str

    def check(self) -> Origin:
        """Refuse to lose what is known; what the rebuilt history is to say of batches, otherwise.

        Raises:
            RawMissingError: naming the batches that are gone, and the remedies.
        """
        ticker = self.instrument.ticker
        before = origin_of(self.layout, self.instrument)
        if self.known.corrupt is not None:
            named = _named(self.layout, self.instrument, self.held)
            before = (before or NOTHING).and_with(named)
        if before is None:
            check_base(self.layout, ticker, self.slices)
            return NOTHING
        gone = self.present.gone(before.batches, self.void)
        if gone:
            self._check_again(gone, len(before.batches))
        if not self.slices and self.void is None and self.known.corrupt is None:
            raise RawMissingError(
                f"no raw batch of {ticker} is there, and its history stays as it is; "
                f"{remedies(ticker)}"
            )
        check_base(self.layout, ticker, self.slices)
        old = self.present.gone(before.superseded, self.void)
        return Origin((), tuple(sorted({*old, *gone})))

    def _check_again(self, gone: Sequence[str], of: int) -> None:
        ticker = self.instrument.ticker
        text = gone_in_words(self.layout, ticker, gone, of)
        again = whole_since(self.slices, gone)
        if again and self.of_void:  # then what is known is no measure
            return
        lost = not_again(self._rows(), again or self.slices, self.instrument.listed_since)
        if not again and not len(lost):
            raise RawMissingError(f"{text}. Its history is not rebuilt and stays as it is")
        if len(lost):
            raise RawMissingError(f"{text}. {self._stays(lost)}")

    def check_rows(self, merged: Folded) -> None:
        """Refuse what lacks sessions of a history that does not name its batches.

        Raises:
            RawMissingError: naming the sessions and the remedies.
        """
        ticker = self.instrument.ticker
        before = origin_of(self.layout, self.instrument)
        if before is None or before.told or self.of_void:
            return
        lost = unexplained(self._rows(), merged, self.instrument.listed_since)
        if len(lost):
            raise RawMissingError(
                f"raw batches of {ticker} seem to be gone; {remedies(ticker)}. {self._stays(lost)}"
            )

    def _stays(self, lost: pd.DatetimeIndex) -> str:
        sessions = "session is" if len(lost) == 1 else "sessions are"
        path = self.layout.of(HISTORY, self.instrument.ticker)
        return (
            f"{len(lost)} {sessions} in its history and in no download that is left "
            f"({lost[0]:%Y-%m-%d} to {lost[-1]:%Y-%m-%d}): it is not rebuilt and stays as it is; "
            f"to go on without them, move {path} away and run again"
        )

    def _rows(self) -> pd.DataFrame:
        """Rows of the ticker, or of its former names where it has no file yet."""
        if self.known.info is not None:
            return self.known.rows
        parts = [read_known(self.layout, name).rows for name in self.instrument.aliases]
        rows = pd.concat([self.known.rows, *parts])
        return rows[~rows.index.duplicated()].sort_index()


def _named(layout: Layout, instrument: Instrument, held: str) -> set[str]:
    """Batches that manifests name of a ticker, up to the one that its history held."""
    named = {held} if held else set()
    for path in layout.manifest_files(assets.RAW_PRICES):
        for row in read_table(path, ["subject", "batch_id"]).to_pylist():
            if row["subject"] in instrument.names and row["batch_id"] is not None:
                named.add(row["batch_id"])
    return {batch_id for batch_id in named if batch_id <= held}
