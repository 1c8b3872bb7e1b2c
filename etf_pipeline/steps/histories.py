"""Bringing histories up to date with the raw batches: the I/O around the pure functions."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from etf_pipeline.errors import (
    CorruptFileError,
    EtfError,
    MixedSourceError,
    ProofError,
    RejectedDataError,
)
from etf_pipeline.history.build import RULES_VERSION, build, validate_history
from etf_pipeline.history.merge import empty_rows
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.store.batches import BatchReader, Piece, list_batch_ids
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.histories import (
    Known,
    check_origin,
    fold,
    healthy,
    read_known,
    read_pieces,
    source_adjusted,
)
from etf_pipeline.store.inventory import date_range
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import FileInfo, file_info
from etf_pipeline.store.writer import locked, publish, write_text

log = logging.getLogger(__name__)
Progress = Callable[[Outcome], None]
_ADJ_CLOSE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Applied:
    """Which batch each ticker's history holds; saved per partition.

    Losing the file costs time only: the histories are then rebuilt from the raw batches.
    """

    path: Path
    last: dict[str, str]

    @classmethod
    def load(cls, path: Path) -> Applied:
        """Read it; an absent or damaged file is an empty one."""
        try:
            return cls(path, {str(k): str(v) for k, v in json.loads(path.read_text()).items()})
        except (OSError, ValueError, AttributeError):
            return cls(path, {})

    def save(self) -> None:
        """Replace the file, if it would change."""
        text = json.dumps(self.last, sort_keys=True, indent=0)
        if not self.path.exists() or self.path.read_text() != text:
            write_text(self.path, text)


def update_histories(
    layout: Layout,
    partition: str,
    instruments: Iterable[Instrument],
    lock_timeout: float,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Apply every raw batch not yet applied; one ticker's failure never stops the others.

    Memory holds one ticker at a time.

    Raises:
        LockTimeoutError: another process is updating this partition.
    """
    outcomes: list[Outcome] = []
    with locked(layout.lock("history", partition), lock_timeout), BatchReader(layout) as reader:
        applied = Applied.load(layout.watermark(partition))
        chosen = list(instruments)
        oldest = min((applied.last.get(i.ticker, "") for i in chosen), default="")
        fresh = [b for b in list_batch_ids(layout, partition) if b > oldest]
        for instrument in chosen:
            outcome, newest = _update_one(
                layout, reader, partition, instrument, fresh, applied.last, lock_timeout
            )
            outcomes.append(outcome)
            if newest is not None:
                applied.last[outcome.subject] = newest
            if progress is not None:
                progress(outcome)
        applied.save()
    return outcomes


def _update_one(
    layout: Layout,
    reader: BatchReader,
    partition: str,
    instrument: Instrument,
    fresh: list[str],
    applied: Mapping[str, str],
    lock_timeout: float,
) -> tuple[Outcome, str | None]:
    """One ticker's outcome, and the newest batch that its history now holds."""
    ticker = instrument.ticker
    try:
        with locked(layout.lock("ticker", ticker), lock_timeout):
            done = applied.get(ticker)
            info = healthy(layout, ticker) if done is not None else None
            if info is not None:
                pieces = [
                    piece
                    for batch_id in fresh
                    if batch_id > (done or "")
                    for piece in reader.pieces(partition, batch_id, instrument.names)
                ]
                if not pieces:
                    return _unchanged(ticker, info), None
            known = read_known(layout, ticker)
            if info is not None and known.corrupt is None:
                outcome = _advance(layout, instrument, known, pieces)
            else:
                pieces = read_pieces(layout, reader, instrument)
                if known.corrupt:
                    pieces = _set_aside(layout, ticker, known, pieces)
                outcome = _rebuild(layout, instrument, known, pieces)
        return outcome, max(pieces[-1].batch_id, done or "") if pieces else None
    except (MixedSourceError, RejectedDataError) as error:
        return Outcome(ticker, OutcomeKind.REJECTED, reason=str(error)), None
    except EtfError as error:
        return Outcome(
            ticker, OutcomeKind.FAILED, reason=str(error), failure_kind=FailureKind.TRANSIENT
        ), None


def _set_aside(layout: Layout, ticker: str, known: Known, pieces: list[Piece]) -> list[Piece]:
    """Move a damaged history out of the readers' way, if there is anything to rebuild it from."""
    if not pieces:
        raise RejectedDataError(str(known.corrupt))
    path = layout.of(HISTORY, ticker)
    path.replace(path.with_name(path.name + ".damaged"))
    log.warning("%s; set aside as %s.damaged and rebuilt", known.corrupt, path.name)
    return pieces


