"""`price_history`: histories brought up to date with the raw batches, one ticker at a time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from etf_pipeline.errors import (
    EtfError,
    MixedSourceError,
    RawMissingError,
    ReasonCode,
    RejectedDataError,
    foreign_file,
)
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.build import RULES_VERSION, Built
from etf_pipeline.history.corrections import newest_void, of_ticker, void_in_words
from etf_pipeline.history.slices import (
    BatchSlice,
    Folded,
    build_from,
    check_origin,
    valid,
)
from etf_pipeline.model import assets
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import (
    FailureKind,
    Outcome,
    OutcomeKind,
    Progress,
    Remark,
    distribution_remarks,
    failed,
    in_words,
    main_code,
    our_mistake,
    rejected,
)
from etf_pipeline.model.rows import empty_rows
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.steps.origins import with_sources
from etf_pipeline.steps.result import Published, Run, StepResult
from etf_pipeline.steps.retiring import remove, retire_aliases
from etf_pipeline.store.basis import basis_of
from etf_pipeline.store.batches import BatchReader, list_batch_ids
from etf_pipeline.store.corrections import corrections_at, version_of
from etf_pipeline.store.histories import (
    Known,
    NewHistory,
    healthy,
    publish_history,
    read_known,
    read_slices,
    rests_on_void,
)
from etf_pipeline.store.inventory import date_range, withheld_dates
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.losses import Rebuild
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.origins import NOTHING, Origin, Present, gone_in_words
from etf_pipeline.store.peers import RawPeers
from etf_pipeline.store.reader import FileInfo
from etf_pipeline.store.store import Store
from etf_pipeline.store.watermark import Watermark
from etf_pipeline.store.writer import locked, sweep_temp_files

log = logging.getLogger(__name__)
ASSET = assets.PRICE_HISTORY


@dataclass(frozen=True)
class _Update:
    """What one run carries from ticker to ticker.

    Attributes:
        reader: of the raw batches.
        fresh: ids of the partition's batches that some history may lack, oldest first.
        holds: the newest batch that each ticker's history holds.
        peers: what the tickers did, as evidence on each other's rows.
        corrections: every one that counts.
        present: the raw batches that are there.
    """

    store: Store
    reader: BatchReader
    partition: str
    fresh: list[str]
    holds: Mapping[str, str]
    peers: RawPeers
    corrections: Sequence[Correction]
    present: Present

    @property
    def layout(self) -> Layout:
        return self.store.layout

    def void(self, instrument: Instrument) -> Correction | None:
        return newest_void(of_ticker(self.corrections, instrument.ticker))

    def basis_of(self, instrument: Instrument) -> Basis:
        return basis_of(instrument, self.peers, self.corrections)

    def gone(self, ticker: str, origin: Origin, void: Correction | None) -> Iterator[Remark]:
        """That raw batches which a history rests on are gone, if any are."""
        gone = self.present.gone(origin.batches, void)
        if gone:
            text = gone_in_words(self.layout, ticker, gone, len(origin.batches))
            yield Remark(ReasonCode.RAW_GONE, text)


@dataclass(frozen=True)
class _Updated:
    """What came of one ticker, and the newest batch that its history now holds, if one more."""

    outcome: Outcome
    published: Published | None = None
    newest: str | None = None


def update_histories(
    store: Store,
    run: Run,
    instruments: Iterable[Instrument],
    *,
    source: str = "",
    progress: Progress | None = None,
    corrections: Sequence[Correction] | None = None,
) -> StepResult:
    """Apply every raw batch not yet applied, and record what came of each ticker.

    One ticker's failure never stops the others. Memory holds one ticker at a time.

    Args:
        store: where batches are read and histories written.
        run: whose manifest is written; its partition is the one that is updated.
        instruments: the tickers, all of that partition.
        source: what to call the source of a ticker of which nothing else says it.
        progress: told of each outcome as it comes.
        corrections: what is declared right, as it is kept; None for the newest that was kept.

    Raises:
        LockTimeoutError: another process is updating this partition.
        StoreError: the manifest or the watermark cannot be written.
    """
    layout = store.layout
    sweep_temp_files(layout.folder(HISTORY), layout.folder(QUARANTINE), layout.manifests(ASSET))
    chosen = list(instruments)
    found: list[_Updated] = []
    with (
        locked(layout.lock("history", run.partition), store.lock_timeout),
        BatchReader(layout) as reader,
    ):
        mark = Watermark.load(layout.watermark(run.partition))
        oldest = min((mark.last.get(i.ticker, "") for i in chosen), default="")
        fresh = [b for b in list_batch_ids(layout, run.partition) if b > oldest]
        declared = corrections_at(layout) if corrections is None else corrections
        peers = RawPeers(layout, reader)
        present = Present(layout)
        update = _Update(store, reader, run.partition, fresh, mark.last, peers, declared, present)
        for instrument in chosen:
            one = _update_one(update, instrument)
            found.append(one)
            if one.newest is not None:
                mark.last[instrument.ticker] = one.newest
            if progress is not None:
                progress(one.outcome)
        outcomes = with_sources(layout, reader, run, chosen, [u.outcome for u in found], source)
        manifest = _manifest(update, run, chosen, outcomes, source)
        mark.save()  # last: what a killed run has not told, the next one finds again and tells
    return StepResult(
        ASSET,
        outcomes,
        [u.published for u in found if u.published is not None],
        manifest,
        location=layout.folder(HISTORY),
        version_of=[f"{o.subject}:{o.content_hash}" for o in outcomes if o.content_hash],
    )


def _manifest(
    update: _Update, run: Run, chosen: list[Instrument], outcomes: list[Outcome], source: str
) -> Path:
    """Record the outcomes; what was refused or failed in the currency that the universe says."""
    told = [
        o if o.good else replace(o, currency=o.currency or i.currency)
        for i, o in zip(chosen, outcomes, strict=True)
    ]
    version = version_of(update.layout, update.corrections)
    where = (update.layout, ASSET, run.run_id, run.partition)
    return write_manifest(*where, told, run.recorded_at, source, version)


def _update_one(update: _Update, instrument: Instrument) -> _Updated:
    layout, ticker = update.layout, instrument.ticker
    try:
        with locked(layout.lock("ticker", ticker), update.store.lock_timeout):
            done = update.holds.get(ticker)
            info = healthy(layout, instrument, update.corrections) if done is not None else None
            slices: list[BatchSlice] = []
            if info is not None:
                fresh = (
                    one
                    for batch_id in update.fresh
                    if batch_id > (done or "")
                    for one in update.reader.slices(update.partition, batch_id, instrument.names)
                )
                slices = valid(fresh, update.void(instrument), done or "")
                if not slices:
                    _check_origin(instrument, info, [])
                    return _Updated(_unchanged(update, instrument, info))
            known = read_known(layout, ticker)
            if info is not None and known.corrupt is None:
                whole = any(one.info.full for one in slices)
                if whole and update.present.may_lack(info, update.void(instrument)):
                    with contextlib.suppress(RawMissingError):
                        return _rebuild(update, instrument, known)
                return _advance(update, instrument, known, slices)
            return _rebuild(update, instrument, known)
    except (MixedSourceError, RawMissingError, RejectedDataError) as error:
        return _Updated(rejected(ticker, error))
    except EtfError as error:
        return _Updated(failed(ticker, error, FailureKind.TRANSIENT))
    except OSError:
        raise  # the store's, and so every ticker's
    except Exception as error:
        log.exception("%s: its history could not be built", ticker)
        return _Updated(our_mistake(ticker, error))


def _unchanged(update: _Update, instrument: Instrument, info: FileInfo) -> Outcome:
    layout, ticker = update.layout, instrument.ticker
    first, last = date_range(info.path)
    notes = (
        *update.gone(ticker, Origin.of(info), update.void(instrument)),
        *distribution_remarks(withheld_dates(info), info.meta.get("adj_close_gap")),
    )
    return Outcome(
        ticker,
        OutcomeKind.UNCHANGED,
        reason=in_words(notes),
        reason_code=main_code(notes),
        first_date=first,
        last_date=last,
        content_hash=info.content_hash,
        path=layout.relative(info.path),
        rows_quarantined=info.meta.get("quarantined", 0),
        source=info.source,
        currency=info.meta.get("currency"),
    )


def _advance(
    update: _Update, instrument: Instrument, known: Known, slices: list[BatchSlice]
) -> _Updated:
    """History from what is known and the slices that came since."""
    _check_origin(instrument, known.info, slices)
    basis = update.basis_of(instrument)
    merged, built = build_from(known.rows, slices, basis, known.said)
    if merged.held is not None and not merged.slices:
        raise RejectedDataError(merged.held.text, code=merged.held.code)
    before = Origin.of(known.info) if known.info is not None else NOTHING
    return _publish(update, instrument, merged, built, before, is_new=False)


def _rebuild(update: _Update, instrument: Instrument, known: Known) -> _Updated:
    """History from all batch slices, whatever the file holds now."""
    layout, void = update.layout, update.void(instrument)
    slices = read_slices(layout, update.reader, instrument, void=void)
    declared = of_ticker(update.corrections, instrument.ticker)
    of_void = known.info is not None and rests_on_void(known.info, declared)
    held = update.holds.get(instrument.ticker, "")
    rebuild = Rebuild(layout, update.present, instrument, known, slices, void, of_void, held)
    before = rebuild.check()
    if known.corrupt:
        _set_aside(layout, instrument.ticker, known, slices)
    if not slices:
        if known.info is not None and not known.info.ours:
            raise foreign_file(str(known.info.path))
        if void is not None:
            return _withdraw(layout, instrument, void)
        return _Updated(
            Outcome(
                instrument.ticker,
                OutcomeKind.FAILED,
                "nothing has been downloaded yet",
                FailureKind.TRANSIENT,
                ReasonCode.NOTHING_DOWNLOADED,
            )
        )
    _check_origin(instrument, None if of_void else known.info, slices)
    merged, built = build_from(empty_rows(), slices, update.basis_of(instrument))
    rebuild.check_rows(merged)
    notes = merged.notes
    if known.corrupt:
        text = "rebuilt from raw batches: the file was damaged"
        notes = (Remark(ReasonCode.REBUILT, text), *notes)
    # Rows count as added or removed against what was there, not against nothing.
    added = int((~merged.rows.index.isin(known.rows.index)).sum())
    merged = replace(merged, added=added, removed=0, notes=notes)
    is_new = known.info is None and not known.corrupt
    updated = _publish(update, instrument, merged, built, before, is_new)
    retire_aliases(layout, instrument)
    return updated


def _withdraw(layout: Layout, instrument: Instrument, void: Correction) -> _Updated:
    """Remove a history of which nothing is valid; the raw batches keep every row of it."""
    remove(layout, instrument.ticker, "nothing of it is valid")
    retire_aliases(layout, instrument)
    text = f"{void_in_words(void)}; there is no history until the source answers anew"
    return _Updated(
        Outcome(
            instrument.ticker,
            OutcomeKind.FAILED,
            text,
            FailureKind.TRANSIENT,
            ReasonCode.VOIDED,
        )
    )


def _check_origin(etf: Instrument, info: FileInfo | None, slices: list[BatchSlice]) -> None:
    source = info.source if info is not None else None
    currency = info.meta.get("currency", etf.currency) if info is not None else None
    check_origin(etf.ticker, slices, source, currency, etf.currency)


def _publish(
    update: _Update,
    instrument: Instrument,
    merged: Folded,
    built: Built,
    before: Origin,
    is_new: bool,
) -> _Updated:
    """Publish the history that merged rows came to; the outcome tells what is new in it.

    `before` is what the rows rest on that the slices were merged into.
    """
    layout = update.layout
    new = NewHistory.of(instrument, built, merged.slices, before.and_with(merged.used))
    done = publish_history(layout, new)
    notes = (
        *update.gone(instrument.ticker, new.origin, update.void(instrument)),
        *merged.notes,
        *distribution_remarks(built.withheld, built.adj_close_gap),
    )
    if built.corrected:
        rows = "row" if built.corrected == 1 else "rows"
        text = f"{built.corrected} {rows} corrected as declared"
        notes = (*notes, Remark(ReasonCode.CORRECTED, text))
    if built.voided is not None:
        notes = (*notes, Remark(ReasonCode.CORRECTED, built.voided))
    if merged.held is not None:
        notes = (merged.held, *notes)
    changed = OutcomeKind.COLLECTED if is_new else OutcomeKind.UPDATED
    same = OutcomeKind.UNCHANGED if merged.held is None else OutcomeKind.REJECTED
    newest = merged.slices[-1].batch_id
    days = built.history.column("date")
    outcome = Outcome(
        instrument.ticker,
        changed if done.changed else same,
        reason=in_words(notes),
        reason_code=main_code(notes),
        rows_added=merged.added,
        rows_revised=merged.revised + merged.removed,
        rows_quarantined=built.quarantined,
        first_date=days[0].as_py(),
        last_date=days[-1].as_py(),
        content_hash=done.content_hash,
        path=layout.relative(done.path),
        batch_id=newest,
        rules_version=RULES_VERSION,
        source=new.source,
        currency=new.currency,
    )
    rows = built.history.num_rows
    published = Published(HISTORY, done.path, rows, done.content_hash, done.changed)
    return _Updated(outcome, published, newest)


def _set_aside(layout: Layout, ticker: str, known: Known, slices: list[BatchSlice]) -> None:
    """Move a damaged history out of the readers' way, if there is anything to rebuild it from."""
    if not slices:
        raise RejectedDataError(str(known.corrupt), code=ReasonCode.CORRUPT_FILE)
    path = layout.of(HISTORY, ticker)
    aside = layout.damaged(ticker)
    path.replace(aside)
    log.warning("%s; set aside as %s and rebuilt", known.corrupt, aside.name)
