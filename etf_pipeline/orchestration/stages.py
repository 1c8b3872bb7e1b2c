"""What is recorded of a stage: that it came out, or why it did not.

A stage records itself, in its own process, as the last thing it does; so a run of the UI, of the
daemon or of a command leaves the same behind. It is marked while it is under way: a process that
was killed, and one that can record nothing, leaves that mark. What a process could not say any
more, or what never began, as what it reads failed, is recorded by whoever reads Dagster's record of
the run afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from etf_pipeline.errors import DiskFullError, EtfError, ReasonCode
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.orchestration.checks.check import blocked
from etf_pipeline.orchestration.failures import (
    StepFailure,
    failure_of,
    retried_only_if_it_may_pass,
    step_failure_of,
)
from etf_pipeline.orchestration.metadata import materialised
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.sharing import recorded
from etf_pipeline.steps.result import StepResult
from etf_pipeline.store.begun import remove_marks
from etf_pipeline.store.stages import (
    Before,
    Stage,
    begin_stage,
    failed,
    keep_unrecorded,
    read_stage,
    unrecorded,
    write_stage,
)

log = logging.getLogger(__name__)
# What an asset yields.
Made = dg.MaterializeResult[Any] | dg.AssetCheckResult
Checks = Callable[[StepResult], Sequence[dg.AssetCheckResult]]
# On a materialisation: how the stage went could not be recorded in the store.
_NOT_RECORDED = "etf/stage_not_recorded"
_CHANGED = (OutcomeKind.COLLECTED, OutcomeKind.UPDATED)


def carried_out(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    step: Callable[[], StepResult | None],
    checks: Checks = lambda _: (),
    more: Mapping[str, Any] | None = None,
) -> Iterator[Made]:
    """Do a step and judge what it published; how that went is recorded, whichever way.

    Args:
        context: of the asset that the step makes.
        pipeline: whose store, and by whose clock it is recorded.
        step: gives None when there is nothing to be made yet; then nothing is recorded.
        checks: from what came of it to the results of its checks.
        more: metadata that only Dagster needs.

    Raises:
        Exception: the step's own; one that would only come again is not tried again.
    """
    asset = context.asset_key.to_user_string()
    partition = context.partition_key if context.has_partition_key else ""
    _begin(pipeline, asset, context.run.run_id, partition)
    try:
        with retried_only_if_it_may_pass():
            result = step()
            judged = [] if result is None else list(checks(result))
    except Exception as error:
        failure = failure_of(error)
        noted, _ = _note(pipeline, _failed(asset, failure), context.run.run_id, partition)
        recorded(pipeline, [noted])
        if failure.code is ReasonCode.INTERRUPTED:
            _end_run(context, error)
        raise
    if result is None:
        remove_marks(pipeline.layout, asset, partition, context.run.run_id)
        return
    words = blocked(judged)
    outcome = _good(asset, result) if words is None else _failed(asset, words)
    noted, kept = _note(pipeline, outcome, context.run.run_id, partition)
    recorded(pipeline, [noted])
    yield materialised(result, judged, {**(more or {}), **({} if kept else {_NOT_RECORDED: True})})


def _end_run(context: dg.AssetExecutionContext, error: Exception) -> None:
    """Have an interruption end the run, and not its stage alone.

    Dagster tries a step with a retry policy again then, unless it fails; and it says of a run with
    such a failure that it failed, though somebody has marked it as cancelled meanwhile.

    Raises:
        BaseException: what interrupted the step, where it has no retry policy.
    """
    if error.__cause__ is not None and not context.op_def.retry_policy:
        raise error.__cause__ from None
    try:
        run = context.instance.get_run_by_id(context.run.run_id)
        if run is not None and run.status is dg.DagsterRunStatus.CANCELED:
            context.instance.report_run_canceling(run, "its process found out, and ends it")
    except Exception as lost:  # the interruption counts, whatever Dagster's records come to
        log.warning("whether run %s was cancelled is not known: %s", context.run.run_id, lost)


def settled(
    pipeline: Pipeline,
    run_id: str,
    partition: str,
    planned: Iterable[dg.AssetKey],
    events: Iterable[dg.DagsterEvent],
    before: Before,
    ended: StepFailure | None = None,
) -> list[Stage]:
    """How each stage of a run that is over went; what a stage did not record itself is recorded.

    What another run has recorded of a stage since this one began is newer, and stands.

    Args:
        pipeline: whose store, and by whose clock it is recorded.
        run_id: of the run.
        partition: that it was about; empty for none.
        planned: the assets that it was to make.
        events: Dagster's record of the run.
        before: what was recorded of its stages when it began.
        ended: what ended its process before its time, where that is known.
    """
    told = _Steps({key.to_user_string() for key in planned})
    for event in events:
        told.read(event)
    found, noted = list[Stage](), list[Stage]()
    for asset in (a for a in LINEAGE if a in told.planned):
        known = read_stage(pipeline.layout, asset, partition)
        mine = known if known is not None and known.run_id == run_id else None
        failure = told.failure(asset, ended)
        if failure is None:
            if mine is not None and mine.good:
                found.append(mine)
            elif asset in told.unrecorded:
                made = unrecorded(pipeline.layout, Outcome(asset, OutcomeKind.UPDATED))
                found.append(_untold(pipeline, made, run_id, partition))
            elif asset in told.made:  # another run has recorded its own since
                found.append(_published(pipeline, asset, run_id, partition))
        elif mine is not None and not mine.good:
            found.append(mine)
        elif mine is None and known is not None and before.is_since(known):
            found.append(_untold(pipeline, _failed(asset, failure), run_id, partition))
        else:
            noted.append(_note(pipeline, _failed(asset, failure), run_id, partition)[0])
            found.append(noted[-1])
    recorded(pipeline, noted, [s.outcome.reason_code for s in found])
    return found


class _Steps:
    """What Dagster recorded of the steps of a run."""

    def __init__(self, planned: set[str]) -> None:
        self.planned = planned
        self.made: set[str] = set()
        self.unrecorded: set[str] = set()
        self._started: set[str] = set()
        self._ended: set[str] = set()
        self._failures: dict[str, StepFailure] = {}

    def read(self, event: dg.DagsterEvent) -> None:
        """Take one record in."""
        kind, step = event.event_type, event.step_key
        if step is None:
            return
        if kind is dg.DagsterEventType.STEP_START:
            self._started.add(step)
        elif kind is dg.DagsterEventType.ASSET_MATERIALIZATION:
            self.made.add(step)
            if _NOT_RECORDED in event.step_materialization_data.materialization.metadata:
                self.unrecorded.add(step)
        elif kind is dg.DagsterEventType.STEP_FAILURE:
            self._failures[step] = step_failure_of(event)
        elif kind in (dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_SKIPPED):
            self._ended.add(step)
            self._failures.pop(step, None)

    def failure(self, asset: str, ended: StepFailure | None) -> StepFailure | None:
        """Why a stage did not come out; None when it did, or had nothing to do."""
        if asset in self._failures:
            return self._failures[asset]
        if asset in self._ended:
            return None
        if asset in self._started or (ended is not None and not self._started):
            under_way = StepFailure(ReasonCode.KILLED, "it was under way when its process ended")
            return ended or under_way
        read = [n for n in LINEAGE[asset].reads if n in self.planned and n not in self._ended]
        why = f"{' and '.join(read)} failed" if read else "the run ended before it began"
        return StepFailure(ReasonCode.HELD_BACK, why)


def _good(asset: str, result: StepResult) -> Outcome:
    changed = any(o.outcome in _CHANGED for o in result.outcomes)
    kind = OutcomeKind.UPDATED if changed else OutcomeKind.UNCHANGED
    bad = len(result.bad)
    said = f"{bad} of {len(result.outcomes)} did not come out" if bad else None
    return Outcome(asset, kind, said, source=result.source)


def _failed(asset: str, failure: StepFailure) -> Outcome:
    return failed(asset, failure.code, failure.message)


def _published(pipeline: Pipeline, asset: str, run_id: str, partition: str) -> Stage:
    return _untold(pipeline, Outcome(asset, OutcomeKind.UPDATED), run_id, partition)


def _untold(pipeline: Pipeline, outcome: Outcome, run_id: str, partition: str) -> Stage:
    """A stage of which the record is another run's."""
    now = pipeline.clock()
    return Stage(outcome, run_id, partition, now, None if outcome.good else now)


def _begin(pipeline: Pipeline, asset: str, run_id: str, partition: str) -> None:
    """Mark a stage as begun; where that cannot be done it is said, and stops nothing."""
    try:
        begin_stage(pipeline.layout, asset, run_id, partition, pipeline.clock())
    except (EtfError, OSError) as error:
        log.warning("that the stage %s has begun could not be marked: %s", asset, error)


def _note(pipeline: Pipeline, outcome: Outcome, run_id: str, partition: str) -> tuple[Stage, bool]:
    """Record it; where that fails too, as on a full disk, it is said and stops nothing."""
    now = pipeline.clock()
    try:
        return write_stage(pipeline.layout, outcome, run_id, partition, now), True
    except (EtfError, OSError) as error:
        log.error("how the stage %s went could not be recorded: %s", outcome.subject, error)
        full = isinstance(error, DiskFullError)
    stage = _untold(pipeline, outcome, run_id, partition)
    try:
        code = ReasonCode.DISK_FULL if full else ReasonCode.STORE_UNUSABLE
        keep_unrecorded(pipeline.layout, stage, code)
    except (EtfError, OSError) as error:
        log.warning("nor could that be marked: %s", error)
    return stage, False
