"""Lineage against what OpenLineage's JSON schema (spec 2-0-2 and its facets) requires."""

import datetime as dt
import json
import re
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from etf_pipeline.events.lineage import lineage_events
from etf_pipeline.events.orchestrator import FailedStage, LogRecord
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.store.layout import Layout

TIME = dt.datetime(2025, 11, 12, 6, 5, tzinfo=dt.UTC)
RUN = "0b6f2f0e-7f3a-4a58-9f0e-3f1f6f8f9a10"
STATES = {"START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"}
# By facet, what its own schema requires besides `_producer` and `_schemaURL`.
REQUIRED = {
    "parent": {"run", "job"},
    "nominalTime": {"nominalStartTime"},
    "errorMessage": {"message", "programmingLanguage"},
    "schema": set(),
    "dataSource": set(),
    "columnLineage": {"fields"},
    "version": {"datasetVersion"},
    "outputStatistics": set(),
}


def records():
    stage = FailedStage("price_history", "our_mistake", "no such planet", TIME, None)
    for kind in ("start", "success", "failure", "canceled"):
        yield LogRecord(1, kind, RUN, "ingest", TIME, error="why", stages=(stage,))
    for asset in LINEAGE:
        yield LogRecord(
            2,
            "materialisation",
            RUN,
            "ingest",
            TIME,
            asset=asset,
            partition="XASX",
            metadata={"dagster/row_count": 7},
            nominal="2025-11-12T17:00:00+11:00",
        )


def is_uri(text):
    return bool(re.fullmatch(r"[a-z][a-z0-9+.-]*:\S+", text)) and bool(urlsplit(text).path)


def check_moment(text):
    """RFC 3339 has a zone in each time."""
    assert dt.datetime.fromisoformat(text).utcoffset() is not None
    assert "T" in text


def check_facets(facets):
    for name, facet in facets.items():
        assert is_uri(facet["_producer"]), name
        assert facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/"), name
        assert REQUIRED[name] <= facet.keys(), name
    if "parent" in facets:
        UUID(facets["parent"]["run"]["runId"])
        assert {"namespace", "name"} <= facets["parent"]["job"].keys()
    if "nominalTime" in facets:
        check_moment(facets["nominalTime"]["nominalStartTime"])
    for field in facets.get("schema", {}).get("fields", ()):
        assert isinstance(field["name"], str)
    for origin in facets.get("columnLineage", {}).get("fields", {}).values():
        for one in origin["inputFields"]:
            assert all(isinstance(one[k], str) for k in ("namespace", "name", "field"))


@pytest.mark.parametrize("record", list(records()), ids=lambda r: r.asset or r.kind)
def test_every_event_has_what_the_schema_requires(tmp_path, record):
    layout = Layout(tmp_path / "störe 1")
    files = {name: tmp_path / f"{name}.csv" for name in ("universe", "portfolios")}
    found = lineage_events(layout, record, "etf_pipeline", "store", files)
    assert found
    for body in (json.loads(event.data) for event in found):
        assert {"eventTime", "producer", "schemaURL", "run", "job"} <= body.keys()
        check_moment(body["eventTime"])
        assert body["eventType"] in STATES
        assert is_uri(body["producer"])
        assert re.fullmatch(
            r"https://openlineage\.io/spec/\d+-\d+-\d+/OpenLineage\.json#/(\$defs|definitions)/RunEvent",
            body["schemaURL"],
        )
        UUID(body["run"]["runId"])
        check_facets(body["run"].get("facets", {}))
        assert all(isinstance(body["job"][k], str) for k in ("namespace", "name"))
        for side, own in (("inputs", "inputFacets"), ("outputs", "outputFacets")):
            for dataset in body.get(side, ()):
                assert all(isinstance(dataset[k], str) for k in ("namespace", "name"))
                check_facets(dataset.get("facets", {}))
                check_facets(dataset.get(own, {}))
                if "dataSource" in dataset["facets"]:
                    assert is_uri(dataset["facets"]["dataSource"]["uri"])
