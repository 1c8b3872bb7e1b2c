"""OpenLineage run events of the orchestrator's records."""

import datetime as dt
import json
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from etf_pipeline.events.lineage import lineage_events
from etf_pipeline.events.model.envelope import LINEAGE_TYPE
from etf_pipeline.events.model.types import LINEAGE
from etf_pipeline.events.orchestrator import FailedStage, LogRecord
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.reader import read_table

START = dt.datetime(2025, 11, 12, 6, 0, tzinfo=dt.UTC)
TIME = dt.datetime(2025, 11, 12, 6, 5, tzinfo=dt.UTC)
RUN = "0b6f2f0e-7f3a-4a58-9f0e-3f1f6f8f9a10"


def record(kind, **more):
    return LogRecord(1, kind, RUN, "ingest", TIME, **more)


def bodies(tmp_path, one, namespace="etf_pipeline"):
    return [json.loads(e.data) for e in lineage_events(Layout(tmp_path), one, namespace, "store")]


@pytest.mark.parametrize(
    ("kind", "told"),
    [("start", "START"), ("success", "COMPLETE"), ("failure", "FAIL"), ("canceled", "ABORT")],
)
def test_a_run_is_told_by_its_state(tmp_path, kind, told):
    (body,) = bodies(tmp_path, record(kind))
    assert body["eventType"] == told
    assert body["run"]["runId"] == RUN
    assert body["job"] == {"namespace": "etf_pipeline", "name": "ingest", "facets": {}}
    assert dt.datetime.fromisoformat(body["eventTime"]) == TIME


def test_a_failed_run_says_why(tmp_path):
    (body,) = bodies(tmp_path, record("failure", error="no such planet"))
    assert body["run"]["facets"]["errorMessage"]["message"] == "no such planet"


def test_an_asset_is_a_run_of_its_own_below_the_run(tmp_path):
    made = record(
        "materialisation",
        asset="price_history",
        partition="XASX",
        run_started=START,
        nominal="2025-11-12T17:00:00+11:00",
        metadata={"rows_added": 7},
    )
    first, last = bodies(tmp_path, made)
    assert (first["eventType"], last["eventType"]) == ("START", "COMPLETE")
    assert dt.datetime.fromisoformat(first["eventTime"]) == START
    assert dt.datetime.fromisoformat(last["eventTime"]) == TIME
    assert first["run"]["runId"] == last["run"]["runId"] != RUN
    for body in (first, last):
        facets = body["run"]["facets"]
        assert facets["parent"]["run"]["runId"] == RUN
        assert facets["parent"]["job"]["name"] == "ingest"
        assert facets["nominalTime"]["nominalStartTime"] == "2025-11-12T17:00:00+11:00"
    output, quarantine = last["outputs"]
    assert output["name"] == (tmp_path / "historical").resolve().as_posix()
    assert quarantine["name"] == (tmp_path / "quarantine").resolve().as_posix()
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 7
    read = [(tmp_path / name).resolve().as_posix() for name in ("raw", "corrections")]
    assert [i["name"] for i in last["inputs"]] == read


def test_rates_are_inputs_each_in_its_version(tmp_path):
    layout = Layout(tmp_path)
    converted = [
        Outcome("calm", OutcomeKind.UPDATED, currency="AUD", fx="AUDUSD=X:01,USDJPY=X"),
        Outcome("bold", OutcomeKind.UPDATED, currency="AUD", fx="AUDUSD=X:01,EURUSD=X:02"),
        Outcome("own", OutcomeKind.UPDATED, currency="AUD"),
    ]
    write_manifest(layout, "optimised_portfolios", RUN, "", converted, TIME, "yahoo")
    made = record("materialisation", asset="optimised_portfolios", partition="")
    prices, *rates = bodies(tmp_path, made)[1]["inputs"]
    folder = (tmp_path / "historical").resolve()
    assert prices["name"] == folder.as_posix()
    assert {i["name"]: i["facets"].get("version", {}).get("datasetVersion") for i in rates} == {
        layout.of(HISTORY, "AUDUSD=X").resolve().as_posix(): "01",
        layout.of(HISTORY, "EURUSD=X").resolve().as_posix(): "02",
        layout.of(HISTORY, "USDJPY=X").resolve().as_posix(): None,
    }
    assert all(Path(i["name"]).parent == folder for i in rates)


def test_a_manifest_of_an_earlier_release_names_no_rates(tmp_path):
    layout = Layout(tmp_path)
    path = write_manifest(
        layout, "backtests", RUN, "", [Outcome("calm", OutcomeKind.UPDATED)], TIME, "yahoo"
    )
    pq.write_table(read_table(path).drop_columns(["fx"]), path)
    made = record("materialisation", asset="backtests", partition="")
    assert len(bodies(tmp_path, made)[1]["inputs"]) == 1


