"""How the last run of each stage went: one small manifest per stage and partition, replaced.

Beside the manifests of tickers and portfolios, for a stage may fail before it comes to any, be
held back, or be ended from outside. What is there of a stage that failed is of an earlier run.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etf_pipeline.errors import CorruptFileError, ReasonCode, UnreadableFileError
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.store.begun import Begun, read_marks, remove_marks, write_mark
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import outcome_of, publish_manifest
from etf_pipeline.store.reader import file_info, read_table

# The folder of these manifests, beside those of the assets.
STAGES = "stages"
_SINCE = "since"


@dataclass(frozen=True)
class Stage:
    """How the last run of one stage went.

    Attributes:
        outcome: of the stage itself; its subject is the asset, its reason names the trouble.
        run_id: of the run.
        partition: that it was about; empty for a stage over all of them.
        recorded_at: when it ended, aware.
        since: when the first of the failures in a row ended; None when it came out.
    """

    outcome: Outcome
    run_id: str
    partition: str
    recorded_at: dt.datetime
    since: dt.datetime | None = None

    @property
    def asset(self) -> str:
        """The asset that the stage makes."""
        return self.outcome.subject

    @property
    def name(self) -> str:
        """Asset and partition, as people read it."""
        return f"{self.asset} of {self.partition}" if self.partition else self.asset

    @property
    def good(self) -> bool:
        """Whether it came out."""
        return self.outcome.good

    def is_since(self, moment: dt.datetime, over: str | None) -> bool:
        """Whether it was recorded since a moment at which that of the run `over` was there."""
        return self.run_id != over and self.recorded_at >= moment

    @property
    def sentence(self) -> str:
        """What is to be said of a stage that did not come out."""
        code = self.outcome.reason_code or ReasonCode.UNEXPECTED
        what = "was held back" if code is ReasonCode.HELD_BACK else "failed"
        earlier = self.since is not None and self.since < self.recorded_at
        since = f", as it has since {self.since:%Y-%m-%d %H:%M %Z}" if earlier else ""
        return f"{self.name} {what} ({code}{since}): {self.outcome.reason}"

    @property
    def body(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "stage": self.asset,
            "partition": self.partition,
            "outcome": str(self.outcome.outcome),
            "reason_code": self.outcome.reason_code,
            "reason": self.outcome.reason,
            "since": None if self.since is None else self.since.isoformat(),
            "run_id": self.run_id,
            "recorded_at": self.recorded_at.isoformat(),
        }


@dataclass(frozen=True)
class Before:
    """What was recorded of the stages of a run when it began.

    Attributes:
        at: when that was, aware.
        runs: by asset, the run that there was a record of; None for none.
    """

    at: dt.datetime
    runs: Mapping[str, str | None]

    def is_since(self, known: Stage) -> bool:
        """Whether another run has made this record since."""
        return known.is_since(self.at, self.runs.get(known.asset))


def write_stage(
    layout: Layout,
    outcome: Outcome,
    run_id: str,
    partition: str,
    recorded_at: dt.datetime,
) -> Stage:
    """Record how a stage went, in place of what was recorded of its run before.

    It is recorded later than that, whatever the clock of the machine says that recorded it: of two
    records that meet in a share the later counts.

    Raises:
        StoreError: it cannot be written.
    """
    path = stage_path(layout, outcome.subject, partition)
    known = _read(path)
    if known is not None:
        recorded_at = max(recorded_at, known.recorded_at + dt.timedelta(microseconds=1))
    since = None if outcome.good else _failing_since(known, run_id) or recorded_at
    extra = {} if since is None else {_SINCE: since.isoformat()}
    publish_manifest(
        path, outcome.subject, run_id, partition, [outcome], recorded_at, outcome.source, extra
    )
    remove_marks(layout, outcome.subject, partition, run_id)
    return Stage(outcome, run_id, partition, recorded_at, since)


def begin_stage(
    layout: Layout, asset: str, run_id: str, partition: str, moment: dt.datetime
) -> None:
    """Mark a stage as begun; the mark goes when it is recorded, or with `drop_mark`.

    Raises:
        StoreError: it cannot be written.
    """
    known = read_stage(layout, asset, partition)
    over = None if known is None else known.run_id
    write_mark(layout, Begun(asset, partition, run_id, moment, over))


def keep_unrecorded(
    layout: Layout, stage: Stage, code: ReasonCode = ReasonCode.STORE_UNUSABLE
) -> None:
    """Say in the mark of a stage how it went, as it cannot be recorded, for the reason of a code.

    Raises:
        StoreError: that cannot be written either.
    """
    known = read_stage(layout, stage.asset, stage.partition)
    over = None if known is None else known.run_id
    why = unrecorded(layout, stage.outcome, code).reason
    asset, partition, at = stage.asset, stage.partition, stage.recorded_at
    write_mark(layout, Begun(asset, partition, stage.run_id, at, over, why, code))


def failed(asset: str, code: ReasonCode, why: str) -> Outcome:
    """The outcome of a stage that did not come out."""
    kind = FailureKind.TRANSIENT if code.transient else FailureKind.PERMANENT
    return Outcome(asset, OutcomeKind.FAILED, why, kind, code)


def unrecorded(
    layout: Layout, outcome: Outcome, code: ReasonCode = ReasonCode.STORE_UNUSABLE
) -> Outcome:
    """What is to be said of a stage that could not be recorded: its record is an older run's."""
    went = "it was published" if outcome.good else f"it failed ({outcome.reason})"
    folder = layout.manifests(STAGES)
    remedy = "free some space" if code is ReasonCode.DISK_FULL else "make it writable"
    why = f"{went}, and could not be recorded in {folder}: {remedy} and run again"
    return failed(outcome.subject, code, why)


