"""What only a real Apache Kafka can show: security, durability, compaction, moving leaders."""

import subprocess
import sys
import time

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from etf_pipeline.events.factory import open_events
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.kafka.probe import probe
from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.model.state import fold
from etf_pipeline_tests.brokers import free_port
from etf_pipeline_tests.brokers.apache import Apache
from etf_pipeline_tests.events_support import WORKER, ids, kafka_settings, queries, query
from etf_pipeline_tests.integration.test_event_cases import wait_until

if (_why := Apache.missing()) is not None:
    pytest.skip(_why, allow_module_level=True)
JAAS = (
    'org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" '
    'password="admin-secret" user_admin="admin-secret" user_etf="s3cret-word";'
)


@pytest.fixture(scope="module")
def apache(tmp_path_factory):
    with Apache(tmp_path_factory.mktemp("apache")) as broker:
        yield broker


def test_topics_are_not_made_by_accident(apache):
    admin = AdminClient({"bootstrap.servers": apache.servers})
    producer = Producer({"bootstrap.servers": apache.servers, "message.timeout.ms": 2000})
    errors = []
    producer.produce("no-such-topic", b"x", on_delivery=lambda e, m: errors.append(e))
    producer.flush(10)
    assert errors[0] is not None
    assert "no-such-topic" not in admin.list_topics(timeout=10).topics
    store = KafkaLog(kafka_settings(apache.servers))  # ours are, on purpose
    assert all(d.ok for d in store.append([query()]))
    store.close()


def test_sasl_plaintext(tmp_path, monkeypatch, caplog):
    settings = {
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.client.plain.sasl.jaas.config": JAAS,
    }
    with Apache(tmp_path / "broker", **settings) as broker:
        monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        monkeypatch.setenv("KAFKA_SASL_MECHANISM", "PLAIN")
        monkeypatch.setenv("KAFKA_SASL_USERNAME", "etf")
        monkeypatch.setenv("KAFKA_SASL_PASSWORD", "s3cret-word")
        assert probe(broker.servers) is None
        recorder = open_events(tmp_path / "store", kafka_settings(broker.servers))
        events = queries(10)
        recorder.append(events)
        assert recorder.drain(30) == 0
        assert set(ids(recorder.read())) == {e.id for e in events}
        recorder.close()
        monkeypatch.setenv("KAFKA_SASL_PASSWORD", "wrong-word")
        refused = open_events(tmp_path / "store", kafka_settings(broker.servers), publish=False)
        refused.append([query()])
        refused.drain(6)
        assert refused.log.count_pending() == 1
        assert refused.problem is not None
        for text in (*(r.getMessage() for r in caplog.records), refused.problem):
            assert "s3cret-word" not in text
            assert "wrong-word" not in text
        refused.close(0)


def keystore(folder):
    """A self-signed certificate for 127.0.0.1, as a PKCS12 store and as PEM."""
    store, pem = folder / "server.p12", folder / "ca.pem"
    common = ["-keystore", str(store), "-storepass", "changeit", "-alias", "server"]
    subprocess.run(
        [
            "keytool",
            "-genkeypair",
            *common,
            "-keyalg",
            "RSA",
            "-keysize",
            "2048",
            "-dname",
            "CN=localhost",
            "-ext",
            "san=ip:127.0.0.1,dns:localhost",
            "-validity",
            "2",
            "-storetype",
            "PKCS12",
        ],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        ["keytool", "-exportcert", *common, "-rfc", "-file", str(pem)],
        check=True,
        capture_output=True,
    )
    return store, pem


def test_tls(tmp_path, monkeypatch):
    store, pem = keystore(tmp_path)
    settings = {
        "listener.security.protocol.map": "CLIENT:SSL,CONTROLLER:PLAINTEXT",
        "ssl.keystore.location": str(store),
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.password": "changeit",
        "ssl.truststore.location": str(store),
        "ssl.truststore.type": "PKCS12",
        "ssl.truststore.password": "changeit",
        "ssl.client.auth": "none",
    }
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    with Apache(tmp_path / "broker", **settings) as broker:
        monkeypatch.setenv("KAFKA_SSL_CA_LOCATION", str(pem))
        mine = KafkaLog(kafka_settings(broker.servers))
        events = queries(10)
        assert all(d.ok for d in mine.append(events))
        assert len(ids(mine.read())) == 10
        mine.close()
        monkeypatch.delenv("KAFKA_SSL_CA_LOCATION")
        stranger = KafkaLog(kafka_settings(broker.servers))
        assert not any(d.ok for d in stranger.append(events, 3.0))  # the certificate is unknown
        stranger.close()


def test_restart_in_order_keeps_everything(tmp_path):
    with Apache(tmp_path / "broker") as broker:
        recorder = open_events(tmp_path / "store", kafka_settings(broker.servers))
        recorder.append(queries(100))
        assert recorder.drain(30) == 0
        broker.stop()
        recorder.append(queries(100, start=200))
        broker.start()
        assert recorder.drain(60) == 0
        found = ids(recorder.read())
        assert set(found) == {e.id for n in (0, 200) for e in queries(100, start=n)}
        recorder.close(0)


