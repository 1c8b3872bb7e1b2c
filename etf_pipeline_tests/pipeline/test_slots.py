"""Slots of the download pool that a killed process left claimed."""

import functools
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import dagster as dg
import pytest

from etf_pipeline.errors import ReasonCode
from etf_pipeline.orchestration import tasks
from etf_pipeline.orchestration.beats import alive
from etf_pipeline.orchestration.report import RunReport
from etf_pipeline.orchestration.runner import run_graph
from etf_pipeline.orchestration.slots import (
    PROCESS_TAG,
    STARTED_TAG,
    end_dead_runs,
    free_dead_slots,
    process_tags,
    slot,
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


def waiting(instance, run, said, done):
    """A thread in which a run waits for Yahoo's slot; `done` is set once it has it."""

    def wait():
        with slot(instance, "yahoo", run.run_id, "raw_prices", said.put):
            done.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def other(instance):
    job = dg.job(name="another")(lambda: None)
    return instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)


def test_a_killed_process_does_not_block_the_next(instance):
    run = claim(instance, {PROCESS_TAG: f"{HOST}-{dead_pid()}"})
    said = queue.Queue()
    with slot(instance, "yahoo", other(instance).run_id, "raw_prices", said.put):
        assert claimed(instance) == 1
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE
    assert claimed(instance) == 0
    assert said.empty()


def test_a_number_that_is_another_process_by_now_does_not_block_either(instance):
    mine = process_tags()
    run = claim(instance, mine | {STARTED_TAG: str(float(mine[STARTED_TAG]) - 3600)})
    assert free_dead_slots(instance) == 1
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE


def test_who_waits_is_told_who_has_the_slot_and_gets_it_when_that_ends(instance):
    run = claim(instance, process_tags())
    said, done = queue.Queue(), threading.Event()
    second = other(instance)
    thread = waiting(instance, second, said, done)
    assert said.get(timeout=30) == (
        f"waiting for the slot 'yahoo', which run {run.run_id} (process {os.getpid()} here) has; "
        "Ctrl-C ends the waiting"
    )
    assert not done.is_set()
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    assert done.wait(30)
    thread.join(30)
    assert claimed(instance) == 0
    # a run that nobody tagged says which process it lives in from then on
    assert instance.get_run_by_id(second.run_id).tags[PROCESS_TAG] == f"{HOST}-{os.getpid()}"


def test_only_yahoo_needs_yahoos_slot(tmp_path, instance):
    claim(instance, process_tags())
    assert execute(make_pipeline(tmp_path), instance, "ingest", "XASX").success
    assert claimed(instance) == 1


def test_a_download_gives_its_slot_back_whatever_comes_of_it(tmp_path, instance):
    pipeline = make_pipeline(tmp_path, source="yahoo", yahoo_url="http://127.0.0.1:9")
    assert not execute(pipeline, instance, "ingest", "XASX").success
    assert instance.event_log_storage.get_concurrency_keys() == {"yahoo"}
    assert claimed(instance) == 0


@pytest.mark.parametrize("ended", ["report_run_canceling", "report_run_canceled"])
def test_a_run_that_is_cancelled_in_the_ui_ends_its_command_and_is_cancelled(
    tmp_path, instance, monkeypatch, ended
):
    """Without a launcher that could tell it, and where Dagster says that it is over already."""
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    monkeypatch.setattr(tasks, "alive", functools.partial(alive, every=0.05))
    pipeline = make_pipeline(tmp_path)

    def endless(*_):
        (run,) = instance.get_runs()
        getattr(instance, ended)(run)
        time.sleep(60)
        pytest.fail("nothing interrupted it")

    pipeline.source, report = endless, RunReport()
    with pytest.raises(KeyboardInterrupt):
        run_graph(pipeline, instance, report=report)
    assert report.stages[0].outcome.reason_code is ReasonCode.INTERRUPTED
    (run,) = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("ended", ["report_run_canceling", "report_run_canceled"])
def test_a_run_that_comes_out_before_it_hears_that_it_was_cancelled_is_followed_by_none(
    tmp_path, instance, monkeypatch, ended
):
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    pipeline = make_pipeline(tmp_path)
    source = pipeline.source

    def cancelled(*given):
        (run,) = instance.get_runs()
        getattr(instance, ended)(run)
        return source(*given)

    pipeline.source, report = cancelled, RunReport()
    with pytest.raises(KeyboardInterrupt):
        run_graph(pipeline, instance, report=report)
    assert [s.asset for s in report.stages if s.good] == ["raw_prices", "price_history"]
    (run,) = instance.get_runs()
    assert run.job_name == "ingest"


WAITING = """
import sys
import dagster as dg
from etf_pipeline.orchestration.slots import slot
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    @dg.op
    def waits(context):
        say = lambda text: print(text, flush=True)
        with slot(instance, "yahoo", context.run.run_id, "waits", say):
            raise AssertionError("it was not free")
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    @dg.job
    def waiting():
        waits()
    result = waiting.execute_in_process(quiet, instance, raise_on_error=False)
    print(result.all_events[-1].event_type_value)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_ends_at_once_when_it_is_stopped(tmp_path, instance, number):
    claim(instance, process_tags())
    home = str(tmp_path / "home")
    (tmp_path / "home" / "dagster.yaml").write_text("concurrency: {pools: {default_limit: 1}}\n")
    waits = subprocess.Popen(
        [sys.executable, "-c", WAITING, home], stdout=subprocess.PIPE, text=True
    )
    assert waits.stdout.readline().startswith("waiting for the slot")
    waits.send_signal(number)
    out, _ = waits.communicate(timeout=60)
    assert "it was not free" not in out
    info = instance.event_log_storage.get_concurrency_info("yahoo")
    assert (len(info.claimed_slots), info.pending_step_count) == (1, 0)


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


@pytest.mark.parametrize(
    ("state", "end"),
    [
        ("NOT_STARTED", "FAILURE"),
        ("STARTING", "FAILURE"),
        ("STARTED", "FAILURE"),
        ("CANCELING", "CANCELED"),
    ],
)
def test_a_run_that_was_killed_between_its_steps_has_its_end_on_record(instance, state, end):
    """It holds no slot, so that nothing but its process says that it is over."""
    job, begun = dg.job(name="left_behind")(lambda: None), dg.DagsterRunStatus[state]
    runs = {
        pid: instance.create_run_for_job(job, tags={PROCESS_TAG: f"{HOST}-{pid}"}, status=begun)
        for pid in (dead_pid(), 1)
    }
    assert end_dead_runs(instance) == 1
    dead, alive = (instance.get_run_by_id(run.run_id).status for run in runs.values())
    assert (dead.value, alive) == (end, begun)
    assert end_dead_runs(instance) == 0
