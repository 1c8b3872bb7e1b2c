"""Stages that fail on a real Dagster instance: the others are published, and it is told."""

import datetime as dt
import json
import multiprocessing
import resource
import shutil
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.cli.exit_codes import of_run
from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.schemas import BACKTESTS, CORRELATIONS, RISK_METRICS, SUMMARY
from etf_pipeline.orchestration import tasks
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.jobs import INGEST
from etf_pipeline.orchestration.runner import run_graph
from etf_pipeline.orchestration.tasks import Task
from etf_pipeline.store.begun import read_marks
from etf_pipeline.store.stages import read_stage, read_stages
from etf_pipeline_tests.pipeline.support import NOW, execute, make_pipeline

STAGES = [
    ("raw_prices", "XASX"),
    ("price_history", "XASX"),
    ("risk_metrics", ""),
    ("correlations", ""),
    ("optimised_portfolios", ""),
    ("backtests", ""),
    ("sql_catalog", ""),
    ("reports", ""),
]


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


def in_the_way(layout, table):
    """A file where a table's folder is to be: nothing can be published there."""
    folder = layout.folder(table)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_bytes(b"")
    return folder


def bad(stages):
    return {s.asset: s.outcome.reason_code for s in stages if not s.good}


def status(pipeline, monkeypatch):
    """Exit code of `etf status`, and what it says: as text and as JSON."""
    for name in ("universe_file", "portfolios_file"):
        monkeypatch.setenv(f"ETF_{name.upper()}", str(getattr(pipeline.settings, name)))
    args = ["status", "--data-dir", str(pipeline.layout.root)]
    text, body = (CliRunner().invoke(app, [*args, *more]) for more in ([], ["--json"]))
    assert text.exit_code == body.exit_code
    return text.exit_code, " ".join(text.output.split()), json.loads(body.stdout)


def test_every_stage_of_a_good_run_is_recorded(tmp_path, instance, monkeypatch):
    pipeline = make_pipeline(tmp_path)
    report = run_graph(pipeline, instance)
    assert [(s.asset, s.partition) for s in report.stages] == STAGES
    assert all(s.good and s.since is None for s in report.stages)
    assert read_stages(pipeline.layout) == report.stages
    code, _, body = status(pipeline, monkeypatch)
    assert code == 0
    assert [(s["stage"], s["partition"]) for s in body["stages"]] == STAGES
    # nothing new: the record is of the new run, and there is one of each stage as before
    again = run_graph(pipeline, instance)
    assert {s.run_id for s in again.stages}.isdisjoint(s.run_id for s in report.stages)
    assert read_stages(pipeline.layout) == again.stages


def test_a_table_that_cannot_be_written_stops_no_other(tmp_path, instance, monkeypatch):
    pipeline = make_pipeline(tmp_path)
    layout = pipeline.layout
    folder = in_the_way(layout, CORRELATIONS)
    report = run_graph(pipeline, instance)
    assert bad(report.stages) == {"correlations": ReasonCode.STORE_UNUSABLE}
    assert of_run(report, chosen=False) == 3
    assert [s.asset for s in report.stages] == [name for name, _ in STAGES]
    for table in (RISK_METRICS, SUMMARY, BACKTESTS):
        assert layout.newest(table) is not None
    assert layout.catalogue.exists()
    said = "shows of correlations is of an earlier run, or missing: correlations failed"
    pages = [layout.report(None), layout.report("calm")]
    for page in pages:
        assert f"{said} (store_unusable): cannot write {folder}" in page.read_text()
    (error,) = report.errors
    assert error.startswith("correlations failed (store_unusable): ")
    assert str(folder) in error

    code, text, body = status(pipeline, monkeypatch)
    assert code == 3
    assert "correlations failed (store_unusable)" in text
    (told,) = [s for s in body["stages"] if s["stage"] == "correlations"]
    assert told["reason_code"] == "store_unusable"
    first = read_stage(layout, "correlations")
    assert told["since"] == first.since.isoformat()

    pipeline.clock = lambda: NOW + dt.timedelta(hours=1)
    second = run_graph(pipeline, instance)
    still = read_stage(layout, "correlations")
    assert still.since == first.since < still.recorded_at
    assert f"as it has since {first.since:%Y-%m-%d %H:%M} UTC" in second.errors[0]
    folder.unlink()
    assert run_graph(pipeline, instance).errors == []
    assert read_stage(layout, "correlations").since is None
    assert not any(said in page.read_text() for page in pages)
    assert status(pipeline, monkeypatch)[0] == 0


