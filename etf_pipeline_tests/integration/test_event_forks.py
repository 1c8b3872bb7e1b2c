"""Forks of a process that records with Kafka, and clocks that were set back, with real brokers."""

import contextlib
import os
import sqlite3
import threading

import pytest

from etf_pipeline.events.factory import open_events
from etf_pipeline.events.kafka.timeouts import Timeouts
from etf_pipeline.events.model.envelope import now_micros
from etf_pipeline.events.modes.kafka import Kafka
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.processes import HOST
from etf_pipeline_tests.events_support import (
    ids,
    kafka_settings,
    linked,
    queries,
    query,
    wait_until,
)
from etf_pipeline_tests.forks_support import child, exit_code

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")


@forks
def test_forks_while_threads_record_and_a_publisher_sends(tmp_path, broker):
    mine = open_events(tmp_path, kafka_settings(broker.servers))
    stop, wanted, failed = threading.Event(), [], []

    def record():
        try:
            while not stop.is_set():
                event = query()
                mine.append([event])
                wanted.append(event.id)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=record) for _ in range(3)]
    for thread in threads:
        thread.start()
    codes = []
    for n in range(8):
        told = queries(5, start=1000 * (n + 1))
        wanted += [e.id for e in told]
        codes.append(exit_code(child(lambda told=told: mine.append(told))))
    stop.set()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert codes == [0] * 8
    assert mine.drain(60) == 0
    assert linked(mine.log) == len(wanted)
    assert set(ids(mine.read())) == set(wanted)
    mine.close()


@forks
def test_a_child_waits_for_kafka_as_its_parent_does(tmp_path, own_broker):
    own_broker.kill()
    settings = kafka_settings(own_broker.servers, event_store_type="auto")
    mine = open_events(tmp_path, settings)
    assert not mine.recording
    events = queries(3)

    def go_on():
        wait_until(lambda: mine.recording, 90)
        mine.append(events)

    pid = child(go_on)
    own_broker.start()
    assert exit_code(pid) == 0
    wait_until(lambda: mine.recording, 90)
    assert mine.drain(60) == 0
    assert set(ids(mine.read())) == {e.id for e in events}
    mine.close()


def test_a_clock_that_was_a_day_ahead_holds_sending_no_longer_than_a_lease(tmp_path, broker):
    """Another process, of which nothing can be known, left its lease when the clock was wrong."""
    elsewhere = "00000000" if HOST != "00000000" else "11111111"
    mine = Kafka(
        Layout(tmp_path), kafka_settings(broker.servers), publish=False, timeouts=Timeouts(report=2)
    )
    events = queries(20)
    mine.append(events)
    mine.log.epoch()  # the table is there
    with contextlib.closing(sqlite3.connect(mine.log.path)) as db:
        tomorrow = now_micros() + 86_400_000_000
        db.execute("REPLACE INTO leases VALUES ('forwarder', ?, ?)", (f"{elsewhere}-9-x", tomorrow))
        db.commit()
    assert mine.drain(60) == 0
    assert set(ids(mine.read())) == {e.id for e in events}
    mine.close()
