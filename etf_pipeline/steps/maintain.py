"""Upkeep of a store: its dated tables and manifests that are older than is kept, and their record.

Everything is judged first, then recorded, then removed: whoever looks for a file later finds what
became of it, and what a kill left goes next time. Raw batches, histories, quarantine, declared
corrections, events and reports are not touched.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from etf_pipeline.errors import CorruptFileError, ReasonCode, StoreError
from etf_pipeline.model import assets
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.model.schemas import DATED, MANIFEST, Table
from etf_pipeline.settings import Settings
from etf_pipeline.settings.pipeline import FOR_EVER
from etf_pipeline.settings.reading import MOST_DAYS
from etf_pipeline.steps.result import Run
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.retention import (
    Judged,
    files_of,
    judged_days,
    judged_manifests,
    let_go,
    newest_session,
)
from etf_pipeline.store.store import Store
from etf_pipeline.store.writer import sweep_temp_files

# A session is dated by its exchange, which may be ahead of UTC.
_AHEAD = dt.timedelta(days=1)
# Manifests that tell what else was published on their day, and have events.
_TOLD_FROM_TABLES = (assets.RISK_METRICS, assets.OPTIMISED_PORTFOLIOS)
Waits = Callable[[Path], bool]
_NAMED = 3


@dataclass
class Line:
    """What became of one kind of thing: how many went and stayed, in bytes too, and why.

    `problems` are removals that failed.
    """

    kind: str
    removed: int = 0
    removed_bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    notes: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)


def in_words(line: Line, *, dry_run: bool = False) -> str:
    """One line of a report."""
    text = f"{line.kind}: {line.removed} {'would go' if dry_run else 'removed'}"
    text += f" ({size_in_words(line.removed_bytes)})" if line.removed_bytes else ""
    if line.kept:
        text += f", {line.kept} kept"
        text += f" ({size_in_words(line.kept_bytes)})" if line.kept_bytes else ""
    elif line.kept_bytes:
        text += f", {size_in_words(line.kept_bytes)} kept"
    return "; ".join((text, *line.notes))


def size_in_words(size: int) -> str:
    """Bytes as people read them."""
    if size < 10_000:
        return f"{size} B"
    return f"{size / 2**10:.0f} KiB" if size < 10 * 2**20 else f"{size / 2**20:.1f} MiB"


def counted_from(layout: Layout, now: dt.datetime) -> dt.date | None:
    """The newest session of the store, from which ages are counted; None before the first.

    A clock that is ahead makes nothing older, and one that is behind is not believed.

    Raises:
        StoreError: the session is yet to come, by the clock.
    """
    session = newest_session(layout)
    if session is not None and session > now.date() + _AHEAD:
        raise StoreError(
            f"the newest session of {layout.root} is {session}, and this machine's clock says "
            f"{now:%Y-%m-%d %H:%M} UTC: nothing is removed. Set the clock right; if it is, move "
            f"the folders as_of={session} away",
            code=ReasonCode.CLOCK_BEHIND,
        )
    return session


def judged(
    layout: Layout, settings: Settings, session: dt.date, waits: Waits
) -> list[tuple[Judged, Table]]:
    """Every kind of file that has an end, and which of them are beyond it.

    Args:
        layout: of the store.
        settings: how long what is kept.
        session: the newest one.
        waits: whether a manifest's events are to be recorded yet.
    """
    kinds: list[tuple[Judged, Table]] = []
    for table in DATED:
        days = _days(settings.keep_days)
        found = judged_days(layout, table, days)
        if found.expired:
            needed = _needed(layout, {h.path for h in found.expired}, waits)
            found = judged_days(layout, table, days, needed) if needed else found
        kinds.append((found, table))
    before = session - dt.timedelta(days=_days(settings.keep_manifest_days))
    for asset in LINEAGE:
        if layout.manifests(asset).is_dir():
            kinds.append((judged_manifests(layout, asset, before, waits), MANIFEST))
    return kinds


def _days(setting: int) -> int:
    """Days as a setting has them; for ever is longer than there are prices."""
    return MOST_DAYS if setting == FOR_EVER else setting


def _needed(layout: Layout, expired: set[Path], waits: Waits) -> set[Path]:
    """Expired files that events of a manifest are to be told from yet."""
    found: set[Path] = set()
    for asset in _TOLD_FROM_TABLES:
        for manifest in layout.manifest_files(asset):
            try:
                read = expired.intersection(files_of(layout, manifest))
            except (FileNotFoundError, CorruptFileError):
                continue
            if read - found and waits(manifest):
                found |= read
    return found


def record(
    store: Store,
    run: Run,
    session: dt.date,
    kinds: Iterable[tuple[Judged, Table]],
    runs: Sequence[Outcome] = (),
) -> Path | None:
    """Record what is about to go, a row per file, with its hash; None where nothing is.

    Args:
        store: where.
        run: which upkeep.
        session: what ages are counted from.
        kinds: of files.
        runs: records of the orchestrator that go too.
    """
    rows = [
        Outcome(
            store.layout.relative(held.path),
            OutcomeKind.REMOVED,
            f"{ReasonCode.EXPIRED.text}: {found.kind} of {held.day}, counted from {session}",
            reason_code=ReasonCode.EXPIRED,
            last_date=held.day,
            content_hash=held.content_hash,
        )
        for found, _ in kinds
        for held in found.expired
    ]
    rows += runs
    if not rows:
        return None
    sweep_temp_files(store.layout.manifests(assets.MAINTENANCE))
    return write_manifest(
        store.layout, assets.MAINTENANCE, run.run_id, run.partition, rows, run.recorded_at, ""
    )


def removed(found: Judged, table: Table, *, dry_run: bool) -> Line:
    """Let go what is expired of one kind; with `dry_run` only say what would go."""
    line = Line(found.kind, kept=found.kept, kept_bytes=found.kept_bytes)
    for held in found.expired:
        try:
            gone = dry_run or let_go(held, table)
        except StoreError as error:
            line.problems.append(str(error))
            gone = False
        if gone:
            line.removed += 1
            line.removed_bytes += held.size
        elif held.path.exists():
            line.kept += 1
            line.kept_bytes += held.size
    line.notes = tuple(f"{n} older kept: {why}" for why, n in sorted(found.waiting.items()))
    if found.damaged:
        told = _named(found.damaged, "damaged and left")
        line.notes += (f"{told}: put a good copy in its place, or move it away",)
    if found.others:
        line.notes += (_named(found.others, "not this package's and left"),)
    return line


def _named(paths: Sequence[Path], what: str) -> str:
    names = ", ".join(map(str, paths[:_NAMED]))
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f"{len(paths)} {what} ({names}{more})"
