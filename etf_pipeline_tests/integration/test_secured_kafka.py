"""Apache Kafka with TLS, passwords, client certificates and rights."""

import pytest

from etf_pipeline.events.factory import open_events
from etf_pipeline_tests.brokers.apache import Apache
from etf_pipeline_tests.brokers.secured import Secured
from etf_pipeline_tests.events_support import ids, kafka_settings, queries

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
