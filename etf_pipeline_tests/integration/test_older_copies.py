"""An older copy of a log that was put back, in topics that others write very much to."""

from confluent_kafka import Producer

from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.modes.kafka import Kafka
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import ids, kafka_settings, put_back, queries


def sent(events, *new):
    events.append(new)
    assert events.drain(30) == 0


def written_by_another_store(broker, events, each):
    """As many records of another store in each partition of the queries."""
    producer = Producer({"bootstrap.servers": broker.servers})
    headers = {"ce_id": "x", "ce_source": "/etf_pipeline/other", "ce_logid": "other"}
    topic = topic_name(events.settings, "query-events")
    for _, partition in events.ranges(["query-events"]):
        for _ in range(each):
            producer.produce(topic, b"{}", partition=partition, headers=headers)
        producer.poll(0)
    assert producer.flush(30) == 0


def numbers_of(events, name):
    """Numbers and ids of what topics have of a log."""
    found = [e for batch in events.broker.read(["query-events"]) for e in batch if e.log == name]
    return {(e.number, e.id) for e in found}


def test_it_begins_anew_however_much_others_wrote_since(broker, tmp_path, monkeypatch):
    monkeypatch.setattr("etf_pipeline.events.kafka.restored._AT_ONCE", 50)
    layout, settings = Layout(tmp_path), kafka_settings(broker.servers, event_store_id="instance")
    events = Kafka(layout, settings, publish=False)
    sent(events, *queries(10))
    written_by_another_store(broker, events, 120)
    events.close(0)
    # looked through once, which the file keeps
    events = Kafka(layout, settings, publish=False)
    events.publisher.check()
    assert events.log.fact("looked_for_sent") is not None
    name = events.log.id
    events.close(0)
    copy = layout.event_log.read_bytes()
    written_by_another_store(broker, events, 120)
    events = Kafka(layout, settings, publish=False)
    sent(events, *queries(10, start=10))
    events.close(0)
    put_back(layout.event_log, copy)
    events = Kafka(layout, settings, publish=False)
    sent(events, *queries(5, start=30))
    assert events.log.id != name
    given = numbers_of(events, name)
    assert len(given) == len({number for number, _ in given}) == 20
    wanted = {e.id for e in [*queries(20), *queries(5, start=30)]}
    assert set(ids(read_all(events, Archive(layout)))) == wanted
    events.close(0)
