"""The tailer on a real Dagster instance; numbers are those of the event case list."""

import datetime as dt
import errno
import json
import time

import dagster as dg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from etf_pipeline.events.factory import open_events
from etf_pipeline.events.model.envelope import LINEAGE_TYPE
from etf_pipeline.events.model.state import fold
from etf_pipeline.events.model.types import LINEAGE
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.events.tailer import Cursor, Tailer
from etf_pipeline.model.schemas import HISTORY, RAW
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.orchestration.failures import step_failures
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.conftest import new_broker
from etf_pipeline_tests.events_support import embedded_settings, kafka_settings
from etf_pipeline_tests.pipeline.relayed import RunlessLog, materialise, relayed_tickers
from etf_pipeline_tests.pipeline.support import execute, make_pipeline


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as made:
        yield made


@pytest.fixture
def made_tailer(tmp_path, instance):
    recorders = []

    def make(settings=None, log=None):
        recorder = open_events(
            tmp_path / "store",
            settings or embedded_settings(event_relay_start="beginning"),
            publish=False,
        )
        recorders.append(recorder)
        return Tailer(Layout(tmp_path / "store"), recorder, log or DagsterLog(instance)), recorder

    yield make
    for recorder in recorders:
        recorder.close(0)


def test_a_whole_run_becomes_events(tmp_path, instance, made_tailer):
    pipeline = make_pipeline(tmp_path)
    assert execute(pipeline, instance, "ingest", "XASX").success
    assert execute(pipeline, instance, "derive").success
    tailer, recorder = made_tailer()
    tick = tailer.tick()
    assert (tick.behind, tick.problem) == (0, None)
    state = fold(recorder.log.read())
    assert recorder.log.counts() == {
        "ETFDataCollected": 3,
        "ETFDataUpdated": 3,
        "RiskMetricsCalculated": 3,
        "PortfolioOptimized": 2,
        # a start and an end of both runs, and of each of the eight assets
        LINEAGE_TYPE: 2 * (2 + 8),
    }
    assert set(state.etfs) == {"VAS", "VGS", "VAF"}
    layout = pipeline.layout
    for ticker, etf in state.etfs.items():
        (batch,) = etf.batches
        assert layout.of(RAW, batch.partition, batch.batch_id).exists()
        assert len(batch.batch_hash) == 64
        assert etf.updated.batch_id == batch.batch_id
        from etf_pipeline.store.reader import file_info

        assert etf.updated.content_hash == file_info(layout.of(HISTORY, ticker)).content_hash
    assert set(state.risk) == {"VAS", "VGS", "VAF"}
    from etf_pipeline.store.reader import read_table

    table = read_table(next((layout.root / "risk/risk_metrics").glob("*/*.parquet"))).to_pylist()
    for row in table:
        told = state.risk[row["ticker"]].metrics[row["window"]]
        assert told["volatility"] == row["volatility"]
        assert told["n_obs"] == row["n_obs"]
    weights = read_table(next((layout.root / "portfolios/weights").glob("*/*.parquet"))).to_pylist()
    for name, found in state.portfolios.items():
        assert found.success
        mine = {r["ticker"]: r["weight"] for r in weights if r["portfolio"] == name}
        assert found.weights == mine
    assert set(state.portfolios) == {"pair", "calm"}
    again = tailer.tick()
    assert again.relayed == 0
    assert fold(recorder.log.read()) == state


def test_18_every_materialisation_between_two_ticks(tmp_path, instance, made_tailer):
    layout = Layout(tmp_path / "store")
    tailer, recorder = made_tailer(log=RunlessLog(instance))
    tailer.tick()
    wanted = materialise(instance, layout, 7)
    tailer.tick()
    assert relayed_tickers(recorder) == wanted
    wanted += materialise(instance, layout, 5, first=7)
    tailer.tick()
    tailer.tick()
    assert relayed_tickers(recorder) == wanted


class Delayed(RunlessLog):
    """A database on which some ids become visible late."""

    hidden: frozenset[int] = frozenset()

    def records(self, after, limit):
        return [r for r in super().records(after, limit) if r.storage_id not in self.hidden]


