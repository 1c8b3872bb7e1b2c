"""A worker's run whose database is lost on the way: it fails as a run that was lost, and soon."""

import dagster as dg
import pytest
from celery import Celery
from celery.exceptions import Reject
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import pack_value
from dagster_celery.config import TASK_EXECUTE_JOB_NAME
from dagster_celery.tasks import create_execute_job_task

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import OutcomeKind
from etf_pipeline.orchestration import worker
from etf_pipeline.orchestration.beats import LOST_SECONDS, Beats, Watch
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.instance import open_instance
from etf_pipeline.orchestration.runner import run_graph
from etf_pipeline.store.stages import read_stage
from etf_pipeline_tests.brokers import free_port
from etf_pipeline_tests.pipeline.postgres import Postgres
from etf_pipeline_tests.pipeline.support import make_pipeline

PARTITION = "XASX"
# Ends the connection that asks for it, as a server does that goes down.
CUT = """
CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
"""
EACH = "FOR EACH ROW EXECUTE FUNCTION cut()"


@pytest.fixture(scope="module")
def server():
    if (why := Postgres.missing()) is not None:
        pytest.skip(why)
    made = Postgres("UTC").start()
    yield made
    made.stop()


@pytest.fixture
def pipeline(tmp_path):
    return make_pipeline(tmp_path)