def test_a_stage_that_cannot_be_recorded_is_told(tmp_path, instance, monkeypatch):
    """Its table is published; nothing would say so, and what is recorded is of an earlier run."""
    pipeline = make_pipeline(tmp_path)
    layout = pipeline.layout
    in_the_way(layout, CORRELATIONS)
    blocked = layout.manifests("stages")
    for asset in ("risk_metrics", "reports"):
        (blocked / f"{asset}-ALL.parquet").mkdir(parents=True)
    report = run_graph(pipeline, instance)
    assert layout.newest(RISK_METRICS) is not None
    assert layout.report(None).exists()
    assert set(bad(report.stages)) == {"risk_metrics", "correlations", "reports"}
    assert [s.asset for s in report.stages] == [name for name, _ in STAGES]
    assert of_run(report, chosen=False) == 3
    told = [e for e in report.errors if str(blocked) in e]
    assert [e.partition(" ")[0] for e in told] == ["risk_metrics", "reports"]
    code, text, body = status(pipeline, monkeypatch)
    assert code == 3
    bad_ones = {s["stage"]: s for s in body["stages"] if s["reason_code"]}
    assert set(bad_ones) == {"risk_metrics", "correlations", "reports"}
    assert "it was published, and could not be recorded in" in bad_ones["risk_metrics"]["reason"]
    assert "risk_metrics failed (store_unusable): it was published, and could not be" in text


def test_when_no_stage_comes_out_the_run_failed(tmp_path, instance):
    pipeline = make_pipeline(tmp_path)
    execute(pipeline, instance, "ingest", "XASX")
    root = pipeline.layout.root
    for name in ("risk", "portfolios", "reports"):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).write_bytes(b"")
    pipeline.layout.catalogue.mkdir()
    report = run_graph(pipeline, instance)
    assert len(bad(report.stages)) == 6
    assert all(o.good for o in report.tickers.values())
    assert of_run(report, chosen=False) == 1


def test_what_failed_in_the_job_of_the_ui_is_made_up_for_by_automation(tmp_path, instance):
    """Within a run Dagster executes nothing behind a failed step; the conditions ask for it."""
    pipeline = make_pipeline(tmp_path)
    in_the_way(pipeline.layout, CORRELATIONS)
    defs = build_definitions(pipeline.settings, None, pipeline)
    before = dg.evaluate_automation_conditions(defs=defs, instance=instance)
    execute(pipeline, instance, "ingest", "XASX")
    assert not execute(pipeline, instance, "derive").success
    assert pipeline.layout.newest(SUMMARY) is not None
    assert not pipeline.layout.catalogue.exists()
    after = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=before.cursor)
    asked = {n for n, _ in STAGES[2:] if after.get_num_requested(dg.AssetKey(n))}
    assert asked >= {"sql_catalog", "reports"}
    job = defs.get_repository_def().get_implicit_global_asset_job_def()
    served = [dg.AssetKey("sql_catalog"), dg.AssetKey("reports")]
    assert job.execute_in_process(asset_selection=served, instance=instance).success
    assert pipeline.layout.catalogue.exists()


