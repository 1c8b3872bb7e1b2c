"""Dagster's database: what is wrong with it is told by name, soon, and without its password."""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
import yaml
from alembic.script import ScriptDirectory
from dagster_postgres import utils
from dagster_postgres.run_storage import run_storage
from dagster_webserver.cli import dagster_webserver
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.errors import ReasonCode, RecordsError, SettingsError
from etf_pipeline.ingest.sources import open_source
from etf_pipeline.orchestration.beats import Beats
from etf_pipeline.orchestration.database import (
    database_url,
    ensure_reachable,
    outage_told,
    shown,
)
from etf_pipeline.orchestration.instance import main as begin
from etf_pipeline.orchestration.instance import open_instance
from etf_pipeline.orchestration.runner import run_graph
from etf_pipeline.orchestration.slots import end_dead_runs
from etf_pipeline_tests.brokers import free_port
from etf_pipeline_tests.conftest import ROOT
from etf_pipeline_tests.pipeline.postgres import Postgres
from etf_pipeline_tests.pipeline.support import make_pipeline

SECRET = "correct-horse"
SOON = 5.0


@pytest.fixture(scope="module")
def server():
    if (why := Postgres.missing()) is not None:
        pytest.skip(why)
    made = Postgres("UTC", SECRET).start()
    yield made
    made.stop()


@pytest.fixture
def database(server, request):
    name = request.node.originalname.removeprefix("test_")[:60]
    server.query("postgres", f"CREATE DATABASE {name}")
    return server.url(name).replace("postgresql+psycopg2", "postgresql")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize(
    "url",
    [
        "correct-horse",
        "dagster:correct-horse@host/name",
        "postgresql://dagster:correct-horse@host:port/name",
        "postgresql://dagster:not@correct-horse@host/name",  # an @ that is not escaped
        "mysql://dagster:correct-horse@host/name",
        "postgresql://dagster:correct-horse@host",
    ],
)
def test_what_is_no_url_of_a_database_is_a_wrong_setting(home, monkeypatch, url):
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    with pytest.raises(SettingsError, match="DAGSTER_POSTGRES_URL") as told:
        open_instance()
    assert SECRET not in str(told.value)
    assert not home.exists()


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ((SECRET, "wrong-" + SECRET), "password authentication failed"),
        (("/there", "/elsewhere"), 'database "elsewhere" does not exist'),
        (("dagster:", "nobody:"), 'user "nobody"'),
        (("PORT", str(free_port())), "Connection refused"),
    ],
)
def test_what_is_wrong_is_named_soon_and_without_the_password(
    server, home, monkeypatch, wrong, names
):
    old, new = wrong
    url = server.url("there").replace(str(server.port) if old == "PORT" else old, new)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    before = time.monotonic()
    with pytest.raises(RecordsError, match=names) as told:
        open_instance()
    assert time.monotonic() - before < SOON
    assert told.value.code is ReasonCode.RECORDS_UNUSABLE
    assert SECRET not in str(told.value)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = {c["name"]: c for c in json.loads(result.output)}["records"]
    assert not found["ok"]
    assert names in found["detail"] and SECRET not in found["detail"]


@pytest.mark.parametrize("limit", [0, 2])
def test_a_server_without_a_connection_to_spare_is_named_soon_in_json_too(
    server, home, tmp_path, monkeypatch, limit
):
    role, password = f"few{limit}", f"PASSWORD '{SECRET}'"
    server.query("postgres", f"CREATE ROLE {role} LOGIN {password} CONNECTION LIMIT {limit}")
    url = server.url("postgres").replace("dagster:", f"{role}:")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    settings = make_pipeline(tmp_path).settings
    for field in ("data_dir", "universe_file", "portfolios_file", "source"):
        monkeypatch.setenv(f"ETF_{field.upper()}", str(getattr(settings, field)))
    before = time.monotonic()
    result = CliRunner().invoke(app, ["run", "--json"])
    assert time.monotonic() - before < 2 * SOON  # and what it takes to import Dagster
    told = json.loads(result.stdout)
    assert result.exit_code == told["exit_code"] == 1
    (why,) = told["errors"]
    assert f'too many connections for role "{role}"' in why
    assert "has a connection left" in why


