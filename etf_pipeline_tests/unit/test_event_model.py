"""Types, versions, envelopes and ids of events."""

import datetime as dt
import json
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

from etf_pipeline.errors import EventFormatError
from etf_pipeline.events.model.envelope import Event, make_event, micros, to_kafka
from etf_pipeline.events.model.records import from_kafka
from etf_pipeline.events.model.types import (
    DATA,
    REGISTRY,
    EventData,
    PortfolioOptimized,
    PriceDataQueried,
    Registry,
    json_schemas,
    rates_used,
)
from etf_pipeline_tests.conftest import ROOT
from etf_pipeline_tests.events_support import T0, query

GOLDEN = Path(__file__).parents[1] / "golden_events"
VERSIONS = [(name, version) for name, version, _ in REGISTRY.versions()]


def test_the_nine_types():
    assert {n for n, _ in VERSIONS} == {
        "ETFDataCollected",
        "ETFDataUpdated",
        "ETFDataRejected",
        "ETFDataCollectionFailed",
        "PipelineStageFailed",
        "EventsLost",
        "RiskMetricsCalculated",
        "PortfolioOptimized",
        "PriceDataQueried",
    }


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_golden_files_of_every_version_still_read(name, version):
    golden = json.loads((GOLDEN / f"{name}.v{version}.json").read_text())
    data = REGISTRY.parse(name, version, json.dumps(golden["data"]))
    newest = max(v for n, v in VERSIONS if n == name)
    assert REGISTRY.name_of(data) == (name, newest)
    if version == newest:
        assert json.loads(data.model_dump_json()) == golden["data"]


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_golden_messages_still_read(name, version):
    golden = json.loads((GOLDEN / f"{name}.v{version}.json").read_text())
    headers = [(k, v.encode()) for k, v in golden["headers"].items()]
    body = json.dumps(golden["data"], separators=(",", ":")).encode()
    event = from_kafka(headers, body, REGISTRY.channel(name), 0, 7, 0)
    assert (event.type, event.version) == (name, version)
    assert event.id == golden["headers"]["ce_id"]
    assert event.time == dt.datetime.fromisoformat(golden["headers"]["ce_time"])
    assert REGISTRY.name_of(event.payload())[0] == name


def test_a_first_version_says_no_currency():
    for path in GOLDEN.glob("*.v1.json"):
        name = path.name.removesuffix(".v1.json")
        data = REGISTRY.parse(name, 1, json.dumps(json.loads(path.read_text())["data"]))
        if (name, 2) in VERSIONS:
            assert data.currency is None
            assert getattr(data, "fx", None) is None


@pytest.mark.parametrize(
    ("name", "version", "said_since"),
    [
        ("ETFDataCollected", 2, {"corrections"}),
        ("ETFDataUpdated", 2, {"corrections"}),
        ("ETFDataRejected", 1, {"corrections", "currency", "reason_code"}),
        ("ETFDataCollectionFailed", 1, {"corrections", "currency", "reason_code"}),
        ("RiskMetricsCalculated", 2, {"gone"}),
        ("PortfolioOptimized", 2, {"gone"}),
    ],
)
def test_an_earlier_version_says_nothing_of_what_came_later(name, version, said_since):
    golden = json.loads((GOLDEN / f"{name}.v{version}.json").read_text())["data"]
    data = json.loads(REGISTRY.parse(name, version, json.dumps(golden)).model_dump_json())
    assert {k for k, v in data.items() if k not in golden and v is None} == said_since
    assert {k: v for k, v in data.items() if k in golden} == golden


@pytest.mark.parametrize(
    ("named", "pairs"),
    [
        (None, None),
        ("AUDUSD=X:0123456789ab", {"AUDUSD=X": "0123456789ab"}),
        ("AUDUSD=X:01,USDJPY=X", {"AUDUSD=X": "01", "USDJPY=X": None}),
    ],
)
def test_rates_that_were_used(named, pairs):
    assert rates_used(named) == pairs


def test_published_schemas_are_current():
    folder = ROOT / "docs" / "events"
    published = {p.name: json.loads(p.read_text()) for p in folder.glob("*.json")}
    assert published == json_schemas(), "run: python -m etf_pipeline.events.schemas docs/events"


class ThingDone(EventData):
    """First version: a size in words."""

    size: str


class ThingDoneTwo(EventData):
    """Second version: a size in numbers, and a unit."""

    size: int
    unit: str


class ThingDoneThree(EventData):
    """Third version: the unit is gone, as it is always metres."""

    metres: int


def versioned() -> Registry:
    registry = Registry()
    registry.add(ThingDone, DATA, "ThingDone")
    words = {"one": 1, "two": 2}
    registry.add(
        ThingDoneTwo, DATA, "ThingDone", 2, lambda d: {"size": words[d["size"]], "unit": "km"}
    )
    registry.add(
        ThingDoneThree,
        DATA,
        "ThingDone",
        3,
        lambda d: {"metres": d["size"] * (1000 if d["unit"] == "km" else 1)},
    )
    return registry