def test_a_blocking_check_is_the_failure_of_its_stage_in_its_words(tmp_path, instance):
    """A share price that falls below nothing: whatever is computed from it is impossible."""
    pipeline = make_pipeline(tmp_path)
    run_graph(pipeline, instance)
    layout = pipeline.layout
    path = layout.newest(RISK_METRICS)
    spoiled(path)
    # A later day whose table is impossible, so that the newest file is what the check reads.
    later = layout.of(RISK_METRICS, layout.as_of(path) + dt.timedelta(days=1))
    later.parent.mkdir()
    shutil.move(path, later)
    report = run_graph(pipeline, instance)
    assert bad(report.stages) == {"risk_metrics": ReasonCode.CHECK_FAILED}
    (error,) = report.errors
    assert "metrics_possible: " in error
    assert "volatility < 0" in error
    assert of_run(report, chosen=False) == 3
    assert report.portfolios["calm"].good


def spoiled(path):
    """Make a table say that every volatility is negative."""
    table = pq.read_table(path)
    i = table.schema.get_field_index("volatility")
    wrong = pa.array([-0.1] * table.num_rows, table.schema.field(i).type)
    pq.write_table(table.set_column(i, table.schema.field(i), wrong), path)


def test_what_a_failed_download_holds_back_says_so(tmp_path, instance):
    pipeline = make_pipeline(tmp_path, source="yahoo", yahoo_url="http://127.0.0.1:9")
    report = run_graph(pipeline, instance)
    held = {s.name: s.sentence for s in report.stages}
    assert held["price_history of XASX"] == (
        "price_history of XASX was held back (held_back): raw_prices failed"
    )
    assert not read_stage(pipeline.layout, "raw_prices", "XASX").good
    assert of_run(report, chosen=False) == 1


def test_what_another_run_has_recorded_meanwhile_stands(tmp_path, instance):
    """While a run is about to fail with its download, another one makes the whole."""
    pipeline, other = (make_pipeline(tmp_path) for _ in range(2))
    seconds, marked = [], []

    def beaten(name, settings, clock):
        marked.extend((b.asset, b.partition, b.ended) for b in read_marks(pipeline.layout))
        seconds.append(execute(other, instance, "ingest", "XASX"))
        raise RuntimeError("no such planet")

    pipeline.source = beaten
    defs = build_definitions(pipeline.settings, None, pipeline).get_repository_def()
    first = tasks.execute(Task(INGEST, "XASX"), pipeline, defs, instance)
    (second,) = seconds
    assert second.success
    assert marked == [("raw_prices", "XASX", False)], "what is under way is known to be"
    assert read_marks(pipeline.layout) == []
    (held,) = [s for s in first.stages if s.asset == "price_history"]
    assert held.outcome.reason_code is ReasonCode.HELD_BACK
    newest = read_stage(pipeline.layout, "price_history", "XASX")
    assert newest.good
    assert newest.run_id == second.run_id
    # this one ended after the other
    assert read_stage(pipeline.layout, "raw_prices", "XASX").run_id == held.run_id


def greedy(name, settings, clock):
    """A source that takes a gigabyte."""
    return np.ones(2**27)


def _with_little_memory(folder, conn):
    """In a process of its own, as a limit cannot be raised again."""
    pipeline = make_pipeline(folder)
    with dg.instance_for_test() as instance:
        run_graph(pipeline, instance)  # all that is imported is there now
        pipeline.source = greedy
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, resource.RLIM_INFINITY))
        report = run_graph(pipeline, instance)
    conn.send((bad(report.stages), report.errors))


def test_a_lack_of_memory_is_told_by_its_code(tmp_path):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_with_little_memory, args=(tmp_path, there))
    process.start()
    there.close()
    assert here.poll(300)
    stages, errors = here.recv()
    process.join(30)
    assert stages == {
        "raw_prices": ReasonCode.OUT_OF_MEMORY,
        "price_history": ReasonCode.HELD_BACK,
    }
    assert errors[0].startswith("raw_prices of XASX failed (out_of_memory): there was not enough ")
    assert "1.00 GiB" in errors[0]
