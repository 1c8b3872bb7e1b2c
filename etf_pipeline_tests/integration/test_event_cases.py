"""What broke other people's producers and replays; numbers are those of the case list."""

import datetime as dt
import gc
import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from etf_pipeline.events.factory import detect, open_events
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.kafka.probe import probe
from etf_pipeline.events.kafka.publisher import Publisher
from etf_pipeline.events.kafka.tails import first_lost
from etf_pipeline.events.kafka.timeouts import Timeouts
from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.kafka.worker import Worker
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.state import fold
from etf_pipeline.events.modes.kafka import Kafka
from etf_pipeline.events.proof.verify import verify
from etf_pipeline.library.system import ETFSystem
from etf_pipeline.settings import Settings
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.brokers import free_port
from etf_pipeline_tests.events_support import (
    T0,
    ids,
    kafka_settings,
    linked,
    queries,
    query,
    wait_until,
)

EMITTER = "etf_pipeline_tests.integration.emitter"


@pytest.fixture
def recorders():
    made = []
    yield made
    for r in made:
        r.close(0.1)


def recorder(recorders, folder, settings, **options):
    made = open_events(folder, settings, **options)
    recorders.append(made)
    return made


def emit(folder, settings, first, count, ending, told):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            EMITTER,
            str(folder),
            settings.kafka_bootstrap_servers,
            settings.kafka_topic_prefix,
            str(first),
            str(count),
            ending,
            str(told),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


class Listener:
    """A TCP server that never speaks (`mute`), or says nonsense."""

    def __init__(self, answer: bytes | None = None):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.answer = answer
        self.held = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.held.append(connection)
            if self.answer:
                connection.sendall(self.answer)

    def close(self):
        self.socket.close()
        for c in self.held:
            c.close()


def unroutable() -> str:
    """A black hole: a full backlog that answers no SYN."""
    return "10.255.255.1:9092"


def test_1_no_broker_and_a_thousand_events(tmp_path, recorders, caplog):
    """Nothing is raised, nothing is lost, one warning, and retries that slow down."""
    settings = kafka_settings(f"127.0.0.1:{free_port()}")
    with caplog.at_level(logging.WARNING):
        mine = recorder(recorders, tmp_path, settings)
        events = queries(1000)
        for event in events:
            mine.append([event])
        wait_until(lambda: mine.problem is not None)
        before = time.process_time()
        time.sleep(1.0)
        assert time.process_time() - before < 0.5  # no endless retry
    assert mine.log.count_pending() == 1000
    assert "refuses" in mine.problem
    assert len([r for r in caplog.records if "events wait in" in r.message]) == 1
    assert ids(mine.log.read()) == [e.id for e in events]


@pytest.mark.parametrize("ending", ["normal", "sigterm", "sigkill"])
def test_2_a_process_emits_and_ends(tmp_path, broker, recorders, ending):
    """All arrive, at the latest after the next start."""
    settings = kafka_settings(broker.servers)
    told = tmp_path / "told"
    process = emit(tmp_path, settings, 0, 100, ending, told)
    process.communicate(timeout=60)
    assert process.returncode == {"normal": 0, "sigterm": -15, "sigkill": -9}[ending]
    handed = told.read_text().split()
    assert len(handed) == 100
    mine = recorder(recorders, tmp_path, settings)
    assert mine.drain(30) == 0
    assert set(ids(mine.read())) == set(handed)


def test_3_fork_with_a_live_publisher(tmp_path, broker, recorders):
    settings = kafka_settings(broker.servers)
    mine = recorder(recorders, tmp_path, settings)
    first = queries(20)
    mine.append(first)
    assert mine.drain(30) == 0  # the producer is alive and warm
    child = os.fork()
    if child == 0:
        try:
            mine.append(queries(20, start=100))
            left = mine.drain(30)
            os._exit(0 if left == 0 else 3)
        except BaseException:
            os._exit(4)
    mine.append(queries(20, start=200))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert mine.drain(30) == 0
    wanted = {e.id for n in (0, 100, 200) for e in queries(20, start=n)}
    assert set(ids(mine.read())) == wanted
    assert linked(mine.log) == 60


