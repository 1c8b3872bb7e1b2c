"""Apache Kafka with TLS, passwords, client certificates and rights."""

import json
import logging
import os
import shlex
import time
import uuid

import pytest
from confluent_kafka.admin import NewTopic
from typer.testing import CliRunner

from etf_pipeline import get_etf_system
from etf_pipeline.cli.app import app
from etf_pipeline.errors import EventError, SettingsError
from etf_pipeline.events.factory import detect, open_events
from etf_pipeline.events.factory import examine as examine_events
from etf_pipeline.events.kafka.client import SILENT, base_config
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.kafka.probe import ask_kafka
from etf_pipeline.events.kafka.producer import ProducerLease
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.model.envelope import lineage_event, micros
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline.events.settings import EventSettings, load_event_settings, variable_of
from etf_pipeline.library.doctor import examine
from etf_pipeline_tests.brokers.apache import Apache
from etf_pipeline_tests.brokers.certificates import Authority
from etf_pipeline_tests.brokers.secured import PASSWORD, ROLES, Secured
from etf_pipeline_tests.conftest import ROOT
from etf_pipeline_tests.events_support import T0, ids, kafka_settings, queries
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


@pytest.fixture(scope="module")
def mutual(tmp_path_factory):
    """A broker that asks for a certificate before it answers anything."""
    with Secured(tmp_path_factory.mktemp("mutual"), "SSL", client_auth="required") as broker:
        yield broker


def test_mutual_tls_sends(mutual, client, tmp_path):
    """Case D."""
    client(mutual)
    settings = kafka_settings(mutual.servers, event_store_type="auto")
    topics = f"{settings.kafka_topic_prefix}."
    mutual.allow("etf", "ALL", topic=topics, prefixed=True)
    mutual.allow("etf", "READ", group=topics, prefixed=True)
    assert ask_kafka(settings, 5.0) is None  # the first greeting of a JVM takes long
    assert detect(settings).mode == "kafka"
    recorder = open_events(tmp_path, settings, publish=False)
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
    monkeypatch.setattr(SILENT, "propagate", False)  # and so again afterwards
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


