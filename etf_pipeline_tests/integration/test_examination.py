"""What is said of topics that lose events, on every broker; rights are in `test_secured_kafka`."""

import uuid

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.errors import EventError
from etf_pipeline.events.factory import examine, open_events
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline_tests.brokers import free_port
from etf_pipeline_tests.events_support import ids, kafka_settings, queries
from etf_pipeline_tests.unit.test_event_settings import FOREIGN


def made(broker, **config):
    """Settings whose topics somebody else made."""
    settings = kafka_settings(broker.servers, kafka_topic_prefix=f"t{uuid.uuid4().hex[:10]}")
    admin = AdminClient({"bootstrap.servers": broker.servers})
    names = [f"{settings.kafka_topic_prefix}.{c}" for c in (*CHANNELS, LINEAGE)]
    for future in admin.create_topics([NewTopic(n, 1, 1, config=config) for n in names]).values():
        future.result(20)
    return settings


def test_topics_that_are_not_there_yet_are_well_and_not_made(broker):
    settings = kafka_settings(broker.servers)
    assert examine(settings) == "kafka"
    there = AdminClient({"bootstrap.servers": broker.servers}).list_topics(timeout=10).topics
    assert not [name for name in there if name.startswith(settings.kafka_topic_prefix)]


@pytest.mark.parametrize("days", [-1, 3])
def test_topics_that_were_made_here_are_well(broker, days):
    settings = kafka_settings(broker.servers, event_store_retention_days=days)
    store = KafkaLog(settings)
    store.ensure_topics()
    assert examine(settings) == "kafka"
    store.close()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"cleanup.policy": "compact", "retention.ms": "-1"}, "is compacted"),
        ({"retention.ms": "86400000"}, "keeps events for 1 days"),
        ({"retention.ms": "-1", "retention.bytes": "1000"}, "keeps 1000 bytes"),
    ],
)
def test_a_topic_that_loses_events_is_named_with_the_remedy(broker, config, words):
    settings = made(broker, **config)
    with pytest.raises(EventError) as told:
        examine(settings)
    for channel in (*CHANNELS, LINEAGE):
        topic = f"{settings.kafka_topic_prefix}.{channel}"
        assert f"topic {topic} {words}" in str(told.value)
        assert f"--entity-name {topic} --add-config" in str(told.value)


def test_variables_that_others_set_stop_no_sending(broker, monkeypatch, tmp_path):
    """Case F: what Kubernetes and container images leave in the environment."""
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    settings = kafka_settings(broker.servers)
    recorder = open_events(tmp_path, settings)
    events = queries(10)
    recorder.append(events)
    assert recorder.drain(30) == 0
    assert set(ids(recorder.read())) == {e.id for e in events}
    recorder.close()
    told = examine(settings)
    assert all(name in told for name in FOREIGN)


def test_a_kafka_that_is_away_is_a_failure_of_the_status(monkeypatch, tmp_path):
    servers = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("ETF_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    for kind in ("auto", "kafka"):
        monkeypatch.setenv("EVENT_STORE_TYPE", kind)
        done = CliRunner().invoke(app, ["events", "status"])
        assert done.exit_code == 1
        assert f"FAIL Kafka at {servers} refuses connections" in done.stdout
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    (tmp_path / "raw").mkdir()
    assert CliRunner().invoke(app, ["events", "status"]).exit_code == 0