def test_5_emit_and_do_nothing_more(tmp_path, broker, recorders):
    """Confirmed without another call: the poller is ours."""
    mine = recorder(recorders, tmp_path, kafka_settings(broker.servers))
    mine.append([query()])
    wait_until(lambda: mine.log.count_pending() == 0, 10)


def test_6_empty_partitions_and_one_past_its_end(broker):
    settings = kafka_settings(broker.servers, kafka_topic_partitions=6)
    store = KafkaLog(settings)
    events = [query(ticker="ONE") for _ in range(5)]  # one partition of six
    assert all(d.ok for d in store.append(events))
    assert len(ids(store.read())) == 5
    partition = next(iter(store.read()))[0].partition
    past = {("query-events", partition): 999}
    assert ids(store.read(start=past)) == []
    store.append([query(ticker=f"T{i}") for i in range(30)])
    others = {e.subject for b in store.read(start=past) for e in b}
    assert "ONE" not in others
    assert others
    store.close()


def test_8_events_written_during_the_replay(broker):
    store = KafkaLog(kafka_settings(broker.servers))
    first = queries(500)
    store.append(first)
    stop = threading.Event()

    def keep_writing():
        n = 1000
        while not stop.is_set():
            store.append(queries(50, start=n))
            n += 50

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        found = ids(store.read())
    finally:
        stop.set()
        writer.join()
    assert set(found) >= {e.id for e in first}
    assert len(found) == len(set(found))
    store.close()


def test_9_broker_that_lost_what_it_had_confirmed(tmp_path, own_broker, recorders):
    """Killed after it confirmed and restarted with nothing; emitting goes on."""
    settings = kafka_settings(own_broker.servers)
    mine = Kafka(Layout(tmp_path), settings, timeouts=Timeouts(report=4.0))
    recorders.append(mine)
    read_model = Projections(tmp_path / "p.sqlite")
    first = queries(50)
    mine.append(first)
    assert mine.drain(30) == 0
    for batch in mine.read():
        read_model.apply(batch)
    own_broker.kill()
    shutil.rmtree(own_broker.folder / "data")
    later = queries(20, start=100)
    mine.append(later)
    own_broker.start()
    wait_until(lambda: mine.log.count_pending() == 0 and mine.problem is None, 60)
    wanted = {e.id for e in [*first, *later]}

    wait_until(lambda: set(ids(mine.read())) == wanted, 60)
    for batch in mine.read():
        read_model.apply(batch)
    assert read_model.event_ids() == wanted
    assert sum(read_model.query_counts().values()) == 70
    read_model.close()


class LosesAll(KafkaLog):
    """The real store; the broker's disk is lost just before it takes in the batches of `when`."""

    def __init__(self, settings, broker, when):
        super().__init__(settings)
        self.broker, self.when, self.calls = broker, when, 0

    def append(self, events, timeout=15.0):
        self.calls += 1
        if self.calls in self.when:
            self.drop_producer()
            self.broker.kill()
            shutil.rmtree(self.broker.folder / "data")
            self.broker.start()
            timeout += 30.0
        return super().append(events, timeout)


@pytest.mark.parametrize("when", [{2}, {3}, {2, 3}])
def test_9_broker_that_loses_everything_once_it_was_checked(tmp_path, own_broker, recorders, when):
    """It confirms new events at offsets that it had given before: both confirmations stand."""
    settings = kafka_settings(own_broker.servers)
    mine = recorder(recorders, tmp_path, settings, publish=False)
    store, events = LosesAll(settings, own_broker, when), queries(120)
    publisher = Publisher(mine.log, store)
    for part in (events[:60], events[60:80], events[80:90], events[90:]):
        mine.append(part)
        publisher.drain(60)
    wait_until(lambda: publisher.drain(20) == 0, 60)
    found = [e for batch in store.read() for e in batch]
    assert {e.id for e in found} == {e.id for e in events}
    for ticker in {e.subject for e in events}:  # what the new broker took in first came again
        order = list(dict.fromkeys(e.id for e in reversed(found) if e.subject == ticker))
        assert order[::-1] == [e.id for e in events if e.subject == ticker]
    store.close()