def test_sigkill_after_confirmation_loses_nothing(tmp_path):
    """The process dies, the machine does not: what was confirmed is in the page cache."""
    with Apache(tmp_path / "broker") as broker:
        store = KafkaLog(kafka_settings(broker.servers))
        events = queries(500)
        assert all(d.ok for d in store.append(events))
        broker.kill()
        broker.start()
        wait_until(lambda: set(ids(store.read())) == {e.id for e in events}, 30)
        store.close()


def test_a_compacted_topic_is_read_to_its_end(apache):
    """Offsets have holes there, and the last one may be gone: reading still ends."""
    settings = kafka_settings(apache.servers, kafka_topic_partitions=1)
    admin = AdminClient({"bootstrap.servers": apache.servers})
    compact = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.01",
        "segment.ms": "100",
        "max.compaction.lag.ms": "200",
        "delete.retention.ms": "100",
    }
    name = topic_name(settings, "query-events")
    admin.create_topics([NewTopic(name, 1, 1, config=compact)])[name].result(20)
    store = KafkaLog(settings)
    for i in range(12):
        assert all(d.ok for d in store.append(queries(20, tickers=4, start=20 * i)))
        time.sleep(0.15)  # a new segment, as segments are rolled by time

    def compacted():
        found = [e for batch in store.read() for e in batch]
        return len(found) < 240 and found

    wait_until(compacted, 60)
    found = [e for batch in store.read() for e in batch]
    newest = {e.subject: e.id for e in queries(240, tickers=4)}
    latest = {e.subject: e.id for e in found}
    assert latest == newest
    assert len(fold([found])) == len(found)
    store.close()


def test_leadership_moves_between_two_brokers(tmp_path):
    """One of two brokers dies while events are sent: all arrive, in order."""
    ports = [free_port() for _ in range(2)]
    voters = {1: free_port()}
    first = Apache(tmp_path / "one", ports[0], 1, voters)
    second = Apache(
        tmp_path / "two",
        ports[1],
        2,
        voters,
        **{"process.roles": "broker", "listeners": f"CLIENT://127.0.0.1:{ports[1]}"},
    )
    with first, second:
        wait_until(lambda: _brokers(first) == 2, 30)
        settings = kafka_settings(
            f"{first.servers},{second.servers}",
            kafka_replication_factor=2,
        )
        recorder = open_events(tmp_path / "store", settings)
        sent = queries(300, tickers=9)
        recorder.append(sent[:100])
        assert recorder.drain(30) == 0
        assert {p.leader for p in _partitions(first, settings)} == {1, 2}
        second.kill()
        recorder.append(sent[100:200])
        wait_until(lambda: {p.leader for p in _partitions(first, settings)} == {1}, 60)
        assert recorder.drain(90) == 0
        second.start()
        recorder.append(sent[200:])
        assert recorder.drain(60) == 0
        found = [e for batch in recorder.read() for e in batch]
        for ticker in {e.subject for e in sent}:
            order = list(dict.fromkeys(e.id for e in found if e.subject == ticker))
            assert order == [e.id for e in sent if e.subject == ticker]
        recorder.close(0)


def _brokers(broker):
    try:
        return len(
            AdminClient({"bootstrap.servers": broker.servers}).list_topics(timeout=5).brokers
        )
    except KafkaException:
        return 0


def _partitions(broker, settings):
    admin = AdminClient({"bootstrap.servers": broker.servers})
    return (
        admin.list_topics(timeout=10)
        .topics[topic_name(settings, "query-events")]
        .partitions.values()
    )


def test_two_workers_share_the_partitions(apache, tmp_path):
    """Both read; one leaves, the other takes over; every event counts once."""
    settings = kafka_settings(apache.servers, kafka_topic_partitions=4)
    store = KafkaLog(settings)
    store.append(queries(200, tickers=30))
    path = tmp_path / "read.sqlite"
    command = [sys.executable, "-c", WORKER, apache.servers, settings.kafka_topic_prefix, str(path)]
    workers = [subprocess.Popen(command) for _ in range(2)]
    try:
        model = Projections(path)
        wait_until(lambda: sum(model.query_counts().values()) == 200, 60)
        admin = AdminClient({"bootstrap.servers": apache.servers})

        def members():
            group = admin.describe_consumer_groups(["readers"])["readers"].result(10)
            return [len(m.assignment.topic_partitions) for m in group.members]

        wait_until(lambda: sorted(members()) == [6, 6], 60)  # three channels of four partitions
        workers[0].kill()
        store.append(queries(200, tickers=30, start=200))
        wait_until(lambda: sum(model.query_counts().values()) == 400, 60)
        assert len(model.event_ids()) == 400
        model.close()
    finally:
        for w in workers:
            w.kill()
            w.wait()
    store.close()
