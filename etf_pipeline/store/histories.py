"""Histories on disk: what is known of a ticker, what it was at an instant, and how it is published.

A ticker's history and its quarantine are two files that belong together: all rows between them are
the rows known of it. What they say is decided in `history/`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError, RejectedDataError
from etf_pipeline.history.build import RULES_VERSION, Built
from etf_pipeline.history.corrections import corrections_hash, newest_void, of_ticker
from etf_pipeline.history.duplicates import one_row_per_day
from etf_pipeline.history.evidence import NOTHING_SAID, Evidence
from etf_pipeline.history.identity import since
from etf_pipeline.history.merge import merge_window
from etf_pipeline.history.quality import MISSING
from etf_pipeline.history.slices import BatchSlice, build_from, fold, valid
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.rows import empty_rows, table_rows
from etf_pipeline.model.schemas import HISTORY, QUARANTINE, VALUE_COLUMNS
from etf_pipeline.store.basis import basis_of
from etf_pipeline.store.batches import (
    BatchReader,
    collected_at,
    partitions_with_batches,
)
from etf_pipeline.store.corrections import corrections_at
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.origins import check_past
from etf_pipeline.store.peers import RawPeers
from etf_pipeline.store.publishing import day_as_text
from etf_pipeline.store.reader import FileInfo, file_footer, file_info, read_ours
from etf_pipeline.store.seen import Seen


@dataclass(frozen=True)
class Known:
    """Rows known of a ticker, and where they came from.

    `rows` are as their source answered them, whatever a rule has made of them since. `torn` says
    that history and quarantine were not published together (a kill between the two), or that the
    rules have changed since; `corrupt` carries the error of an unreadable file; `said` is what the
    source told besides.
    """

    rows: pd.DataFrame
    info: FileInfo | None
    torn: bool = False
    corrupt: str | None = None
    said: Evidence = NOTHING_SAID


def read_known(layout: Layout, ticker: str) -> Known:
    """Read a ticker's state; never raises for a damaged file, but says so."""
    path = layout.of(HISTORY, ticker)
    try:
        info, table = read_ours(path, ["date", *VALUE_COLUMNS], lambda info: info.ours)
    except FileNotFoundError:
        return Known(empty_rows(), None)
    except CorruptFileError as error:
        return Known(empty_rows(), None, corrupt=str(error))
    if table is None:
        return Known(empty_rows(), info)
    published = _read_as_published(layout, ticker, info)
    if published is None:
        return Known(table_rows(table), info, torn=True)
    findings, said = published
    return known_of(info, table, findings, said)


def known_of(info: FileInfo, history: pa.Table, findings: pa.Table | None, said: Evidence) -> Known:
    """The same of what is in memory: a history, and its quarantine if that has any finding."""
    rows, torn = table_rows(history), info.meta.get("rules") != RULES_VERSION
    if findings is None or not findings.num_rows:
        return Known(rows, info, torn, said=said)
    # Every other finding is about a row, whose values are there as they came.
    frame = table_rows(findings.filter(pc.not_equal(findings.column("severity"), MISSING)))
    others = frame[frame.notna().any(axis=1).to_numpy() & ~frame.index.duplicated()]
    if len(others):
        rows = pd.concat([rows[~rows.index.isin(others.index)], others]).sort_index()
    return Known(rows, info, torn, said=said)


def known_by(seen: Seen) -> Known:
    """The same of files that were seen, with their newest rows only."""
    said = Evidence.from_json(seen.said)
    return Known(
        seen.newest.rows, seen.info, seen.info.meta.get("rules") != RULES_VERSION, said=said
    )


def healthy(
    layout: Layout, instrument: Instrument, corrections: Sequence[Correction]
) -> tuple[FileInfo, pq.FileMetaData] | None:
    """The history's footer, if it is ours and goes with its quarantine and what it is judged by."""
    ticker = instrument.ticker
    try:
        info, footer = file_footer(layout.of(HISTORY, ticker))
        theirs = file_info(layout.of(QUARANTINE, ticker)).content_hash
    except (FileNotFoundError, CorruptFileError):
        return None
    same = theirs == info.meta.get("quarantine_hash")
    return (info, footer) if same and judged_by(info, instrument, corrections) else None


def goes_on(known: Known, instrument: Instrument, corrections: Sequence[Correction]) -> bool:
    """Whether what is known can be continued: as `healthy` says, of files that were read whole."""
    whole = known.info is not None and known.corrupt is None and not known.torn
    return whole and judged_by(known.info, instrument, corrections)


