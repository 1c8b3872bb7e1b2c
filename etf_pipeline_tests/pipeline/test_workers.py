"""Runs that are handed to workers with homes of their own, one of which is lost."""

import time
from collections import Counter

import dagster as dg
import pytest
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.errors import RecordsError, SettingsError
from etf_pipeline.orchestration.beats import Beats
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.instance import open_instance
from etf_pipeline.store.batches import list_batch_ids
from etf_pipeline.store.writer import locked
from etf_pipeline_tests.brokers import free_port
from etf_pipeline_tests.pipeline.machines import Redis, Worker, hand_over
from etf_pipeline_tests.pipeline.postgres import Postgres
from etf_pipeline_tests.pipeline.support import make_pipeline

SHARDS = 4
TICKERS = [f"T{i:03}" for i in range(320)]
FOUND_WITHIN = 120.0
PATIENCE = 400.0


@pytest.fixture
def servers(tmp_path, monkeypatch):
    if (why := Postgres.missing() or Redis.missing()) is not None:
        pytest.skip(why)
    database, broker = Postgres("UTC").start(), Redis(tmp_path).start()
    database.query("postgres", "CREATE DATABASE machines")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", database.url("machines"))
    monkeypatch.setenv("ETF_CELERY_BROKER", broker.url)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    yield
    broker.stop()
    database.stop()


@pytest.fixture
def pipeline(tmp_path):
    portfolios = "portfolios:\n  - {name: one, tickers: [T001, T002], objective: min_volatility}\n"
    return make_pipeline(
        tmp_path,
        dict.fromkeys(TICKERS, "XNYS"),
        shards=SHARDS,
        portfolios=portfolios,
        lock_timeout_seconds=PATIENCE,
    )


@pytest.fixture
def workers(servers, tmp_path, pipeline):
    fields = {"data_dir", "universe_file", "portfolios_file", "source", "lock_timeout_seconds"}
    settings = pipeline.settings.model_dump(include=fields)
    environment = {f"ETF_{name.upper()}": str(value) for name, value in settings.items()}
    made = [Worker(tmp_path / f"machine{i}", environment) for i in range(2)]
    yield made
    for one in made:
        one.lose()


def launch(instance, pipeline, partition):
    """Hand a run over, as Dagster's daemon does."""
    repository = build_definitions(pipeline.settings, None, pipeline).get_repository_def()
    return hand_over(instance, repository, "ingest", partition)


def until(condition, workers):
    """What a condition comes to, as soon as it is anything."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        logs = "\n".join(w.log.read_text()[-3000:] for w in workers)
        assert time.monotonic() < deadline, logs
        time.sleep(0.05)
    return found


def status(instance, run):
    return instance.get_run_by_id(run).status


def under_way(instance):
    """A run that a worker executes by now, and its process."""
    for run, (process, _) in Beats(instance).seen().items():
        if status(instance, run) is dg.DagsterRunStatus.STARTED:
            return run, int(process.rpartition(" ")[2])
    return None


def test_a_worker_says_what_it_lacks(monkeypatch):
    monkeypatch.delenv("ETF_CELERY_BROKER", raising=False)
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    result = CliRunner().invoke(app, ["worker"])
    assert isinstance(result.exception, SettingsError)
    assert "ETF_CELERY_BROKER and DAGSTER_POSTGRES_URL" in str(result.exception)


def test_a_broker_that_is_not_there_is_named_soon_and_without_its_password(monkeypatch):
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql://x@127.0.0.1/x")
    monkeypatch.setenv("ETF_CELERY_BROKER", f"redis://:hidden@127.0.0.1:{free_port()}/0")
    before = time.monotonic()
    result = CliRunner().invoke(app, ["worker"])
    assert time.monotonic() - before < 10.0  # five, and what it takes to import Celery
    assert isinstance(result.exception, RecordsError)
    assert "ETF_CELERY_BROKER" in str(result.exception)
    assert "hidden" not in str(result.exception)


def test_four_shards_are_made_though_one_of_two_machines_is_lost(servers, pipeline, workers):
    with open_instance() as instance:
        partitions = pipeline.universe.partitions()
        assert len(partitions) == SHARDS
        runs = {launch(instance, pipeline, p): p for p in partitions}
        victim, pid = until(lambda: under_way(instance), workers)
        (lost,) = [w for w in workers if w.has(pid)]
        lost.lose()
        gone = time.monotonic()
        until(lambda: status(instance, victim) is dg.DagsterRunStatus.FAILURE, workers)
        assert time.monotonic() - gone < FOUND_WITHIN
        # Dagster writes this a moment after the status
        tag = "dagster/will_retry"
        until(lambda: instance.get_run_by_id(victim).tags.get(tag), workers)
        assert instance.get_run_by_id(victim).tags[tag] == "true"

        again = launch(instance, pipeline, runs.pop(victim))
        others = [*runs, again]
        until(lambda: all(instance.get_run_by_id(r).is_finished for r in others), workers)
        assert {status(instance, r) for r in others} == {dg.DagsterRunStatus.SUCCESS}
        assert Beats(instance).seen() == {}
    batches = Counter({p: len(list_batch_ids(pipeline.layout, p)) for p in partitions})
    assert batches == dict.fromkeys(partitions, 1)
    assert all(pipeline.layout.find_history(t).exists() for t in TICKERS)


def test_a_run_is_ended_before_and_after_a_worker_has_begun_it(servers, pipeline, workers):
    with open_instance() as instance:
        partition = pipeline.universe.partitions()[0]
        # What it wants to write is held here: it cannot be done before it is told.
        with locked(pipeline.layout.lock("raw", partition), 1.0):
            first = launch(instance, pipeline, partition)
            assert until(lambda: under_way(instance), workers)[0] == first
            assert instance.run_launcher.terminate(first)
            until(lambda: instance.get_run_by_id(first).is_finished, workers)
        assert instance.get_run_by_id(first).status is dg.DagsterRunStatus.CANCELED
        for worker in workers:
            worker.lose()
        waiting = launch(instance, pipeline, pipeline.universe.partitions()[1])
        assert instance.run_launcher.terminate(waiting)
        assert instance.get_run_by_id(waiting).status is dg.DagsterRunStatus.CANCELED
        assert not instance.run_launcher.terminate(waiting)