# ----------------------------------------------------- what doctor and status say of it (case G)


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What `etf events status` says of Kafka (None when all is well), and in how long."""
    monkeypatch.setenv("EVENT_STORE_TYPE", "kafka")
    monkeypatch.setenv("ETF_DATA_DIR", str(tmp_path / "store"))
    (tmp_path / "store" / "raw").mkdir(parents=True)

    def ask():
        started = time.monotonic()
        done = CliRunner().invoke(app, ["events", "status", "--json"])
        took = time.monotonic() - started
        problem = json.loads(done.stdout)["problem"]
        assert done.exit_code == (problem is not None)
        assert PASSWORD not in done.output
        return problem, took

    return ask


def doctor():
    (found,) = [f for f in examine(None) if f.name == "events"]
    return found.ok, found.detail


def prefix(broker, monkeypatch, *, make=True, **config):
    """Topics of its own, made by an administrator."""
    name = f"t{uuid.uuid4().hex[:10]}"
    monkeypatch.setenv("KAFKA_TOPIC_PREFIX", name)
    if make:
        topics = [
            NewTopic(f"{name}.{c}", 1, 1, config={"retention.ms": "-1"} | config)
            for c in (*CHANNELS, LINEAGE)
        ]
        for future in broker.admin().create_topics(topics).values():
            future.result(20)
    return f"{name}."


def test_all_is_well(secured, client, told, monkeypatch):
    client(secured)
    topics = prefix(secured, monkeypatch)
    secured.allow("etf", "READ", "WRITE", "DESCRIBE_CONFIGS", topic=topics, prefixed=True)
    assert told()[0] is None
    assert doctor() == (True, "kafka")


def test_a_wrong_password_is_named_within_five_seconds(secured, client, told):
    client(secured, KAFKA_SASL_PASSWORD="wrong-word")
    words, took = told()
    assert "KAFKA_SASL_PASSWORD" in words and secured.servers in words
    assert "wrong-word" not in words
    assert took < 5
    ok, found = doctor()
    assert not ok and "KAFKA_SASL_PASSWORD" in found


def test_an_unknown_mechanism_is_named(secured, client, told):
    client(secured, KAFKA_SASL_MECHANISM="SCRAM-SHA-256")
    words, took = told()
    assert "KAFKA_SASL_MECHANISM" in words
    assert took < 5


def test_an_unknown_authority_is_named_within_five_seconds(secured, client, told, tmp_path):
    other = Authority(tmp_path, "other").certificate
    client(secured, KAFKA_SSL_CA_LOCATION=str(other))
    words, took = told()
    assert "authority" in words and "KAFKA_SSL_CA_LOCATION" in words
    assert took < 5


def test_an_authority_whose_file_is_missing_is_named(secured, client, told, tmp_path):
    client(secured, KAFKA_SSL_CA_LOCATION=str(tmp_path / "none.pem"))
    words, _ = told()
    assert f"KAFKA_SSL_CA_LOCATION={tmp_path / 'none.pem'}: there is no such file" in words


@pytest.mark.parametrize(
    ("given", "lacks"),
    [
        ((), ("Describe",)),
        (("READ",), ("Write",)),
        (("WRITE",), ("Read",)),
        (("DESCRIBE",), ("Write", "Read")),
    ],
)
def test_a_right_that_is_missing_is_named(secured, client, told, monkeypatch, given, lacks):
    client(secured)
    secured.withdraw("etf")
    topics = prefix(secured, monkeypatch)
    if given:
        secured.allow("etf", *given, "DESCRIBE_CONFIGS", topic=topics, prefixed=True)
    words, took = told()
    for channel in (*CHANNELS, LINEAGE):
        for right in lacks:
            assert f"etf has no right to {right} on topic {topics}{channel};" in words
            assert f"--operation {right} --topic {topics}{channel}" in words
    assert took < 5


def test_a_topic_that_is_not_there_and_may_not_be_made_is_named(secured, client, told, monkeypatch):
    client(secured)
    secured.withdraw("etf")
    topics = prefix(secured, monkeypatch, make=False)
    secured.allow("etf", "READ", "WRITE", "DESCRIBE_CONFIGS", topic=topics, prefixed=True)
    words, _ = told()
    for channel in (*CHANNELS, LINEAGE):
        assert f"topic {topics}{channel} is not there, and etf has no right to Create" in words
    secured.allow("etf", "CREATE", topic=topics, prefixed=True)
    assert told()[0] is None
    assert not set(secured.admin().list_topics(timeout=10).topics) & {f"{topics}{LINEAGE}"}


@pytest.mark.parametrize(
    ("config", "days", "words"),
    [
        ({"cleanup.policy": "compact"}, "-1", "is compacted"),
        ({"cleanup.policy": "compact,delete"}, "-1", "is compacted"),
        (
            {"retention.ms": "86400000"},
            "-1",
            "RETENTION_DAYS asks for ever",
        ),
        (
            {"retention.ms": "86400000"},
            "2",
            "RETENTION_DAYS asks for 2 days",
        ),
        ({"retention.bytes": "1000"}, "-1", "keeps 1000 bytes"),
    ],
)
def test_a_topic_that_lets_go_of_events_is_named(
    secured, client, told, monkeypatch, config, days, words
):
    client(secured)
    topics = prefix(secured, monkeypatch, **config)
    secured.allow("etf", "READ", "WRITE", "DESCRIBE_CONFIGS", topic=topics, prefixed=True)
    monkeypatch.setenv("EVENT_STORE_RETENTION_DAYS", days)
    found, _ = told()
    assert words in found
    assert f"kafka-configs --alter --entity-type topics --entity-name {topics}" in found


def test_a_retention_that_is_as_long_as_asked_for_is_well(secured, client, told, monkeypatch):
    client(secured)
    topics = prefix(secured, monkeypatch, **{"retention.ms": "172800000"})
    secured.allow("etf", "READ", "WRITE", "DESCRIBE_CONFIGS", topic=topics, prefixed=True)
    monkeypatch.setenv("EVENT_STORE_RETENTION_DAYS", "2")
    assert told()[0] is None


def test_variables_that_mean_nothing_are_a_remark(secured, client, told, monkeypatch):
    client(secured, KAFKA_REST_PORT="8082")
    topics = prefix(secured, monkeypatch)
    secured.allow("etf", "READ", "WRITE", "DESCRIBE_CONFIGS", topic=topics, prefixed=True)
    assert told()[0] is None
    ok, words = doctor()
    assert ok and "KAFKA_REST_PORT" in words


def test_a_queue_that_nobody_sends_is_named(secured, client, told, monkeypatch, tmp_path):
    client(secured)
    topics = prefix(secured, monkeypatch)
    secured.allow("etf", "READ", "WRITE", "DESCRIBE_CONFIGS", topic=topics, prefixed=True)
    recorder = open_events(tmp_path / "store", load_event_settings(), publish=False)
    recorder.append(queries(3))  # recorded long ago
    recorder.close(0)
    words, _ = told()
    assert "3 events wait, the oldest since 2025-11-12 06:00 UTC" in words


@pytest.mark.parametrize("whose", ["nobody's", "a stranger's"])
def test_a_certificate_of_ours_that_is_missing_or_refused_is_named(
    mutual, client, told, monkeypatch, tmp_path, whose
):
    client(mutual)
    if whose == "nobody's":
        monkeypatch.delenv("KAFKA_SSL_CERTIFICATE_LOCATION")
        monkeypatch.delenv("KAFKA_SSL_KEY_LOCATION")
        expected = "asks for a certificate of this client; set KAFKA_SSL_CERTIFICATE_LOCATION"
    else:
        stranger = Authority(tmp_path / "strangers").issue("etf")
        monkeypatch.setenv("KAFKA_SSL_CERTIFICATE_LOCATION", str(stranger.certificate))
        monkeypatch.setenv("KAFKA_SSL_KEY_LOCATION", str(stranger.key))
        expected = "refuses the certificate of this client"
    words, took = told()
    assert expected in words
    assert took < 5


@pytest.mark.parametrize("fault", ["expired", "other host"])
def test_a_certificate_of_the_broker_that_does_not_fit_is_named(fault, tmp_path, client, told):
    hosts = ("elsewhere.example",) if fault == "other host" else ("127.0.0.1",)
    kind = Secured(tmp_path / "broker", "SSL", expired=fault == "expired", hosts=hosts)
    with kind as broker:
        client(broker)
        words, took = told()
        assert {"expired": "has run out", "other host": "is not for 127.0.0.1"}[fault] in words
        assert took < 5


# ------------------------------------------------------------------- rights that lack (case Q)


def sent(broker, monkeypatch, tmp_path, *events):
    """Settings whose topics hold these events; the user has no right left."""
    topics = prefix(broker, monkeypatch)
    broker.withdraw("etf")
    broker.allow("etf", "READ", "WRITE", topic=topics, prefixed=True)
    recorder = open_events(tmp_path / "store", load_event_settings(event_store_type="kafka"))
    recorder.append(events)
    assert recorder.drain(30) == 0
    recorder.close()
    broker.withdraw("etf")
    return topics


def test_reading_needs_no_right_on_a_group(secured, client, monkeypatch, tmp_path):
    client(secured)
    events = queries(10)
    topics = sent(secured, monkeypatch, tmp_path, *events)
    secured.allow("etf", "READ", topic=topics, prefixed=True)
    log = KafkaLog(load_event_settings())
    assert set(ids(log.read())) == {e.id for e in events}
    log.close()


def test_reading_without_a_right_says_which_is_missing(secured, client, monkeypatch, tmp_path):
    client(secured)
    topics = sent(secured, monkeypatch, tmp_path, *queries(10))
    log = KafkaLog(load_event_settings())
    with pytest.raises(EventError, match="Describe and Read to read") as told:
        ids(log.read())
    assert topics in str(told.value)
    secured.allow("etf", "DESCRIBE", topic=topics, prefixed=True)
    with pytest.raises(EventError, match="Describe and Read to read") as told:
        ids(log.read())
    with pytest.raises(EventError, match="Describe and Read to read"):
        log.reader.id_at("query-events", 0, 0)
    log.close()


def test_a_user_who_may_only_read_keeps_what_he_records_and_is_told_why(
    secured, client, monkeypatch, tmp_path, caplog
):
    client(secured)
    events = queries(10)
    topics = sent(secured, monkeypatch, tmp_path, *events)
    secured.allow("etf", "READ", topic=topics, prefixed=True)
    recorder = open_events(tmp_path / "other", load_event_settings(event_store_type="kafka"))
    recorder.append(queries(5, start=10))
    wait_until(lambda: recorder.problem is not None, 20)
    wait_until(lambda: "Write" in (recorder.problem or ""), 20)
    assert set(ids(recorder.read())) >= {e.id for e in events}
    assert recorder.count_pending() == 5
    assert not [r for r in caplog.records if r.exc_info]
    secured.allow("etf", "WRITE", topic=topics, prefixed=True)
    wait_until(lambda: recorder.count_pending() == 0, 30)
    recorder.close()


def test_the_least_rights_of_the_documentation_are_enough(secured, client, monkeypatch, tmp_path):
    """Its commands are run by Kafka's own tool; then each role does its work."""
    page = (ROOT / "docs" / "events.md").read_text()
    commands = [
        shlex.split(line.removeprefix("$ kafka-acls --bootstrap-server localhost:9092 "))
        for line in page.splitlines()
        if line.startswith("$ kafka-acls")
    ]
    assert [c[2] for c in commands] == [f"User:{role}" for role in ROLES]
    topics = prefix(secured, monkeypatch, make=False)
    monkeypatch.setenv("EVENT_STORE_ID", "instance")  # the source that `queries` have
    for command in commands:
        secured.acls(*(topics if word == "etf." else word for word in command))
    events = queries(10)

    client(secured, "producer")
    recorder = open_events(tmp_path / "store", load_event_settings(event_store_type="kafka"))
    recorder.append(events)
    assert recorder.drain(30) == 0
    recorder.close()
    monkeypatch.setenv("EVENT_STORE_TYPE", "kafka")
    assert examine_events(load_event_settings()) == "kafka"

    client(secured, "reader")
    log = KafkaLog(load_event_settings())
    assert set(ids(log.read())) == {e.id for e in events}
    log.close()
    with pytest.raises(EventError, match="reader has no right to Write on topic"):
        examine_events(load_event_settings())

    client(secured, "worker")
    system = get_etf_system(tmp_path / "store")
    model = Projections(tmp_path / "read.sqlite")
    system.event_store.projector(model, f"{topics}readers").run(once=True)
    assert sum(model.query_counts().values()) == len(events)
    model.close()
    system.close()


