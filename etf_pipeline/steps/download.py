"""`raw_prices`: ask for what is not known yet, and keep what is new as an immutable batch."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from etf_pipeline.errors import CorruptFileError, EtfError, ReasonCode, RejectedDataError
from etf_pipeline.history.corrections import declared_splits, newest_void, of_ticker, void_in_words
from etf_pipeline.history.evidence import NOTHING_SAID
from etf_pipeline.history.merge import compare_window
from etf_pipeline.history.slices import check_currency
from etf_pipeline.ingest.answers import KnownRows, judge, not_answered
from etf_pipeline.ingest.planning import EarlierRun, Held, Terms, missing_is_final, plan
from etf_pipeline.ingest.source import Clock, Download, FetchFailure, PriceSource, Request, utc_now
from etf_pipeline.model import assets
from etf_pipeline.model.calendars import last_final_session
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import (
    GOOD,
    FailureKind,
    Outcome,
    OutcomeKind,
    Progress,
    our_mistake,
    rejected,
)
from etf_pipeline.model.rows import empty_rows
from etf_pipeline.model.schemas import HISTORY, RAW
from etf_pipeline.steps.result import Published, Run, StepResult
from etf_pipeline.store.batches import BatchReader, BatchWriter, list_batch_ids, new_batch_id
from etf_pipeline.store.corrections import corrections_at, version_of
from etf_pipeline.store.hashing import file_hash
from etf_pipeline.store.histories import (
    Known,
    known_by,
    pending_rows,
    read_known,
    read_valid,
    rests_on_void,
)
from etf_pipeline.store.inventory import footer_range
from etf_pipeline.store.killed_runs import said_of_run, tell_killed_runs
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import recent_manifests, write_manifest
from etf_pipeline.store.origins import Present
from etf_pipeline.store.reader import file_footer, read_table
from etf_pipeline.store.seen import SeenFile
from etf_pipeline.store.store import Store
from etf_pipeline.store.watermark import Watermark
from etf_pipeline.store.writer import locked, sweep_temp_files

log = logging.getLogger(__name__)
ASSET = assets.RAW_PRICES
_RUNS_LOOKED_AT = 200


@dataclass
class _Collection:
    """What one run carries from ticker to ticker.

    Attributes:
        batch: what is new is added to it.
        now: when the run began, aware.
        reader: of earlier batches.
        holds: the newest batch that each ticker's history holds.
        corrections: every one that counts.
        present: the raw batches that are there.
        seen: what is known of histories that nobody has touched since.
        again: requests for whole histories, to be made after the others.
    """

    layout: Layout
    source: PriceSource
    batch: BatchWriter
    now: dt.datetime
    terms: Terms
    progress: Progress | None
    reader: BatchReader
    holds: Mapping[str, str]
    corrections: Sequence[Correction]
    present: Present
    seen: SeenFile
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    again: list[Request] = field(default_factory=list)

    def record(self, outcome: Outcome) -> None:
        """Keep an outcome, and tell of it."""
        self.outcomes[outcome.subject] = outcome
        if not outcome.good:
            log.warning("%s %s: %s", outcome.subject, outcome.outcome, outcome.reason)
        if self.progress is not None:
            self.progress(outcome)

    def told(self, instruments: Iterable[Instrument]) -> list[Outcome]:
        """The outcome of each instrument, with the currency that its prices are asked for in."""
        return [replace(self.outcomes[i.ticker], currency=i.currency) for i in instruments]


def download(
    store: Store,
    run: Run,
    source: PriceSource,
    instruments: Sequence[Instrument],
    terms: Terms,
    *,
    clock: Clock = utc_now,
    progress: Progress | None = None,
    corrections: Sequence[Correction] | None = None,
) -> StepResult:
    """Download what is not known yet, and record what came of each ticker.

    One ticker's failure never stops the others. Only answers that differ from what is known enter
    the batch, so a run with nothing new writes no batch.

    Args:
        store: where batches are written and histories read.
        run: whose manifest is written; its partition is the one that is downloaded.
        source: whom to ask.
        instruments: the tickers, all of that partition.
        terms: how much to ask for, and when a bar is final.
        clock: what time it is, aware.
        progress: told of each outcome as it comes.
        corrections: what is declared, as it is kept; None for the newest that was kept. What is
            declared void is asked for anew, and a declared split explains another level.

    Raises:
        LockTimeoutError: another process is downloading this partition.
        StoreError: the batch cannot be written (full or read-only disk).
    """
    layout = store.layout
    sweep_temp_files(layout.batches(run.partition), layout.manifests(ASSET))
    with locked(layout.lock("raw", run.partition), store.lock_timeout):
        tell_killed_runs(layout, run.partition)
        now = clock()
        batch = _new_batch(layout, run, source, now)
        with BatchReader(layout) as reader, batch:
            declared = corrections_at(layout) if corrections is None else corrections
            collection = _Collection(
                layout,
                source,
                batch,
                now,
                terms,
                progress,
                reader,
                Watermark.load(layout.watermark(run.partition)).last,
                declared,
                Present(layout),
                SeenFile(layout, run.partition),
            )
            _collect(collection, instruments)
            outcomes = collection.told(instruments)
            version = version_of(layout, declared)
            # A download takes its time: its outcomes are recorded when it ends.
            recorded_at = max(run.recorded_at, clock())
            batch.run = said_of_run(run.run_id, outcomes, recorded_at, version)
        found = _published(layout, run, batch)
        return _recorded(layout, run, source, outcomes, found, recorded_at, version)


def _new_batch(layout: Layout, run: Run, source: PriceSource, now: dt.datetime) -> BatchWriter:
    last = next(reversed(list_batch_ids(layout, run.partition)), None)
    return BatchWriter(layout, run.partition, new_batch_id(now, run.run_id, last), source.name)


def _recorded(
    layout: Layout,
    run: Run,
    source: PriceSource,
    outcomes: list[Outcome],
    published: Published | None,
    recorded_at: dt.datetime,
    corrections: str | None,
) -> StepResult:
    """The manifest, and the result of the step."""
    batch_id = published.path.stem if published is not None else None
    if published is not None:
        path = layout.relative(published.path)
        outcomes = [
            replace(o, batch_hash=published.content_hash, path=path) if o.batch_id else o
            for o in outcomes
        ]
    manifest = write_manifest(
        layout,
        ASSET,
        run.run_id,
        run.partition,
        outcomes,
        recorded_at,
        source.name,
        corrections,
    )
    return StepResult(
        ASSET,
        outcomes,
        [published] if published is not None else [],
        manifest,
        source.name,
        details={"batch_id": batch_id or "nothing new"},
        version_of=[batch_id] if batch_id is not None else [],
    )


def _collect(collection: _Collection, instruments: Sequence[Instrument]) -> None:
    """Ask for every ticker; restated histories once more, whole, in a second pass."""
    requests: list[Request] = []
    for instrument in instruments:
        step = plan(instrument, _held(collection, instrument), collection.terms)
        if isinstance(step, Request):
            requests.append(step)
        else:
            collection.record(step)
    for outcome in _answers(collection, requests):
        collection.record(outcome)
    for outcome in _answers(collection, list(collection.again)):
        collection.record(outcome)


def _answers(collection: _Collection, requests: list[Request]) -> Iterator[Outcome]:
    for answer in collection.source.fetch(requests):
        ticker = answer.request.instrument.ticker
        if isinstance(answer, FetchFailure):
            outcome: Outcome | None = not_answered(answer, _is_final(collection, answer))
        else:
            try:
                outcome = _take(collection, answer)
            except RejectedDataError as error:
                outcome = rejected(ticker, error)
            except (EtfError, OSError):
                raise  # the store's, and so every ticker's
            except Exception as error:
                log.exception("%s: its answer could not be judged", ticker)
                outcome = our_mistake(ticker, error)
        if outcome is not None:
            outcome = _telling_of_void(collection, answer.request.instrument, outcome)
            yield replace(outcome, source=collection.source.name)


def _telling_of_void(collection: _Collection, instrument: Instrument, outcome: Outcome) -> Outcome:
    """An outcome that is not good, and why there is no history any more."""
    void = newest_void(of_ticker(collection.corrections, instrument.ticker))
    if outcome.good or void is None or _held(collection, instrument) is not None:
        return outcome
    return replace(outcome, reason=f"{outcome.reason}; {void_in_words(void)}")


def _take(collection: _Collection, answer: Download) -> Outcome | None:
    """Judge an answer and keep it if it is news; None when the whole history is needed first."""
    instrument = answer.request.instrument
    found = _known(collection, answer)
    other = found.info is not None and found.info.source != collection.source.name
    if found.info is not None:
        check_currency(instrument.ticker, found.info.meta.get("currency"), instrument.currency)
    known = KnownRows(
        # Another source's rows say nothing of these; the history step refuses to mix them.
        empty_rows() if other else found.rows,
        found.info is None,
        found.torn or found.corrupt is not None or _to_mend(collection, answer, found),
        NOTHING_SAID if other else found.said,
        declared_splits(of_ticker(collection.corrections, instrument.ticker)),
    )
    final = last_final_session(instrument.exchange, collection.now, collection.terms.delay)
    verdict = judge(answer, known, final)
    if verdict.outcome is None:
        log.info("%s: fetching the whole history again: %s", instrument.ticker, verdict.ask_whole)
        collection.again.append(Request(instrument))
        return None
    outcome = replace(verdict.outcome, currency=answer.currency)
    if verdict.keep is None:
        return outcome
    if not known.damaged and _kept_already(collection, instrument, verdict.keep, found):
        text, code = _said_of_kept(collection, instrument, verdict.keep, found)
        return replace(
            outcome,
            outcome=OutcomeKind.UNCHANGED,
            reason=text,
            reason_code=code,
            rows_added=0,
            rows_revised=0,
        )
    collection.batch.add(
        instrument.ticker,
        answer.symbol,
        instrument.exchange,
        answer.currency,
        verdict.full,
        verdict.keep,
        answer.dividend_notes,
    )
    return replace(outcome, batch_id=collection.batch.batch_id)


def _to_mend(collection: _Collection, answer: Download, found: Known) -> bool:
    """Whether a whole answer takes the place of raw batches that are gone, or may be."""
    if not answer.request.full or found.info is None or not found.info.ours:
        return False
    declared = of_ticker(collection.corrections, answer.request.instrument.ticker)
    return collection.present.may_lack(found.info, newest_void(declared))


def _said_of_kept(
    collection: _Collection, instrument: Instrument, rows: pd.DataFrame, found: Known
) -> tuple[str, ReasonCode | None]:
    """Why an answer is no news: a run did not get to the history, or the ticker is another one."""
    own = replace(instrument, aliases=())
    if not instrument.aliases or _kept_already(collection, own, rows, found):
        text = "kept by an earlier run; the history does not hold it yet"
        return text, ReasonCode.PENDING_BATCH
    return f"known under the former ticker ({', '.join(instrument.aliases)})", None


def _kept_already(
    collection: _Collection, instrument: Instrument, rows: pd.DataFrame, found: Known
) -> bool:
    """Whether batches that the history does not hold yet have these rows, as for a held ticker."""
    # What a watermark says of one that is gone, as after a rename that was undone, is past.
    held = collection.holds.get(instrument.ticker, "") if found.info is not None else ""
    void = newest_void(of_ticker(collection.corrections, instrument.ticker))
    try:
        pending = pending_rows(collection.reader, instrument, held, void)
    except CorruptFileError:  # which the history step tells
        return False
    return len(pending) > 0 and not compare_window(pending, rows).changed


def _known(collection: _Collection, answer: Download) -> Known:
    """What is known of a ticker, without what was declared void since it was published.

    Of what a trailing window is compared with, the newest rows are enough.
    """
    instrument = answer.request.instrument
    declared = of_ticker(collection.corrections, instrument.ticker)
    seen = collection.seen.of(instrument.ticker)
    window = not (answer.request.full or answer.whole or answer.implied)
    if seen is not None and window and seen.newest.cover(answer.rows):
        found = known_by(seen)
    else:
        found = read_known(collection.layout, instrument.ticker)
    if found.info is None or not rests_on_void(found.info, declared):
        return found
    try:
        return read_valid(collection.layout, collection.reader, instrument, newest_void(declared))
    except CorruptFileError:  # which the history step tells
        return Known(empty_rows(), None)


def _held(collection: _Collection, instrument: Instrument) -> Held | None:
    """What a ticker's history says of itself; None when there is none that can be used."""
    path = collection.layout.of(HISTORY, instrument.ticker)
    seen = collection.seen.of(instrument.ticker)
    if seen is not None:
        info, first, last = seen.info, seen.first, seen.last
    else:
        try:
            info, footer = file_footer(path)
        except (FileNotFoundError, CorruptFileError):
            return None
        first, last = footer_range(footer) if info.ours else (None, None)
    if info.ours and rests_on_void(info, of_ticker(collection.corrections, instrument.ticker)):
        return None
    return Held(str(path), info.ours, first, last, info.source)


def _is_final(collection: _Collection, failure: FetchFailure) -> bool:
    if failure.kind is not FailureKind.MISSING:
        return False
    ticker = failure.request.instrument.ticker
    return missing_is_final(ticker, collection.now.date(), _earlier_runs(collection.layout))


def _earlier_runs(layout: Layout) -> Iterator[EarlierRun]:
    """What earlier downloads recorded, newest first; each manifest is read when it is its turn."""
    for path in recent_manifests(layout, ASSET, _RUNS_LOOKED_AT):
        rows = read_table(path, ["subject", "outcome", "failure_kind", "recorded_at"]).to_pylist()
        if rows:
            kinds = {r["subject"]: r["failure_kind"] for r in rows}
            yield EarlierRun(
                rows[0]["recorded_at"].date(),
                {s: FailureKind(k) if k is not None else None for s, k in kinds.items()},
                any(r["outcome"] in GOOD for r in rows),
            )


def _published(layout: Layout, run: Run, batch: BatchWriter) -> Published | None:
    """The batch as a file, None when nothing was new."""
    if not len(batch):
        return None
    path = layout.of(RAW, run.partition, batch.batch_id)
    return Published(RAW, path, batch.rows, file_hash(path), changed=True)
