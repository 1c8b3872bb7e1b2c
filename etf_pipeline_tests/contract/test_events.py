"""One suite for everything that implements `Events`, whatever the mode."""

import asyncio
import datetime as dt

import pytest

from etf_pipeline.errors import EventError, EventsOffError, TamperError
from etf_pipeline.events.kafka.probe import probe
from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.log.retention import origin_of
from etf_pipeline.events.model.envelope import lineage_event, micros
from etf_pipeline.events.model.state import fold
from etf_pipeline.events.model.types import CHANNELS, DATA, LINEAGE, PORTFOLIO, QUERY
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.modes.kafka import Kafka
from etf_pipeline.events.modes.off import Off
from etf_pipeline.events.modes.waiting import Waiting
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.events.proof.newest import newest
from etf_pipeline.events.proof.walk import walk
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.library.system import ETFSystem
from etf_pipeline.settings import Settings
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.conftest import BROKERS
from etf_pipeline_tests.events_support import (
    T0,
    collected,
    embedded_settings,
    ids,
    kafka_settings,
    optimised,
    queries,
    query,
    read_file,
)

_SECONDS = 30.0


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path)


@pytest.fixture(params=["embedded", *(f"{b}{k}" for b in BROKERS for k in ("", ", waited for"))])
def events(request, layout):
    """A recording implementation, on an empty store."""
    name, _, waited = request.param.partition(", ")
    if name == "embedded":
        made = Embedded(
            layout, embedded_settings(event_store_retention_days=30, event_store_id="instance")
        )
    else:
        servers = request.getfixturevalue("shared_brokers")(name).servers
        settings = kafka_settings(servers, event_store_retention_days=30, event_store_id="instance")
        made = Kafka(layout, settings, publish=False)
        made.broker.ensure_topics()
        if waited:
            broker = made
            made = Waiting(Off(layout, settings), lambda: broker)
            while not made.recording:
                assert probe(servers, _SECONDS) is None
    yield made
    made.close(0)


@pytest.fixture
def off(layout):
    made = Off(layout, EventSettings(event_store_type="none"))
    yield made
    made.close()


def settled(events, *new):
    """Append, and send what is to be sent."""
    events.append(new)
    assert events.drain(_SECONDS) == 0


def test_it_says_that_it_records(events):
    assert events.recording
    assert not events.closed
    assert events.problem is None
    assert "recorded" in events.describe()
    assert events.name in events.describe()


def test_what_was_appended_is_on_disk_at_once_and_read_once_it_is_sent(events, layout):
    new = [query(), collected("VGS", "b1"), optimised("calm", 0.25)]
    events.append(new, {"a fact": "kept"})
    other = Outbox(layout.event_log)
    assert [e[:9] for batch in other.read() for e in batch] == [e[:9] for e in new]
    assert other.fact("a fact") == "kept"
    other.close()
    waiting = events.log.pending() if events.name == "kafka" else []
    assert {e.id for e in waiting} | set(ids(events.read())) == {e.id for e in new}
    assert events.count_pending() == len(waiting)
    assert events.drain(_SECONDS) == 0
    assert events.count_pending() == 0
    found = {e.id: e for batch in events.read() for e in batch}
    assert {e.id: e[:9] for e in new} == {i: e[:9] for i, e in found.items()}
    assert all(found[e.id].payload() == e.payload() for e in new)


def test_an_event_is_confirmed_once_it_waits_for_nothing(events):
    first, second = queries(5), queries(5, start=5)
    settled(events, *first)
    assert events.confirmed(first)
    events.append(second)
    assert events.confirmed(second) == (events.count_pending() == 0)
    assert events.answers()
    events.drain(_SECONDS)
    assert events.confirmed([*first, *second])


def test_the_same_event_twice_counts_once(events):
    settled(events, *queries(20))
    settled(events, *queries(20))
    assert len(ids(events.read())) == 20


def test_only_the_channels_asked_for(events):
    settled(events, *queries(10), collected("VAS", "b"), optimised("p", 0.5))
    for channel in (DATA, PORTFOLIO, QUERY):
        assert {e.channel for batch in events.read([channel]) for e in batch} == {channel}


def test_what_is_read_lies_within_the_ranges(events):
    settled(events, *queries(30))
    ranges = events.ranges()
    assert {c for c, _ in ranges} == set(CHANNELS)
    found = [e for batch in events.read() for e in batch]
    assert len(found) == 30
    for e in found:
        low, high = ranges[(e.channel, e.partition)]
        assert low <= e.position < high
    ends = {key: high for key, (_, high) in ranges.items()}
    assert ids(events.read(start=ends)) == []


