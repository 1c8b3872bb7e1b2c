"""The file of the read models: whose they are, what is missing, and files of earlier releases."""

import contextlib
import json
import random
import sqlite3
from itertools import pairwise

import pytest

from etf_pipeline.errors import EventError
from etf_pipeline.events.log.archive import TOPICS, Archive, Origin
from etf_pipeline.events.log.catching_up import Local, prove_whole
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.projections import Place, Projections
from etf_pipeline.events.model.envelope import make_event, micros
from etf_pipeline.events.model.state import fold
from etf_pipeline.events.model.types import EventsLost
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.events.proof.own import own_first
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import T0, embedded_settings, queries, query

# As the release before made it.
BEFORE = """
CREATE TABLE positions (
  channel TEXT, partition INTEGER, next INTEGER NOT NULL, last_id TEXT NOT NULL,
  PRIMARY KEY (channel, partition)) WITHOUT ROWID;
CREATE TABLE archive_files (name TEXT PRIMARY KEY);
CREATE TABLE audit_trail (
  id TEXT PRIMARY KEY, type TEXT NOT NULL, version INTEGER NOT NULL, source TEXT NOT NULL,
  subject TEXT NOT NULL, time_us INTEGER NOT NULL, recorded_us INTEGER NOT NULL,
  data TEXT NOT NULL, channel TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX audit_by_time ON audit_trail (time_us);
CREATE TABLE latest_state (
  type TEXT, subject TEXT, time_us INTEGER NOT NULL, id TEXT NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY (type, subject)) WITHOUT ROWID;
CREATE TABLE query_counts (
  ticker TEXT PRIMARY KEY, queries INTEGER NOT NULL, last_us INTEGER NOT NULL) WITHOUT ROWID;
"""


@pytest.fixture
def model(tmp_path):
    made = Projections(tmp_path / "p.sqlite")
    yield made
    made.close()


def numbered(n, log="a log"):
    return [e._replace(log=log, number=i) for i, e in enumerate(queries(n), start=1)]


@pytest.mark.parametrize("seed", range(20))
def test_what_was_never_taken_in_is_named(model, seed):
    choose = random.Random(seed)
    events = numbered(60)
    taken = choose.sample(events, choose.randrange(1, 60))
    for i in range(0, len(taken), 7):
        model.apply(taken[i : i + 7], places={})
    there = {e.number for e in taken}
    lacking = [n for n in range(1, 63) if n not in there]
    found = model.gaps({("a log", "query-events"): 62})
    assert [n for g in found for n in range(g.first, g.last + 1)] == lacking
    assert all(a.last + 1 < b.first for a, b in pairwise(found))
    short = [n for n in lacking if n < max(there)]
    assert [n for g in model.gaps() for n in range(g.first, g.last + 1)] == short
    model.apply(events, places={})
    assert model.gaps() == []


def test_what_was_declared_lost_is_missed_no_more(model):
    events = numbered(20)
    model.apply([*events[:4], *events[9:]], places={})
    data = EventsLost(
        log="a log", channel="query-events", first=5, last=7, who="an operator", why="a lost disk"
    )
    model.apply([make_event(data, "a log", ("lost",), T0, "instance")], places={})
    assert [(g.first, g.last) for g in model.gaps()] == [(8, 9)]
    lineage = data.model_copy(update={"channel": "lineage-events", "first": 30, "last": 31})
    model.apply([make_event(lineage, "a log", ("more",), T0, "instance")], places={})
    assert [(g.first, g.last) for g in model.gaps()] == [(8, 9)]  # of lineage there are no models


def test_a_copy_of_an_event_counts_once_and_fills_the_number_of_its_own_log(model):
    (event,) = numbered(1)
    copy = event._replace(log="another", recorded_us=event.recorded_us - 5)
    assert model.apply([event], places={}) == 1
    assert model.apply([copy], places={}) == 0
    assert model.query_counts() == {"T0": 1}
    assert model.gaps({("a log", event.channel): 1, ("another", event.channel): 1}) == []
    with sqlite3.connect(model.path) as db:
        (recorded,) = db.execute("SELECT recorded_us FROM audit_trail").fetchone()
    assert recorded == copy.recorded_us


