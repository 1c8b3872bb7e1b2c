"""Topics of Apache Kafka that refuse everything: the others go on, and it is said what helps."""

import logging

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.events.status import examined_status
from etf_pipeline_tests.brokers.apache import Apache
from etf_pipeline_tests.brokers.secured import Secured
from etf_pipeline_tests.events_support import kafka_settings, optimised, queries, wait_until

if (_why := Apache.missing()) is not None:
    pytest.skip(_why, allow_module_level=True)
KEPT = {"retention.ms": "-1"}


@pytest.fixture(scope="module")
def apache(tmp_path_factory):
    with Apache(tmp_path_factory.mktemp("apache")) as broker:
        yield broker


def made_by_an_administrator(broker, settings, channels, **special):
    admin = AdminClient({"bootstrap.servers": broker.servers})
    topics = [
        NewTopic(topic_name(settings, c), 1, 1, config=KEPT | special.get(c, {})) for c in channels
    ]
    for future in admin.create_topics(topics).values():
        future.result(20)
    return admin


def records(broker, settings, channel):
    """How many records the topic of a channel has."""
    reader = Consumer({"bootstrap.servers": broker.servers, "group.id": "x"})
    place = TopicPartition(topic_name(settings, channel), 0)
    low, high = reader.get_watermark_offsets(place, timeout=20)
    reader.close()
    return high - low


def test_a_topic_that_takes_no_time_of_this_host_stops_no_other(apache, opened, tmp_path):
    """As for a clock that is off: each record is of another time than the topic takes."""
    name = "message.timestamp.before.max.ms"
    settings = kafka_settings(apache.servers)
    admin = made_by_an_administrator(
        apache, settings, (*CHANNELS, LINEAGE), **{"query-events": {name: "0"}}
    )
    mine = opened(tmp_path, settings)
    mine.append([*queries(10), optimised("p", 0.5), *queries(10, start=10)])
    assert mine.drain(20) == 20
    assert records(apache, settings, "portfolio-events") == 1
    status, _ = examined_status(tmp_path, settings)
    assert status.problem is not None and "query-events" in status.problem
    assert name in status.problem

    resource = ConfigResource(
        ResourceType.TOPIC,
        topic_name(settings, "query-events"),
        incremental_configs=[
            ConfigEntry(name, "86400000", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)
    wait_until(lambda: mine.drain(5) == 0, 60)
    assert records(apache, settings, "query-events") == 20
    status, _ = examined_status(tmp_path, settings)
    assert status.problem is None


def test_a_topic_that_cannot_be_made_as_set_stops_no_other(apache, opened, tmp_path):
    """An administrator made all but one; the last is asked for with more copies than brokers."""
    settings = kafka_settings(apache.servers, kafka_replication_factor=3)
    made_by_an_administrator(apache, settings, [c for c in CHANNELS if c != "query-events"])
    mine = opened(tmp_path, settings)
    mine.append([*queries(10), optimised("p", 0.5)])
    assert mine.drain(20) == 10
    assert records(apache, settings, "portfolio-events") == 1
    status, _ = examined_status(tmp_path, settings)
    assert status.problem is not None and "KAFKA_REPLICATION_FACTOR" in status.problem

    mine.close(0)
    settings = settings.model_copy(update={"kafka_replication_factor": 1})
    again = opened(tmp_path, settings)
    assert again.drain(30) == 0


def test_a_password_that_was_changed_is_said_by_the_process_that_sends(
    opened, tmp_path, monkeypatch, caplog
):
    """Rights are withdrawn, and while they are the password is changed; then they come back."""
    scram = {
        "sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "listener.name.client.scram-sha-256.sasl.jaas.config": "org.apache.kafka.common.security."
        "scram.ScramLoginModule required;",
    }
    with Secured(tmp_path / "broker", "SASL_SSL", **scram) as broker:

        def become(password):
            info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
            change = UserScramCredentialUpsertion("etf", info, password.encode())
            for future in broker.admin().alter_user_scram_credentials([change]).values():
                future.result(20)
            said = {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256", "KAFKA_SASL_PASSWORD": password}
            said |= {"EVENT_STORE_TYPE": "kafka", "KAFKA_TOPIC_PREFIX": "t"}
            for name, value in (broker.variables("etf") | said).items():
                monkeypatch.setenv(name, value)
            return load_event_settings()

        def allow():
            broker.allow("etf", "ALL", topic="t.", prefixed=True)

        settings = become("first")
        allow()
        mine = opened(tmp_path / "store", settings)
        mine.append(queries(5))
        assert mine.drain(30) == 0
        broker.withdraw("etf")
        mine.append(queries(5, start=5))
        assert mine.drain(5) == 5
        changed = become("second")
        allow()
        with caplog.at_level(logging.WARNING):
            wait_until(lambda: mine.drain(2) == 5 and "KAFKA_SASL_PASSWORD" in caplog.text, 60)
        status, _ = examined_status(tmp_path / "store", changed)
        assert status.problem is not None and "KAFKA_SASL_PASSWORD" in status.problem
        mine.close(0)
        assert examined_status(tmp_path / "store", changed)[0].hindered is None
        again = opened(tmp_path / "store", changed)
        assert again.drain(30) == 0
        assert examined_status(tmp_path / "store", changed)[0].problem is None