def test_the_archive_takes_what_it_does_not_have(events, layout):
    archive = Archive(layout)
    settled(events, *queries(30))
    assert events.archive(archive, T0).events == 30
    settled(events, *queries(10, start=30))
    events.append(queries(5, start=40))  # waits
    assert set(ids(read_all(events, archive))) == {e.id for e in queries(45)}
    assert events.archive(archive, T0 + dt.timedelta(days=1)).events == 15
    assert events.drain(_SECONDS) == 0
    assert events.archive(archive, T0 + dt.timedelta(days=2)).events == 0
    assert sorted(ids(archive.read())) == sorted(e.id for e in queries(45))


def test_lineage_is_archived_with_the_rest_and_the_chain_goes_through(events, layout):
    archive = Archive(layout)
    told = [lineage_event(("run", str(i)), "job", micros(T0), "{}", "store") for i in range(4)]
    events.append([*queries(3), *told[:2], collected("VAS", "b"), *told[2:]])
    assert events.drain(_SECONDS) == 0
    assert events.archive(archive, T0).events == 8
    events.log.prune(8)
    assert set(ids(archive.read([LINEAGE]))) == {e.id for e in told}
    assert walk(events.log, archive).last == 8


def test_what_the_archive_lost_stays_in_the_log(events, layout):
    archive = Archive(layout)
    settled(events, *queries(20))
    events.archive(archive, T0)
    for path in archive.root.rglob("*.parquet"):
        path.unlink()
    done = events.prune(archive)
    assert (done.events, done.kept) == (0, 20)
    assert any("not in" in reason and "20" in reason for reason in done.why)
    assert set(ids(read_all(events, archive))) == {e.id for e in queries(20)}


def test_an_archive_that_says_something_else_lets_nothing_go(events, layout):
    archive = Archive(layout)
    settled(events, *queries(20))
    events.archive(archive, T0)
    (path,) = archive.root.rglob("*.parquet")
    changed = [e._replace(subject="OTHER") for e in read_file(path)]
    path.unlink()
    archive.add(origin_of(events.log), changed, "20251112T060000000000Z-0000")
    with pytest.raises(TamperError, match="nothing was let go"):
        events.prune(archive)
    assert len(ids(events.log.read())) == 20


@pytest.fixture(scope="module")
def three_pages():
    """More events than two pages of a log hold."""
    return queries(10_100)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_replay_beside_a_prune_is_complete(events, layout, three_pages, after):
    """Pruned before the first page, after one, and after two of the three."""
    archive = Archive(layout)
    settled(events, *three_pages)
    events.archive(archive, T0)
    reading = read_all(events, archive)
    found = [next(reading) for _ in range(after)]
    assert events.prune(archive).events == len(three_pages)
    assert set(ids([*found, *reading])) == {e.id for e in three_pages}


def test_a_gap_that_nothing_fills_is_an_error_that_names_it(events, layout):
    archive = Archive(layout)
    settled(events, *queries(50), collected("VAS", "b"))
    events.archive(archive, T0)
    assert events.prune(archive).events == 51
    settled(events, *queries(5, start=100))
    (path,) = [p for p in archive.root.rglob("*.parquet") if "query" in str(p)]
    path.unlink()
    if events.name == "embedded":
        with pytest.raises(EventError, match=rf"query-events 1 to 50 of log {events.log.id}"):
            ids(read_all(events, archive))
    else:  # the brokers still have them
        assert len(set(ids(read_all(events, archive)))) == 56


def test_only_what_is_old_and_safe_elsewhere_leaves_the_local_log(events, layout):
    archive = Archive(layout)
    settled(events, *queries(20))  # recorded weeks ago
    events.archive(archive, T0)
    fresh = query(time=dt.datetime.now(dt.UTC))
    settled(events, fresh)
    events.append(queries(5, start=100))  # old, and safe nowhere yet
    done = events.prune(archive)
    assert (done.events, done.kept) == (20, 6)
    assert any("not older" in reason for reason in done.why)
    left = ids(events.log.read())
    assert left == [fresh.id, *(e.id for e in queries(5, start=100))]
    assert events.prune(archive).events == 0
    assert walk(events.log, archive).events == 6


