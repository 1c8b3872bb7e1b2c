"""`EVENT_DURABILITY=broker`: a call returns once Kafka has its event, or refuses."""

import contextlib
import shutil
import threading

import pytest

from etf_pipeline.errors import EtfError, EventError, SettingsError
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.modes import kafka as mode
from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import ids, kafka_settings, queries
from etf_pipeline_tests.integration.test_sending import bulky, in_kafka, limit_topic


@pytest.fixture
def quick(monkeypatch):
    """Nobody waits half a minute in a test."""
    monkeypatch.setattr(mode, "_AWAY_SECONDS", 0.5)
    monkeypatch.setattr(mode, "_CONFIRMED_SECONDS", 5.0)


def durable(broker, **more):
    return kafka_settings(broker.servers, event_durability="broker", **more)


def test_what_was_recorded_is_in_kafka_when_the_call_returns(broker, tmp_path):
    settings, told = durable(broker), []
    events = open_events(tmp_path, settings)
    for i in range(5):
        one = queries(1, start=i)
        events.append(one)
        told += ids([one])
        assert events.count_pending() == 0
    # The disk is gone at that moment: nothing is closed, nothing is sent on.
    shutil.rmtree(Layout(tmp_path).event_log.parent)
    elsewhere = open_events(tmp_path / "elsewhere", settings, publish=False)
    assert sorted(ids([in_kafka(elsewhere)])) == sorted(told)
    elsewhere.close()
    with contextlib.suppress(EtfError):  # it has no log any more
        events.close()


def test_many_at_once_are_each_confirmed(broker, tmp_path):
    events = open_events(tmp_path, durable(broker))
    lacking = []

    def record(start):
        for i in range(start, start + 10):
            one = queries(1, start=i)
            events.append(one)
            if not events.log.all_confirmed(one):
                lacking.append(i)

    threads = [threading.Thread(target=record, args=(k * 10,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lacking == []
    assert len(set(ids([in_kafka(events)]))) == 40
    events.close()


def test_a_call_refuses_while_kafka_is_away_and_its_event_is_sent_later(
    own_broker, tmp_path, quick
):
    events = open_events(tmp_path, durable(own_broker))
    events.append(queries(1))
    own_broker.kill()
    with pytest.raises(EventError, match=r"EVENT_DURABILITY=broker: Kafka at .*on this disk alone"):
        events.append(queries(1, start=1))
    assert events.count_pending() == 1
    own_broker.start()
    assert events.drain(60) == 0
    assert set(ids([queries(1, start=1)])) <= set(ids([in_kafka(events)]))
    events.close()


def test_what_kafka_refuses_is_said_at_once(broker, tmp_path):
    settings = durable(broker)
    events = open_events(tmp_path, settings)
    events.append(queries(1))
    limit_topic(broker, settings, 20_000)
    with pytest.raises(EventError, match=r"Kafka refuses it .*status"):
        events.append([bulky(1)])
    events.append(queries(1, start=2))
    assert events.log.all_confirmed(queries(1, start=2))
    events.close()


def test_auto_never_means_that_nothing_is_recorded(tmp_path, quick):
    nobody = "127.0.0.1:1"
    settings = load_event_settings(kafka_bootstrap_servers=nobody, event_durability="broker")
    events = open_events(tmp_path, settings)
    assert events.recording
    with pytest.raises(EventError, match="EVENT_DURABILITY"):
        events.append(queries(1))
    events.close()


@pytest.mark.parametrize(
    "other", [{}, {"event_store_type": "embedded"}, {"event_store_type": "none"}]
)
def test_without_a_broker_it_is_refused(other):
    with pytest.raises(SettingsError, match="EVENT_DURABILITY=broker needs a broker"):
        load_event_settings(event_durability="broker", **other)