def test_9_what_a_broker_lost_does_not_verify_until_it_is_sent_again(
    tmp_path, own_broker, recorders
):
    mine = recorder(recorders, tmp_path, kafka_settings(own_broker.servers), publish=False)
    system = ETFSystem(Settings(data_dir=tmp_path), mine)

    def sent():
        """The check; the last one, while the broker is not quite there."""
        checks = verify(system.event_store, system.layout)
        return next((c for c in checks if c.name == "all sent"), checks[-1])

    mine.append(queries(20))
    assert not sent().ok
    assert mine.drain(30) == 0
    assert sent().ok
    own_broker.kill()
    shutil.rmtree(own_broker.folder / "data")
    own_broker.start()
    wait_until(lambda: "confirmed 20 events and has them no longer" in sent().detail)
    assert not sent().ok
    mine.publisher.start()  # with nothing new to send
    wait_until(lambda: sent().ok, 60)


@pytest.mark.parametrize("lost_from", [0, 1, 7, 49, 50])
def test_9_the_first_lost_event_is_found(lost_from):
    confirmed = [(2 * i, f"id{i}") for i in range(50)]
    asked = []

    def in_place(c):
        asked.append(c)
        return c[0] < 2 * lost_from

    found = first_lost(confirmed, in_place)
    assert found == (None if lost_from == 50 else 2 * lost_from)
    assert len(asked) <= 7


