"""Pool slots of processes that died: Dagster's daemon frees them, the command line has none."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from etf_pipeline.orchestration.database import outage
from etf_pipeline.store.processes import is_gone, process_name

log = logging.getLogger(__name__)
PROCESS_TAG = "etf/process"
_EVERY_SECONDS = 5.0
_GONE = "the process of this run is gone"


def process_tags() -> dict[str, str]:
    """Tags of a run that say which process it lives in."""
    return {PROCESS_TAG: process_name()}


def free_dead_slots(instance: dg.DagsterInstance) -> int:
    """Free the slots of runs that are over, or whose process is gone; returns of how many."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return 0
    freed = 0
    for pool in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(pool)
        for run_id in {s.run_id for s in info.claimed_slots} | info.pending_run_ids:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished or died(run):
                storage.free_concurrency_slots_for_run(run_id)
                freed += 1
                if run is not None and not run.is_finished:
                    instance.report_run_failed(run, _GONE)
    return freed


def end_dead_runs(instance: dg.DagsterInstance) -> int:
    """Record the failure of runs whose process is gone; returns of how many.

    Dagster's daemon watches the processes that it starts, and nobody those of the command line.
    """
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    dead = [run for run in instance.get_runs(unfinished) if died(run)]
    for run in dead:
        instance.report_run_failed(run, _GONE)
    return len(dead)


def died(run: dg.DagsterRun) -> bool:
    """Whether the process of a run is known to be gone."""
    return is_gone(run.tags.get(PROCESS_TAG, ""))


@contextmanager
def slots_kept_free(instance: dg.DagsterInstance) -> Iterator[None]:
    """Free dead slots before the block, and every few seconds while it waits for one."""
    free_dead_slots(instance)
    end_dead_runs(instance)
    done = threading.Event()

    def keep() -> None:
        while not done.wait(_EVERY_SECONDS):
            try:
                free_dead_slots(instance)
            except Exception as error:
                if (lost := outage(error)) is None:
                    log.exception("freeing slots of dead runs failed; trying again")
                else:
                    log.warning("%s", lost)

    thread = threading.Thread(target=keep, name="etf-slots", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(_EVERY_SECONDS)
