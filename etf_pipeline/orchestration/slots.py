"""The slots of a pool, such as Yahoo's: who has one, who waits, and what dead processes leave.

A step takes its slot itself, when it knows that it needs one, and from the same storage as Dagster
does for an op with a pool, so that limits are set, and slots seen and freed, in Dagster's UI.
Dagster's own waiting is silent, takes a core, and frees no slot of a process that was killed.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from etf_pipeline.store.processes import HOST, has_ended, named_process, process_name, started_at

log = logging.getLogger(__name__)
# On a run: the process that it lives in, and when that began, as numbers of processes come again.
PROCESS_TAG, STARTED_TAG = "etf/process", "etf/process-started"
_RUNS = "run"  # in `dagster.yaml`, of pools whose slots are taken by runs and not by steps
_GONE = "the process of this run is gone"
_UNDER_WAY = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_SHORTEST, _LONGEST = 0.25, 5.0  # seconds between two looks
_AGAIN = 300.0  # seconds after which waiting is said again


def process_tags() -> dict[str, str]:
    """Tags of a run that say which process it lives in: this one, or who executes it by others."""
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None:
        return _tags(os.getpid(), process_name())
    return _tags(parent.pid, named_process(parent.pid))


def _tags(pid: int, name: str) -> dict[str, str]:
    began = started_at(pid)
    return {PROCESS_TAG: name} | ({} if began is None else {STARTED_TAG: f"{began:.2f}"})


@contextmanager
def slot(
    instance: dg.DagsterInstance,
    pool: str,
    run_id: str,
    step: str,
    say: Callable[[str], None],
) -> Iterator[None]:
    """Hold one slot of a pool for the block, and wait for one that is free before.

    Waiting sleeps, so it takes no processor time and ends at once with Ctrl-C or SIGTERM.

    Args:
        instance: whose pools; one without pools, or without a limit for this one, has a slot for
            everybody.
        pool: its name.
        run_id: of the run that is to have it.
        step: of that run.
        say: told whom it waits for, at first and every few minutes.
    """
    storage = instance.event_log_storage
    if not _limited(instance, pool):
        yield
        return
    _name_process(instance, run_id)
    try:
        pause, said, started = _SHORTEST, "", time.monotonic()
        while not storage.claim_concurrency_slot(pool, run_id, step).is_claimed:
            if free_dead_slots(instance):
                continue
            if (holders := _holders(instance, pool)) != said or time.monotonic() - started > _AGAIN:
                said, started = holders, time.monotonic()
                say(f"waiting for the slot {pool!r}, which {holders} has; Ctrl-C ends the waiting")
            time.sleep(pause)
            pause = min(_LONGEST, 1.5 * pause)
        yield
    finally:
        storage.free_concurrency_slot_for_step(run_id, step)


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
    """Record the end of runs whose process is gone, or was before they began; returns of how many.

    Dagster's daemon watches the processes that it starts on other machines, and nobody those of
    the command line, nor those that its UI starts on this one.
    """
    dead = [run for run in instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY)) if died(run)]
    for run in dead:
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, _GONE)
        else:
            instance.report_run_failed(run, f"{_GONE}; it was {run.status.value}")
    return len(dead)


def died(run: dg.DagsterRun) -> bool:
    """Whether the process of a run is known to be gone, or to be another by now."""
    began = run.tags.get(STARTED_TAG)
    return has_ended(run.tags.get(PROCESS_TAG, ""), None if began is None else float(began))


def _limited(instance: dg.DagsterInstance, pool: str) -> bool:
    """Whether a pool has a limit; one that only the instance's default gives it is noted."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return False
    chosen = storage.get_pool_config()
    if chosen.pool_granularity is not None and chosen.pool_granularity.value == _RUNS:
        return False  # the run waited for it before it was started
    known = {p.name: p for p in storage.get_pool_limits()}.get(pool)
    default = chosen.default_pool_limit
    if default is not None and (known is None or (known.from_default and known.limit != default)):
        return bool(storage.initialize_concurrency_limit_to_default(pool))
    return known is not None


def _name_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Have a run say which process it lives in, where whoever started it did not."""
    run = instance.get_run_by_id(run_id)
    if run is not None and PROCESS_TAG not in run.tags:
        instance.add_run_tags(run_id, process_tags())


def _holders(instance: dg.DagsterInstance, pool: str) -> str:
    """Who has the slots of a pool, in words."""
    held = instance.event_log_storage.get_concurrency_info(pool).claimed_slots
    return " and ".join(sorted(_named(instance, one.run_id) for one in held)) or "another run"


def _named(instance: dg.DagsterInstance, run_id: str) -> str:
    run = instance.get_run_by_id(run_id)
    host, _, pid = (run.tags.get(PROCESS_TAG, "") if run is not None else "").partition("-")
    if not pid:
        return f"run {run_id}"
    return f"run {run_id} (process {pid} {'here' if host == HOST else 'of another machine'})"
