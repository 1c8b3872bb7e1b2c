"""What is said of topics that lose events, on every broker; rights are in `test_secured_kafka`."""

import uuid

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from etf_pipeline.errors import EventError
from etf_pipeline.events.factory import examine
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline_tests.events_support import kafka_settings


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
