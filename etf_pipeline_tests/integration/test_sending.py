"""Sending to Kafka: nothing waits for what cannot be sent, and each key's order in the end."""

import base64
import datetime as dt
import random
import shutil
import time
from collections import Counter

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from etf_pipeline.events.factory import open_events
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.kafka.publisher import Publisher
from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.model.envelope import lineage_event, make_event, micros
from etf_pipeline.events.model.types import CHANNELS, LINEAGE, ETFDataRejected
from etf_pipeline_tests.events_support import T0, ids, kafka_settings, queries, query
from etf_pipeline_tests.integration.test_event_cases import wait_until

LIMIT = 20_000


def bulky(i, ticker="T1", size=30_000):
    """A query-like event of about `size` bytes that no compression makes small."""
    noise = base64.b85encode(random.Random(i).randbytes(size * 4 // 5)).decode()
    when = T0 + dt.timedelta(seconds=i)
    data = ETFDataRejected(
        ticker=ticker,
        run_id=f"run{i}",
        partition="XASX",
        source="yahoo",
        asset="raw_prices",
        reason=noise,
    )
    return make_event(data, ticker, (f"run{i}",), when, "instance", when)._replace(
        channel="query-events"
    )


def in_kafka(events):
    return [e for batch in events.broker.read(CHANNELS) for e in batch]


def last_occurrences_in_order(found, recorded):
    """Of each key one partition has all events, and as they come last there, in recorded order.

    Another can have copies of some, which were on their way when the topic got other partitions.
    """
    places = {}
    for event in found:
        copies = places.setdefault(event.subject, {}).setdefault(event.partition, [])
        copies.append(event.id)
    for subject in {e.subject for e in recorded}:
        wanted = [e.id for e in recorded if e.subject == subject]
        whole = [c for c in places[subject].values() if set(c) == set(wanted)]
        assert len(whole) == 1, subject
        assert list(dict.fromkeys(reversed(whole[0])))[::-1] == wanted, subject


def limit_topic(broker, settings, limit):
    admin = AdminClient({"bootstrap.servers": broker.servers})
    name, change = "max.message.bytes", AlterConfigOpType.SET
    entry = ConfigEntry(name, str(limit), incremental_operation=change)
    resource = ConfigResource(
        ResourceType.TOPIC, topic_name(settings, "query-events"), incremental_configs=[entry]
    )
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


@pytest.mark.parametrize("whose", ["the client's", "the topic's"])
def test_nothing_waits_for_an_event_that_is_refused(
    tmp_path, broker, opened, monkeypatch, whose, caplog
):
    """It is set aside with its reason, and tried again by the next process that sends."""
    settings = kafka_settings(broker.servers)
    if whose == "the client's":
        monkeypatch.setenv("KAFKA_MESSAGE_MAX_BYTES", str(LIMIT))
        settings = kafka_settings(broker.servers)
    elif broker.name != "apache":
        pytest.skip(f"{broker.name} takes whatever size")
    mine = opened(tmp_path, settings)
    mine.broker.ensure_topics()
    if whose == "the topic's":
        limit_topic(broker, settings, LIMIT)
    small = queries(600)
    recorded = [*small[:200], bulky(200), *small[200:400], bulky(400, "T2"), *small[400:]]
    mine.append(recorded)
    assert mine.drain(60) == 0
    found = in_kafka(mine)
    assert {e.id for e in found} == {e.id for e in small}
    last_occurrences_in_order(found, small)
    counts, newest = mine.log.undeliverable(10)
    assert counts == {"MSG_SIZE_TOO_LARGE": 2}
    assert [u.id for u in newest] == [recorded[401].id, recorded[200].id]
    # one line, however many there are
    assert sum("refuses the event" in r.getMessage() for r in caplog.records) == 1
    assert mine.confirmed(recorded)  # nothing waits for them
    assert ids(mine.log.read()) == [e.id for e in recorded]
    mine.close(0)

    monkeypatch.delenv("KAFKA_MESSAGE_MAX_BYTES", raising=False)
    if whose == "the topic's":
        limit_topic(broker, settings, 1_000_000)
    settings = kafka_settings(broker.servers, kafka_topic_prefix=settings.kafka_topic_prefix)
    again = opened(tmp_path, settings)
    again.publisher.start()
    wait_until(lambda: len({e.id for e in in_kafka(again)}) == 602, 60)
    wait_until(lambda: again.count_pending() == 0, 60)
    last_occurrences_in_order(in_kafka(again), recorded)
    assert again.log.undeliverable() == ({}, [])


def test_a_topic_that_takes_smaller_batches_only(tmp_path, broker, opened):
    """Each event fits; a batch of them does not."""
    if broker.name != "apache":
        pytest.skip(f"{broker.name} takes whatever size")
    settings = kafka_settings(broker.servers, kafka_topic_partitions=1)
    mine = opened(tmp_path, settings)
    mine.broker.ensure_topics()
    limit_topic(broker, settings, LIMIT)
    recorded = [bulky(i, f"T{i % 3}", size=4_000) for i in range(100)]
    mine.append(recorded)
    assert mine.drain(60) == 0
    assert mine.log.undeliverable() == ({}, [])
    last_occurrences_in_order(in_kafka(mine), recorded)


def test_an_event_with_half_a_million_characters_goes_out_with_the_rest(tmp_path, broker, opened):
    mine = opened(tmp_path, kafka_settings(broker.servers))
    whole = bulky(0)
    data = whole.payload().model_copy(update={"reason": "价" * 500_233}).model_dump_json()
    mine.append([whole._replace(data=data), *queries(53, start=1)])
    assert mine.drain(30) == 0
    assert len(in_kafka(mine)) == 54
    assert mine.log.undeliverable() == ({}, [])


class MadeAnew(KafkaLog):
    """The real one; with the second and fourth batch in flight the broker loses all it has.

    With `fresh` these are taken in by the new topics; else the producer goes on with its sequence
    numbers, which not every broker accepts.
    """

    def __init__(self, settings, broker, partitions, fresh):
        super().__init__(settings)
        self.broker, self.partitions, self.fresh, self.calls = broker, partitions, fresh, 0

    def append(self, events, timeout=15.0):
        self.calls += 1
        if self.calls in (2, 4):
            self.broker.kill()
            shutil.rmtree(self.broker.folder / "data")
            self.broker.start()
            make_topics(self.broker, self.settings, self.partitions)
            if self.fresh:
                self.producer.drop()
            timeout += 30.0
        return super().append(events, timeout)


def make_topics(broker, settings, partitions):
    admin = AdminClient({"bootstrap.servers": broker.servers})
    names = [topic_name(settings, c) for c in (*CHANNELS, LINEAGE)]
    for future in admin.create_topics([NewTopic(n, partitions, 1) for n in names]).values():
        future.result(30)
    wait_until(lambda: set(names) <= set(admin.list_topics(timeout=10).topics))


@pytest.mark.parametrize("partitions", [1, 3, 8])
@pytest.mark.parametrize("fresh", [True, False])
def test_topics_made_anew_with_events_in_flight(tmp_path, own_broker, opened, fresh, partitions):
    """What was in flight comes before what is older; then all comes again, in order."""
    settings = kafka_settings(own_broker.servers)
    mine = opened(tmp_path, settings)
    broker = MadeAnew(settings, own_broker, partitions, fresh)
    publisher, recorded = Publisher(mine.log, broker), queries(240, tickers=9)
    for part in (recorded[:100], recorded[100:150], recorded[150:180], recorded[180:]):
        mine.append(part)
        publisher.drain(60)
    wait_until(lambda: publisher.drain(20) == 0, 90)
    found = [e for batch in broker.read() for e in batch]
    assert {e.id for e in found} == {e.id for e in recorded}
    if fresh:  # the fault is there: a key's later event is at the beginning
        first = {e.subject: e.id for e in reversed(recorded)}
        assert found[0].id != first[found[0].subject]
    last_occurrences_in_order(found, recorded)
    publisher.stop()
    broker.close()


def test_topics_made_anew_while_connected_and_idle(tmp_path, broker, opened):
    """Nothing is lost with the connection, and the keys go to partitions never seen before."""
    settings = kafka_settings(broker.servers, kafka_topic_partitions=1)
    mine = opened(tmp_path, settings)
    recorded = queries(120, tickers=12)
    mine.append(recorded[:90])
    assert mine.drain(30) == 0
    admin = AdminClient({"bootstrap.servers": broker.servers})
    names = [topic_name(settings, c) for c in (*CHANNELS, LINEAGE)]
    for future in admin.delete_topics(names).values():
        future.result(30)
    wait_until(lambda: not set(names) & set(admin.list_topics(timeout=10).topics))
    make_topics(broker, settings, 7)
    mine.append(recorded[90:])

    def all_there():
        mine.drain(20)
        found = in_kafka(mine)
        return {e.id for e in found} == {e.id for e in recorded} and found

    wait_until(all_there, 90)
    last_occurrences_in_order(in_kafka(mine), recorded)


def test_how_much_was_lost_is_counted_in_each_partition(tmp_path, broker, opened, caplog):
    settings = kafka_settings(broker.servers, kafka_topic_partitions=3)
    mine = opened(tmp_path, settings)
    recorded = queries(40, tickers=12)
    mine.append(recorded)
    assert mine.drain(30) == 0
    wanted = Counter(e.partition for e in in_kafka(mine))
    assert len(wanted) > 1
    admin = AdminClient({"bootstrap.servers": broker.servers})
    names = [topic_name(settings, c) for c in (*CHANNELS, LINEAGE)]
    for future in admin.delete_topics(names).values():
        future.result(30)
    wait_until(lambda: not set(names) & set(admin.list_topics(timeout=10).topics))
    make_topics(broker, settings, 3)
    mine.publisher.check()
    told = [r.args for r in caplog.records if "events it had confirmed" in r.msg]
    assert {partition: n for _, partition, n, _ in told} == wanted
    assert mine.count_pending() == 40


def test_what_a_process_sent_after_another_took_over_comes_again(tmp_path, broker, opened):
    """A process that was frozen within a batch sends it late: it is before nothing in the end."""
    settings = kafka_settings(broker.servers)
    mine, other = opened(tmp_path, settings), opened(tmp_path, settings)
    recorded = queries(60)

    class Frozen(KafkaLog):
        def append(self, events, timeout=15.0):
            # all that the other does in the meantime, once this one's time is over
            mine.log.release("forwarder", frozen._owner)
            assert other.drain(30) == 0
            other.append(recorded[40:])
            assert other.drain(30) == 0
            other.publisher.stop()
            return super().append(events, timeout)

    frozen = Publisher(mine.log, Frozen(settings))
    mine.append(recorded[:40])
    frozen.drain(0.5)
    assert mine.drain(30) == 0
    found = in_kafka(mine)
    assert len(found) > 100  # the first forty came late, once more
    last_occurrences_in_order(found, recorded)
    frozen.stop()


@pytest.mark.parametrize("between", [True, False])
def test_copies_that_come_late_are_overtaken_once_more(tmp_path, broker, opened, between):
    """Requests of a connection that was given up may be taken in after what was sent since."""
    settings = kafka_settings(broker.servers, kafka_topic_partitions=1)
    mine = opened(tmp_path, settings)
    recorded = queries(60)
    mine.append(recorded[:40])
    assert mine.drain(30) == 0
    late, other = KafkaLog(settings), query(ticker="T1")
    assert all(d.ok for d in late.append([e for b in mine.log.read() for e in b][5:12]))
    if between:  # another machine's
        assert all(d.ok for d in late.append([other]))
    late.close()
    mine.append(recorded[40:])
    wait_until(lambda: mine.drain(20) == 0, 60)
    found = [e for e in in_kafka(mine) if e.id != other.id]
    last_occurrences_in_order(found, recorded)
    # once: what is in order is left alone
    n = len(in_kafka(mine))
    mine.append(queries(5, start=60))
    assert mine.drain(30) == 0
    assert len(in_kafka(mine)) == n + 5


def test_a_closed_topic_stops_no_other(tmp_path, broker, opened):
    """Lineage may not be written; everything else goes out, and lineage when it may."""
    from confluent_kafka import KafkaError

    settings = kafka_settings(broker.servers)
    mine = opened(tmp_path, settings)

    class Forbidden(KafkaLog):
        shut = True

        def ensure_topics(self, timeout=None, *, again=False):
            super().ensure_topics(timeout, again=again)
            denied = {LINEAGE: KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)}
            self.closed = denied if self.shut else {}

    broker_log = Forbidden(settings)
    publisher = Publisher(mine.log, broker_log)
    body = '{"job":{"namespace":"etf_pipeline","name":"job"},"eventTime":"2025-11-12T06:00:00Z"}'
    told = [lineage_event((str(i),), "job", micros(T0), body, "instance") for i in range(40)]
    some = queries(100)
    mine.append([*told, *some])
    started = time.monotonic()
    assert publisher.drain(30) == 40
    assert time.monotonic() - started < 20  # it does not wait for what cannot go
    assert set(ids(broker_log.read())) == {e.id for e in some}
    assert LINEAGE in publisher.problem
    # what waits for it is on the disk, and whoever tells a run's events goes on
    assert mine.confirmed([*told, *some])
    assert not mine.confirmed([*told, lineage_event(("x",), "job", micros(T0), body, "instance")])
    assert not mine.confirmed([*told, *queries(1, start=900)])
    broker_log.shut = False
    wait_until(lambda: publisher.drain(5) == 0, 60)
    assert set(ids(broker_log.read([LINEAGE]))) == {e.id for e in told}
    assert publisher.problem is None
    assert mine.confirmed([*told, *some])
    publisher.stop()
    broker_log.close()


def test_what_another_process_records_without_sending_is_sent_soon(tmp_path, broker, opened):
    """The one that sends looks at the log now and then."""
    settings = kafka_settings(broker.servers)
    sending = open_events(tmp_path, settings)
    try:
        sending.append([query()])
        wait_until(lambda: sending.count_pending() == 0)
        other = opened(tmp_path, settings)
        other.append(queries(5))
        started = time.monotonic()
        wait_until(lambda: other.count_pending() == 0, 10)
        assert time.monotonic() - started < 5
    finally:
        sending.close(0)
