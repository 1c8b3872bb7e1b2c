"""A machine that runs nothing itself tells the events of what others made."""

import json
from collections import Counter

import dagster as dg
import pytest

from etf_pipeline.events.model.types import CHANNELS
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline_tests.events_support import embedded_settings
from etf_pipeline_tests.share.machines import SHARDS, Machine

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def hub(url, tmp_path):
    made = Machine(tmp_path / "hub", url)
    made.pipeline.event_settings = embedded_settings()
    yield made
    made.pipeline.events.close(0)


def run_elsewhere(hub, worker, instance, job, partition=None):
    """A run of the hub's definitions on a machine with another working copy."""
    line = hub.pipeline
    repository = build_definitions(line.settings, None, worker.pipeline).get_repository_def()
    chosen = None if job == "ingest" else [dg.AssetKey("risk_metrics")]
    result = repository.get_job(job).execute_in_process(
        run_config=QUIET, instance=instance, partition_key=partition, asset_selection=chosen
    )
    assert result.success


def tick(hub, instance, cursor=None):
    line = hub.pipeline
    defs = build_definitions(line.settings, line.event_settings, line).get_repository_def()
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, repository_def=defs, resources={"pipeline": line}
    )
    return defs.get_sensor_def("event_relay").evaluate_tick(context)


def test_what_other_machines_made_is_told(hub, url, tmp_path, instance):
    worker = Machine(tmp_path / "worker", url)
    first = tick(hub, instance)
    run_elsewhere(hub, worker, instance, "ingest", SHARDS[0])
    run_elsewhere(hub, worker, instance, "derive")
    second = tick(hub, instance, first.cursor)
    assert second.skip_message.endswith("0 behind")
    wanted = sorted(i.ticker for i in worker.pipeline.universe.in_partition(SHARDS[0]))
    found = [e for page in hub.pipeline.events.log.read(CHANNELS) for e in page]
    told = Counter((e.type, e.subject) for e in found if e.subject in wanted)
    kinds = ("ETFDataCollected", "ETFDataUpdated", "RiskMetricsCalculated")
    assert told == {(kind, ticker): 1 for kind in kinds for ticker in wanted}
    assert all(json.loads(e.data)["metrics"] for e in found if e.type == "RiskMetricsCalculated")


def test_nothing_is_passed_over_while_the_share_is_away(
    bucket, gate, tmp_path, instance, monkeypatch
):
    monkeypatch.setattr("etf_pipeline.share.opening.READER_PATIENCE", 0.5)
    hub, worker = Machine(tmp_path / "hub", bucket), Machine(tmp_path / "worker", bucket)
    hub.pipeline.event_settings = embedded_settings()
    first = tick(hub, instance)
    run_elsewhere(hub, worker, instance, "ingest", SHARDS[0])
    gate.shut()
    away = tick(hub, instance, first.cursor)
    assert "does not answer" in away.skip_message
    assert away.cursor == first.cursor
    gate.open()
    assert "0 behind" in tick(hub, instance, away.cursor).skip_message
    assert hub.pipeline.events.log.counts()["ETFDataUpdated"] == 4
    hub.pipeline.events.close(0)
