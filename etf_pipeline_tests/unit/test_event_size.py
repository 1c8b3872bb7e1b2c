"""An event that is too large to be sent keeps its facts, and a file beside the log has the rest."""

import hashlib
import json

import pytest

from etf_pipeline.errors import CorruptFileError, StoreError
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.log.large import whole
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.envelope import lineage_event, make_event
from etf_pipeline.events.model.size import shorten, shortened, too_large
from etf_pipeline.events.model.types import (
    LINEAGE,
    ETFDataRejected,
    PortfolioOptimized,
    RiskMetricsCalculated,
)
from etf_pipeline.events.proof.verify import verify
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import T0, embedded_settings, linked

HALF_A_MEBIBYTE = 524_288


def rejected(reason):
    data = ETFDataRejected(
        ticker="VAS",
        run_id="run",
        partition="XASX",
        source="yahoo",
        asset="raw_prices",
        reason=reason,
    )
    return make_event(data, "VAS", ("run",), T0, "store", T0)


def portfolio(**changes):
    values = {
        "portfolio": "p",
        "origin": "library",
        "run_id": "c",
        "as_of": None,
        "content_hash": "ef" * 32,
        "parameters": {"objective": "min_volatility", "lookback_years": 3},
        "success": True,
        "message": "optimal",
        "weights": {"VAS": 1.0},
        "expected_return": 0.08,
        "volatility": 0.1,
        "sharpe_ratio": 0.8,
        "optimality_gap": 1e-12,
    }
    return make_event(PortfolioOptimized(**(values | changes)), "p", ("c",), T0, "store", T0)


@pytest.fixture
def log(tmp_path):
    made = SqliteLog(tmp_path / "events" / "events.sqlite")
    yield made
    made.close()


def recorded(log, event):
    """The event as the log has it, and the file that has its whole payload."""
    log.append([event])
    (found,) = [e for batch in log.read([event.channel]) for e in batch]
    digest = hashlib.sha256(event.data.encode()).hexdigest()
    return found, log.path.parent / "large" / f"{digest}.json"


def test_bytes_count_and_not_characters(log):
    """Some 500,233 characters of Chinese are a million and a half bytes."""
    event = rejected("价" * 500_233)
    found, file = recorded(log, event)
    assert len(found.data.encode()) <= HALF_A_MEBIBYTE
    assert file.read_bytes() == event.data.encode()
    assert found[:7] == event[:7]  # id, type, version, source, subject and times
    told = json.loads(found.data)["shortened"]
    assert told == {
        "bytes": len(event.data.encode()),
        "sha256": file.stem,
        "file": f"events/large/{file.name}",
        "fields": ["reason"],
    }
    payload = found.payload()
    assert payload.reason[:-1] == "价" * (len(payload.reason) - 1)
    assert payload.reason[-1] == "…"
    assert len(payload.reason) > 1_000
    assert payload.ticker == "VAS"
    assert linked(log) == 1


@pytest.mark.parametrize("letter", ["a", "é", "价", "𝄞"])
def test_what_just_fits_is_left_as_it_is(log, letter):
    frame = len(rejected("").data.encode())
    n = (HALF_A_MEBIBYTE - frame) // len(letter.encode())
    fits, over = rejected(letter * n), rejected(letter * (n + 1))
    assert len(fits.data.encode()) <= HALF_A_MEBIBYTE < len(over.data.encode())
    assert (too_large(fits), too_large(over)) == (False, True)
    found, file = recorded(log, fits)
    assert found.data == fits.data
    assert not file.exists()


def test_many_weights_are_left_out_as_a_whole_and_the_facts_stay(log):
    event = portfolio(weights={f"T{i:06d}": 1 / 40_000 for i in range(40_000)})
    found, file = recorded(log, event)
    payload, before = found.payload(), event.payload()
    assert payload.weights == {}  # null would say that there is no portfolio
    assert payload.model_copy(update={"weights": before.weights}) == before
    assert shortened(found).fields == ["weights"]
    assert json.loads(file.read_text())["weights"] == before.weights


def test_of_what_was_asked_only_what_is_large_is_left_out():
    event = portfolio(
        parameters={
            "tickers": [f"T{i:06d}" for i in range(60_000)],
            "lookback_years": 3,
            "views": {f"v{i}": "x" * 90_000 for i in range(9)},
        }
    )
    found = shorten(event)
    assert found.payload().parameters["lookback_years"] == 3
    assert found.payload().parameters["tickers"] == []
    assert shortened(found).fields == ["parameters.tickers", "parameters.views"]
    assert not too_large(found)


def test_many_windows_of_risk(log):
    data = RiskMetricsCalculated(
        ticker="VAS",
        origin="library",
        run_id="c",
        as_of=None,
        content_hash=None,
        parameters={"lookback_years": 3},
        metrics={f"{i}y": {f"m{k}": 0.123456789 for k in range(40)} for i in range(1_000)},
    )
    found, file = recorded(log, make_event(data, "VAS", ("c",), T0, "store", T0))
    assert found.payload().metrics == {}
    assert len(json.loads(file.read_text())["metrics"]) == 1_000