@pytest.mark.parametrize("state", ["refused", "black hole", "mute", "nonsense", "unresolvable"])
def test_10_an_unhealthy_broker_is_told_within_100_ms(tmp_path, state, caplog, recorders):
    mute, nonsense = Listener(), Listener(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    servers = {
        "refused": f"127.0.0.1:{free_port()}",
        "black hole": unroutable(),
        "mute": f"127.0.0.1:{mute.port}",
        "nonsense": f"127.0.0.1:{nonsense.port}",
        "unresolvable": "no-such-host.invalid:9092",
    }[state]
    settings = kafka_settings(servers, event_store_type="auto")
    detect(settings)  # imports are not what is measured
    took = []
    for _ in range(20):  # other processes may have the cores
        started = time.perf_counter()
        found = detect(settings)
        took.append(time.perf_counter() - started)
        assert found.mode == "none"
        assert servers in found.reason
        if took[-1] < 0.1:
            break
    assert min(took) < 0.1
    with caplog.at_level(logging.WARNING):
        mine = recorder(recorders, tmp_path, settings)
        recorder(recorders, tmp_path, settings)
    assert not mine.recording
    assert len([r for r in caplog.records if "not being recorded" in r.message]) == 1
    mute.close()
    nonsense.close()


def test_10_a_healthy_broker_is_told_within_100_ms(broker):
    settings = kafka_settings(broker.servers, event_store_type="auto")
    probe(broker.servers)
    started = time.perf_counter()
    assert detect(settings).mode == "kafka"
    assert time.perf_counter() - started < 0.1


def test_10_one_dead_broker_of_two_is_no_matter(broker):
    assert probe(f"127.0.0.1:{free_port()},{broker.servers}") is None


def test_10_kafka_that_comes_up_later_is_used_without_a_restart(tmp_path, own_broker, recorders):
    own_broker.kill()
    settings = kafka_settings(own_broker.servers, event_store_type="auto")
    mine = recorder(recorders, tmp_path, settings)
    mine.append([query()])
    assert not mine.recording
    own_broker.start()
    wait_until(lambda: mine.recording)
    mine.append([query()])
    wait_until(lambda: mine.log.count_pending() == 0)
    assert len(ids(mine.read())) == 1


def test_a_worker_outlives_its_broker_and_its_topics(tmp_path, own_broker):
    settings = kafka_settings(own_broker.servers)
    store, read_model = KafkaLog(settings), Projections(tmp_path / "p.sqlite")
    worker = Worker(KafkaLog(settings), read_model, "readers")
    events, done = queries(60), []
    store.append(events[:20])
    thread = threading.Thread(target=lambda: done.append(worker.run()), daemon=True)
    thread.start()
    wait_until(lambda: len(read_model.event_ids()) == 20)
    own_broker.kill()
    own_broker.start()
    store.drop_producer()
    assert all(d.ok for d in store.append(events[20:40], 60))
    wait_until(lambda: len(read_model.event_ids()) == 40, 60)
    own_broker.kill()
    shutil.rmtree(own_broker.folder / "data")
    own_broker.start()
    wait_until(lambda: not worker.assigned, 60)  # the group has formed without topics
    store.drop_producer()
    assert all(d.ok for d in store.append(events[40:], 60))
    wait_until(lambda: read_model.event_ids() == {e.id for e in events}, 60)
    worker.stop()
    thread.join(30)
    assert done == [60]
    read_model.close()
    store.close()


def test_events_that_are_sent_while_they_are_read_are_not_missed(tmp_path, broker, recorders):
    mine = recorder(recorders, tmp_path, kafka_settings(broker.servers), publish=False)
    system = ETFSystem(Settings(data_dir=tmp_path), mine)
    mine.append(queries(20))
    assert mine.drain(30) == 0
    mine.append(queries(20, start=20))
    reading = system.events()
    found = [e.id for e in next(batch for batch in reading if batch)]
    assert mine.drain(30) == 0
    found += ids(reading)
    assert set(found) == {e.id for e in queries(40)}


def test_14_paused_broker_and_duplicates(tmp_path, own_broker, recorders):
    """Sent, timed out, sent again; then the broker wakes up and has both."""
    settings = kafka_settings(own_broker.servers)
    mine = recorder(recorders, tmp_path, settings, publish=False)
    warm = queries(5)
    mine.append(warm)
    assert mine.drain(30) == 0
    events = queries(30, start=50)
    mine.append(events)
    store = mine.broker
    own_broker.pause()
    pending = mine.log.pending()
    assert not any(d.ok for d in store.append(pending, 1.5))
    own_broker.resume()
    assert mine.drain(60) == 0
    found = [e for batch in store.read() for e in batch]
    assert {e.id for e in found} == {e.id for e in [*warm, *events]}
    state = fold([found])
    assert sum(state.query_counts.values()) == 35
    for ticker in {e.subject for e in events}:  # first occurrences keep their order
        order = list(dict.fromkeys(e.id for e in found if e.subject == ticker))
        assert order == [e.id for e in [*warm, *events] if e.subject == ticker]


def test_away_back_and_away_again(tmp_path, own_broker, recorders):
    settings = kafka_settings(own_broker.servers)
    mine = recorder(recorders, tmp_path, settings)
    sent = []
    for turn in range(3):
        events = queries(40, start=100 * turn)
        sent += events
        mine.append(events[:20])
        own_broker.stop()
        mine.append(events[20:])
        own_broker.start()
    wait_until(lambda: mine.drain(5) == 0, 90)

    def all_there():  # noida-db may have lost what it confirmed just before it was stopped
        Publisher(mine.log, mine.broker).drain(30)
        found = [e for batch in mine.read() for e in batch]
        return {e.id for e in found} == {e.id for e in sent} and found

    wait_until(all_there, 60)
    found = [e for batch in mine.read() for e in batch]
    for ticker in {e.subject for e in sent}:
        order = list(dict.fromkeys(e.id for e in found if e.subject == ticker))
        assert order == [e.id for e in sent if e.subject == ticker]


def test_15_many_events_in_flat_memory(tmp_path):
    """120,000 events through the log: memory stays where it was after the first tenth."""
    store = SqliteLog(tmp_path / "events.sqlite")

    def some(first):
        store.append(queries(12_000, start=first))
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    early = some(0)
    for k in range(1, 10):
        late = some(12_000 * k)
    assert late - early < 40_000  # KiB
    assert sum(len(b) for b in store.read()) == 120_000
    store.close()


def test_15_twenty_publishers_leave_no_thread(tmp_path, broker):
    before = set(threading.enumerate())
    for k in range(20):
        mine = open_events(tmp_path / str(k), kafka_settings(broker.servers))
        mine.append([query()])
        mine.close(0.0)
    wait_until(lambda: set(threading.enumerate()) <= before, 20)


def test_15_one_producer_for_all_stores_of_a_process(broker):
    settings = kafka_settings(broker.servers)
    stores = [KafkaLog(settings) for _ in range(20)]
    for store in stores:
        assert all(d.ok for d in store.append([query()]))
    pollers = [t for t in threading.enumerate() if t.name == "etf-kafka-poller"]
    assert len(pollers) == 1
    for store in stores:
        store.close()
    wait_until(lambda: not any(t.name == "etf-kafka-poller" for t in threading.enumerate()), 10)


def test_16_an_exception_in_a_callback_is_contained(broker):
    store = KafkaLog(kafka_settings(broker.servers))
    assert all(d.ok for d in store.append([query()]))

    def broken(*_):
        raise RuntimeError("a callback that fails")

    topic = topic_name(store.settings, "query-events")
    store.producer.get().producer.produce(topic, b"{}", b"k", on_delivery=broken)
    wait_until(lambda: store.producer.callback_errors == 1, 10)
    assert all(d.ok for d in store.append([query()]))
    store.close()


INTERRUPTED = """
from confluent_kafka import Consumer
from etf_pipeline.events.kafka.reader import consume
consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0,
                     "reconnect.backoff.ms": 1, "reconnect.backoff.max.ms": 2,
                     "error_cb": lambda error: print("called back", flush=True)})
consumer.subscribe(["t"])
try:
    while True:
        consume(consumer, 1_000, 0.2)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_within_a_callback_is_not_lost():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (output.splitlines()[-1], process.returncode) == ("interrupted", 0), errors


def test_17_old_events_in_a_topic_that_keeps_seven_days(broker):
    """Retention goes by the produce time, not by when it happened."""
    store = KafkaLog(kafka_settings(broker.servers, event_store_retention_days=7))
    old = dt.datetime(2023, 3, 1, tzinfo=dt.UTC)
    events = [query(i, f"T{i % 3}", old + dt.timedelta(hours=i)) for i in range(100)]
    assert all(d.ok for d in store.append(events))
    state = fold(store.read())
    assert len(state) == 100
    assert state.audit_trail[0].time == old
    store.close()


def test_topics_are_made_as_set(broker):
    from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

    settings = kafka_settings(broker.servers, event_store_retention_days=3)
    store = KafkaLog(settings)
    store.ensure_topics()
    admin = AdminClient({"bootstrap.servers": broker.servers})
    topics = admin.list_topics(timeout=10).topics
    for channel in ("etf-data-events", "portfolio-events", "query-events", "lineage-events"):
        name = topic_name(settings, channel)
        assert len(topics[name].partitions) == 3
        (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name)]).values()
        assert future.result(10)["retention.ms"].value == str(3 * 86_400_000)


def test_equal_instants_give_equal_replays(broker):  # case 12
    from zoneinfo import ZoneInfo

    states = []
    for zone in ("UTC", "Australia/Sydney", "America/New_York"):
        store = KafkaLog(kafka_settings(broker.servers))
        moments = [(T0 + dt.timedelta(minutes=i)).astimezone(ZoneInfo(zone)) for i in range(10)]
        store.append([query(i, "VAS", m) for i, m in enumerate(moments)])
        states.append(fold(store.read()))
        store.close()
    assert states[0] == states[1] == states[2]