@pytest.mark.parametrize(
    ("version", "payload", "metres"),
    [(1, '{"size": "two"}', 2000), (2, '{"size": 5, "unit": "m"}', 5), (3, '{"metres": 9}', 9)],
)
def test_older_versions_become_the_newest(version, payload, metres):
    assert versioned().parse("ThingDone", version, payload) == ThingDoneThree(metres=metres)


def test_a_later_version_is_refused_with_the_remedy():
    with pytest.raises(EventFormatError, match=r"version 4 .*newest known: 3.*upgrade"):
        versioned().parse("ThingDone", 4, "{}")
    with pytest.raises(EventFormatError, match="NoSuchThing"):
        versioned().parse("NoSuchThing", 1, "{}")


def test_versions_must_follow_each_other_with_an_upcaster():
    registry = versioned()
    with pytest.raises(ValueError, match="does not follow"):
        registry.add(ThingDone, DATA, "ThingDone", 5, lambda d: d)
    with pytest.raises(ValueError, match="upcaster"):
        registry.add(ThingDone, DATA, "ThingDone", 4)


def test_a_payload_of_another_shape_names_the_field():
    with pytest.raises(EventFormatError, match=r"PriceDataQueried version 1: rows"):
        REGISTRY.parse("PriceDataQueried", 1, query().data.replace('"rows":10', '"rows":"many"'))


def test_a_field_that_a_later_release_added_is_no_obstacle():
    extended = query().data.replace("{", '{"added_later":1,', 1)
    assert REGISTRY.parse("PriceDataQueried", 1, extended) == query().payload().model_copy(
        update={"run_id": json.loads(extended)["run_id"]}
    )


def test_numbers_that_json_cannot_carry_are_refused():
    with pytest.raises(ValueError, match="finite"):
        PortfolioOptimized(
            portfolio="p",
            origin="library",
            run_id="c",
            as_of=None,
            content_hash=None,
            parameters={},
            success=True,
            message="",
            weights={"A": float("nan")},
            expected_return=None,
            volatility=None,
            sharpe_ratio=None,
            optimality_gap=None,
        )


def payload() -> PriceDataQueried:
    return query(1).payload()  # type: ignore[return-value]


def test_ids_are_deterministic_uuid5():
    one = make_event(payload(), "VAS", ("run", "x"), T0, "instance")
    later = T0 + dt.timedelta(hours=1)
    two = make_event(payload(), "VAS", ("run", "x"), T0, "instance", recorded=later)
    assert one.id == two.id
    assert UUID(one.id).version == 5
    others = [
        make_event(payload(), "VAS", ("run", "y"), T0, "instance"),
        make_event(payload(), "VGS", ("run", "x"), T0, "instance"),
        make_event(payload(), "VAS", ("run", "x"), T0, "another"),
        make_event(payload(), "VAS", ("run", "x"), later, "instance"),
        # parts do not run into each other
        make_event(payload(), "VAS", ("run\x1fx",), T0, "instance"),
    ]
    assert len({one.id, *(e.id for e in others)}) == 6


def test_a_naive_time_is_refused_with_the_remedy():  # case 12
    with pytest.raises(ValueError, match=r"no time zone.*UTC"):
        make_event(payload(), "VAS", ("r",), dt.datetime(2025, 11, 1), "i")  # noqa: DTZ001


def test_one_instant_in_three_zones_is_one_time():  # case 12
    zones = ["UTC", "Australia/Sydney", "America/New_York"]
    events = [
        make_event(payload(), "VAS", ("r",), T0.astimezone(ZoneInfo(z)), "i", T0) for z in zones
    ]
    assert events[0] == events[1] == events[2]


def test_microseconds_survive_the_envelope():
    for moment in (T0, T0 + dt.timedelta(microseconds=1), T0 + dt.timedelta(microseconds=999_999)):
        event = query(1, time=moment)
        message = to_kafka(event)
        back = from_kafka(list(message.headers.items()), message.value, event.channel, -1, -1, 0)
        assert back == event
        assert back.time == moment


def test_the_cloudevents_library_reads_our_messages():
    event = query(3)
    message = to_kafka(event)
    cloud = from_binary_event(KafkaMessage(message.headers, event.subject, message.value))
    assert cloud.get_id() == event.id
    assert cloud.get_type() == "etf_pipeline.PriceDataQueried.v2"
    assert cloud.get_subject() == "VAS"
    assert cloud.get_time() == event.time
    assert cloud.get_data() == json.loads(event.data)
    assert all(k.startswith("ce_") or k == "content-type" for k in message.headers)


def test_a_message_of_another_program_is_named():
    with pytest.raises(EventFormatError, match=r"query-events\[2\] offset 9 .*another program"):
        from_kafka([("x", b"y")], b"hello", "query-events", 2, 9, 0)


def test_an_envelope_without_our_extension_is_recorded_at_produce_time():
    message = to_kafka(query(1))
    headers = [(k, v) for k, v in message.headers.items() if k != "ce_recordedtime"]
    event = from_kafka(headers, message.value, "query-events", 0, 0, 1_700_000_000_123)
    assert event.recorded_us == 1_700_000_000_123_000


def test_times_before_1970_have_their_place():
    before = dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, dt.UTC)
    assert micros(before) == -1
    assert Event("i", "t", 1, "s", "x", -1, -1, "{}", DATA).time == before
