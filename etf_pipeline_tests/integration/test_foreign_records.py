"""Anything may come from a topic: what is no event is parked and counted, and the rest is read."""

import asyncio
import datetime as dt

import pytest
from confluent_kafka import Producer

from etf_pipeline.events.factory import open_events
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.log.parked import Parked
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.model.envelope import to_kafka
from etf_pipeline.events.model.types import QUERY
from etf_pipeline.events.proof.verify import verify
from etf_pipeline.library.system import ETFSystem
from etf_pipeline.settings import Settings
from etf_pipeline_tests.events_support import ids, kafka_settings, queries, query


def changed(**headers):
    """Headers and value of an event of ours, some headers in another way."""
    message = to_kafka(query())
    return [*{**message.headers, **headers}.items()], message.value


def without(name):
    message = to_kafka(query())
    return [(k, v) for k, v in message.headers.items() if k != name], message.value


# What came, and what is said of it.
RECORDS = {
    "no header": (([], b"hello"), "foreign_record"),
    "nothing at all": (([], None), "foreign_record"),
    "another's event": (changed(ce_type=b"com.example.order.v1"), "foreign_record"),
    "a null type": (changed(ce_type=None), "foreign_record"),
    "no type": (without("ce_type"), "foreign_record"),
    "a null id": (changed(ce_id=None), "unreadable_record"),
    "an empty id": (changed(ce_id=b""), "unreadable_record"),
    "no time": (without("ce_time"), "unreadable_record"),
    "a bad time": (changed(ce_time=b"yesterday"), "unreadable_record"),
    "a time without a zone": (changed(ce_time=b"2025-11-12T06:00:00"), "unreadable_record"),
    "bytes that are no text": (changed(ce_subject=b"\xff\xfe"), "unreadable_record"),
    "a value that is no text": ((changed()[0], b"\xff\xfe\x00"), "unreadable_record"),
    "a deleted value": ((changed()[0], None), "unreadable_record"),
    "a number that is none": (changed(ce_sequence=b"many", ce_logid=b"l"), "unreadable_record"),
    "a version beyond all": (
        changed(ce_type=b"etf_pipeline.PriceDataQueried.v99999999999999999999"),
        "unreadable_record",
    ),
}


def put(settings, *records):
    """Have another program write records to the topic of the queries."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    failed = []
    for headers, value in records:
        producer.produce(
            topic_name(settings, QUERY),
            value,
            "T0",
            headers=headers,
            on_delivery=lambda error, _: failed.append(error),
        )
    producer.flush(30)
    assert failed == [None] * len(records)


@pytest.fixture
def store(tmp_path, broker):
    """A store whose topic has events of its own, all of those records, and events again."""
    settings = kafka_settings(broker.servers, kafka_topic_partitions=2, event_store_id="instance")
    mine = open_events(tmp_path / "store", settings, publish=False)
    system = ETFSystem(Settings(data_dir=tmp_path / "store"), mine)
    mine.append(queries(30))
    assert mine.drain(30) == 0
    put(settings, *(record for record, _ in RECORDS.values()))
    mine.append(queries(30, start=30))
    assert mine.drain(30) == 0
    yield system
    mine.close(0)


def parked(store):
    table = Parked(store.layout.event_log)
    try:
        return table.counts(), table.newest(100)
    finally:
        table.close()


WANTED = {
    reason: sum(said == reason for _, said in RECORDS.values())
    for reason in ("foreign_record", "unreadable_record")
}


def test_a_reader_reads_the_rest_and_parks_them_once(store):
    wanted = {e.id for e in queries(60)}
    for _ in range(2):
        assert set(ids(store.event_store.broker.read())) == wanted
    counts, found = parked(store)
    assert counts == WANTED
    assert all(not r.missing and r.spot.kind == "kafka" for r in found)
    assert b"hello" in {r.raw for r in found}


def test_replay_archive_and_verify_go_on(store):
    assert len(asyncio.run(store.replay_events())) == 60
    assert store.event_store.archive(store.archive, dt.datetime.now(dt.UTC)).events == 60
    failed = [c for c in verify(store.event_store, store.layout) if not c.ok]
    assert failed == []


def test_read_models_take_in_every_event(store, tmp_path):
    model = Projections(tmp_path / "p.sqlite")
    assert store.event_store.projector(model).run(once=True) == 60
    assert model.event_ids() == {e.id for e in queries(60)}
    assert store.event_store.projector(model).run(once=True) == 0
    model.close()


def test_the_publisher_reads_back_over_them(store):
    reader = store.event_store.broker.reader
    for key, (low, high) in reader.ranges([QUERY]).items():
        there = reader.ids_between(*key, low, high)
        mine = {e.position: e.id for b in reader.read([QUERY]) for e in b if e.partition == key[1]}
        assert mine.items() <= there.items()
        assert all(reader.id_at(*key, at) == name for at, name in mine.items())


def test_without_a_place_to_park_them_they_are_told(broker, caplog):
    log = KafkaLog(kafka_settings(broker.servers, kafka_topic_partitions=1))
    assert all(d.ok for d in log.append(queries(3)))
    put(log.settings, ([], b"hello"))
    assert len(ids(log.read())) == 3
    assert "1 records are not events of etf_pipeline, the first at offset 3" in caplog.text
    log.close()