def test_19_an_id_that_becomes_visible_after_a_greater_one(tmp_path, instance, made_tailer):
    log = Delayed(instance)
    tailer, recorder = made_tailer(log=log)
    tailer.tick()
    wanted = materialise(instance, Layout(tmp_path / "store"), 8)
    late = log.records(0, 100)[6].storage_id
    log.hidden = frozenset({late})
    assert tailer.tick().records == 7
    # by its manifest, which lies there already
    assert relayed_tickers(recorder) == [*wanted[:6], wanted[7], wanted[6]]
    log.hidden = frozenset()
    assert tailer.tick().records == 1
    found = relayed_tickers(recorder)
    assert sorted(found) == wanted
    assert len(found) == len(set(found))


def test_20_a_first_tick_starts_at_the_head(tmp_path, instance, made_tailer):
    layout = Layout(tmp_path / "store")
    materialise(instance, layout, 50)
    tailer, recorder = made_tailer(embedded_settings(), RunlessLog(instance))
    tick = tailer.tick()
    assert tick.relayed == 0
    head = Cursor.load(tick.cursor).position
    assert head == DagsterLog(instance).head()
    fresh = materialise(instance, layout, 3, first=50)
    tailer.tick(tick.cursor)
    assert relayed_tickers(recorder) == fresh


def test_20_a_first_tick_starts_at_a_chosen_time(tmp_path, instance, made_tailer):
    layout = Layout(tmp_path / "store")
    materialise(instance, layout, 5)
    time.sleep(0.01)
    chosen = dt.datetime.now(dt.UTC).isoformat()
    fresh = materialise(instance, layout, 5, first=5)
    tailer, recorder = made_tailer(
        embedded_settings(event_relay_start=chosen), RunlessLog(instance)
    )
    tailer.tick()
    assert relayed_tickers(recorder) == fresh


def test_21_a_broker_that_hangs_during_a_tick(tmp_path, instance, made_tailer):
    """The tick ends in time, the cursor stays at what is confirmed, and nothing is lost."""
    with new_broker("noida-db", tmp_path / "broker") as broker:
        layout = Layout(tmp_path / "store")
        settings = kafka_settings(broker.servers, event_relay_start="beginning")
        tailer, recorder = made_tailer(settings, RunlessLog(instance))
        wanted = materialise(instance, layout, 4)
        first = tailer.tick(seconds=10)
        assert (first.records, first.pending) == (4, 0)
        wanted += materialise(instance, layout, 4, first=4)
        broker.pause()
        started = time.monotonic()
        stuck = tailer.tick(first.cursor, seconds=3)
        assert time.monotonic() - started < 20
        assert Cursor.load(stuck.cursor).position == Cursor.load(first.cursor).position
        assert stuck.behind == 4
        assert stuck.problem
        broker.resume()
        done = tailer.tick(stuck.cursor, seconds=15)
        assert (done.behind, done.pending, done.problem) == (0, 0, None)
        found = [e.subject for b in recorder.read() for e in b]
        assert sorted(set(found)) == wanted
        assert len(fold(recorder.read())) == 8


class Counting(Embedded):
    """The embedded events, which count what they are given at a time."""

    def __init__(self, layout, settings):
        super().__init__(layout, settings)
        self.batches = []

    def append(self, events, facts=None):
        self.batches.append(len(events))
        super().append(events, facts)