@pytest.mark.parametrize("fault", ["password", "authority"])
def test_sending_and_reading_name_a_refused_login_within_five_seconds(
    secured, client, monkeypatch, tmp_path, fault
):
    other = str(Authority(tmp_path, "other").certificate)
    wrong = {
        "password": {"KAFKA_SASL_PASSWORD": "wrong-word"},
        "authority": {"KAFKA_SSL_CA_LOCATION": other},
    }[fault]
    expected = {"password": "KAFKA_SASL_PASSWORD", "authority": "KAFKA_SSL_CA_LOCATION"}[fault]
    client(secured, **wrong)
    prefix(secured, monkeypatch)
    settings = load_event_settings(event_store_type="kafka")
    recorder = open_events(tmp_path / "store", settings)
    recorder.append(queries(1))
    started = time.monotonic()
    wait_until(lambda: expected in (recorder.problem or ""), 5)
    with pytest.raises(EventError, match=expected):
        recorder.ranges()
    assert time.monotonic() - started < 10
    recorder.close(0)
    # Once it is mended, another process sends it.
    client(secured)
    secured.allow("etf", "ALL", topic=os.environ["KAFKA_TOPIC_PREFIX"], prefixed=True)
    mended = open_events(tmp_path / "store", load_event_settings(event_store_type="kafka"))
    assert mended.drain(30) == 0
    mended.close(0)