def test_the_newest_are_found_without_reading_everything(events, layout, tmp_path):
    """Recorded here, by another machine of the store, in turns, and by another store."""
    mine, others = queries(40), queries(60, start=20)
    wanted = {e.id: e for e in mine}
    settled(events, *mine[:20])
    if events.name == "kafka":
        other = Kafka(Layout(tmp_path / "another"), events.settings, publish=False)
        settled(other, *others[:30])
        settled(events, *mine[20:])
        settled(other, *others[30:])
        foreign = Kafka(
            Layout(tmp_path / "foreign"),
            events.settings.model_copy(update={"event_store_id": "foreign"}),
            publish=False,
        )
        strange = [e._replace(source="/etf_pipeline/foreign") for e in queries(5, start=500)]
        settled(foreign, *strange)
        other.close(0)
        foreign.close(0)
        wanted |= {e.id: e for e in others}
    else:
        settled(events, *mine[20:])
    ordered = sorted(wanted.values(), key=lambda e: (e.time_us, e.id), reverse=True)
    archive = Archive(layout)
    for limit, subject in ((1, None), (7, None), (7, "T3"), (200, None)):
        found = newest(events, archive, limit, subject)
        told = [e.id for e in ordered if subject in (None, e.subject)]
        assert [e.id for e in found] == told[:limit]
    assert newest(events, archive, 3, kind="PortfolioOptimized") == []


def test_what_is_whole_verifies(events, layout):
    settled(events, *queries(12))
    archive = Archive(layout)
    assert walk(events.log, archive).events == 12
    checks = events.delivery_checks(archive)
    assert checks
    assert all(c.ok for c in checks if c.name == "all sent"), checks


def test_the_record_clock_tells_the_same_in_every_mode(events, layout):
    """Clocks that were ahead and behind, and events told again once the log had let them go."""
    second = dt.timedelta(seconds=1)
    skews = [0, 86_400, -3_600, 5, 0, -86_400]
    told = [
        e._replace(recorded_us=e.recorded_us + s * 1_000_000)
        for e, s in zip(queries(len(skews)), skews, strict=True)
    ]
    settled(events, *told)
    archive = Archive(layout)
    events.archive(archive, T0)
    assert events.prune(archive).events == len(told)
    again = [
        e._replace(recorded_us=e.recorded_us + s * 1_000_000)
        for e, s in zip(told, [900, -900] * 3, strict=True)
    ]
    settled(events, *again)
    system = ETFSystem(Settings(data_dir=layout.root), events)
    first = {a.id: min(a.recorded, b.recorded) for a, b in zip(told, again, strict=True)}
    for instant in sorted(first.values()):
        for moment in (instant - second / 1_000_000, instant):
            known = asyncio.run(system.state_at(moment, "record"))
            assert known.event_ids == {i for i, at in first.items() if at <= moment}
            assert {e.id: e.recorded for e in known.audit_trail}.items() <= first.items()
    whole = asyncio.run(system.replay_events())
    assert {e.id: e.recorded for e in whole.audit_trail} == first


def test_read_models_are_brought_up_to_date(events, tmp_path):
    settled(events, *queries(40, tickers=4))
    projections = Projections(tmp_path / "models.sqlite")
    assert events.projector(projections, f"g{tmp_path.name}").run(once=True) == 40
    assert projections.query_counts() == {f"T{i}": 10 for i in range(4)}
    settled(events, *queries(8, tickers=4, start=40))
    assert events.projector(projections, f"g{tmp_path.name}").run(once=True) == 8
    assert projections.event_ids() == fold(events.read()).event_ids
    projections.close()


def test_it_may_be_closed_twice_and_what_it_kept_stays(events, layout):
    events.append(queries(3))
    events.close(0)
    assert events.closed
    events.close(0)
    log = Outbox(layout.event_log)
    assert ids(log.read()) == [e.id for e in queries(3)]
    log.close()


def test_off_records_nothing_and_touches_nothing(off, layout):
    off.append([query()], {"a": "fact"})
    assert not off.recording
    assert list(off.read(CHANNELS)) == []
    assert (off.ranges(), off.count_pending(), off.drain(5)) == ({}, 0, 0)
    assert not off.answers()
    assert not off.confirmed([query()])
    assert off.seam(Archive(layout)) == {}
    assert off.prune(Archive(layout)).events == 0
    assert "nothing is recorded" in off.describe()
    assert not layout.event_log.exists()


def test_off_refuses_what_it_cannot_do_and_names_the_remedy(off, layout, tmp_path):
    projections = Projections(tmp_path / "models.sqlite")
    for call in (
        lambda: off.archive(Archive(layout), T0),
        lambda: off.projector(projections),
    ):
        with pytest.raises(EventsOffError, match="EVENT_STORE_TYPE"):
            call()
    projections.close()