def _rebuild(layout: Layout, instrument: Instrument, known: Known, pieces: list[Piece]) -> Outcome:
    """History from all raw pieces, whatever the file holds now."""
    if not pieces:
        if known.info is not None and not known.info.ours:
            raise RejectedDataError(
                f"{known.info.path} was not written by this pipeline and has been left alone; "
                "move it away to have the pipeline keep this ticker"
            )
        return Outcome(
            instrument.ticker,
            OutcomeKind.FAILED,
            reason="nothing has been downloaded yet",
            failure_kind=FailureKind.TRANSIENT,
        )
    check_origin(pieces, instrument, known)
    merged = fold(empty_rows(), pieces)
    added = int((~merged.rows.index.isin(known.rows.index)).sum())
    note = merged.note
    if known.corrupt:
        note = "rebuilt from raw batches: the file was damaged" + (f"; {note}" if note else "")
    is_new = known.info is None and not known.corrupt
    outcome = publish_history(
        layout, instrument, merged.rows, pieces, added, merged.revised, note, is_new
    )
    _retire_aliases(layout, instrument)
    return outcome


def _retire_aliases(layout: Layout, instrument: Instrument) -> None:
    """Remove the files of former names; the raw batches keep every row of them."""
    for alias in instrument.aliases:
        for path in (layout.of(HISTORY, alias), layout.of(QUARANTINE, alias)):
            try:
                ours = file_info(path).ours
            except (FileNotFoundError, CorruptFileError):
                continue
            if ours:
                path.unlink()
                log.info("%s was renamed to %s; removed %s", alias, instrument.ticker, path)


def _unchanged(ticker: str, info: FileInfo) -> Outcome:
    first, last = date_range(info.path)
    return Outcome(
        ticker,
        OutcomeKind.UNCHANGED,
        first_date=first,
        last_date=last,
        content_hash=info.content_hash,
        rows_quarantined=info.meta.get("quarantined", 0),
        source=info.source,
    )


def _advance(layout: Layout, instrument: Instrument, known: Known, pieces: list[Piece]) -> Outcome:
    """History from what is known and the pieces that came since."""
    check_origin(pieces, instrument, known)
    merged = fold(known.rows, pieces)
    return publish_history(
        layout,
        instrument,
        merged.rows,
        pieces,
        merged.added,
        merged.revised + merged.removed,
        merged.note,
        False,
    )


def publish_history(
    layout: Layout,
    instrument: Instrument,
    rows: pd.DataFrame,
    pieces: list[Piece],
    added: int,
    revised: int,
    note: str | None,
    is_new: bool,
    expected: str | None = None,
) -> Outcome:
    """Assess rows and publish them as the ticker's quarantine and history.

    Raises:
        ProofError: the history is not the one with the content hash `expected`; nothing was
            written.
        RejectedDataError: nothing usable is left.
    """
    built = build(rows, sessions(instrument.exchange), source_adjusted(pieces))
    source = pieces[-1].source
    common = {
        "ticker": instrument.ticker,
        "symbol": pieces[-1].info.symbol,
        "exchange": instrument.exchange,
        "currency": pieces[-1].info.currency,
        "source": source,
    }
    quarantine_hash, history_hash = content_hash(built.quarantine), content_hash(built.history)
    if expected is not None and history_hash != expected:
        raise ProofError(
            f"{instrument.ticker}: rebuilt from its raw batches, the history has the hash "
            f"{history_hash[:16]}…, the events say {expected[:16]}…"
        )
    # Quarantine first: a history names the quarantine it belongs to, so a kill between the two
    # shows as a mismatch and is mended from the raw batches.
    publish(
        layout.of(QUARANTINE, instrument.ticker),
        QUARANTINE,
        built.quarantine,
        common,
        digest=quarantine_hash,
    )
    changed = publish(
        layout.of(HISTORY, instrument.ticker),
        HISTORY,
        built.history,
        common
        | {
            "quarantine_hash": quarantine_hash,
            "quarantined": built.quarantined,
            "findings": built.quarantine.num_rows,
            "rules": RULES_VERSION,
        },
        validate=validate_history,
        digest=history_hash,
    )
    if built.adj_close_gap is not None and built.adj_close_gap > _ADJ_CLOSE_TOLERANCE:
        text = f"adjusted close differs from the source's by up to {built.adj_close_gap:.2e}"
        note = f"{note}; {text}" if note else text
    outcome = (
        (OutcomeKind.COLLECTED if is_new else OutcomeKind.UPDATED)
        if changed
        else OutcomeKind.UNCHANGED
    )
    return Outcome(
        instrument.ticker,
        outcome,
        reason=note,
        rows_added=added,
        rows_revised=revised,
        rows_quarantined=built.quarantined,
        first_date=_day(built.history, 0),
        last_date=_day(built.history, -1),
        content_hash=history_hash,
        batch_id=pieces[-1].batch_id,
        rules_version=RULES_VERSION,
        source=source,
    )


def _day(table: pa.Table, position: int) -> dt.date:
    return table.column("date")[position].as_py()