def judged_by(
    info: FileInfo | None, instrument: Instrument, corrections: Sequence[Correction]
) -> bool:
    """Whether a history is ours and was judged by what counts now."""
    if info is None or not info.ours:
        return False
    mine = of_ticker(corrections, instrument.ticker)
    return (
        info.meta.get("rules") == RULES_VERSION
        and info.meta.get("listed_since") == day_as_text(instrument.listed_since)
        and made_under(info, instrument)
        and info.meta.get("corrections") == corrections_hash(mine)
    )


def made_under(info: FileInfo, instrument: Instrument) -> bool:
    """Whether a history was made from what is known under the ticker's names, and no others.

    One of a release that does not tell was made under the ticker alone, or has to be made again.
    """
    return info.meta.get("aliases", []) == sorted(instrument.aliases)


def _read_as_published(
    layout: Layout, ticker: str, info: FileInfo
) -> tuple[pa.Table | None, Evidence] | None:
    """Findings with the rows they are about as they came, and what the source said besides.

    None when the file is not the one the history was published with.
    """
    path = layout.of(QUARANTINE, ticker)
    some = info.meta.get("findings") != 0
    try:
        theirs, table = read_ours(path, ["date", "severity", *VALUE_COLUMNS], lambda _: some)
    except (FileNotFoundError, CorruptFileError):
        return None
    if theirs.content_hash != info.meta.get("quarantine_hash"):
        return None
    return table, Evidence.from_json(theirs.meta.get("evidence", {}))


def read_slices(
    layout: Layout,
    reader: BatchReader,
    instrument: Instrument,
    until: dt.datetime | None = None,
    void: Correction | None = None,
    among: Iterable[tuple[str, str]] | None = None,
) -> list[BatchSlice]:
    """Every valid batch slice of a ticker (or its aliases), oldest first.

    Args:
        layout: the store.
        reader: of its batches.
        instrument: which ticker.
        until: an aware time; what was collected after it is left out.
        void: what is declared void of them, see `valid`.
        among: partition and id of the only batches that may have any; None for all there are.

    Raises:
        CorruptFileError: a raw batch is damaged.
    """
    slices: list[BatchSlice] = []
    if among is None:
        folders = partitions_with_batches(layout)
        partitions = [decode_ticker(folder.name) for folder in folders]
        among = ((p, batch_id) for p in partitions for batch_id in reader.ids(p))
    for partition, batch_id in among:
        if until is None or collected_at(batch_id) <= until:
            slices += reader.slices(partition, batch_id, instrument.names)
    return valid(sorted(slices, key=lambda s: s.batch_id), void)


def rests_on_void(info: FileInfo, declared: Sequence[Correction]) -> bool:
    """Whether a history may hold what its ticker's corrections have declared void since."""
    return newest_void(declared) is not None and (
        info.meta.get("corrections") != corrections_hash(declared)
    )


def read_valid(
    layout: Layout, reader: BatchReader, instrument: Instrument, void: Correction | None
) -> Known:
    """What is known of a ticker from raw batches alone, but for those that are void.

    Raises:
        CorruptFileError: a raw batch is damaged.
    """
    slices = read_slices(layout, reader, instrument, void=void)
    folded = fold(empty_rows(), slices, instrument.listed_since)
    return Known(folded.rows, None, said=folded.evidence)


def pending_rows(
    reader: BatchReader,
    instrument: Instrument,
    held: str,
    void: Correction | None = None,
) -> pd.DataFrame:
    """Rows of batches that a ticker's history does not hold yet, the newest of each day.

    There are some after a run that was stopped, and where a ticker is held or was rejected.

    Args:
        reader: of the store's batches.
        instrument: which ticker; the batches are those of its partition.
        held: the newest batch id that its history holds, empty for none.
        void: what is declared void of them, see `valid`.
    """
    rows, partition = empty_rows(), instrument.partition
    found = (
        one
        for batch_id in reader.ids(partition)
        if batch_id > held
        for one in reader.slices(partition, batch_id, instrument.names)
    )
    for one in valid(found, void, held):
        new, _ = one_row_per_day(since(one.rows, instrument.listed_since))
        rows = merge_window(rows, new).rows
    return rows


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
        RawMissingError: a raw batch that it was built from then is gone.
    """
    if instant.tzinfo is None:
        raise ValueError("instant must be aware, for example datetime(2025, 11, 1, tzinfo=UTC)")
    with BatchReader(layout) as reader:
        corrections = corrections_at(layout, instant)
        void = newest_void(of_ticker(corrections, instrument.ticker))
        slices = read_slices(layout, reader, instrument, instant, void)
        check_past(layout, instrument, slices, instant, void)
        if not slices:
            return None
        basis = basis_of(instrument, RawPeers(layout, reader), corrections)
        with contextlib.suppress(RejectedDataError):
            return build_from(empty_rows(), slices, basis)[1]
    return None
