"""Event settings keep what the environment said when they were made, and show no secret."""

import pytest

from etf_pipeline.errors import SettingsError
from etf_pipeline.events.factory import detect, open_events
from etf_pipeline.events.kafka.client import SILENT, base_config
from etf_pipeline.events.kafka.producer import ProducerLease
from etf_pipeline.events.kafka.variables import variables
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


@pytest.mark.parametrize("value", ["0", "-2"])
def test_a_retention_below_one_day_is_refused(monkeypatch, value):
    monkeypatch.setenv("EVENT_STORE_RETENTION_DAYS", value)
    with pytest.raises(
        SettingsError, match=f"EVENT_STORE_RETENTION_DAYS='{value}': .* 1 day or more"
    ):
        load_event_settings()


@pytest.mark.parametrize("days", [-1, 1])
def test_a_day_and_for_ever_are_retentions(days):
    assert EventSettings(event_store_retention_days=days).event_store_retention_days == days


@pytest.mark.parametrize("where", ["me:hush-hush@host:9092", "a:1,me:hu,sh-hush@host:9092"])
def test_a_password_among_the_brokers_is_refused_and_not_shown(monkeypatch, where):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", where)
    with pytest.raises(SettingsError, match="KAFKA_SASL_PASSWORD") as told:
        load_event_settings()
    with pytest.raises(ValueError) as raw:
        EventSettings(kafka_bootstrap_servers=where)
    for error in (told, raw):
        assert "sh-hush" not in str(error.value)
        assert "me:hu" not in str(error.value)


# ------------------------------------------------------------------- variables that others set

# What Kubernetes, container images and other programs leave in the environment (case F).
FOREIGN = {
    "KAFKA_PORT": "tcp://10.0.0.1:9092",
    "KAFKA_HEADLESS_SERVICE_HOST": "10.0.0.2",
    "KAFKA_REST_PORT": "8082",
    "KAFKA_BROKER": "kafka:9092",
    "KAFKA_TOPIC": "prices",
    "KAFKA_CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw",
    "KAFKA_LOG_DIRS": "/var/lib/kafka",
    "KAFKA_LOG_LEVEL": "INFO",
    "KAFKA_LOGGER": "stdout",
    "KAFKA_STATS__CB": "x",  # librdkafka has it, but no text can be a function
}


def client_settings():
    return EventSettings(kafka_bootstrap_servers="localhost:1")


def test_what_librdkafka_does_not_know_stops_nothing_and_is_named_once(monkeypatch, caplog):
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KAFKA_CLIENT_RACK", "a")
    for _ in range(2):
        config = base_config(client_settings())
        assert config["client.rack"] == "a"
        assert set(config) == {"bootstrap.servers", "client.id", "log_level", "client.rack"}
    (warning,) = [r.getMessage() for r in caplog.records if "KAFKA_" in r.getMessage()]
    assert all(name in warning for name in FOREIGN)
    assert "KAFKA_CLIENT_RACK" not in warning
    assert not any(f" {value}" in warning for value in FOREIGN.values())


def test_two_underscores_stand_for_one(monkeypatch):
    monkeypatch.setattr(SILENT, "propagate", False)  # and so again afterwards
    monkeypatch.setenv("KAFKA_LOG__LEVEL", "3")
    assert base_config(client_settings())["log_level"] == "3"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_LINGER_MS", "soon"),
        ("KAFKA_COMPRESSION_TYPE", "lz9"),
        ("KAFKA_SOCKET_TIMEOUT_MS", "1"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
    ],
)
def test_a_bad_value_of_a_known_setting_is_refused_by_its_name(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}={value}: "):
        base_config(client_settings())


def test_what_we_set_ourselves_is_named(monkeypatch):
    monkeypatch.setenv("KAFKA_GROUP_ID", "theirs")
    found = variables(client_settings())
    assert found.ours == ("KAFKA_GROUP_ID",)
    assert "KAFKA_GROUP_ID: set by this program itself" in found.remark()
    assert "group.id" not in base_config(client_settings())


def test_the_values_that_delivery_rests_on_may_be_said(monkeypatch):
    monkeypatch.setenv("KAFKA_ACKS", "all")
    monkeypatch.setenv("KAFKA_ENABLE_IDEMPOTENCE", "true")
    assert client_settings().client_config() == {}
    monkeypatch.setenv("KAFKA_ENABLE_IDEMPOTENCE", "false")
    with pytest.raises(SettingsError, match="KAFKA_ENABLE_IDEMPOTENCE"):
        client_settings().client_config()


def test_a_file_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("KAFKA_SSL_CA_LOCATION", str(tmp_path / "none.pem"))
    config = base_config(client_settings())
    lease = ProducerLease(config)
    with pytest.raises(SettingsError, match=r"KAFKA_SSL_CA_LOCATION=.*none\.pem: there is no such"):
        lease.get()


@pytest.mark.parametrize("where", ["::1:9092", "[::1:9092", "::1]:9092", "[::1", "[host]:9092"])
def test_an_address_of_ipv6_is_in_brackets(where):
    with pytest.raises(ValueError, match=r"in brackets|host:port"):
        EventSettings(kafka_bootstrap_servers=f"localhost:9092,{where}")


@pytest.mark.parametrize("where", ["[::1]:9092", "[fe80::1%eth0]:9092", "[2001:db8::7]:1, host:2"])
def test_addresses_of_ipv6_are_taken(where):
    assert EventSettings(kafka_bootstrap_servers=where).kafka_bootstrap_servers == where
