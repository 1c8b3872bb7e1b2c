"""The local log's own names: the store's id, the log's id, and the numbers of its events."""

import contextlib
import sqlite3
from itertools import groupby

import pytest

from etf_pipeline.errors import EventError, SettingsError
from etf_pipeline.events.log.identity import store_id
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.envelope import to_kafka
from etf_pipeline.events.model.numbers import Numbers
from etf_pipeline.events.model.records import from_kafka
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.proof.verify import verify
from etf_pipeline.events.status import examined_status
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import (
    collected,
    embedded_settings,
    linked,
    optimised,
    queries,
)

# What the release before made, and one event as it wrote it.
_BEFORE = """
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, type TEXT NOT NULL,
  version INTEGER NOT NULL, source TEXT NOT NULL, subject TEXT NOT NULL,
  time_us INTEGER NOT NULL, recorded_us INTEGER NOT NULL, data TEXT NOT NULL,
  channel TEXT NOT NULL, hash BLOB NOT NULL, UNIQUE (time_us, id));
CREATE TABLE anchors (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, at_us INTEGER);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO facts VALUES ('instance', 'a-store');
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
"""


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path)


@pytest.fixture
def log(layout):
    made = SqliteLog(layout.event_log)
    yield made
    made.close()


def numbers(log):
    found = sorted((e.channel, e.number, e.log) for batch in log.read() for e in batch)
    return {c: [n for _, n, _ in g] for c, g in groupby(found, key=lambda f: f[0])}


def test_events_are_numbered_in_their_channel_without_a_gap(log):
    log.append([*queries(3), collected("VAS", "b")])
    log.append([*queries(5), optimised("p", 0.5)])  # three of them are there already
    assert numbers(log) == {
        "query-events": [1, 2, 3, 4, 5],
        "etf-data-events": [1],
        "portfolio-events": [1],
    }
    assert {e.log for batch in log.read() for e in batch} == {log.id}
    assert log.numbers() == {"query-events": 5, "etf-data-events": 1, "portfolio-events": 1}


def test_numbers_go_on_after_a_prune_and_in_another_process(layout, log):
    log.append(queries(4))
    log.prune(4)
    log.close()
    other = SqliteLog(layout.event_log)
    other.append(queries(2, start=10))
    assert numbers(other) == {"query-events": [5, 6]}
    assert other.id == log.id
    other.close()


def test_what_rolls_back_uses_up_no_number(log):
    broken = queries(1, start=50)[0]._replace(channel=None)
    with pytest.raises(sqlite3.IntegrityError):
        log.append([*queries(3), broken])
    log.append(queries(2))
    assert numbers(log) == {"query-events": [1, 2]}


def test_a_log_by_the_release_before_is_numbered_from_now_on(layout):
    layout.event_log.parent.mkdir(parents=True)
    db = sqlite3.connect(layout.event_log)
    db.executescript(_BEFORE)
    from etf_pipeline.events.model.chain import GENESIS, chain

    (old,) = queries(1)
    db.execute("INSERT INTO events VALUES (1,?,?,?,?,?,?,?,?,?,?)", (*old[:9], chain(GENESIS, old)))
    db.commit()
    db.close()
    for _ in range(2):
        log = SqliteLog(layout.event_log)
        log.append(queries(3))
        assert numbers(log) == {"query-events": [0, 1, 2]}
        assert log.former_ids == [""]
        assert linked(log) == 3
        log.close()
    assert store_id(layout, SqliteLog(layout.event_log), None) == "a-store"


def test_a_store_has_one_id_whatever_is_lost(layout, log, caplog):
    made, first = store_id(layout, log, None), log.id
    assert store_id(layout, log, made) == made
    layout.store_id.unlink()
    assert store_id(layout, log, None) == made
    log.close()
    for path in layout.event_log.parent.glob("events.sqlite*"):
        path.unlink()
    fresh = SqliteLog(layout.event_log)
    assert store_id(layout, fresh, None) == made
    assert fresh.id != first
    assert ["is begun anew" in r.getMessage() for r in caplog.records] == [True]
    fresh.close()
    with contextlib.closing(Embedded(layout, embedded_settings())) as events:
        assert "in a store that had a log before" in verify(events, layout)[0].detail


def test_a_fresh_machine_continues_the_store_that_it_states(layout, log):
    assert store_id(layout, log, "the-store") == "the-store"
    assert store_id(layout, log, None) == "the-store"


@pytest.mark.parametrize("filed", [True, False])
def test_another_id_than_the_stores_own_is_refused(layout, log, filed):
    made = store_id(layout, log, None)
    if not filed:
        layout.store_id.unlink()
    with pytest.raises(SettingsError, match=rf"EVENT_STORE_ID=other: .* {made}"):
        store_id(layout, log, "other")
    status = examined_status(layout.root, embedded_settings(event_store_id="other"))[0]
    assert status.problem is not None and "EVENT_STORE_ID=other" in status.problem
    assert examined_status(layout.root, embedded_settings())[0].problem is None


def test_a_log_of_another_store_is_refused(layout, log):
    made = store_id(layout, log, None)
    layout.store_id.write_text("another\n")
    with pytest.raises(EventError, match=rf"{made}.* says another"):
        store_id(layout, log, None)
    status = examined_status(layout.root, embedded_settings())[0]
    assert status.problem is not None and "says another" in status.problem


@pytest.mark.parametrize(
    ("seen", "given", "expected"),
    [
        ([1, 2, 3], 3, []),
        ([3, 1, 2, 2], 3, []),
        ([2, 5], 0, [(1, 1), (3, 4)]),
        ([1, 2], 6, [(3, 6)]),
        ([], 4, [(1, 4)]),
        ([4_000], 0, [(1, 3_999)]),
        ([0, 0], 0, []),
        ([1, 2, 2**61], 0, [(3, 2**61 - 1)]),  # forged or broken
        ([2**61, 2**61 + 1, 2, 3], 0, [(1, 1), (4, 2**61 - 1)]),
        ([1, 3], 2**61, [(2, 2), (4, 2**61)]),
        ([-1, -(2**61), 1], 0, []),
    ],
)
def test_gaps_in_numbers_are_told(seen, given, expected):
    (event,) = queries(1)
    numbers = Numbers()
    numbers.saw([event._replace(log="a", number=n) for n in seen])
    upto = {("a", event.channel): given} if given else {}
    assert [(g.first, g.last) for g in numbers.gaps(upto)] == expected
    for gap in list(numbers.gaps(upto)):
        numbers.declared(gap)
    assert list(numbers.gaps(upto)) == []


def test_log_and_number_travel_with_the_event(log):
    log.append(queries(1))
    ((event,),) = log.read()
    message = to_kafka(event)
    sent = [(k, v) for k, v in message.headers.items()]
    assert dict(sent)["ce_sequence"] == b"1"
    back = from_kafka(sent, message.value, event.channel, 2, 7, 0)
    assert (back.log, back.number) == (log.id, 1)
    older = [(k, v) for k, v in sent if k not in ("ce_sequence", "ce_logid")]
    assert from_kafka(older, message.value, event.channel, 2, 7, 0)[11:] == ("", 0)
