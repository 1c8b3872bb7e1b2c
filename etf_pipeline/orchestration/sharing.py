"""Steps on the working copy of a share: what is pulled before each, and published after it.

Belongs here: which of a step's files are published, and that it is done anew where another machine
published first. Without a share every function here just runs the step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.schemas import (
    CORRECTIONS,
    DATED,
    HISTORY,
    MANIFEST,
    QUARANTINE,
    RAW,
    RISK_METRICS,
    SUMMARY,
    WEIGHTS,
)
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.settings.environment import plain_http_allowed
from etf_pipeline.steps.result import Run, StepResult
from etf_pipeline.store.reader import read_table, read_with_footer
from etf_pipeline.store.stages import Stage, stage_path
from etf_pipeline.store.watermark import Watermark
from etf_pipeline.store.writer import publish as write

if TYPE_CHECKING:
    from etf_pipeline.share.copy import Copy

log = logging.getLogger(__name__)
A = TypeVar("A")
Update = Callable[[Sequence[Instrument]], StepResult]


def downloaded(pipeline: Pipeline, run: Run, step: Callable[[], StepResult]) -> StepResult:
    """A download: its batch and its manifest are published. Batches of two runs never collide.

    Raises:
        UniverseError: another machine has renamed a ticker, and this one was not told.
        ShareAwayError: the share does not answer.
    """
    copy = pipeline.working_copy
    if copy is None:
        return step()
    from etf_pipeline.orchestration.older_universe import check_renames
    from etf_pipeline.share import publishing, work

    with copy.turn(run.partition):
        work.complete(copy)
        work.before_ingest(copy, run.partition, pipeline.universe)
        check_renames(pipeline, copy, run.partition)
        result = step()
        publishing.publish(copy, publishing.unpublished(copy, (RAW, CORRECTIONS, MANIFEST)))
    return result


def updated(
    pipeline: Pipeline, run: Run, instruments: Sequence[Instrument], step: Update
) -> StepResult:
    """An update of histories; those that another machine published first are made again from its.

    Raises:
        UniverseError: another machine has renamed a ticker, and this one was not told.
        ShareAwayError: the share does not answer.
        ShareError: other machines were first, again and again.
    """
    copy = pipeline.working_copy
    if copy is None:
        return step(instruments)
    from etf_pipeline.orchestration.older_universe import check_renames
    from etf_pipeline.share import dropping, marks, publishing, work

    partition, layout = run.partition, copy.layout
    names = copy.names.of(
        layout.of(t, n) for t in (QUARANTINE, HISTORY) for i in instruments for n in i.names
    )
    with copy.turn(partition):
        work.complete(copy)
        here = work.before_ingest(copy, partition, pipeline.universe)
        check_renames(pipeline, copy, partition)
        made: dict[str, str] = {}
        before = _current(copy)
        result = step(instruments)
        again = list(instruments)
        for attempt in range(work.TRIES):
            lost = {work.ticker_of(copy, n) for n in publishing.publish(copy, names)}
            # What it removed besides is of names that no ticker has any more.
            dropping.remove_dropped(copy, {*names, *(before - _current(copy))})
            done = [i.ticker for i in again if lost.isdisjoint(i.names)]
            made |= _marks(Watermark.load(layout.watermark(partition)).last, done)
            if not lost:
                break
            log.warning("%s: another machine was first with %d tickers", partition, len(lost))
            again = [i for i in instruments if not lost.isdisjoint(i.names)]
            marks.forget(copy, partition, lost)
            work.pause(attempt)
            work.before_ingest(copy, partition, pipeline.universe)
            before |= _current(copy)
            result = _joined(result, _told(result), step(again))
        else:
            raise work.contended(copy, f"price_history of {partition}")
        publishing.publish(copy, publishing.unpublished(copy, (RAW, CORRECTIONS, MANIFEST)))
        marks.publish_marks(copy, partition, here, made)
    return result


def derived(
    pipeline: Pipeline, asset: str, step: Callable[[], StepResult | None]
) -> StepResult | None:
    """A step over all histories; it is done anew where another machine published first.

    None where the step has nothing to work on yet.

    Raises:
        ShareAwayError: the share does not answer.
        ShareError: other machines were first, again and again.
    """
    copy = pipeline.working_copy
    if copy is None:
        return step()
    from etf_pipeline.share import inputs, publishing, work

    lost: list[str] = []
    with copy.turn(asset):
        for attempt in range(work.TRIES):
            work.complete(copy)
            work.before_deriving(copy, lost)
            if not attempt:
                inputs.tell_differences(copy, pipeline.files, pipeline.clock())
            result = step()
            if result is None:
                return None
            lost = publishing.publish(copy, copy.names.of(p.path for p in result.published))
            if not lost:
                told = [] if result.manifest is None else [result.manifest]
                publishing.publish(copy, copy.names.of(told))
                return result
            log.warning("%s: another machine was first with %s", asset, ", ".join(lost))
            work.pause(attempt)
    raise work.contended(copy, asset)


def recorded(
    pipeline: Pipeline, stages: Sequence[Stage], why: Iterable[ReasonCode | None] = ()
) -> None:
    """Publish how stages went; where that cannot be done it is said, and the next run does it.

    `why` is what else is known to have gone wrong in the run: a share that a step has waited for in
    vain is not waited for again.
    """
    copy = pipeline.working_copy
    codes = {*(s.outcome.reason_code for s in stages), *why}
    if copy is None or not stages or codes & {ReasonCode.SHARE_AWAY, ReasonCode.SHARE_REFUSED}:
        return
    from etf_pipeline.share import publishing

    paths = [stage_path(copy.layout, s.asset, s.partition) for s in stages]
    try:
        publishing.publish(copy, copy.names.of(paths), strict=False)
    except (EtfError, OSError) as error:
        names = ", ".join(s.name for s in stages)
        log.error("how %s went is not in the share yet, and is by the next run: %s", names, error)


def refreshed(pipeline: Pipeline) -> None:
    """Pull all that readers read; without the share, go on with the copy and say how old it is."""
    copy = pipeline.working_copy
    if copy is None:
        return
    from etf_pipeline.share import work

    if text := work.refresh(copy).warning(pipeline.clock()):
        log.warning("%s", text)


def told_of(pipeline: Pipeline) -> None:
    """Pull what tells of the runs of other machines: their manifests, and the tables these name.

    Whoever asks is waited for by a daemon, so that a share that is away is given up on soon.

    Raises:
        ShareAwayError: the share does not answer.
    """
    url = pipeline.settings.store_url
    if url is None:
        return
    from etf_pipeline.share.opening import READER_PATIENCE, working_copy
    from etf_pipeline.share.pulling import pull

    plain = plain_http_allowed()
    # The tables last: what a manifest names was published before it.
    pull(
        working_copy(pipeline.store, url, READER_PATIENCE, plain_http=plain),
        (MANIFEST, RISK_METRICS, WEIGHTS, SUMMARY),
    )


def maintained(pipeline: Pipeline, upkeep: Callable[[], A]) -> A:
    """Upkeep: what it lets go of here, the share lets go too. Other copies do so by their own.

    Raises:
        ShareAwayError: the share does not answer.
    """
    copy = pipeline.working_copy
    if copy is None:
        return upkeep()
    from etf_pipeline.share import dropping, publishing, work
    from etf_pipeline.share.names import READ
    from etf_pipeline.share.pulling import pull

    with copy.turn("upkeep"):
        work.complete(copy)
        pull(copy, READ)
        before = {n for t in (*DATED, MANIFEST) for n in copy.names.local(t)}
        result = upkeep()
        after = {n for t in (*DATED, MANIFEST) for n in copy.names.local(t)}
        dropping.remove_dropped(copy, before - after)
        publishing.publish(copy, publishing.unpublished(copy, (MANIFEST,)))
    return result


def _current(copy: Copy) -> set[str]:
    """Names of the histories and quarantines that are here."""
    return {name for table in (QUARANTINE, HISTORY) for name in copy.names.local(table)}


def _marks(last: Mapping[str, str], tickers: Sequence[str]) -> dict[str, str]:
    return {ticker: last[ticker] for ticker in tickers if ticker in last}


def _told(result: StepResult) -> pa.Table | None:
    """The manifest of a step as it is now: the same step writes its next one over it."""
    return None if result.manifest is None else read_table(result.manifest)


def _joined(first: StepResult, told: pa.Table | None, again: StepResult) -> StepResult:
    """What came of all tickers, of which some were made again; the manifest tells the same."""
    later = {o.subject: o for o in again.outcomes}
    outcomes = [later.get(o.subject, o) for o in first.outcomes]
    if told is not None and again.manifest is not None:
        rows, meta = read_with_footer(again.manifest)
        kept = told.filter(pc.invert(pc.is_in(told["subject"], pa.array(list(later), pa.string()))))
        both = pa.concat_tables([kept, rows]).sort_by("subject").cast(MANIFEST.arrow)
        own = ("table", "schema_version", "content_hash")
        extra = {key: value for key, value in meta.items() if key not in own}
        write(again.manifest, MANIFEST, both, extra)
    paths = {p.path for p in again.published}
    return replace(
        again,
        outcomes=outcomes,
        published=[*(p for p in first.published if p.path not in paths), *again.published],
        version_of=[f"{o.subject}:{o.content_hash}" for o in outcomes if o.content_hash],
    )