def test_no_right_to_make_the_topic_of_lineage_stops_no_other(
    secured, client, monkeypatch, tmp_path
):
    """An administrator made three topics, and this user may make none."""
    client(secured)
    topics = prefix(secured, monkeypatch, make=False)
    secured.withdraw("etf")
    made = [NewTopic(f"{topics}{c}", 1, 1) for c in CHANNELS]
    for future in secured.admin().create_topics(made).values():
        future.result(20)
    secured.allow("etf", "READ", "WRITE", topic=topics, prefixed=True)
    recorder = open_events(tmp_path / "store", load_event_settings(event_store_type="kafka"))
    body = '{"job":{"namespace":"etf_pipeline","name":"job"},"eventTime":"2025-11-12T06:00:00Z"}'
    lineage = lineage_event(("1",), "job", micros(T0), body, "instance")
    events = queries(10)
    recorder.append([lineage, *events])
    wait_until(lambda: recorder.count_pending() == 1, 30)
    assert [e.id for e in recorder.log.pending()] == [lineage.id]
    wait_until(lambda: "Create" in (recorder.problem or ""), 10)
    assert LINEAGE in recorder.problem
    secured.allow("etf", "CREATE", topic=topics, prefixed=True)
    wait_until(lambda: recorder.count_pending() == 0, 30)
    recorder.close()


def test_a_worker_without_the_right_to_its_group_says_so(secured, client, monkeypatch, tmp_path):
    client(secured)
    monkeypatch.setenv("EVENT_STORE_TYPE", "kafka")
    topics = sent(secured, monkeypatch, tmp_path, *queries(3))
    secured.allow("etf", "READ", topic=topics, prefixed=True)
    system = get_etf_system(tmp_path / "other")
    model = Projections(tmp_path / "read.sqlite")
    worker = system.event_store.projector(model)
    with pytest.raises(SettingsError, match=f"group {topics}.*Read the consumer group"):
        worker.run()
    model.close()
    system.close()