@pytest.fixture
def database(server, pipeline, tmp_path, monkeypatch, request):
    """The name of a database that is everybody's, in this process as in a worker's."""
    name = f"lost_{abs(hash(request.node.name))}"
    server.query("postgres", f"CREATE DATABASE {name}")
    fields = {"data_dir", "universe_file", "portfolios_file", "source"}
    for field, value in pipeline.settings.model_dump(include=fields).items():
        monkeypatch.setenv(f"ETF_{field.upper()}", str(value))
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", server.url(name))
    monkeypatch.setenv("ETF_CELERY_BROKER", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return name


@pytest.fixture
def instance(database):
    with open_instance() as made:
        yield made


def handed_over(instance, pipeline, status=dg.DagsterRunStatus.STARTING):
    """A run as a worker finds it, and what has it executed."""
    definitions = build_definitions(pipeline.settings, None, pipeline).get_repository_def()
    repository = ReconstructableRepository.for_module("etf_pipeline.definitions", "defs")
    run = instance.create_run_for_job(
        definitions.get_job("ingest"),
        tags={"dagster/partition": PARTITION, "dagster-celery/task_id": "1"},
        job_code_origin=repository.get_reconstructable_job("ingest").get_python_origin(),
        status=status,
    )
    asked = ExecuteRunArgs(run.job_code_origin, run.run_id, None)
    task = worker.worker_app(instance).tasks[TASK_EXECUTE_JOB_NAME]
    return run.run_id, lambda: task(execute_job_args_packed=pack_value(asked))


def cut(server, database, *kinds):
    """Have the database lost by whoever records such an event."""
    when = " OR ".join(f"NEW.dagster_event_type = '{kind}'" for kind in kinds)
    each = EACH.replace("EXECUTE", f"WHEN ({when}) EXECUTE")
    server.query(database, f"{CUT} CREATE TRIGGER cut BEFORE INSERT ON event_logs {each}")


def found_lost(instance):
    """The runs that a watcher fails, sixty seconds later."""
    now = [0.0]
    watch = Watch(instance, clock=lambda: now[0])
    watch.look()
    now[0] += LOST_SECONDS
    return watch.look()


def test_who_has_launched_runs_can_execute_them_too(instance):
    """Celery shares the task of who launches with all apps of a process."""
    create_execute_job_task(instance.run_launcher.celery)
    create_execute_job_task(Celery("another"))
    task = worker.worker_app(instance).tasks[TASK_EXECUTE_JOB_NAME]
    assert isinstance(task, worker.Beating)
    assert task.acks_late


def test_a_step_that_is_ended_by_the_database_is_a_run_that_was_lost(
    server, database, instance, pipeline
):
    run, execute = handed_over(instance, pipeline)
    cut(server, database, "ASSET_MATERIALIZATION")
    execute()
    found = instance.get_run_by_id(run)
    assert found.status is dg.DagsterRunStatus.FAILURE
    assert found.tags["dagster/will_retry"] == "true"
    (failure,) = instance.all_logs(run, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "Dagster's database was lost (" in failure.dagster_event.job_failure_data.error.message
    assert "sqlalche.me" not in failure.dagster_event.job_failure_data.error.message
    stage = read_stage(pipeline.layout, assets.RAW_PRICES, PARTITION)
    assert stage.run_id == run and not stage.good
    assert stage.outcome.reason_code is ReasonCode.RECORDS_UNUSABLE
    assert "Dagster's database was lost (" in stage.outcome.reason
    held = read_stage(pipeline.layout, assets.PRICE_HISTORY, PARTITION)
    assert held.outcome.reason_code is ReasonCode.HELD_BACK
    assert Beats(instance).seen() == {}


def test_a_run_whose_end_cannot_be_recorded_is_missed(server, database, instance, pipeline):
    run, execute = handed_over(instance, pipeline)
    cut(server, database, "ASSET_MATERIALIZATION", "STEP_FAILURE", "PIPELINE_FAILURE")
    execute()
    assert instance.get_run_by_id(run).status is dg.DagsterRunStatus.STARTED
    server.query(database, "DROP TRIGGER cut ON event_logs")
    assert found_lost(instance) == [run]
    found = instance.get_run_by_id(run)
    assert found.status is dg.DagsterRunStatus.FAILURE
    assert found.tags["dagster/will_retry"] == "true"


def test_a_run_that_cannot_be_begun_goes_back_to_the_broker(
    server, database, instance, pipeline, monkeypatch
):
    monkeypatch.setattr(worker, "_AWAY_SECONDS", 0.0)
    run, execute = handed_over(instance, pipeline)
    Beats(instance).expect(run)
    server.query(database, CUT + "CREATE TRIGGER cut BEFORE UPDATE ON etf_run_beats " + EACH)
    with pytest.raises(Reject) as back:
        execute()
    assert back.value.requeue
    assert instance.get_run_by_id(run).status is dg.DagsterRunStatus.STARTING
    server.query(database, "DROP TRIGGER cut ON etf_run_beats")
    execute()
    assert instance.get_run_by_id(run).status is dg.DagsterRunStatus.SUCCESS


def test_a_run_of_the_command_line_reports_what_came_out_until_then(
    server, database, instance, pipeline
):
    cut(server, database, "ASSET_MATERIALIZATION", "STEP_FAILURE", "PIPELINE_FAILURE")
    report = run_graph(pipeline, instance)
    assert report.ended.code is ReasonCode.RECORDS_UNUSABLE
    assert {t: o.outcome for t, o in report.tickers.items()} == dict.fromkeys(
        ("VAS", "VGS", "VAF"), OutcomeKind.COLLECTED
    )
    downloaded, history = report.stages
    assert (downloaded.asset, downloaded.good) == (assets.RAW_PRICES, True)
    assert history.outcome.reason_code is ReasonCode.RECORDS_UNUSABLE
    assert read_stage(pipeline.layout, assets.PRICE_HISTORY, PARTITION) == history
    # Dagster's daemon has no way to begin such a run again
    server.query(database, "DROP TRIGGER cut ON event_logs")
    (run,) = instance.get_runs()
    assert found_lost(instance) == [run.run_id]
    assert instance.get_run_by_id(run.run_id).tags["dagster/will_retry"] == "false"


def test_what_is_said_of_a_run_that_is_ended_by_hand(instance, pipeline):
    run, _ = handed_over(instance, pipeline, dg.DagsterRunStatus.STARTED)
    assert instance.run_launcher.terminate(run)
    (end,) = instance.all_logs(run, of_type=dg.DagsterEventType.RUN_CANCELED)
    assert end.dagster_event.message == "ended; no process gave signs of life of it"
