"""Signs of life of runs, judged by the watcher's own clock."""

import signal
import time

import dagster as dg
import pytest
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from etf_pipeline.orchestration.beats import Beats, Watch, alive, beating
from etf_pipeline.orchestration.interrupts import handled

POOL = "yahoo"
LOST = 60.0


class Clock:
    """Seconds, whenever they are said to pass."""

    def __init__(self, now=1_000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "home").mkdir()
    overrides = {
        "concurrency": {"pools": {"granularity": "op", "default_limit": 1}},
        "run_retries": {
            "enabled": True,
            "max_retries": 2,
            "retry_on_asset_or_op_failure": False,
        },
    }
    with dg.DagsterInstance.local_temp(str(tmp_path / "home"), overrides) as made:
        yield made


def started(instance, status=dg.DagsterRunStatus.STARTED):
    run = instance.create_run_for_job(dg.job(name="alive")(lambda: None), status=status)
    Beats(instance).begin(run.run_id)
    return run.run_id


def status(instance, run_id):
    return instance.get_run_by_id(run_id).status


def failures(instance, run_id):
    return len(instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE))


@pytest.mark.parametrize("state", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
def test_a_run_that_gives_no_sign_of_life_is_failed_and_its_slot_freed(instance, state):
    silent, alive = started(instance, state), started(instance)
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default(POOL)
    assert storage.claim_concurrency_slot(POOL, silent, "raw_prices").is_claimed
    clock = Clock()
    watch = Watch(instance, LOST, clock)
    assert watch.look() == []
    for _ in range(5):
        clock.now += LOST / 6
        Beats(instance).beat(alive)
        assert watch.look() == []
    clock.now += LOST / 6
    Beats(instance).beat(alive)
    assert watch.look() == [silent]
    assert status(instance, silent) is dg.DagsterRunStatus.FAILURE
    assert status(instance, alive) is dg.DagsterRunStatus.STARTED
    assert not storage.get_concurrency_info(POOL).claimed_slots
    assert instance.get_run_by_id(silent).tags["dagster/will_retry"] == "true"
    assert Beats(instance).seen().keys() == {alive}


def test_a_sign_of_life_begins_the_time_anew_whatever_the_count_was(instance):
    run = started(instance)
    clock = Clock()
    watch = Watch(instance, LOST, clock)
    watch.look()
    clock.now += 0.9 * LOST
    watch.look()
    Beats(instance).begin(run)  # by another process, from nought
    Beats(instance).beat(run)
    clock.now += 0.9 * LOST
    assert watch.look() == []
    clock.now += 0.9 * LOST
    assert watch.look() == []
    clock.now += 0.2 * LOST
    assert watch.look() == [run]


def test_who_could_not_look_has_not_seen_that_nothing_came(instance):
    run = started(instance)
    clock = Clock()
    watch = Watch(instance, LOST, clock)
    watch.look()
    clock.now += 10 * LOST  # as long as the database was away, or this machine slept
    assert watch.look() == []
    clock.now += LOST
    assert watch.look() == [run]


def test_of_several_that_watch_one_fails_the_run(instance):
    run = started(instance)
    clock = Clock()
    watches = [Watch(instance, LOST, clock) for _ in range(3)]
    for watch in watches:
        watch.look()
    clock.now += LOST
    assert [watch.look() for watch in watches] == [[run], [], []]
    assert failures(instance, run) == 1


def test_a_run_that_is_over_is_left_as_it_is(instance):
    run = started(instance)
    instance.report_run_canceled(instance.get_run_by_id(run))
    clock = Clock()
    watch = Watch(instance, LOST, clock)
    watch.look()
    clock.now += LOST
    assert watch.look() == []
    assert status(instance, run) is dg.DagsterRunStatus.CANCELED
    assert Beats(instance).seen() == {}


def test_an_instance_without_the_table_has_nobody_to_watch(instance):
    assert Beats(instance).seen() == {}
    assert Watch(instance, LOST, Clock()).look() == []


def test_signs_of_life_go_on_during_the_block(instance):
    run = instance.create_run_for_job(
        dg.job(name="alive")(lambda: None), status=dg.DagsterRunStatus.STARTED
    ).run_id
    with beating(instance, run, every=0.01):
        await_beats(instance, run, 3)


def await_beats(instance, run, more):
    wanted = Beats(instance).seen()[run][1] + more
    deadline = time.monotonic() + 60
    while Beats(instance).seen()[run][1] < wanted:
        assert time.monotonic() < deadline


def test_a_run_that_has_come_out_is_not_taken_for_ended_from_elsewhere(instance):
    """Its process is about to leave the block."""
    run = instance.create_run_for_job(
        dg.job(name="done")(lambda: None), status=dg.DagsterRunStatus.SUCCESS
    ).run_id
    with beating(instance, run, every=0.01):
        await_beats(instance, run, 3)
    assert Beats(instance).seen() == {}


def test_a_run_whose_block_ends_before_the_run_is_missed(instance):
    """As where its end could not be recorded: the database was away, and is back."""
    run = started(instance)
    with beating(instance, run):
        pass
    clock = Clock()
    watch = Watch(instance, LOST, clock)
    watch.look()
    clock.now += LOST
    assert watch.look() == [run]
    assert status(instance, run) is dg.DagsterRunStatus.FAILURE


def test_a_run_of_a_worker_that_has_no_row_is_missed_and_others_are_not(instance):
    """As where a watcher took the row and could not go on to fail the run."""
    job, begun = dg.job(name="alive")(lambda: None), dg.DagsterRunStatus.STARTED
    lost, waiting, elsewhere = (
        instance.create_run_for_job(job, tags=tags, status=state).run_id
        for tags, state in (
            ({DAGSTER_CELERY_TASK_ID_TAG: "1"}, begun),
            ({DAGSTER_CELERY_TASK_ID_TAG: "2"}, dg.DagsterRunStatus.STARTING),
            ({}, begun),
        )
    )
    clock = Clock()
    watch = Watch(instance, LOST, clock)
    assert watch.look() == []
    clock.now += LOST
    assert watch.look() == [lost]
    assert status(instance, lost) is dg.DagsterRunStatus.FAILURE
    assert status(instance, waiting) is dg.DagsterRunStatus.STARTING
    assert status(instance, elsewhere) is begun


@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_IGN])
@pytest.mark.parametrize(
    "ended", ["report_run_failed", "report_run_canceling", "report_run_canceled"]
)
@pytest.mark.parametrize("executing", [beating, alive])
def test_a_run_that_was_ended_from_elsewhere_is_interrupted(
    instance, monkeypatch, executing, ended, before
):
    """As one that was only slow, and has a successor by now; without PostgreSQL too."""
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    run = instance.create_run_for_job(
        dg.job(name="slow")(lambda: None), status=dg.DagsterRunStatus.STARTED
    )
    with (
        handled(before, signal.SIGINT),
        pytest.raises(KeyboardInterrupt),
        executing(instance, run.run_id, every=0.05),
    ):
        end_and_wait(instance, run, ended)


def end_and_wait(instance, run, ended):
    getattr(instance, ended)(run)
    time.sleep(60)
    pytest.fail("nothing interrupted it")
