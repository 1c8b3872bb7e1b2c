"""Batches of runs that ended before their manifest was written: what they collected is told.

A batch says itself what came of each of its tickers, so the manifest is made from it as the run
would have made it, and events of it are the same whoever makes it.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from etf_pipeline.errors import CorruptFileError, LockTimeoutError, UnreadableFileError
from etf_pipeline.model import assets
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.store.batches import (
    Batch,
    list_batch_ids,
    open_batch,
    partitions_with_batches,
)
from etf_pipeline.store.hashing import file_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import outcome_of, write_manifest
from etf_pipeline.store.writer import locked

log = logging.getLogger(__name__)
_DATES = ("first_date", "last_date")
_TOLD = (
    *("subject", "outcome", "reason", "reason_code", "rows_added", "rows_revised", *_DATES),
    *("batch_id", "source", "currency"),
)
# Runs that were killed one after the other.
_LOOKED_AT = 100


def said_of_run(
    run_id: str,
    outcomes: Iterable[Outcome],
    recorded_at: dt.datetime,
    corrections: str | None,
) -> dict[str, Any]:
    """What a batch says of the run that makes it, for its footer.

    Args:
        run_id: of the run.
        outcomes: of its tickers; those that entered the batch are kept.
        recorded_at: when they are recorded, aware.
        corrections: the version that counted.
    """
    rows = [{n: getattr(o, n) for n in _TOLD} for o in outcomes if o.batch_id is not None]
    for row in rows:
        row |= {n: None if row[n] is None else row[n].isoformat() for n in _DATES}
    return {
        "run_id": run_id,
        "recorded_at": recorded_at.isoformat(),
        "corrections": corrections,
        "outcomes": rows,
    }


def tell_killed_runs(layout: Layout, partition: str) -> int:
    """Write the manifests that the newest batches of a partition lack; returns how many.

    For whoever holds the partition's lock: a run that goes on is between its batch and its
    manifest. Batches by earlier releases do not say what they collected.
    """
    lacking = list(_lacking(layout, partition))
    for batch in lacking:
        said, digest = batch.run or {}, file_hash(batch.path)
        path = layout.relative(batch.path)
        write_manifest(
            layout,
            assets.RAW_PRICES,
            said["run_id"],
            partition,
            [replace(_outcome(row), batch_hash=digest, path=path) for row in said["outcomes"]],
            dt.datetime.fromisoformat(said["recorded_at"]),
            batch.source,
            said["corrections"],
        )
        log.warning("run %s ended before it told of %s: that is made up for", said["run_id"], path)
    return len(lacking)


def tell_all_killed_runs(layout: Layout) -> None:
    """The same for every partition that nobody is downloading now."""
    for folder in partitions_with_batches(layout):
        partition = decode_ticker(folder.name)
        if next(_lacking(layout, partition), None) is None:
            continue
        try:
            with locked(layout.lock("raw", partition), 0.0):
                tell_killed_runs(layout, partition)
        except LockTimeoutError:
            continue


def _lacking(layout: Layout, partition: str) -> Iterator[Batch]:
    """Batches without a manifest, the newest first, up to one that has it or does not say."""
    for batch_id in reversed(list_batch_ids(layout, partition)[-_LOOKED_AT:]):
        try:
            batch = open_batch(layout, partition, batch_id)
        except (CorruptFileError, UnreadableFileError, FileNotFoundError):
            return
        if batch.run is None:
            return
        manifest = layout.of(MANIFEST, assets.RAW_PRICES, batch.run["run_id"], partition)
        if manifest.exists():
            return
        yield batch


def _outcome(row: dict[str, Any]) -> Outcome:
    dates = {n: None if row[n] is None else dt.date.fromisoformat(row[n]) for n in _DATES}
    return outcome_of(row | dates)
