"""One download run of one partition: ask, check, compare, and keep what is new as a raw batch."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from etf_pipeline.errors import RejectedDataError
from etf_pipeline.history.merge import (
    Merge,
    drop_unfinished,
    merge_full,
    merge_window,
    needs_full,
    tidy,
)
from etf_pipeline.ingest.planning import missing_is_final, plan
from etf_pipeline.ingest.source import Clock, Download, FetchFailure, PriceSource, Request, utc_now
from etf_pipeline.model.calendars import last_final_session
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.model.schemas import RAW
from etf_pipeline.model.spacing import bar_spacing
from etf_pipeline.settings import Settings
from etf_pipeline.store.batches import BatchWriter, new_batch_id
from etf_pipeline.store.hashing import file_hash
from etf_pipeline.store.histories import Known, read_known
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.writer import locked

log = logging.getLogger(__name__)
Progress = Callable[[Outcome], None]
_ENOUGH_TO_TELL = 5


@dataclass(frozen=True)
class Collected:
    """Result of a run: the batch (None when nothing was new) and an outcome per ticker."""

    batch_id: str | None
    outcomes: list[Outcome]


@dataclass
class _Run:
    """What one run carries from ticker to ticker."""

    layout: Layout
    source: PriceSource
    batch: BatchWriter
    now: dt.datetime
    delay: dt.timedelta
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    again: list[Request] = field(default_factory=list)


def collect(
    layout: Layout,
    source: PriceSource,
    partition: str,
    instruments: Sequence[Instrument],
    settings: Settings,
    run_id: str,
    *,
    full: bool = False,
    clock: Clock = utc_now,
    progress: Progress | None = None,
) -> Collected:
    """Download what is not known yet. One ticker's failure never stops the others.

    Only answers that differ from what is known enter the batch, so a run with nothing new
    writes nothing.

    Raises:
        LockTimeoutError: another process is downloading this partition.
        StoreError: the batch cannot be written (full or read-only disk).
    """
    with locked(layout.lock("raw", partition), settings.lock_timeout_seconds):
        now = clock()
        batch_id = new_batch_id(now, run_id)
        with BatchWriter(layout, partition, batch_id, source.name) as batch:
            delay = dt.timedelta(minutes=settings.close_delay_minutes)
            run = _Run(layout, source, batch, now, delay)
            overlap = dt.timedelta(days=settings.overlap_days)
            requests: list[Request] = []
            for instrument in instruments:
                step = plan(layout, instrument, overlap, full)
                if isinstance(step, Request):
                    requests.append(step)
                else:
                    _record(run, step, progress)
            for outcome in _answers(run, requests):
                _record(run, outcome, progress)
            # Restated histories are fetched once more, whole, in a second pass.
            for outcome in _answers(run, list(run.again)):
                _record(run, outcome, progress)
            written = batch_id if len(batch) else None
    outcomes = [run.outcomes[i.ticker] for i in instruments]
    if written is not None:
        digest = file_hash(layout.of(RAW, partition, written))
        outcomes = [replace(o, batch_hash=digest) if o.batch_id else o for o in outcomes]
    return Collected(written, outcomes)


def _record(run: _Run, outcome: Outcome, progress: Progress | None) -> None:
    run.outcomes[outcome.subject] = outcome
    if not outcome.good:
        log.warning("%s %s: %s", outcome.subject, outcome.outcome, outcome.reason)
    if progress is not None:
        progress(outcome)


def _answers(run: _Run, requests: list[Request]) -> Iterator[Outcome]:
    for answer in run.source.fetch(requests):
        ticker = answer.request.instrument.ticker
        if isinstance(answer, FetchFailure):
            yield _failed(run, answer)
            continue
        try:
            outcome = _take(run, answer)
        except RejectedDataError as error:
            outcome = Outcome(ticker, OutcomeKind.REJECTED, reason=str(error))
        if outcome is not None:
            yield replace(outcome, source=run.source.name)


def _failed(run: _Run, failure: FetchFailure) -> Outcome:
    ticker = failure.request.instrument.ticker
    if failure.kind == "rejected":
        return Outcome(ticker, OutcomeKind.REJECTED, reason=failure.reason, source=run.source.name)
    kind, reason = failure.kind, failure.reason
    if kind == "missing" and missing_is_final(run.layout, ticker, run.now.date()):
        kind = "permanent"
        reason += (
            "; missing on 3 separate days: if it is delisted, set last_session in the universe"
        )
    return Outcome(
        ticker,
        OutcomeKind.FAILED,
        reason=reason,
        failure_kind=FailureKind(kind),
        source=run.source.name,
    )


def _take(run: _Run, download: Download) -> Outcome | None:
    """Judge an answer and keep it if it is news; None when the whole history is needed first."""
    request, instrument = download.request, download.request.instrument
    check_identity(download)
    final = last_final_session(instrument.exchange, run.now, run.delay)
    rows = drop_unfinished(download.rows, final)
    if not rows["close"].notna().any() and tidy(rows).empty:
        if request.full:
            raise RejectedDataError("the answer holds no price of a finished session")
        return Outcome(
            instrument.ticker, OutcomeKind.UNCHANGED, reason="no row in the trailing window"
        )
    known = read_known(run.layout, instrument.ticker)
    if not request.full and (why := needs_full(known.rows, rows)) is not None:
        log.info("%s: fetching the whole history again: %s", instrument.ticker, why)
        run.again.append(Request(instrument))
        return None
    merge = (merge_full if request.full else merge_window)(known.rows, rows)
    if merge.changed or known.torn or known.corrupt:
        run.batch.add(
            instrument.ticker,
            download.symbol,
            instrument.exchange,
            download.currency,
            request.full,
            rows,
        )
    return _outcome(run, instrument, known, merge)


def _outcome(run: _Run, instrument: Instrument, known: Known, merge: Merge) -> Outcome:
    priced = merge.rows.index[merge.rows["close"].notna().to_numpy()]
    if not merge.changed:
        what = OutcomeKind.UNCHANGED
    else:
        what = OutcomeKind.UPDATED if known.info is not None else OutcomeKind.COLLECTED
    return Outcome(
        instrument.ticker,
        what,
        reason=merge.note,
        rows_added=merge.added,
        rows_revised=merge.revised + merge.removed,
        first_date=priced[0].date() if len(priced) else None,
        last_date=priced[-1].date() if len(priced) else None,
        batch_id=run.batch.batch_id if merge.changed else None,
    )


def check_identity(download: Download) -> None:
    """Refuse an answer to another question.

    Raises:
        RejectedDataError: another symbol, currency or bar spacing than was asked for.
    """
    instrument = download.request.instrument
    if download.symbol != instrument.symbol:
        raise RejectedDataError(
            f"asked for {instrument.symbol}, got {download.symbol}; if it was renamed, change its "
            "symbol in the universe"
        )
    if download.currency != instrument.currency:
        raise RejectedDataError(
            f"prices are in {download.currency}, the universe says {instrument.currency}; "
            "correct the universe if the fund changed its currency"
        )
    if download.granularity != "1d":
        raise RejectedDataError(f"asked for daily bars, got {download.granularity}")
    _check_spacing(download.rows)


def _check_spacing(rows: pd.DataFrame) -> None:
    days = rows.index[rows["close"].notna().to_numpy()].to_numpy()
    if len(days) >= _ENOUGH_TO_TELL:
        spacing = bar_spacing(days)
        if spacing != "daily":
            gap = np.median(np.diff(days.astype("datetime64[D]")).astype("int64"))
            raise RejectedDataError(
                f"asked for daily bars, got {spacing or 'irregular'} ones ({gap:g} days apart)"
            )
