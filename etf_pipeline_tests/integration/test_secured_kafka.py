"""Apache Kafka with TLS, passwords, client certificates and rights."""

import logging

import pytest

from etf_pipeline.events.factory import detect, open_events
from etf_pipeline.events.kafka.client import SILENT, base_config
from etf_pipeline.events.kafka.probe import ask_kafka
from etf_pipeline.events.kafka.producer import ProducerLease
from etf_pipeline.events.settings import EventSettings, variable_of
from etf_pipeline_tests.brokers.apache import Apache
from etf_pipeline_tests.brokers.secured import Secured
from etf_pipeline_tests.events_support import ids, kafka_settings, queries
from etf_pipeline_tests.integration.test_event_cases import wait_until

if (_why := Apache.missing()) is not None:
    pytest.skip(_why, allow_module_level=True)


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """Passwords over TLS, and rights."""
    with Secured(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture
def client(monkeypatch):
    """Sets the variables of a user of a broker."""

    def become(broker, user="etf", **changes):
        for name, value in (broker.variables(user) | changes).items():
            monkeypatch.setenv(name, value)

    return become


def test_rights_given_suffice_and_withdrawn_stop_and_given_again_go_on(secured, client, tmp_path):
    client(secured)
    settings = kafka_settings(secured.servers)
    topics = f"{settings.kafka_topic_prefix}."
    secured.allow("etf", "ALL", topic=topics, prefixed=True)
    secured.allow("etf", "READ", group=topics, prefixed=True)
    recorder = open_events(tmp_path, settings, publish=False)
    first, second = queries(10), queries(10, start=10)
    recorder.append(first)
    assert recorder.drain(30) == 0
    secured.withdraw("etf")
    recorder.append(second)
    assert recorder.drain(3) == 10
    secured.allow("etf", "ALL", topic=topics, prefixed=True)
    secured.allow("etf", "READ", group=topics, prefixed=True)
    assert recorder.drain(30) == 0
    assert set(ids(recorder.read())) == {e.id for e in (*first, *second)}
    recorder.close(0)


def test_mutual_tls_sends(tmp_path, client):
    """The broker asks for a certificate before it answers anything (case D)."""
    with Secured(tmp_path / "broker", "SSL", client_auth="required") as broker:
        client(broker)
        settings = kafka_settings(broker.servers, event_store_type="auto")
        topics = f"{settings.kafka_topic_prefix}."
        broker.allow("etf", "ALL", topic=topics, prefixed=True)
        broker.allow("etf", "READ", group=topics, prefixed=True)
        assert ask_kafka(settings, 5.0) is None  # the first greeting of a JVM takes long
        assert detect(settings).mode == "kafka"
        recorder = open_events(tmp_path / "store", settings, publish=False)
        events = queries(10)
        recorder.append(events)
        assert recorder.drain(30) == 0
        assert set(ids(recorder.read())) == {e.id for e in events}
        recorder.close(0)


@pytest.mark.parametrize(("speaks", "asked"), [("TLS", "PLAINTEXT"), ("plain", "SSL")])
def test_the_wrong_protocol_is_told(secured, monkeypatch, speaks, asked):
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", asked)
    servers = secured.servers if speaks == "TLS" else secured.inside_servers
    assert "KAFKA_SECURITY_PROTOCOL" in ask_kafka(EventSettings(kafka_bootstrap_servers=servers), 2)


@pytest.mark.parametrize("setting", ["linger.ms", "compression.type"])
def test_what_a_variable_says_holds_in_the_producer(secured, monkeypatch, setting):
    """Read back from librdkafka's own account of its configuration."""
    value = {"linger.ms": "123", "compression.type": "snappy"}[setting]
    own = {"linger.ms": "queue.buffering.max.ms", "compression.type": "compression.codec"}[setting]
    monkeypatch.setenv(variable_of(setting), value)
    monkeypatch.setenv("KAFKA_DEBUG", "conf")
    monkeypatch.setenv("KAFKA_LOG__LEVEL", "7")
    config = base_config(EventSettings(kafka_bootstrap_servers=secured.inside_servers))
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    SILENT.addHandler(handler)
    try:
        lease = ProducerLease(config)
        lease.get()
        wait_until(lambda: any(f" {own} = {value}" in line for line in lines), 10)
        lease.release()
    finally:
        SILENT.removeHandler(handler)
