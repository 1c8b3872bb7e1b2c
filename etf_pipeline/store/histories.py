"""What is known of one ticker: its history and its quarantine read back as one set of rows."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from etf_pipeline.errors import CorruptFileError, MixedSourceError, RejectedDataError
from etf_pipeline.history.build import RULES_VERSION, Built, build
from etf_pipeline.history.merge import Merge, empty_rows, framed, merge_full, merge_window
from etf_pipeline.history.quality import PENDING, QUARANTINED
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.schemas import HISTORY, QUARANTINE, VALUE_COLUMNS
from etf_pipeline.store.batches import (
    BatchReader,
    Piece,
    collected_at,
    list_batch_ids,
    partitions_with_batches,
)
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import FileInfo, file_info, read_table


@dataclass(frozen=True)
class Known:
    """Rows known of a ticker, and where they came from.

    `torn` says that history and quarantine were not published together (a kill between the two),
    or that the rules have changed since; `corrupt` carries the error of an unreadable file.
    """

    rows: pd.DataFrame
    info: FileInfo | None
    torn: bool = False
    corrupt: str | None = None


def read_known(layout: Layout, ticker: str) -> Known:
    """Read a ticker's state; never raises for a damaged file, but says so."""
    path = layout.of(HISTORY, ticker)
    try:
        info = file_info(path)
        if not info.ours:
            return Known(empty_rows(), info)
        rows = _rows(read_table(path, ["date", *VALUE_COLUMNS]))
        held = _read_held_back(layout, ticker, info)
    except FileNotFoundError:
        return Known(empty_rows(), None)
    except CorruptFileError as error:
        return Known(empty_rows(), None, corrupt=str(error))
    if held is None:
        return Known(rows, info, torn=True)
    if len(held):
        rows = pd.concat([rows, held[~held.index.isin(rows.index)]]).sort_index()
    return Known(rows, info, torn=info.meta.get("rules") != RULES_VERSION)


def healthy(layout: Layout, ticker: str) -> FileInfo | None:
    """The history's footer, if it is ours and goes with its quarantine and today's rules."""
    try:
        info = file_info(layout.of(HISTORY, ticker))
        theirs = file_info(layout.of(QUARANTINE, ticker)).content_hash
    except (FileNotFoundError, CorruptFileError):
        return None
    same = theirs == info.meta.get("quarantine_hash") and info.meta.get("rules") == RULES_VERSION
    return info if info.ours and same else None


def _read_held_back(layout: Layout, ticker: str, info: FileInfo) -> pd.DataFrame | None:
    """Rows in quarantine, None when the file is not the one the history was published with."""
    path = layout.of(QUARANTINE, ticker)
    try:
        if file_info(path).content_hash != info.meta.get("quarantine_hash"):
            return None
        if info.meta.get("quarantined") == 0:
            return empty_rows()
        table = read_table(path, ["date", "severity", *VALUE_COLUMNS])
    except (FileNotFoundError, CorruptFileError):
        return None
    kept = pc.is_in(table.column("severity"), pa.array([QUARANTINED, PENDING]))
    frame = _rows(table.filter(kept).drop_columns(["severity"]))
    return frame[~frame.index.duplicated()]


def _rows(table: pa.Table) -> pd.DataFrame:
    """A table with `date` and `VALUE_COLUMNS` as rows for merging."""
    dates = table.column("date").to_numpy().astype("datetime64[s]")
    values = np.column_stack(
        [table.column(c).to_numpy().astype("float64", copy=False) for c in VALUE_COLUMNS]
    )
    return framed(values, pd.DatetimeIndex(dates, name="date"))


def check_origin(pieces: Iterable[Piece], instrument: Instrument, known: Known) -> None:
    """Refuse to mix sources or currencies in one history.

    Raises:
        MixedSourceError: naming both and the remedy.
    """
    sources = {p.source for p in pieces}
    currencies = {p.info.currency for p in pieces}
    if known.info is not None:
        sources.add(known.info.source)
        currencies.add(known.info.meta.get("currency", instrument.currency))
    for what, values in (("source", sources), ("currency", currencies)):
        if len(values) > 1:
            raise MixedSourceError(
                f"{instrument.ticker}: the history would mix {what} {' and '.join(sorted(values))};"
                " use another data folder (--data-dir), or move the ticker's old files away"
            )


def read_pieces(
    layout: Layout,
    reader: BatchReader,
    instrument: Instrument,
    until: dt.datetime | None = None,
) -> list[Piece]:
    """Every raw piece of a ticker (or its aliases), oldest first, collected no later than `until`.

    Raises:
        CorruptFileError: a raw batch is damaged.
    """
    pieces: list[Piece] = []
    for folder in partitions_with_batches(layout):
        partition = decode_ticker(folder.name)
        for batch_id in list_batch_ids(layout, partition):
            if until is None or collected_at(batch_id) <= until:
                pieces += reader.pieces(partition, batch_id, instrument.names)
    return sorted(pieces, key=lambda p: p.batch_id)


def fold(rows: pd.DataFrame, pieces: Iterable[Piece]) -> Merge:
    """Merge pieces into rows, oldest first; the counts are totals over all of them."""
    added = revised = removed = 0
    notes: list[str] = []
    for piece in pieces:
        try:
            merge = (merge_full if piece.info.full else merge_window)(rows, piece.rows)
        except RejectedDataError as error:
            notes.append(str(error))
            continue
        rows = merge.rows
        added, revised, removed = (
            added + merge.added,
            revised + merge.revised,
            removed + merge.removed,
        )
        if merge.note:
            notes.append(merge.note)
    return Merge(rows, added, revised, removed, "; ".join(notes) or None)


def source_adjusted(pieces: list[Piece]) -> pd.Series | None:
    """The source's own adjusted close, when the newest piece is a whole history."""
    if not pieces or not pieces[-1].info.full:
        return None
    return pieces[-1].rows["adj_close_source"]


def history_as_of(layout: Layout, instrument: Instrument, instant: dt.datetime) -> Built | None:
    """The history exactly as it was known at `instant`, rebuilt from the raw batches.

    Args:
        layout: the store.
        instrument: which ticker.
        instant: an aware time; batches collected after it are ignored.

    Returns:
        None when nothing was known then.

    Raises:
        ValueError: `instant` has no time zone.
        CorruptFileError: a raw batch is damaged.
    """
    if instant.tzinfo is None:
        raise ValueError("instant must be aware, for example datetime(2025, 11, 1, tzinfo=UTC)")
    with BatchReader(layout) as reader:
        pieces = read_pieces(layout, reader, instrument, instant)
    merged = fold(empty_rows(), pieces)
    if merged.rows.empty:
        return None
    with contextlib.suppress(RejectedDataError):
        return build(merged.rows, sessions(instrument.exchange))
    return None
