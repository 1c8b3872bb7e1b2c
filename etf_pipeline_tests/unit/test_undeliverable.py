"""Events that a broker refuses: set aside, counted, tried again, and in order once they are out."""

import contextlib
import sqlite3

import pytest

from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.log.comparison import Comparison
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.model.positions import Delivery
from etf_pipeline.events.proof.delivery import all_sent
from etf_pipeline.events.status import events_status
from etf_pipeline.library.doctor import examine
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import embedded_settings, ids, queries

TOO_LARGE = Delivery(-1, -1, "Broker: Message size too large", "MSG_SIZE_TOO_LARGE")


@pytest.fixture
def log(tmp_path):
    made = Outbox(Layout(tmp_path).event_log)
    yield made
    made.close()


def confirm(log, events):
    """As if a broker had confirmed these, each at the offset of its number."""
    assert log.delivered(events, [Delivery(0, e.position) for e in events], log.epoch())


def numbers(events):
    return [e.position for e in events]


def test_what_is_set_aside_is_counted_and_waits_for_nothing(log):
    log.append(queries(10))
    pending = log.pending()
    log.set_aside(pending[3], TOO_LARGE)
    assert numbers(log.pending()) == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert log.count_pending() == 9
    counts, newest = log.undeliverable(5)
    assert counts == {"MSG_SIZE_TOO_LARGE": 1}
    assert [(u.number, u.id, u.subject) for u in newest] == [(4, pending[3].id, "T3")]
    assert newest[0].reason == TOO_LARGE.error
    confirm(log, log.pending())
    assert log.pending() == []
    assert log.all_delivered(pending)
    assert len(ids(log.read())) == 10


def test_what_was_confirmed_is_read_to_its_end_while_others_send(log):
    log.append(queries(10))
    confirm(log, log.pending())
    read = []
    (partition,) = log.partitions()
    for page in log.confirmed_within(partition, (0, 2**62)):
        read += page
        log.append(queries(1, start=1_000 + len(read)))
        confirm(log, log.pending())
        assert len(read) == 10, "who sends is run after"
    assert read == list(range(1, 11))


def test_tried_again_it_comes_first_and_later_events_of_its_key_once_more(log):
    log.append(queries(12, tickers=3))  # numbers 2, 5, 8 and 11 are of T1
    events = log.pending()
    log.set_aside(events[4], TOO_LARGE)
    confirm(log, log.pending())
    assert log.try_again() == 1
    assert numbers(log.pending()) == [5]
    assert log.undeliverable()[0] == {"MSG_SIZE_TOO_LARGE": 1}  # until it is out
    confirm(log, log.pending())
    assert numbers(log.pending()) == [8, 11]
    assert log.undeliverable() == ({}, [])
    confirm(log, log.pending())
    assert log.pending() == []


def test_refused_once_more_it_is_set_aside_again(log):
    log.append(queries(4))
    log.set_aside(log.pending()[0], TOO_LARGE)
    confirm(log, log.pending())
    assert (log.try_again(), log.try_again()) == (1, 0)
    log.set_aside(log.pending()[0], TOO_LARGE)
    assert log.pending() == []
    assert log.undeliverable()[0] == {"MSG_SIZE_TOO_LARGE": 1}


def test_other_processes_see_that_it_is_to_be_tried_again(tmp_path, log):
    log.append(queries(4))
    log.set_aside(log.pending()[1], TOO_LARGE)
    confirm(log, log.pending())
    other = Outbox(log.path)
    assert other.pending() == []
    before = other.mark()
    assert log.try_again() == 1
    assert other.mark() != before
    assert numbers(other.pending()) == [2]
    other.close()


def test_status_doctor_and_verify_say_so(tmp_path, log, monkeypatch):
    monkeypatch.setenv("ETF_DATA_DIR", str(tmp_path))
    log.append(queries(3))
    there = Comparison(log, Archive(Layout(tmp_path)))
    log.set_aside(log.pending()[2], TOO_LARGE)
    confirm(log, log.pending())
    status = events_status(tmp_path, embedded_settings())
    assert status.undeliverable == {"MSG_SIZE_TOO_LARGE": 1}
    (finding,) = [f for f in examine(tmp_path) if f.name == "refused events"]
    assert not finding.ok
    for batch in log.read():
        there.recorded(batch)
        there.there(batch[:2])
    check = all_sent(log, there.gone())
    assert not check.ok
    for text in (finding.detail, check.detail):
        assert "refuses 1 events (" in text
        assert "MSG_SIZE_TOO_LARGE" in text
        assert "PriceDataQueried of T2: Broker: Message size too large" in text


def test_where_sending_goes_on_is_kept_over_a_restart_and_a_loss(log):
    """What had to go out is found however the next process begins."""
    log.append(queries(20, tickers=4))
    confirm(log, log.pending())
    assert log.pending() == []
    log.append(queries(5, start=20))
    confirm(log, log.pending(2))
    again = Outbox(log.path)
    assert numbers(again.pending()) == [23, 24, 25]
    (place,) = again.tails()
    assert again.forget_deliveries(place, 7) == 16  # of 22 confirmed ones, from offset 7 on
    assert numbers(again.pending()) == list(range(7, 26))
    assert numbers(log.pending()) == list(range(7, 26))
    third = Outbox(log.path)
    assert numbers(third.pending(3)) == [7, 8, 9]
    for one in (again, third):
        one.close()


def test_an_epoch_begun_by_an_earlier_release_is_not_trusted(log):
    """It forgets confirmations too, and does not say from where on sending is to go on."""
    log.begin_epoch()
    log.append(queries(20))
    for _ in range(2):
        confirm(log, log.pending(10))
    log.append(queries(1, start=20))
    confirm(log, log.pending())
    with contextlib.closing(sqlite3.connect(log.path)) as db, db:
        db.execute("DELETE FROM deliveries WHERE seq >= 5")
        db.execute("UPDATE facts SET value = value + 1 WHERE name = 'era'")
    again = Outbox(log.path)
    assert numbers(again.pending()) == list(range(5, 22))
    again.close()


def test_a_loss_in_one_partition_has_all_of_the_channel_sent_again(log):
    """The topic may have other partitions now, and keys others than they had."""
    log.append(queries(9, tickers=3))
    events = log.pending()
    places = [Delivery(e.position % 3, e.position // 3) for e in events]
    assert log.delivered(events, places, log.epoch())
    place = next(p for p in log.tails() if p.partition == 1)
    assert log.forget_deliveries(place, 1) == 2  # numbers 4 and 7
    assert numbers(log.pending()) == [4, 5, 6, 7, 8, 9]


def test_what_kafka_does_not_have_is_not_among_what_may_be_pruned(log):
    log.append(queries(6))
    assert log.sent_up_to() == 0
    log.set_aside(log.pending()[3], TOO_LARGE)
    confirm(log, log.pending(4))  # 1, 2, 3 and 5
    assert log.sent_up_to() == 3
    confirm(log, log.pending())
    assert log.sent_up_to() == 3
    log.try_again()
    confirm(log, log.pending())
    assert log.sent_up_to() == 6


def test_only_some_channels(log):
    log.append(queries(6))
    assert log.pending(10, ["query-events"]) == []
    assert len(log.pending(10, ["portfolio-events"])) == 6
    assert len(log.pending(10)) == 6
    assert log.count_pending() == 6
