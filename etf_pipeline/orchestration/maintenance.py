"""Upkeep of a store and of what Dagster recorded of it, as the command and the schedule do it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from etf_pipeline.errors import ReasonCode
from etf_pipeline.events.cursor import OVERLAP
from etf_pipeline.events.unrecorded import Unrecorded
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.orchestration.records import Records, Runs
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.sharing import maintained
from etf_pipeline.settings.pipeline import FOR_EVER
from etf_pipeline.settings.reading import MOST_DAYS
from etf_pipeline.steps.maintain import Line, counted_from, judged, record, removed
from etf_pipeline.steps.result import Run
from etf_pipeline.store.writer import locked

_UNREAD = (
    "their events are not recorded yet: start Dagster's sensor event_relay, or run `etf run`, with "
    "the settings of events"
)
# Nothing is older, though the longest time is taken off: for a store without a session.
_FIRST_DAY = dt.date.min + dt.timedelta(days=MOST_DAYS)
_NEAR = "Dagster's log is known again by the newest that were read of it"


@dataclass
class Upkeep:
    """What one upkeep did, or with `dry_run` would do.

    `session` is what ages are counted from, None for a store without tables; `record` the manifest
    that says what went.
    """

    dry_run: bool
    session: dt.date | None = None
    record: Path | None = None
    lines: list[Line] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Removals that failed, in words."""
        return [problem for line in self.lines for problem in line.problems]


def maintain(
    pipeline: Pipeline, instance: dg.DagsterInstance, run_id: str, *, dry_run: bool = False
) -> Upkeep:
    """Let go what is older than the settings keep.

    Raises:
        LockTimeoutError: another upkeep of the store goes on.
        StoreError: the clock is behind the store, or the record cannot be written.
        ShareAwayError: the store is a working copy, and its share does not answer.
    """
    if dry_run:
        return _maintain(pipeline, instance, run_id, dry_run)
    return maintained(pipeline, lambda: _maintain(pipeline, instance, run_id, dry_run))


def _maintain(
    pipeline: Pipeline, instance: dg.DagsterInstance, run_id: str, dry_run: bool
) -> Upkeep:
    layout, settings, now = pipeline.layout, pipeline.settings, pipeline.clock()
    done = Upkeep(dry_run, counted_from(layout, now))
    if done.session is None:
        kinds = judged(layout, settings, _FIRST_DAY, lambda _: False)
        done.lines = [removed(found, table, dry_run=True) for found, table in kinds]
        done.lines.append(Line("dagster runs", kept=instance.get_runs_count()))
        return done
    with _alone(pipeline, dry_run), closing(Unrecorded(layout, pipeline.event_settings)) as waiting:
        kinds = judged(layout, settings, done.session, waiting.waits)
        records = Records(instance, layout.root)
        runs = _old_runs(pipeline, instance, records, waiting, done.session)
        if not dry_run:
            rows = [_row(run_id, day) for run_id, day in _named(runs)]
            done.record = record(pipeline.store, Run(run_id, now), done.session, kinds, rows)
        done.lines = [removed(found, table, dry_run=dry_run) for found, table in kinds]
        done.lines += _dagster_lines(pipeline, records, runs, done)
    return done


@contextmanager
def _alone(pipeline: Pipeline, dry_run: bool) -> Iterator[None]:
    """Hold the lock of upkeep; whoever only looks waits for nobody."""
    if dry_run:
        yield
        return
    with locked(pipeline.layout.lock("maintain", "UPKEEP"), pipeline.settings.lock_timeout_seconds):
        yield


def _before(pipeline: Pipeline, session: dt.date) -> dt.datetime:
    day = session - dt.timedelta(days=pipeline.settings.keep_dagster_days)
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _old_runs(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    records: Records,
    waiting: Unrecorded,
    session: dt.date,
) -> Runs | None:
    """Dagster's runs that may go; None where they are kept for ever."""
    if pipeline.settings.keep_dagster_days == FOR_EVER:
        return None
    return records.judged(_before(pipeline, session), _held(DagsterLog(instance), waiting))


def _held(source: DagsterLog, waiting: Unrecorded) -> Callable[[str], str | None]:
    """Why runs of an instance have to stay, by their ids: their events are to be made yet."""
    position = waiting.read_up_to(source.instance)
    if position is None:
        return lambda run_id: None
    near = source.runs_after(max(0, position - OVERLAP))
    unread = source.runs_after(position)
    unread |= source.runs_of(waiting.parked_records(source.instance))
    if position == 0:  # runs without a record of these kinds wait too
        return lambda run_id: _UNREAD
    return lambda run_id: _UNREAD if run_id in unread else _NEAR if run_id in near else None


def _named(runs: Runs | None) -> list[tuple[str, dt.date]]:
    return [] if runs is None else [(r.run_id, r.day) for r in runs.expired]


def _row(run_id: str, day: dt.date) -> Outcome:
    return Outcome(
        f"run {run_id}",
        OutcomeKind.REMOVED,
        f"{ReasonCode.EXPIRED.text}: Dagster's records of the run of {day}",
        reason_code=ReasonCode.EXPIRED,
        last_date=day,
    )


def _dagster_lines(
    pipeline: Pipeline, records: Records, runs: Runs | None, done: Upkeep
) -> list[Line]:
    """What became of Dagster's records."""
    if runs is None or done.session is None:
        return [Line("dagster runs", notes=("ETF_KEEP_DAGSTER_DAYS=-1 keeps all",))]
    line = Line("dagster runs", kept=runs.kept)
    for run in runs.expired:
        if not done.dry_run:
            records.let_go(run.run_id)
        line.removed += 1
        line.removed_bytes += run.size
    line.notes = tuple(f"{n} older kept: {why}" for why, n in sorted(runs.waiting.items()))
    if runs.elsewhere:
        line.notes += (f"{runs.elsewhere} are of other stores or jobs, and are left",)
    if done.dry_run:
        return [line]
    ticks = Line("dagster ticks")
    ticks.removed = records.purge_ticks(_before(pipeline, done.session))
    files = Line("dagster files")
    for path in records.leftovers():
        files.removed += 1
        files.removed_bytes += path.stat().st_size
        path.unlink(missing_ok=True)
    freed, left = records.give_back()
    files.removed_bytes += freed
    files.kept_bytes, files.notes = records.size(), tuple(left)
    return [line, ticks, files]
