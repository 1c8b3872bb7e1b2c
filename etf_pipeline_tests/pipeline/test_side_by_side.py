"""Runs side by side: what they publish is what one after the other do, however some of them end."""

import os
import signal
import subprocess
import sys
import time

import dagster as dg
import psutil
import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import ReasonCode
from etf_pipeline.ingest.sources import open_source
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.orchestration.jobs import DERIVE, INGEST
from etf_pipeline.orchestration.runner import run_graph
from etf_pipeline.orchestration.side_by_side import side_by_side
from etf_pipeline.orchestration.tasks import MADE_BY, Task
from etf_pipeline.store.stages import read_stage
from etf_pipeline_tests.conftest import ROOT
from etf_pipeline_tests.pipeline.support import NOW, make_pipeline

TICKERS = {"VAS": "XASX", "VGS": "XASX", "VAF": "XASX", "SPY": "XNYS", "IWM": "XNYS"}


def now():
    """The same moment in every process."""
    return NOW


def deadly(name, settings, clock):
    """A source whose process is ended from outside as soon as it is asked for New York."""
    source = open_source(name, settings, clock)
    if os.environ.get("ETF_TEST_DEADLY"):
        os.kill(os.getpid(), signal.SIGKILL)
    return source


def endless(name, settings, clock):
    """A source that does not answer, and says that it was asked."""
    (settings.data_dir.parent / f"asked-{os.getpid()}").touch()
    time.sleep(600)
    raise AssertionError("nobody stopped it")


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


def published(pipeline):
    """Every table, by path below the store; footers name raw batches, and these when they came."""
    root = pipeline.layout.root
    folders = ("historical", "quarantine", "risk", "portfolios")
    files = [p for f in folders for p in (root / f).rglob("*.parquet")]
    return {p.relative_to(root): pq.read_table(p).replace_schema_metadata(None) for p in files}


def test_what_is_published_is_the_same_and_is_told_as_it_comes(tmp_path, instance):
    found, told = {}, {}
    for executor in ("in_process", "multiprocess"):
        pipeline = make_pipeline(tmp_path / executor, TICKERS, shards=2, executor=executor)
        pipeline.clock = now
        seen = told.setdefault(executor, [])
        pipeline.progress = lambda asset, outcome, seen=seen: seen.append((asset, outcome.subject))
        report = run_graph(pipeline, instance)
        assert report.errors == []
        found[executor] = (
            published(pipeline),
            {t: o.outcome for t, o in report.tickers.items()},
            {p: o.outcome for p, o in report.portfolios.items()},
            {p: o.outcome for p, o in report.backtests.items()},
            [(s.asset, s.partition, s.outcome.outcome) for s in report.stages],
        )
        assert pipeline.layout.catalogue.exists()
        assert pipeline.layout.report("calm").exists()
    assert found["multiprocess"] == found["in_process"]
    assert sorted(told["multiprocess"]) == sorted(told["in_process"]) != []


def test_a_process_that_is_killed_fails_its_run_and_no_other(tmp_path, instance, monkeypatch):
    pipeline = make_pipeline(tmp_path, TICKERS)
    pipeline.clock, pipeline.source = now, deadly
    with side_by_side(pipeline, instance, 2) as execute:
        (asx,) = execute([Task(INGEST, "XASX")])
        monkeypatch.setenv("ETF_TEST_DEADLY", "1")  # for processes that begin from now on
        tasks = [Task(INGEST, "XASX"), Task(INGEST, "XNYS")]
        done = {s.name: s for one in execute(tasks) for s in one.stages}
    assert all(s.good for s in asx.stages)
    assert done["raw_prices of XASX"].good
    killed = done["raw_prices of XNYS"]
    assert killed.outcome.reason_code is ReasonCode.KILLED
    assert "was ended by SIGKILL" in killed.outcome.reason
    assert done["price_history of XNYS"].outcome.reason_code is ReasonCode.HELD_BACK
    assert read_stage(pipeline.layout, "raw_prices", "XNYS") == killed
    assert pipeline.layout.of(HISTORY, "VAS").exists()
    run = instance.get_run_by_id(killed.run_id)
    assert run.status is dg.DagsterRunStatus.FAILURE


STOPPED = """
import sys
from pathlib import Path
import dagster as dg
from etf_pipeline.orchestration.jobs import INGEST
from etf_pipeline.orchestration.side_by_side import side_by_side
from etf_pipeline.orchestration.tasks import Task
from etf_pipeline_tests.pipeline.support import make_pipeline
from etf_pipeline_tests.pipeline.test_side_by_side import TICKERS, endless, now
pipeline = make_pipeline(Path(sys.argv[1]), TICKERS)
pipeline.clock, pipeline.source = now, endless
with dg.DagsterInstance.from_config(sys.argv[2]) as instance:
    try:
        with side_by_side(pipeline, instance, 2) as execute:
            list(execute([Task(INGEST, "XASX"), Task(INGEST, "XNYS")]))
    except KeyboardInterrupt:
        print(sorted({r.status.value for r in instance.get_runs()}))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_stopped_leaves_no_process_and_no_run_behind(tmp_path, number):
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    program = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(tmp_path), str(home)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"DAGSTER_HOME": str(home)},
    )
    while len(asked := list(tmp_path.glob("asked-*"))) < 2:
        assert program.poll() is None
        time.sleep(0.05)
    program.send_signal(number)
    said, _ = program.communicate(timeout=60)
    assert program.returncode == 0
    assert said.strip() in ("['FAILURE']", "['CANCELED']", "['CANCELED', 'FAILURE']")
    assert not any(psutil.pid_exists(int(p.name.partition("-")[2])) for p in asked)


def test_what_each_job_makes_is_what_it_is_said_to_make(tmp_path):
    from etf_pipeline.orchestration.build import build_definitions

    pipeline = make_pipeline(tmp_path)
    repository = build_definitions(pipeline.settings, None, pipeline).get_repository_def()
    for name in (INGEST, DERIVE):
        keys = repository.get_job(name).asset_layer.executable_asset_keys
        assert {k.to_user_string() for k in keys} == set(MADE_BY[name])