def lineage(**changes):
    body = {
        "eventTime": T0.isoformat(),
        "producer": "urn:etf_pipeline:1",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "eventType": "COMPLETE",
        "run": {"runId": "01234567-89ab-cdef-0123-456789abcdef", "facets": {}},
        "job": {"namespace": "etf_pipeline", "name": "etf_pipeline.risk_metrics"},
        "inputs": [{"namespace": "file", "name": "/data/historical"}],
        "outputs": [{"namespace": "file", "name": "/data/risk"}],
    } | changes
    return lineage_event(("r",), "job", 0, json.dumps(body), "store"), body


def test_a_lineage_event_stays_one(log):
    """What OpenLineage requires of a run event stays as it was."""
    facet = {"_producer": "urn:x", "_schemaURL": "urn:x", "message": "价" * 400_000}
    columns = {"fields": {f"c{i}": {"inputFields": [{"name": "n" * 50}]} for i in range(9_000)}}
    event, body = lineage(
        run={"runId": "01234567-89ab-cdef-0123-456789abcdef", "facets": {"errorMessage": facet}},
        outputs=[{"namespace": "file", "name": "/data/risk", "facets": {"columnLineage": columns}}],
    )
    found, file = recorded(log, event)
    assert (found.channel, len(found.data.encode()) <= HALF_A_MEBIBYTE) == (LINEAGE, True)
    short = json.loads(found.data)
    for name in ("eventTime", "producer", "schemaURL", "eventType", "inputs"):
        assert short[name] == body[name]
    assert short["job"]["name"] == body["job"]["name"]
    assert short["run"]["runId"] == body["run"]["runId"]
    assert short["outputs"] == [{"namespace": "file", "name": "/data/risk"}]
    assert short["run"]["facets"]["errorMessage"]["message"].startswith("价" * 1_000)
    told = short["run"]["facets"]["etf_pipeline_shortened"]
    assert told["fields"] == ["outputs.facets", "run.facets.errorMessage.message"]
    assert told["_schemaURL"]  # as every facet has
    assert file.read_bytes() == event.data.encode()
    assert told["sha256"] == file.stem


def test_a_lineage_event_with_very_many_inputs(log):
    event, _ = lineage(
        inputs=[{"namespace": "file", "name": f"/data/historical/{i}"} for i in range(30_000)]
    )
    found, _ = recorded(log, event)
    assert json.loads(found.data)["inputs"] == []
    assert shortened(found).fields == ["inputs"]


def test_half_a_character_in_json_can_be_shortened():
    event, _ = lineage(producer="urn:\ud800", run={"runId": "r", "facets": {"x": "y" * 600_000}})
    found = shorten(event)
    assert json.loads(found.data)["producer"] == "urn:\ud800"


def test_nothing_is_recorded_when_the_whole_cannot_be_kept(log):
    log.verify_writable()
    (log.path.parent / "large").write_text("a file where the folder should be")
    with pytest.raises(StoreError):
        log.append([rejected("x" * 600_000), rejected("small")])
    assert log.last() == 0


def test_the_whole_is_read_back_or_refused(log):
    event = rejected("价" * 500_233)
    found, file = recorded(log, event)
    assert whole(found, log.path) == event.data
    assert whole(rejected("small"), log.path) == rejected("small").data
    file.write_text(file.read_text()[:-2] + "x}")
    with pytest.raises(CorruptFileError, match="was changed"):
        whole(found, log.path)
    log.append([event])  # told again: the file is put right
    assert whole(found, log.path) == event.data
    file.unlink()
    with pytest.raises(FileNotFoundError):
        whole(found, log.path)


def test_verify_says_when_the_whole_is_gone_or_changed(tmp_path):
    layout = Layout(tmp_path)
    events = open_events(layout, embedded_settings())
    source = f"/etf_pipeline/{events.instance}"
    events.append([rejected("x" * 600_000)._replace(source=source)])
    (file,) = (layout.event_log.parent / "large").iterdir()

    def readable():
        return next(c for c in verify(events, layout) if c.name == "events readable")

    assert readable().ok
    text = file.read_text()
    file.write_text(text.replace("x", "y"))
    assert not readable().ok
    assert "was changed" in readable().detail
    file.unlink()
    assert "is gone" in readable().detail
    file.write_text(text)
    assert readable().ok
    events.close()


def test_an_event_that_only_mentions_the_word_was_not_shortened():
    assert shortened(rejected('"shortened"')) is None
    assert shortened(portfolio(parameters={"shortened": {"bytes": 1}})) is None


def test_an_event_whose_facts_alone_are_too_large_is_kept_whole(log):
    """There is nothing to leave out of very many small fields: a broker may refuse it."""
    event = lineage_event(("r",), "job", 0, json.dumps({f"k{i}": i for i in range(60_000)}), "s")
    event = event._replace(type="ETFDataRejected")
    found, file = recorded(log, event)
    assert found.data == event.data
    assert not file.exists()
