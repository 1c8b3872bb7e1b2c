"""`price_history`: histories brought up to date with the raw batches, ticker by ticker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from etf_pipeline.model import assets
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.instruments import Instrument, Universe
from etf_pipeline.model.outcomes import Outcome, Progress
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.steps.lacking import Lookups
from etf_pipeline.steps.one_history import Updating
from etf_pipeline.steps.origins import with_sources
from etf_pipeline.steps.result import Run, StepResult
from etf_pipeline.steps.retiring import retire
from etf_pipeline.steps.settled import settled
from etf_pipeline.steps.updating import Lacking, Updated
from etf_pipeline.steps.workers import spread
from etf_pipeline.store.batches import BatchReader
from etf_pipeline.store.corrections import corrections_at, version_of
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.origins import Present
from etf_pipeline.store.seen import SeenFile
from etf_pipeline.store.store import Store
from etf_pipeline.store.watermark import PublishedHashes, Watermark
from etf_pipeline.store.writer import locked, sweep_temp_files

ASSET = assets.PRICE_HISTORY


def update_histories(
    store: Store,
    run: Run,
    instruments: Iterable[Instrument],
    *,
    source: str = "",
    progress: Progress | None = None,
    corrections: Sequence[Correction] | None = None,
    workers: int = 1,
    universe: Universe | None = None,
) -> StepResult:
    """Apply every raw batch not yet applied, and record what came of each ticker.

    One ticker's failure never stops the others. Each process holds one ticker at a time.

    Args:
        store: where batches are read and histories written.
        run: whose manifest is written; its partition is the one that is updated.
        instruments: the tickers, all of that partition.
        source: what to call the source of a ticker of which nothing else says it.
        progress: told of each outcome as it comes.
        corrections: what is declared right, as it is kept; None for the newest that was kept.
        workers: how many processes share many tickers out; what comes of it is the same.
        universe: all tickers there are; given, what was renamed without a word is retired too.

    Raises:
        LockTimeoutError: another process is updating this partition.
        StoreError: the manifest or the watermark cannot be written.
        WorkerDiedError: a worker ended before its work; the next run goes on from there.
    """
    layout, chosen = store.layout, list(instruments)
    sweep_temp_files(layout.folder(HISTORY), layout.folder(QUARANTINE), layout.manifests(ASSET))
    with (
        locked(layout.lock("history", run.partition), store.lock_timeout),
        BatchReader(layout) as reader,
    ):
        mark = Watermark.load(layout.watermark(run.partition))
        declared = corrections_at(layout) if corrections is None else corrections
        update = Updating(layout, store.lock_timeout, run.partition, tuple(declared))
        lookups = Lookups(layout, reader, run.partition, dict(mark.last))
        hashes = PublishedHashes.load(layout.published(run.partition))
        lacking = [replace(o, published=hashes.of(o.instrument)) for o in lookups.of(chosen)]
        found = _updated(update, lacking, workers, progress)
        retire(layout, chosen, universe)
        outcomes = [u.outcome for u in found]
        mark.note(chosen, [u.newest for u in found])
        hashes.note(chosen, [o.content_hash for o in outcomes])
        outcomes = with_sources(layout, reader, run, chosen, outcomes, source)
        manifest = _manifest(update, run, chosen, outcomes, source)
        hashes.save()
        mark.save()  # last: what a killed run has not told, the next one finds again and tells
        lookups.save(lacking, found)
    return StepResult(
        ASSET,
        outcomes,
        [u.published for u in found if u.published is not None],
        manifest,
        location=layout.folder(HISTORY),
        version_of=[f"{o.subject}:{o.content_hash}" for o in outcomes if o.content_hash],
    )


def _updated(
    update: Updating, lacking: Sequence[Lacking], workers: int, progress: Progress | None
) -> list[Updated]:
    """What came of each ticker, in order. Only those that lack something are worth workers."""
    present, seen = Present(update.layout), SeenFile(update.layout, update.partition)
    found = [settled(update, present, one, seen.of(one.instrument.ticker)) for one in lacking]
    left = [one for one, done in zip(lacking, found, strict=True) if done is None]
    told = 0

    def tell(one: Updated | None) -> None:
        """Put in what came of the next one, and tell of it and of what was settled behind it."""
        nonlocal told
        if one is not None:
            found[told] = one
        while told < len(found) and (done := found[told]) is not None:
            told += 1
            if progress is not None:
                progress(done.outcome)

    tell(None)
    spread(update, left, workers, each=tell)
    updated = [done for done in found if done is not None]
    for one, done in zip(lacking, updated, strict=True):
        seen.note(one.instrument.ticker, done.seen)
    seen.save()
    return updated


def _manifest(
    update: Updating, run: Run, chosen: list[Instrument], outcomes: list[Outcome], source: str
) -> Path:
    """Record the outcomes; what was refused or failed in the currency that the universe says."""
    told = [
        o if o.good else replace(o, currency=o.currency or i.currency)
        for i, o in zip(chosen, outcomes, strict=True)
    ]
    version = version_of(update.layout, update.corrections)
    where = (update.layout, ASSET, run.run_id, run.partition)
    return write_manifest(*where, told, run.recorded_at, source, version)