def read_stages(layout: Layout) -> list[Stage]:
    """The last run of every stage, in order of the data's way; those that never ran are not in it.

    A run that ended without a record, as it was killed, is one too; one that is under way is not.
    """
    records = (_read(path) for path in layout.manifest_files(STAGES))
    found = {(s.asset, s.partition): s for s in records if s is not None}
    for begun in read_marks(layout):
        known = found.get((begun.asset, begun.partition))
        newer = known is not None and known.is_since(begun.at, begun.over)
        if not newer and (begun.unrecorded is not None or begun.ended):
            found[begun.asset, begun.partition] = _ended(begun, known)
    order = {asset: i for i, asset in enumerate(LINEAGE)}
    stages = found.values()
    return sorted(stages, key=lambda s: (order.get(s.asset, len(order)), s.asset, s.partition))


def read_stage(layout: Layout, asset: str, partition: str = "") -> Stage | None:
    """The last run of one stage; None when nothing is recorded of it."""
    return _read(stage_path(layout, asset, partition))


def records_before(
    layout: Layout, stages: Iterable[str], partition: str, moment: dt.datetime
) -> Before:
    """What is recorded of stages as a run over them is about to begin."""
    found = {asset: read_stage(layout, asset, partition) for asset in stages}
    return Before(moment, {a: None if s is None else s.run_id for a, s in found.items()})


def stage_path(layout: Layout, asset: str, partition: str = "") -> Path:
    """The file that records how the last run of a stage went."""
    return layout.of(MANIFEST, STAGES, asset, partition)


def _ended(begun: Begun, known: Stage | None) -> Stage:
    """How a run went that left its mark behind."""
    since = begun.at if known is None or known.since is None else known.since
    if begun.unrecorded is not None:
        outcome = failed(begun.asset, begun.code, begun.unrecorded)
    else:
        why = (
            f"run {begun.run_id} began it at {begun.at:%Y-%m-%d %H:%M %Z} and was ended before it "
            "could record how it went; what was published is whole: run again"
        )
        outcome = failed(begun.asset, ReasonCode.KILLED, why)
    return Stage(outcome, begun.run_id, begun.partition, begun.at, since)


def _read(path: Path) -> Stage | None:
    """A record; one that is damaged, closed or gone tells nothing, and the next run replaces it."""
    try:
        rows = read_table(path).to_pylist()
        since = file_info(path).meta.get(_SINCE)
    except (FileNotFoundError, CorruptFileError, UnreadableFileError):
        return None
    return _stage(rows[0], since) if rows else None


def _stage(row: Mapping[str, Any], since: str | None) -> Stage:
    return Stage(
        outcome_of(row),
        row["run_id"],
        row["partition"],
        row["recorded_at"],
        None if since is None else dt.datetime.fromisoformat(since),
    )


def _failing_since(known: Stage | None, run_id: str) -> dt.datetime | None:
    """When the failures in a row that a record ends began; None when it ends none.

    The first of them may be this run's own: a stage that is tried again.
    """
    if known is None or (known.run_id == run_id and known.since == known.recorded_at):
        return None
    return known.since