def trail_of(model):
    """Number, time of recording and payload of each event, and the payload that is its newest."""
    with contextlib.closing(sqlite3.connect(model.path)) as db:
        rows = db.execute("SELECT id, recorded_us, data FROM audit_trail").fetchall()
        newest = dict(db.execute("SELECT subject, data FROM latest_state"))
    return {i: (r, d) for i, r, d in rows}, newest


def copy(event, log, microseconds):
    """What another machine tells of an event: at another time, and more of it."""
    data = json.loads(event.data) | {"rows": microseconds}
    recorded = event.recorded_us + microseconds
    return event._replace(log=log, recorded_us=recorded, data=json.dumps(data))


@pytest.mark.parametrize("seed", range(30))
def test_what_the_local_log_says_counts_whatever_comes_first(model, seed):
    choose = random.Random(seed)
    own, others = numbered(12, "mine now"), []
    own = [e._replace(log=choose.choice(["mine now", "mine before"])) for e in own]
    for event in own:
        apart = choose.sample([-7, -3, 4, 9], choose.randrange(0, 4))
        others += [copy(event, choose.choice(["b", "c"]), us) for us in apart]
    told = own[: choose.randrange(4, 12)]
    mixed = choose.sample([*told, *others], len(told) + len(others))
    model.own(frozenset({"mine now", "mine before"}))
    size = choose.randrange(1, 9)
    for i in range(0, len(mixed), size):
        model.apply(mixed[i : i + size], places={})
    wanted = {e.id: e for e in sorted(others, key=lambda e: -e.recorded_us)}
    wanted |= {e.id: e for e in told}
    trail, newest = trail_of(model)
    assert trail == {i: (e.recorded_us, e.data) for i, e in wanted.items()}
    last = {e.subject: e for e in sorted(wanted.values(), key=lambda e: (e.time_us, e.id))}
    assert newest == {s: e.data for s, e in last.items()}
    assert sum(model.query_counts().values()) == len(wanted)


def test_they_are_of_one_store(model):
    model.bind("instance")
    foreign = [e._replace(source="/etf_pipeline/other") for e in queries(3, start=50)]
    assert model.apply([*queries(5), *foreign], places={}) == 5
    assert model.others() == {"/etf_pipeline/other": 3}
    assert model.event_ids() == {e.id for e in queries(5)}
    again = Projections(model.path)
    with pytest.raises(EventError, match="store instance, and this is store other"):
        again.bind("other")
    again.close()


def test_one_of_several_workers_changes_the_id(model):
    first = model.id
    assert model.id == first
    second = model.renew_id(first)
    assert second != first
    assert model.renew_id(first) == second  # another was quicker
    assert Projections(model.path).id == second


def test_a_file_of_an_earlier_release_keeps_what_it_has(tmp_path):
    path, events = tmp_path / "p.sqlite", queries(40)
    with sqlite3.connect(path) as db:
        db.executescript(BEFORE)
        mixed = random.Random(1).sample(events, 40)
        db.executemany("INSERT INTO audit_trail VALUES (?,?,?,?,?,?,?,?,?)", [e[:9] for e in mixed])
        db.execute("INSERT INTO positions VALUES ('query-events', 2, 17, 'x')")
        db.executemany("INSERT INTO query_counts VALUES (?, 8, 0)", [(f"T{i}",) for i in range(5)])
    db.close()
    for _ in range(2):
        model = Projections(path)
        assert model.event_ids() == {e.id for e in events}
        assert model.apply(events, places={}) == 0
        assert model.places() == {("query-events", 2): Place(17, "x")}
        assert model.query_counts() == {f"T{i}": 8 for i in range(5)}
        model.close()
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT * FROM audit_trail").fetchall()
        assert not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'audit_trail_1'").fetchall()
    db.close()
    assert sorted(rows) == sorted((*e[:9], 0) for e in events)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


