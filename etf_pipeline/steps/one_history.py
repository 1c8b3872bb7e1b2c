"""One ticker's history brought up to date with the raw batches that it lacks.

What is needed for it is pickled to where it happens: see `workers`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from etf_pipeline.errors import (
    RawMissingError,
    ReasonCode,
    RejectedDataError,
    foreign_file,
)
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.build import RULES_VERSION, Built
from etf_pipeline.history.corrections import of_ticker, void_in_words
from etf_pipeline.history.slices import (
    BatchSlice,
    Folded,
    build_from,
    valid,
)
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import (
    FailureKind,
    Outcome,
    OutcomeKind,
    Remark,
    distribution_remarks,
    in_words,
    main_code,
)
from etf_pipeline.model.rows import empty_rows
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.steps.result import Published
from etf_pipeline.steps.retiring import remove, retire_aliases
from etf_pipeline.steps.settled import check_unmixed, raw_gone, seen_of, told_settled
from etf_pipeline.steps.updating import Lacking, Scope, Updated, told
from etf_pipeline.store.basis import basis_of
from etf_pipeline.store.batches import BatchReader
from etf_pipeline.store.histories import (
    Known,
    goes_on,
    read_known,
    read_slices,
    rests_on_void,
)
from etf_pipeline.store.inventory import date_range
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.losses import Rebuild
from etf_pipeline.store.origins import NOTHING, Origin, Present
from etf_pipeline.store.peers import RawPeers
from etf_pipeline.store.publishing import NewHistory, publish_history
from etf_pipeline.store.writer import locked

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Updating(Scope):
    """The work of bringing histories up to date, see `workers.Work`."""

    @contextmanager
    def __call__(self) -> Iterator[Callable[[Lacking], Updated]]:
        """What brings one history up to date."""
        with BatchReader(self.layout) as reader:
            update = _Update(self, reader, RawPeers(self.layout, reader), Present(self.layout))
            yield partial(_update_one, update)


@dataclass(frozen=True)
class _Update:
    """What one process carries from ticker to ticker.

    Attributes:
        reader: of the raw batches.
        peers: what the tickers did, as evidence on each other's rows.
        present: the raw batches that are there.
    """

    of: Updating
    reader: BatchReader
    peers: RawPeers
    present: Present

    @property
    def layout(self) -> Layout:
        return self.of.layout

    def void(self, instrument: Instrument) -> Correction | None:
        return self.of.void(instrument)

    def basis_of(self, instrument: Instrument) -> Basis:
        return basis_of(instrument, self.peers, self.of.corrections)


def _update_one(update: _Update, one: Lacking) -> Updated:
    return told(one.instrument.ticker, lambda: _locked_update(update, one))


def _locked_update(update: _Update, one: Lacking) -> Updated:
    layout, instrument = update.layout, one.instrument
    with locked(layout.lock("ticker", instrument.ticker), update.of.lock_timeout):
        known = read_known(layout, instrument.ticker)
        info = known.info if goes_on(known, instrument, update.of.corrections) else None
        if one.held is None or info is None:
            return _rebuild(update, one, known)
        if not one.is_of(info):
            with contextlib.suppress(RawMissingError):
                return _rebuild(update, one, known)
        fresh = (
            part
            for batch_id in one.batches
            for part in update.reader.slices(update.of.partition, batch_id, instrument.names)
        )
        slices = valid(fresh, update.void(instrument), one.held)
        if not slices:
            return told_settled(update.of, update.present, instrument, info, date_range(info.path))
        whole = any(part.info.full for part in slices)
        if whole and update.present.may_lack(info, update.void(instrument)):
            with contextlib.suppress(RawMissingError):
                return _rebuild(update, one, known)
        return _advance(update, instrument, known, slices)


def _advance(
    update: _Update, instrument: Instrument, known: Known, slices: list[BatchSlice]
) -> Updated:
    """History from what is known and the slices that came since."""
    check_unmixed(instrument, known.info, slices)
    basis = update.basis_of(instrument)
    merged, built = build_from(known.rows, slices, basis, known.said)
    if merged.held is not None and not merged.slices:
        raise RejectedDataError(merged.held.text, code=merged.held.code)
    before = Origin.of(known.info) if known.info is not None else NOTHING
    return _publish(update, instrument, merged, built, before, is_new=False)


def _rebuild(update: _Update, one: Lacking, known: Known) -> Updated:
    """History from all batch slices, whatever the file holds now."""
    instrument = one.instrument
    layout, void = update.layout, update.void(instrument)
    among = None
    if one.held is None:
        among = [*((update.of.partition, b) for b in one.batches), *one.elsewhere]
    slices = read_slices(layout, update.reader, instrument, void=void, among=among)
    declared = of_ticker(update.of.corrections, instrument.ticker)
    of_void = known.info is not None and rests_on_void(known.info, declared)
    held = one.held or ""
    rebuild = Rebuild(layout, update.present, instrument, known, slices, void, of_void, held)
    before = rebuild.check()
    if known.corrupt:
        _set_aside(layout, instrument.ticker, known, slices)
    if not slices:
        if known.info is not None and not known.info.ours:
            raise foreign_file(str(known.info.path))
        if void is not None:
            return _withdraw(layout, instrument, void)
        return Updated(
            Outcome(
                instrument.ticker,
                OutcomeKind.FAILED,
                "nothing has been downloaded yet",
                FailureKind.TRANSIENT,
                ReasonCode.NOTHING_DOWNLOADED,
            )
        )
    check_unmixed(instrument, None if of_void else known.info, slices)
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
    return _publish(update, instrument, merged, built, before, is_new)


def _withdraw(layout: Layout, instrument: Instrument, void: Correction) -> Updated:
    """Remove a history of which nothing is valid; the raw batches keep every row of it."""
    remove(layout, instrument.ticker, "nothing of it is valid")
    retire_aliases(layout, instrument)
    text = f"{void_in_words(void)}; there is no history until the source answers anew"
    return Updated(
        Outcome(
            instrument.ticker,
            OutcomeKind.FAILED,
            text,
            FailureKind.TRANSIENT,
            ReasonCode.VOIDED,
        )
    )


def _publish(
    update: _Update,
    instrument: Instrument,
    merged: Folded,
    built: Built,
    before: Origin,
    is_new: bool,
) -> Updated:
    """Publish the history that merged rows came to; the outcome tells what is new in it.

    `before` is what the rows rest on that the slices were merged into.
    """
    layout = update.layout
    new = NewHistory.of(instrument, built, merged.slices, before.and_with(merged.used))
    done = publish_history(layout, new)
    notes = (
        *raw_gone(update.of, update.present, instrument, new.origin),
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
    return Updated(outcome, published, newest, seen_of(layout, done, built, merged.rows))


def _set_aside(layout: Layout, ticker: str, known: Known, slices: list[BatchSlice]) -> None:
    """Move a damaged history out of the readers' way, if there is anything to rebuild it from."""
    if not slices:
        raise RejectedDataError(str(known.corrupt), code=ReasonCode.CORRUPT_FILE)
    path = layout.of(HISTORY, ticker)
    aside = layout.damaged(ticker)
    path.replace(aside)
    log.warning("%s; set aside as %s and rebuilt", known.corrupt, aside.name)
