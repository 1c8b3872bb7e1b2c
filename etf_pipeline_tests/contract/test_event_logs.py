"""One suite for every log of events: append, read, order, bounds, duplicates."""

import threading

import pytest

from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.state import fold
from etf_pipeline.events.model.types import DATA, PORTFOLIO, QUERY
from etf_pipeline.events.protocol import EventLog
from etf_pipeline_tests.conftest import BROKERS
from etf_pipeline_tests.events_support import (
    collected,
    ids,
    kafka_settings,
    optimised,
    queries,
    query,
)


@pytest.fixture(params=["sqlite", *BROKERS])
def store(request, tmp_path):
    if request.param == "sqlite":
        made: EventLog = SqliteLog(tmp_path / "events.sqlite")
    else:
        servers = request.getfixturevalue("shared_brokers")(request.param).servers
        made = KafkaLog(kafka_settings(servers))
        made.ensure_topics()
    yield made
    made.close()


def test_what_is_appended_comes_back_whole(store):
    events = [query(), collected("VGS", "b1"), optimised("calm", 0.25)]
    deliveries = store.append(events)
    assert all(d.ok for d in deliveries)
    found = {e.id: e for batch in store.read() for e in batch}
    for event, delivery in zip(events, deliveries, strict=True):
        back = found[event.id]
        assert back[:9] == event[:9]
        assert (back.partition, back.position) == delivery[:2]
        assert back.payload() == event.payload()


def test_an_empty_store_reads_as_empty_and_ends(store):
    assert list(store.read()) == []
    assert store.append([]) == []


def test_order_of_one_subject_is_kept(store):
    events = queries(300, tickers=7)
    for i in range(0, 300, 50):
        assert all(d.ok for d in store.append(events[i : i + 50]))
    seen: dict[str, list[str]] = {}
    for batch in store.read():
        for e in batch:
            seen.setdefault(e.subject, []).append(e.id)
    for ticker, found in seen.items():
        assert found == [e.id for e in events if e.subject == ticker]
    assert sum(map(len, seen.values())) == 300


def test_reading_ends_at_what_was_there_when_it_began(store):
    store.append(queries(50))
    reading = store.read()
    first = next(reading)
    store.append(queries(50, start=50))
    assert len(ids([first, *reading])) == 50
    assert len(set(ids(store.read()))) == 100


def test_only_the_channels_asked_for(store):
    store.append([query(), collected("VAS", "b"), optimised("p", 0.5)])
    for channel in (DATA, PORTFOLIO, QUERY):
        found = [e for batch in store.read([channel]) for e in batch]
        assert [e.channel for e in found] == [channel]


def test_going_on_from_a_position_neither_misses_nor_repeats(store):
    store.append(queries(40))
    ends: dict[tuple[str, int], int] = {}
    before = set()
    for batch in store.read():
        for e in batch:
            ends[(e.channel, e.partition)] = e.position + 1
            before.add(e.id)
    fresh = queries(40, start=40)
    store.append(fresh)
    found = ids(store.read(start=ends))
    assert sorted(found) == sorted(e.id for e in fresh)
    assert not before & set(found)


def test_the_same_event_twice_counts_once(store):
    events = queries(20)
    store.append(events)
    store.append(events)
    state = fold(store.read())
    assert len(state) == 20
    assert sum(state.query_counts.values()) == 20


@pytest.mark.parametrize("ahead", [1, 10**9])
def test_reading_from_after_the_last_event_ends_at_once(store, ahead):  # case 6
    """One partition past its end, others empty: none keeps the others from ending."""
    store.append(queries(10))
    ends = {key: high + ahead for key, (_, high) in store.ranges().items()}
    assert ids(store.read(start=ends)) == []
    (key,) = [k for k, (low, high) in store.ranges().items() if high > low][:1]
    rest = {k: v for k, v in ends.items() if k == key}
    found = [e for batch in store.read(start=rest) for e in batch]
    there = [e for batch in store.read() for e in batch]
    # in order within a partition; which partition comes first is nobody's promise
    assert by_partition(found) == {k: v for k, v in by_partition(there).items() if k != key}


def by_partition(events):
    found = {}
    for event in events:
        found.setdefault((event.channel, event.partition), []).append(event.id)
    return found


def test_threads_append_together(store):
    parts = [queries(50, start=1000 * k) for k in range(4)]
    threads = [threading.Thread(target=store.append, args=(p,)) for p in parts]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert set(ids(store.read())) == {e.id for p in parts for e in p}


def test_a_closed_store_can_be_opened_again(store):
    store.append(queries(5))
    store.close()
    assert len(ids(store.read())) == 5
    assert all(d.ok for d in store.append(queries(5, start=5)))


def test_events_with_any_text_survive(store):
    event = query(ticker="BRK/B ^AXJO é 中")
    store.append([event])
    (back,) = [e for batch in store.read() for e in batch]
    assert back.subject == event.subject
    assert back.payload() == event.payload()


def test_what_is_there_lies_within_the_ranges(store):
    before = store.ranges()
    store.append([*queries(30), collected("VAS", "b"), optimised("p", 0.5)])
    after = store.ranges()
    found = [e for batch in store.read() for e in batch]
    assert len(found) == 32
    for e in found:
        low, high = after[(e.channel, e.partition)]
        assert low <= e.position < high
        assert e.position >= before[(e.channel, e.partition)][1]
    assert set(after) == set(before)
    assert {c for c, _ in store.ranges([QUERY])} == {QUERY}