def test_a_database_is_shown_as_the_driver_is_told(home, monkeypatch):
    url = f" postgresql:///name?host=hub&port=54871&user=me&password={SECRET}\n"
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    assert shown(database_url()) == "me@hub:54871/name"


def test_programs_of_dagsters_are_not_begun_on_a_database_that_is_not_there(home, monkeypatch):
    url = f"postgresql://x:{SECRET}@127.0.0.1:{free_port()}/x"
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    begun = subprocess.run(
        [sys.executable, "-m", "etf_pipeline.orchestration.instance", "dagster", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (begun.returncode, begun.stdout) == (1, "")
    assert "Connection refused" in begun.stderr and SECRET not in begun.stderr


@pytest.mark.parametrize(("wanted", "goes_on"), [(None, True), ("3600", False)])
def test_a_web_server_outlives_a_restart_of_the_database(
    server, home, monkeypatch, wanted, goes_on
):
    """As its programs are begun; the value that somebody has set stands."""
    variable, name = "DAGSTER_WEBSERVER_DB_POOL_RECYCLE", f"restarted_{wanted or ''}"
    server.query("postgres", f"CREATE DATABASE {name}")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", server.url(name))
    monkeypatch.setenv(variable, wanted or "")
    if wanted is None:
        monkeypatch.delenv(variable)
    begin([])
    given = {"auto_envvar_prefix": "DAGSTER_WEBSERVER"}
    options = dagster_webserver.make_context("dagster-webserver", [], **given).params
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(
            *(options[f"db_{name}"] for name in ("statement_timeout", "pool_recycle")),
            options["db_pool_max_overflow"],
        )
        assert instance.get_runs_count() == 0
        kept = time.time()
        server.down()
        server.up()
        while time.time() <= kept + 1.0:  # as old as one may be to be used again
            time.sleep(0.05)
        if goes_on:
            assert instance.get_runs_count() == 0
        else:
            with pytest.raises(OperationalError, match="server closed the connection"):
                instance.get_runs_count()


def test_a_server_that_says_nothing_is_named_soon(home, monkeypatch):
    with silent() as port:
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", f"postgresql://x:{SECRET}@127.0.0.1:{port}/x")
        before = time.monotonic()
        with pytest.raises(RecordsError, match=f"x@127.0.0.1:{port}/x") as told:
            open_instance()
        assert time.monotonic() - before < SOON
        assert SECRET not in str(told.value)


def silent():
    """A port where connections are taken and nothing is ever said."""
    import contextlib
    import socket

    @contextlib.contextmanager
    def listening():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener.getsockname()[1]

    return listening()


@pytest.mark.parametrize("form", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_usual_forms_of_a_url_reach_it(server, home, monkeypatch, form):
    server.query("postgres", f"CREATE DATABASE form_{form.replace('+', '_')}")
    url = server.url(f"form_{form.replace('+', '_')}").replace("postgresql+psycopg2", form)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    with open_instance() as instance:
        assert instance.get_runs_count() == 0
    assert "\nok   records" in CliRunner().invoke(app, ["doctor"]).output


def test_a_database_that_is_set_later_is_used_and_that_is_said(database, home, monkeypatch, caplog):
    with open_instance() as instance:
        instance.add_dynamic_partitions("before", ["1"])
    file = home / "dagster.yaml"
    file.write_text(file.read_text().replace("telemetry:", "# mine\ntelemetry:"))
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", database)
    with caplog.at_level(logging.ERROR), open_instance() as instance:
        assert not instance.has_dynamic_partition("before", "1")
        instance.add_dynamic_partitions("after", ["1"])
    assert f"{file}: added storage" in caplog.text
    assert "# mine\n" in file.read_text()
    caplog.clear()
    with open_instance() as instance:  # once is enough
        assert instance.has_dynamic_partition("after", "1")
    assert not caplog.text
    monkeypatch.delenv("DAGSTER_POSTGRES_URL")
    with pytest.raises(SettingsError, match="DAGSTER_POSTGRES_URL, which is not set"):
        open_instance()


def test_a_file_that_says_otherwise_is_not_overruled(home, monkeypatch):
    home.mkdir()
    text = "storage:\n  sqlite:\n    base_dir: elsewhere\n"
    (home / "dagster.yaml").write_text(text)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql://x@127.0.0.1/x")
    with pytest.raises(SettingsError, match=r"`storage`.*DAGSTER_POSTGRES_URL is set too"):
        open_instance()
    assert (home / "dagster.yaml").read_text() == text


def test_tables_of_another_release_are_named_with_what_migrates_them(
    server, database, home, monkeypatch
):
    theirs = database.replace("postgresql:", "postgres:")  # which Dagster does not read
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", theirs)
    open_instance().dispose()
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", theirs)
    name = database_url().database
    ((now,),) = server.query(name, "SELECT version_num FROM alembic_version")
    scripts = ScriptDirectory.from_config(utils.pg_alembic_config(run_storage.__file__))
    older = scripts.get_revision(now).down_revision
    server.query(name, f"UPDATE alembic_version SET version_num = '{older}'")
    with pytest.raises(RecordsError, match=f"{older}.*dagster instance migrate") as told:
        open_instance()
    (command,) = [part for part in str(told.value).split("`") if "migrate" in part]
    environment = dict([command.split()[0].split("=")])
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", theirs)
    subprocess.run(
        [sys.executable, *command.split()[2:]],
        env=os.environ | environment | {"PATH": f"{Path(sys.executable).parent}:{os.defpath}"},
        check=True,
        capture_output=True,
    )
    open_instance().dispose()
    assert server.query(name, "SELECT version_num FROM alembic_version") == [(now,)]


def test_other_errors_are_what_they_are(home, monkeypatch):
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql://x@127.0.0.1/x")
    with pytest.raises(ZeroDivisionError), outage_told():
        raise ZeroDivisionError


def test_a_run_of_the_command_line_gives_signs_of_life_to_other_machines(
    database, home, tmp_path, monkeypatch
):
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", database)
    pipeline, seen = make_pipeline(tmp_path), {}
    with open_instance() as instance:

        def source(*given):
            seen.update(Beats(instance).seen())
            return open_source(*given)

        pipeline.source = source
        report = run_graph(pipeline, instance)
        assert report.tickers and all(o.good for o in report.tickers.values())
        (run_id,) = seen
        assert instance.get_run_by_id(run_id).job_name == "ingest"
        assert Beats(instance).seen() == {}


def test_a_run_whose_database_goes_ends_as_failed_with_its_reason(
    server, database, home, tmp_path, monkeypatch
):
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", database)
    open_instance().dispose()
    settings = make_pipeline(tmp_path).settings
    values = settings.model_dump(include={"data_dir", "universe_file", "portfolios_file", "source"})
    command = [Path(sys.executable).with_name("etf"), "run", "--json"]
    environment = os.environ | {f"ETF_{k.upper()}": str(v) for k, v in values.items()}
    run = subprocess.Popen(command, env=environment, cwd=ROOT, text=True, stdout=-1, stderr=-1)
    while not settings.data_dir.exists():
        assert run.poll() is None
        time.sleep(0.02)
    server.down()
    said, noise = run.communicate(timeout=200)
    server.up()
    told = json.loads(said)
    assert run.returncode == told["exit_code"] == 1
    assert "Dagster's database was lost" in told["errors"][-1]
    assert SECRET not in said + noise
    assert "Traceback" not in noise
    # the next has the failure of this one on record
    with open_instance() as instance:
        end_dead_runs(instance)
        assert [r.status for r in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]


def test_the_first_file_has_what_the_settings_ask(home, monkeypatch, server, database):
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", database)
    ensure_reachable(database_url())
    open_instance().dispose()
    found = yaml.safe_load((home / "dagster.yaml").read_text())
    assert found["storage"]["postgres"]["postgres_url"] == {"env": "DAGSTER_POSTGRES_URL"}
    assert SECRET not in (home / "dagster.yaml").read_text()