@pytest.fixture
def local(layout):
    log = Outbox(layout.event_log)
    yield Local(log, Archive(layout), "instance")
    log.close()


def test_the_log_is_taken_in_from_where_it_was_left(local, model):
    local.log.append(queries(10))
    assert local.take_in(model) == 10
    assert local.take_in(model) == 0
    local.log.append(queries(5, start=10))
    assert local.take_in(model) == 5
    assert model.event_ids() == {e.id for e in queries(15)}
    prove_whole(model, local.given())


def test_another_log_is_taken_in_from_its_beginning(layout, local, model):
    local.log.append(queries(10))
    assert local.take_in(model) == 10
    local.log.close()
    for path in layout.event_log.parent.glob("events.sqlite*"):
        path.unlink()
    other = Local(Outbox(layout.event_log), Archive(layout), "instance")
    other.log.append(queries(12, start=100))
    assert other.take_in(model) == 12
    other.log.close()


def test_what_was_pruned_before_it_was_taken_in_comes_from_the_archive(layout, model):
    store = Embedded(layout, embedded_settings(event_store_id="instance"))
    archive = Archive(layout)
    local = Local(store.log, archive, "instance")
    store.append(queries(10))
    assert local.take_in(model) == 10
    store.append(queries(10, start=10))
    store.archive(archive, T0)
    store.log.prune(20)
    store.append([query()])
    assert local.take_in(model) == 11
    prove_whole(model, local.given())
    store.close()


def test_read_models_of_an_earlier_release_learn_what_the_local_log_says(layout, local, model):
    local.log.append(queries(10))
    early = [copy(e, "another", -5) for e in queries(10)]
    with contextlib.closing(sqlite3.connect(model.path)) as db, db:
        assert model.id
        db.execute("ALTER TABLE audit_trail DROP COLUMN own")
        db.executemany("INSERT INTO audit_trail VALUES (?,?,?,?,?,?,?,?,?)", [e[:9] for e in early])
        db.execute("INSERT INTO logs VALUES (?, 11, ?)", (local.log.id, early[-1].id))
    model.close()
    again = Projections(model.path)
    assert local.take_in(again) == 0
    trail, _ = trail_of(again)
    assert trail == {e.id: (e.recorded_us, e.data) for e in queries(10)}
    again.close()


def test_the_audit_trail_has_the_time_at_which_a_replay_says_it_was_known(layout, local, model):
    store = Embedded(layout, embedded_settings(event_store_id="instance"))
    store.append(queries(10))
    archive = Archive(layout)
    store.archive(archive, T0)
    others = [copy(e, "another", -5)._replace(position=i) for i, e in enumerate(queries(12))]
    archive.add(Origin(TOPICS), others, "20251112T060000000000Z-0001")
    assert store.projector(model).run(once=True) == 12
    state = fold(own_first(read_all(store, archive), store.log))
    wanted = {e.id: micros(e.recorded) for e in state.audit_trail}
    own = {e.id: e.recorded_us for e in queries(10)}
    assert wanted == own | {e.id: e.recorded_us for e in others[10:]}
    assert {i: r for i, (r, _) in trail_of(model)[0].items()} == wanted
    store.close()


def test_what_was_pruned_and_is_nowhere_is_named(layout, model):
    store = Embedded(layout, embedded_settings(event_store_id="instance"))
    store.append(queries(10))
    store.log.prune(7)
    with pytest.raises(EventError, match="query-events 1 to 7 of log"):
        store.projector(model).run(once=True)
    assert model.event_ids() == {e.id for e in queries(3, start=7)}  # the rest was taken in
    store.close()
