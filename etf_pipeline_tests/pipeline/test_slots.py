"""Slots of the download pool that a killed process left claimed."""

import subprocess
import sys

import dagster as dg
import pytest

from etf_pipeline.orchestration.slots import (
    PROCESS_TAG,
    end_dead_runs,
    free_dead_slots,
    slots_kept_free,
)
from etf_pipeline.store.processes import HOST
from etf_pipeline_tests.pipeline.support import execute, make_pipeline


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "home").mkdir()
    overrides = {"concurrency": {"pools": {"granularity": "op", "default_limit": 1}}}
    with dg.DagsterInstance.local_temp(str(tmp_path / "home"), overrides) as made:
        yield made


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def claim(instance, tags):
    run = instance.create_run_for_job(
        dg.job(name="left_behind")(lambda: None), tags=tags, status=dg.DagsterRunStatus.STARTED
    )
    instance.event_log_storage.initialize_concurrency_limit_to_default("yahoo")
    status = instance.event_log_storage.claim_concurrency_slot("yahoo", run.run_id, "raw_prices")
    assert status.is_claimed
    return run


def claimed(instance):
    return len(instance.event_log_storage.get_concurrency_info("yahoo").claimed_slots)


def test_a_killed_process_does_not_block_the_next(tmp_path, instance):
    run = claim(instance, {PROCESS_TAG: f"{HOST}-{dead_pid()}"})
    with slots_kept_free(instance):
        assert execute(make_pipeline(tmp_path), instance, "ingest", "XASX").success
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize("tags", [{}, {PROCESS_TAG: "another-1"}, {PROCESS_TAG: f"{HOST}-1"}])
def test_a_run_that_may_be_alive_keeps_its_slot(instance, tags):
    claim(instance, tags)
    assert free_dead_slots(instance) == 0
    assert claimed(instance) == 1


def test_a_finished_run_gives_its_slot_back(instance):
    run = claim(instance, {})
    instance.report_run_failed(run)
    assert free_dead_slots(instance) == 1
    assert claimed(instance) == 0


def test_a_run_that_was_killed_between_its_steps_has_its_failure_on_record(instance):
    """It holds no slot, so that nothing but its process says that it is over."""
    job = dg.job(name="left_behind")(lambda: None)
    started = dg.DagsterRunStatus.STARTED
    runs = {
        pid: instance.create_run_for_job(job, tags={PROCESS_TAG: f"{HOST}-{pid}"}, status=started)
        for pid in (dead_pid(), 1)
    }
    assert end_dead_runs(instance) == 1
    dead, alive = (instance.get_run_by_id(run.run_id).status for run in runs.values())
    assert (dead, alive) == (dg.DagsterRunStatus.FAILURE, started)
    assert end_dead_runs(instance) == 0