def test_partitions_are_different_runs(tmp_path):
    runs = {
        bodies(tmp_path, record("materialisation", asset="raw_prices", partition=p))[0]["run"][
            "runId"
        ]
        for p in ("XASX", "XNYS")
    }
    assert len(runs) == 2


def test_what_people_open_is_told_too(tmp_path):
    """Reports and the SQL catalogue have no columns of ours, and are still made from tables."""
    for asset, where in (("reports", "reports"), ("sql_catalog", "etf.duckdb")):
        first, last = bodies(tmp_path, record("materialisation", asset=asset))
        assert (first["eventType"], last["eventType"]) == ("START", "COMPLETE")
        assert [o["name"] for o in last["outputs"]] == [(tmp_path / where).resolve().as_posix()]
        read = {Path(i["name"]).name for i in last["inputs"]}
        assert read > {"historical", "weights", "summary", "frontier", "backtest_events"}


def test_what_is_no_asset_of_ours_is_not_told(tmp_path):
    assert bodies(tmp_path, record("materialisation", asset="somebody_elses")) == []


def failed(stage, reason="no such planet", started=START):
    return FailedStage(stage, "our_mistake", reason, TIME, started)


@pytest.mark.parametrize(("kind", "told"), [("failure", "FAIL"), ("canceled", "ABORT")])
def test_a_failed_asset_has_a_run_of_its_own(tmp_path, kind, told):
    lost = record(kind, partition="XASX", stages=(failed("price_history"),))
    run, first, last = bodies(tmp_path, lost)
    assert run["run"]["runId"] == RUN
    assert (first["eventType"], last["eventType"]) == ("START", told)
    assert last["job"]["name"] == "etf_pipeline.price_history"
    assert first["run"]["runId"] == last["run"]["runId"] != RUN
    assert last["run"]["facets"]["parent"]["run"]["runId"] == RUN
    assert last["run"]["facets"]["errorMessage"]["message"] == "no such planet"
    assert "errorMessage" not in first["run"]["facets"]
    assert dt.datetime.fromisoformat(first["eventTime"]) == START
    assert {Path(o["name"]).name for o in last["outputs"]} == {"historical", "quarantine"}
    # the same run as if it had been made
    made = record("materialisation", asset="price_history", partition="XASX", run_started=START)
    assert bodies(tmp_path, made)[0]["run"]["runId"] == first["run"]["runId"]


def test_an_error_of_any_length_and_kind_can_be_told(tmp_path):
    """Megabytes, half a surrogate pair, NUL: the event is small and can be written as UTF-8."""
    reason = "a\x00b\udc80c" + "x" * 3_000_000 + "the end"
    lost = record("failure", error=reason, stages=(failed("raw_prices", reason),))
    events = lineage_events(Layout(tmp_path), lost, "etf_pipeline", "store")
    assert [len(e.data.encode()) < 40_000 for e in events] == [True] * 3
    for event in (events[0], events[2]):
        said = json.loads(event.data)["run"]["facets"]["errorMessage"]["message"]
        assert said.startswith("a\ufffdb\ufffdcx")
        assert said.endswith("the end")


def test_telling_it_twice_gives_the_same_ids(tmp_path):
    made = record("materialisation", asset="risk_metrics", run_started=START)
    once, again = (
        lineage_events(Layout(tmp_path), made, "etf_pipeline", "store") for _ in range(2)
    )
    assert [e.id for e in once] == [e.id for e in again]
    assert len({e.id for e in once}) == 2
    assert {(e.type, e.channel) for e in once} == {(LINEAGE_TYPE, LINEAGE)}


def test_a_run_id_that_is_no_uuid_becomes_one(tmp_path):
    odd = LogRecord(1, "start", "run00001", "ingest", TIME)
    (body,) = bodies(tmp_path, odd)
    assert str(UUID(body["run"]["runId"])) == body["run"]["runId"]
    assert bodies(tmp_path, odd)[0]["run"]["runId"] == body["run"]["runId"]


def test_the_namespace_of_jobs_can_be_named(tmp_path):
    (run,) = bodies(tmp_path, record("start"), "desk")
    _, asset = bodies(tmp_path, record("materialisation", asset="raw_prices"), "desk")
    assert run["job"]["namespace"] == asset["job"]["namespace"] == "desk"
    assert asset["run"]["facets"]["parent"]["job"]["namespace"] == "desk"
