"""Event settings keep what the environment said when they were made, and show no secret."""

import pytest

from etf_pipeline.errors import SettingsError
from etf_pipeline.events.factory import detect, open_events
from etf_pipeline.events.kafka.client import base_config
from etf_pipeline.events.settings import EventSettings, load_event_settings
from etf_pipeline_tests.brokers import free_port


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), (" YES ", True), ("1", True), ("0", False), ("no", False), ("on", False)],
)
def test_openlineage_has_a_switch(monkeypatch, value, expected):
    monkeypatch.setenv("OPENLINEAGE_DISABLED", value)
    assert load_event_settings().openlineage_disabled is expected


def test_a_name_for_openlineage_is_taken_without_its_spaces(monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", " ours ")
    assert load_event_settings().openlineage_namespace == "ours"


@pytest.mark.parametrize("value", [None, "", " "])
def test_openlineage_is_on_under_our_name_where_nothing_is_said(monkeypatch, value):
    if value is not None:
        monkeypatch.setenv("OPENLINEAGE_DISABLED", value)
        monkeypatch.setenv("OPENLINEAGE_NAMESPACE", value)
    found = load_event_settings()
    assert not found.openlineage_disabled
    assert found.openlineage_namespace == "etf_pipeline"


def test_openlineage_can_be_set_without_an_environment():
    found = EventSettings(openlineage_disabled=True, openlineage_namespace="desk")
    assert found.openlineage_disabled
    assert found.openlineage_namespace == "desk"


def test_clients_get_what_the_environment_said_when_the_settings_were_made(monkeypatch):
    monkeypatch.setenv("KAFKA_LINGER_MS", "20")
    made = EventSettings(kafka_bootstrap_servers="localhost:1")
    monkeypatch.setenv("KAFKA_LINGER_MS", "30")
    monkeypatch.setenv("KAFKA_CLIENT_RACK", "a")
    assert made.client_config() == {"linger.ms": "20"}
    assert base_config(made)["linger.ms"] == "20"
    assert "client.rack" not in base_config(made)
    assert load_event_settings().client_config() == {"linger.ms": "30", "client.rack": "a"}


def test_a_password_is_not_shown(monkeypatch):
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hush-hush")
    made = EventSettings()
    assert made.client_config() == {"sasl.password": "hush-hush"}
    assert "hush-hush" not in f"{made!r} {made} {made.model_dump()} {made.model_dump_json()}"
    with pytest.raises(SettingsError) as caught:
        load_event_settings(kafka_topic_partitions=0)
    assert "hush-hush" not in str(caught.value)


def test_what_is_fixed_is_refused_where_kafka_is_asked_and_only_there(monkeypatch, tmp_path):
    monkeypatch.setenv("KAFKA_ACKS", "0")
    open_events(tmp_path, EventSettings(event_store_type="embedded")).close()
    servers = f"127.0.0.1:{free_port()}"
    with pytest.raises(SettingsError, match="KAFKA_ACKS: acks is fixed"):
        detect(EventSettings(kafka_bootstrap_servers=servers))