def test_22_five_hundred_behind_drain_in_the_fewest_batches(tmp_path, instance):
    layout = Layout(tmp_path / "store")
    settings = embedded_settings(event_relay_start="beginning")
    recorder = Counting(layout, settings)
    wanted = materialise(instance, layout, 500)
    tick = Tailer(layout, recorder, RunlessLog(instance)).tick()
    assert relayed_tickers(recorder) == wanted
    total = sum(recorder.batches)  # collected and lineage events
    assert len(recorder.batches) == -(-total // 2000)
    assert tick.behind == 0
    status = json.loads(recorder.log.fact("relay_status"))
    assert status["behind"] == 0
    recorder.close()


def test_lag_is_told_when_time_runs_out(tmp_path, instance, made_tailer):
    tailer, recorder = made_tailer(log=RunlessLog(instance))
    materialise(instance, Layout(tmp_path / "store"), 10)
    tick = tailer.tick(seconds=0.0)
    assert tick.behind == 10
    assert "10 behind" in tick.summary
    assert json.loads(recorder.log.fact("relay_status"))["behind"] == 10


def test_the_lower_of_two_cursors_counts(tmp_path, instance, made_tailer):
    """Reset in the UI, or lost with the event file: read again, nothing twice."""
    tailer, recorder = made_tailer(log=RunlessLog(instance))
    wanted = materialise(instance, Layout(tmp_path / "store"), 5)
    tailer.tick()
    again = tailer.tick(Cursor(0, 0).dump())
    assert again.records == 5
    assert relayed_tickers(recorder) == wanted


def test_a_run_that_fails_as_a_whole_is_an_event(tmp_path, instance, made_tailer):
    pipeline = make_pipeline(tmp_path, source="files:" + str(tmp_path / "nothing"))
    result = execute(pipeline, instance, "ingest", "XASX")
    assert not result.success
    tailer, recorder = made_tailer()
    tailer.tick()
    state = fold(recorder.log.read())
    failed = [e.failed for e in state.etfs.values() if e.failed is not None]
    assert failed
    assert all(f.run_id == result.run_id and f.reason for f in failed)


def test_a_run_that_dies_before_any_outcome_names_its_partition(tmp_path, instance, made_tailer):
    def broken(*_):
        raise RuntimeError("no such planet")

    pipeline = make_pipeline(tmp_path)
    pipeline.source = broken
    result = execute(pipeline, instance, "ingest", "XASX")
    assert not result.success
    tailer, recorder = made_tailer()
    tailer.tick()
    (failed,) = [e.failed for e in fold(recorder.log.read()).etfs.values()]
    assert failed.whole_run
    assert failed.ticker == failed.partition == "XASX"
    assert "no such planet" in failed.reason
    assert failed.reason_code == "our_mistake"
    (stage,) = fold(recorder.log.read()).failed_stages.values()
    assert (stage.stage, stage.partition, stage.reason_code) == (
        "raw_prices",
        "XASX",
        "our_mistake",
    )
    tailer.tick(Cursor(0, 0).dump())
    assert len(fold(recorder.log.read())) == 2


@pytest.mark.parametrize("first", ["report_run_failed", "report_run_canceled"])
def test_a_run_that_ends_twice_is_told_once(tmp_path, instance, made_tailer, first):
    """Who was taken for dead, or whose run was cancelled, finds out later."""
    repository = build_definitions(make_pipeline(tmp_path).settings, None).get_repository_def()
    run = instance.create_run_for_job(
        repository.get_job("ingest"), tags={"dagster/partition": "XASX"}
    )
    tailer, recorder = made_tailer()
    getattr(instance, first)(run)
    tailer.tick()
    told = recorder.log.counts()
    assert told["PipelineStageFailed"] == 1
    instance.report_run_failed(run)
    assert tailer.tick().problem is None
    assert recorder.log.counts() == told


def test_stages_that_fail_after_a_good_download_are_told(
    tmp_path, instance, made_tailer, monkeypatch
):
    """The history step on a disk that fails, and reports on one that is full."""

    def fails(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    pipeline = make_pipeline(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr("etf_pipeline.steps.one_history.publish_history", fails)
        lost = execute(pipeline, instance, "ingest", "XASX")
    assert not lost.success
    assert execute(pipeline, instance, "ingest", "XASX").success
    with monkeypatch.context() as broken:
        broken.setattr("etf_pipeline.steps.reports.write_text", fails)
        derived = execute(pipeline, instance, "derive")
    assert not derived.success
    tailer, recorder = made_tailer()
    tailer.tick()
    stages = fold(recorder.log.read()).failed_stages
    assert {
        where: (s.stage, s.partition, s.run_id, s.job, s.subjects, s.canceled)
        for where, s in stages.items()
    } == {
        "price_history/XASX": (
            "price_history",
            "XASX",
            lost.run_id,
            "ingest",
            ["VAF", "VAS", "VGS"],
            False,
        ),
        "reports": ("reports", "", derived.run_id, "derive", [], False),
    }
    assert all("Input/output error" in s.reason and s.reason_code for s in stages.values())
    runs = {
        (e["job"]["name"], e["run"]["facets"]["parent"]["run"]["runId"]): e
        for e in lineage(recorder)
        if e["eventType"] == "FAIL" and "parent" in e["run"]["facets"]
    }
    assert set(runs) == {
        ("etf_pipeline.price_history", lost.run_id),
        ("etf_pipeline.reports", derived.run_id),
    }
    for event in runs.values():
        assert "Input/output error" in event["run"]["facets"]["errorMessage"]["message"]
        assert event["inputs"]
    # what was good of the runs that failed is told all the same
    assert recorder.log.counts()["ETFDataCollected"] == 3
    assert recorder.log.counts()["PortfolioOptimized"] == 2


def test_partial_failures_are_events_of_their_tickers(tmp_path, instance, made_tailer, yahoo):
    from etf_pipeline_tests.support import asx_days, bars, walk, yahoo_rows
    from etf_pipeline_tests.yahoo_standin import Series

    days = asx_days("2024-01-02", 300)
    yahoo.series["VAS.AX"] = Series(yahoo_rows(bars(days, walk(300))))
    yahoo.series["VGS.AX"] = Series(yahoo_rows(bars(days, walk(300))), currency="USD")
    pipeline = make_pipeline(tmp_path, source="yahoo", yahoo_url=yahoo.url)
    execute(pipeline, instance, "ingest", "XASX")
    tailer, recorder = made_tailer()
    tailer.tick()
    etfs = fold(recorder.log.read()).etfs
    assert etfs["VAS"].updated is not None
    assert "USD" in etfs["VGS"].rejected.reason
    failures = [
        json.loads(e.data)
        for b in recorder.log.read()
        for e in b
        if e.type == "ETFDataCollectionFailed"
    ]
    assert {(f["ticker"], f["asset"], f["failure_kind"]) for f in failures} == {
        ("VAF", "raw_prices", "missing"),
        ("VAF", "price_history", "transient"),
        ("VGS", "price_history", "transient"),
    }


def lineage(recorder):
    return [json.loads(e.data) for b in recorder.log.read([LINEAGE]) for e in b]


def test_openlineage_runs(tmp_path, instance, made_tailer):
    pipeline = make_pipeline(tmp_path)
    run = execute(pipeline, instance, "ingest", "XASX")
    derived = execute(pipeline, instance, "derive")
    tailer, recorder = made_tailer()
    tailer.tick()
    events = lineage(recorder)
    by_job = {}
    for e in events:
        assert e["schemaURL"].startswith("https://openlineage.io/spec/")
        by_job.setdefault(e["job"]["name"], []).append(e["eventType"])
    assert by_job["ingest"] == ["START", "COMPLETE"]
    assert by_job["derive"] == ["START", "COMPLETE"]
    assets = (
        "raw_prices",
        "price_history",
        "risk_metrics",
        "correlations",
        "optimised_portfolios",
        "backtests",
        "sql_catalog",
        "reports",
    )
    for asset in assets:
        assert by_job[f"etf_pipeline.{asset}"] == ["START", "COMPLETE"]
    (history,) = [
        e
        for e in events
        if e["job"]["name"] == "etf_pipeline.price_history" and e["eventType"] == "COMPLETE"
    ]
    assert history["run"]["facets"]["parent"]["run"]["runId"] == run.run_id
    source, (output, quarantine) = history["inputs"][0], history["outputs"]
    assert output["name"].endswith("/historical")
    assert quarantine["name"].endswith("/quarantine")
    edited = [i["name"] for i in history["inputs"][1:]]
    assert edited == [str((tmp_path / "store" / "corrections").resolve())]
    assert source["name"].endswith("/raw")
    facets = output["facets"]
    assert {f["name"] for f in facets["schema"]["fields"]} >= {"date", "close", "adj_close"}
    assert facets["dataSource"]["uri"].startswith("file:///")
    inputs = facets["columnLineage"]["fields"]["adj_close"]["inputFields"]
    assert {i["field"] for i in inputs if i["name"] == source["name"]} == {
        "close",
        "dividends",
        "capital_gains",
    }
    assert output["outputFacets"]["outputStatistics"]["rowCount"] > 0
    assert derived.run_id in {e["run"]["runId"] for e in events}


def test_openlineage_failure_carries_the_message(tmp_path, instance, made_tailer):
    pipeline = make_pipeline(tmp_path, source="files:" + str(tmp_path / "nothing"))
    result = execute(pipeline, instance, "ingest", "XASX")
    tailer, recorder = made_tailer()
    tailer.tick()
    failures = [e for e in lineage(recorder) if e["eventType"] == "FAIL"]
    assert [f["job"]["name"] for f in failures] == ["ingest", "etf_pipeline.raw_prices"]
    (step,) = step_failures(result)
    assert step.message
    for failure in failures:
        assert failure["run"]["facets"]["errorMessage"]["message"] == step.message


def test_openlineage_has_its_own_switch(tmp_path, instance, made_tailer, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    execute(make_pipeline(tmp_path), instance, "ingest", "XASX")
    tailer, recorder = made_tailer()
    tailer.tick()
    assert lineage(recorder) == []
    assert LINEAGE_TYPE not in recorder.log.counts()
    assert len(fold(recorder.log.read())) == 6


def sensor_tick(pipeline, instance, cursor=None):
    defs = build_definitions(pipeline.settings, pipeline.event_settings, pipeline)
    repository = defs.get_repository_def()
    sensor = repository.get_sensor_def("event_relay")
    context = dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        repository_def=repository,
        resources={"pipeline": pipeline},
    )
    return sensor, sensor.evaluate_tick(context)


def test_the_sensor_relays_and_tells_its_lag(tmp_path, instance):
    pipeline = make_pipeline(tmp_path)
    pipeline.event_settings = embedded_settings()
    sensor, first = sensor_tick(pipeline, instance)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert Cursor.load(first.cursor).position == DagsterLog(instance).head()
    execute(pipeline, instance, "ingest", "XASX")
    _, second = sensor_tick(pipeline, instance, first.cursor)
    assert "0 behind" in second.skip_message
    assert len(fold(pipeline.events.log.read())) == 6
    assert Cursor.load(second.cursor).position > Cursor.load(first.cursor).position
    pipeline.events.close(0)


@pytest.mark.parametrize("start", ["now", "beginning"])
def test_runs_before_the_first_look_at_an_instance_are_told(tmp_path, instance, start):
    """Two runs of the UI are over before the sensor ticks for the first time."""
    pipeline = make_pipeline(tmp_path)
    execute(pipeline, instance, "ingest", "XASX")  # events are off
    pipeline.event_settings = embedded_settings(event_relay_start=start)
    runs = [execute(pipeline, instance, "ingest", "XASX", full_refresh=True) for _ in range(2)]
    _, tick = sensor_tick(pipeline, instance)
    assert "0 behind" in tick.skip_message
    told = [e["run"]["runId"] for e in lineage(pipeline.events) if e["job"]["name"] == "ingest"]
    wanted = {r.run_id for r in runs}
    assert wanted == set(told) if start == "now" else wanted < set(told)
    assert len(told) == 2 * len(set(told))  # where each began, and how it ended
    pipeline.events.close(0)


def test_the_sensor_is_off_in_direct_mode(tmp_path, instance):
    pipeline = make_pipeline(tmp_path)
    pipeline.event_settings = load_event_settings()
    assert pipeline.event_settings.event_store_type == "auto"
    sensor, tick = sensor_tick(pipeline, instance)
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
    assert "EVENT_STORE_TYPE" in tick.skip_message
    assert not (pipeline.layout.root / "events").exists()


def test_a_tick_signs_the_head_once_a_day_and_never_waits_for_a_key(
    instance, made_tailer, tmp_path
):
    key = tmp_path / "key.pem"
    settings = embedded_settings(event_relay_start="beginning", event_signing_key=key)
    tailer, recorder = made_tailer(settings)
    layout = Layout(tmp_path / "store")
    materialise(instance, layout, 3)
    assert tailer.tick().behind == 0
    last = recorder.log.last()
    assert last >= 3
    assert layout.head_files() == []
    assert str(key) in recorder.log.fact("signing")
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    key.write_bytes(pem)
    tailer.tick()
    tailer.tick()
    (head,) = layout.head_files()
    assert f"\nevent {last}\n" in head.read_text()
    assert recorder.log.fact("signing") == ""
