"""Events are told once, whatever becomes of Dagster's home, of runs and of manifests."""

import datetime as dt
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import dagster as dg
import pytest

from etf_pipeline.events.cursor import Cursor
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.log.parked import Parked
from etf_pipeline.events.model.types import LINEAGE
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.orchestrator import LogRecord
from etf_pipeline.events.ownership import Ownership
from etf_pipeline.events.status import events_status
from etf_pipeline.events.tailer import Tailer
from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.orchestration.slots import PROCESS_TAG
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.processes import HOST
from etf_pipeline_tests.events_support import T0, embedded_settings, kafka_settings
from etf_pipeline_tests.pipeline.relayed import (
    RunlessLog,
    download,
    materialise,
    relayed_tickers,
)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


@pytest.fixture
def homes(tmp_path):
    """Instances by the name of their home, each opened when it is asked for."""
    opened = {}

    def home(name):
        if name not in opened:
            (tmp_path / name).mkdir(exist_ok=True)
            # Not entered: Dagster keeps the one that was entered last for the whole process, and
            # these are left in any order.
            opened[name] = dg.DagsterInstance.local_temp(str(tmp_path / name))
        return opened[name]

    def leave(name):
        opened.pop(name).dispose()

    home.leave = leave
    yield home
    for name in list(opened):
        leave(name)


@pytest.fixture
def recorder(layout):
    """Events that begin where the first instance is, as they do by default."""
    made = open_events(layout.root, embedded_settings(), publish=False)
    yield made
    made.close(0)


def tailer(recorder, layout, instance):
    return Tailer(layout, recorder, RunlessLog(instance))


def test_a_home_that_is_removed_and_made_anew_loses_nothing(tmp_path, layout, homes, recorder):
    """The ids of its records begin again, up to those that the cursor has passed."""
    tailer(recorder, layout, homes("home")).cursor()
    wanted = materialise(homes("home"), layout, 2)
    assert tailer(recorder, layout, homes("home")).tick().records == 2
    homes.leave("home")
    shutil.rmtree(tmp_path / "home")
    wanted += materialise(homes("home"), layout, 2, first=2)
    tick = tailer(recorder, layout, homes("home")).tick()
    assert (tick.records, tick.behind) == (2, 0)
    assert relayed_tickers(recorder) == wanted


def test_with_a_broker_a_home_that_is_made_anew_loses_nothing(tmp_path, layout, homes, broker):
    """Nor does a home that goes while the broker is what the cursor waits for."""
    recorder = open_events(layout.root, kafka_settings(broker.servers), publish=False)
    tailer(recorder, layout, homes("home")).cursor()
    wanted = materialise(homes("home"), layout, 2)
    tick = tailer(recorder, layout, homes("home")).tick(seconds=60.0)
    assert (tick.records, tick.pending, tick.problem) == (2, 0, None)
    homes.leave("home")
    shutil.rmtree(tmp_path / "home")
    wanted += materialise(homes("home"), layout, 2, first=2)
    spoil(layout, 3, "damaged")
    tick = tailer(recorder, layout, homes("home")).tick(seconds=60.0)
    assert (tick.records, tick.parked, tick.pending) == (2, 1, 0)
    found = [e.subject for batch in recorder.read() for e in batch]
    assert sorted(set(found)) == wanted[:3]
    recorder.close()


def test_instances_in_turn_on_one_store(layout, homes, recorder):
    tailer(recorder, layout, homes("one")).cursor()
    wanted, given = [], {}
    for turn in range(3):
        for name in ("one", "other"):
            wanted += materialise(homes(name), layout, 2, first=len(wanted))
            tick = tailer(recorder, layout, homes(name)).tick(given.get(name))
            given[name] = tick.cursor
            assert (tick.records, tick.behind) == (2, 0), (turn, name)
    assert relayed_tickers(recorder) == wanted
    said = recorder.log.facts("relay_status:")
    ids = {DagsterLog(homes(n)).instance: homes(n).root_directory for n in ("one", "other")}
    assert {i: json.loads(text)["where"] for i, text in said.items()} == ids
    relays = events_status(layout.root, recorder.settings).relays
    assert [r["where"] for r in relays] == [homes(n).root_directory for n in ("other", "one")]
    assert [r["behind"] for r in relays] == [0, 0]


@pytest.mark.parametrize("more", [1, 12])
def test_an_instance_that_was_restored_from_a_backup(tmp_path, layout, homes, recorder, more):
    """It is read again, also where it grew past the cursor before anybody looked."""
    start = tailer(recorder, layout, homes("home")).cursor()
    wanted = materialise(homes("home"), layout, 3)
    homes.leave("home")
    shutil.copytree(tmp_path / "home", tmp_path / "backup")
    wanted += materialise(homes("home"), layout, 6, first=3)
    tick = tailer(recorder, layout, homes("home")).tick()
    assert tick.records == 9
    homes.leave("home")
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "backup").rename(tmp_path / "home")
    fresh = materialise(homes("home"), layout, more, first=9)
    log = DagsterLog(homes("home"))
    assert (log.head() > Cursor.load(tick.cursor).position) == (more == 12)
    assert log.instance == start.instance
    again = tailer(recorder, layout, homes("home")).tick(tick.cursor)
    assert again.records == 3 + more
    assert sorted(relayed_tickers(recorder)) == wanted + fresh


def test_records_of_deleted_runs_are_not_missed(layout, homes, recorder):
    """Nothing is read twice for it, and what comes later is told."""
    instance = homes("home")
    one = tailer(recorder, layout, instance)
    one.cursor()
    wanted = materialise(instance, layout, 5)
    one.tick()
    instance.wipe_assets([dg.AssetKey("nothing_of_ours")])
    with instance.event_log_storage.index_connection() as db:
        db.exec_driver_sql("DELETE FROM event_logs WHERE id IN (2, 3)")
    wanted += materialise(instance, layout, 2, first=5)
    assert one.tick().records == 2
    assert relayed_tickers(recorder) == wanted


def test_one_instance_for_two_stores(tmp_path, homes):
    """Each is told what is its own; the cursor that Dagster keeps is that of one of them."""
    stores = [Layout(tmp_path / name) for name in ("first", "second")]
    recorders = [open_events(s.root, embedded_settings(), publish=False) for s in stores]
    instance, given = homes("home"), None
    for store, events in zip(stores, recorders, strict=True):
        Tailer(store, events, RunlessLog(instance)).cursor()
    wanted = [[], []]
    for turn in range(2):
        for i, store in enumerate(stores):
            wanted[i] += materialise(instance, store, 2, first=100 * i + 2 * turn)
        for store, events in zip(stores, recorders, strict=True):
            tick = Tailer(store, events, RunlessLog(instance)).tick(given)
            given = tick.cursor
            assert (tick.elsewhere, tick.parked, tick.behind) == (2, 0, 0)
            assert "2 records are of other stores" in tick.summary
    for events, tickers in zip(recorders, wanted, strict=True):
        assert relayed_tickers(events) == tickers
        events.close(0)


def test_a_store_that_was_moved_knows_its_records(tmp_path, homes):
    old = Layout(tmp_path / "old")
    events = open_events(old.root, embedded_settings(), publish=False)
    Tailer(old, events, RunlessLog(homes("home"))).tick()
    wanted = materialise(homes("home"), old, 3)
    events.close(0)
    old.root.rename(tmp_path / "new")
    new = Layout(tmp_path / "new")
    gone = new.of(MANIFEST, "raw_prices", "run00001", "XASX")
    gone.unlink()
    events = open_events(new.root, embedded_settings(), publish=False)
    tick = Tailer(new, events, RunlessLog(homes("home"))).tick()
    assert (tick.elsewhere, tick.parked) == (0, 1)
    assert relayed_tickers(events) == [wanted[0], wanted[2]]
    events.close(0)


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        ({}, True),
        ({"store": "/elsewhere/etf"}, False),
        ({"places": ("file:///elsewhere/etf/historical",)}, False),
        ({"places": ("not a place",)}, True),
        # mounted under another path, as in a container
        ({"store": "/elsewhere/etf", "run_id": "known"}, True),
        ({"store": "/elsewhere/etf", "store_id": "this"}, True),
        ({"store": "here", "store_id": "another"}, False),
        ({"store": "here"}, True),
        ({"places": ("here/a%20b",)}, True),
    ],
)
def test_whose_record_it_is(tmp_path, recorder, layout, said, ours):
    here = str(layout.root.resolve())
    said = {
        k: v.replace("here", here)
        if isinstance(v, str)
        else tuple(p.replace("here", here) for p in v)
        for k, v in said.items()
    }
    download(layout, 0, "known")
    owner = Ownership(layout, recorder.log, lambda: "this")
    owner.note()
    record = LogRecord(1, "failure", "run", "ingest", T0)
    assert owner.ours(replace(record, **said)) is ours


def as_earlier_release(recorder, cursor):
    """The facts as the release before kept them: one cursor, whatever the instance."""
    old = {"position": cursor.position, "since": cursor.since, "seen": sorted(cursor.seen)}
    recorder.log.append([], facts={"relay": json.dumps(old)})
    with recorder.log._db.writing() as db:
        db.execute("DELETE FROM facts WHERE substr(name, 1, 6) = 'relay:'")


def test_the_cursor_of_an_earlier_release_goes_on_in_its_instance(layout, homes, recorder):
    one = tailer(recorder, layout, homes("home"))
    one.cursor()
    wanted = materialise(homes("home"), layout, 4)
    as_earlier_release(recorder, Cursor.load(one.tick().cursor))
    assert one.tick().records == 0
    wanted += materialise(homes("home"), layout, 1, first=4)
    assert one.tick().records == 1
    assert relayed_tickers(recorder) == wanted


def test_the_cursor_of_an_earlier_release_is_not_taken_for_another_instances(
    layout, homes, recorder
):
    """Their ids are the same: what the records tell is not."""
    one = tailer(recorder, layout, homes("home"))
    one.cursor()
    wanted = materialise(homes("home"), layout, 4)
    as_earlier_release(recorder, Cursor.load(one.tick().cursor))
    wanted += materialise(homes("other"), layout, 4, first=4)
    assert tailer(recorder, layout, homes("other")).tick().records == 4
    assert relayed_tickers(recorder) == wanted


def spoil(layout, i, how):
    """Damage a manifest; returns what mends it."""
    path = layout.of(MANIFEST, "raw_prices", f"run{i:05d}", "XASX")
    whole = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2])
    return lambda: path.write_bytes(whole)


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_a_manifest_that_cannot_be_read_stops_nothing(layout, homes, recorder, how):
    """It is parked once, shown, and told as soon as it can be read."""
    instance = homes("home")
    one = tailer(recorder, layout, instance)
    one.cursor()
    wanted = materialise(instance, layout, 3)
    mend = spoil(layout, 1, how)
    tick = one.tick()
    assert (tick.records, tick.parked, tick.behind, tick.problem) == (3, 1, 0, None)
    assert "1 could not be read" in tick.summary
    assert relayed_tickers(recorder) == [wanted[0], wanted[2]]
    parked = Parked(layout.event_log)
    (found,) = parked.newest(10)
    assert found.spot.name == "manifests/raw_prices/run00001-XASX.parquet"
    assert found.missing
    assert found.reason == {"gone": "record_gone", "damaged": "corrupt_file"}[how]
    assert one.tick().parked == 0
    assert len(parked.newest(10)) == 1
    mend()
    assert one.tick().relayed == 1
    assert relayed_tickers(recorder) == [wanted[0], wanted[2], wanted[1]]
    assert parked.newest(10) == []
    parked.close()


class Odd(RunlessLog):
    """One record of it makes no sense."""

    def _read(self, kind, record):
        found = super()._read(kind, record)
        if found.metadata.get("run_id") == self.odd:
            raise ValueError("half a surrogate \udc80, and \x00" + "x" * 2_000_000)
        return found


def test_a_record_that_makes_no_sense_stops_nothing(layout, homes, recorder):
    """Nor does what is said of it. It is parked; by its manifest it is told all the same."""
    log = Odd(homes("home"))
    log.odd = "run00001"
    one = Tailer(layout, recorder, log)
    one.cursor()
    wanted = materialise(homes("home"), layout, 3)
    tick = one.tick()
    assert (tick.records, tick.parked, tick.behind) == (3, 1, 0)
    assert sorted(relayed_tickers(recorder)) == wanted
    parked = Parked(layout.event_log)
    (found,) = parked.newest(10)
    assert found.spot[:2] == ("orchestrator", log.instance)
    assert len(found.detail) <= 2_000
    log.odd = None
    one.tick()
    assert parked.newest(10) == []
    assert sorted(relayed_tickers(recorder)) == wanted
    parked.close()


def test_a_manifest_that_no_record_leads_to_is_told(tmp_path, layout, homes, recorder):
    """Killed before Dagster's record of the step; or the home went before it was read."""
    one = tailer(recorder, layout, homes("home"))
    one.cursor()
    wanted = [*materialise(homes("home"), layout, 1), download(layout, 1)]
    one.tick()
    assert relayed_tickers(recorder) == wanted
    wanted += materialise(homes("home"), layout, 2, first=2)
    homes.leave("home")
    shutil.rmtree(tmp_path / "home")
    tailer(recorder, layout, homes("home")).tick()
    assert sorted(relayed_tickers(recorder)) == wanted


def test_a_manifest_of_before_events_were_asked_for_is_not_told(layout, homes, recorder):
    download(layout, 0)
    one = tailer(recorder, layout, homes("home"))
    one.tick()
    wanted = [download(layout, 1)]
    one.tick()
    assert relayed_tickers(recorder) == wanted


def begun(instance, pid):
    """A run that began in a process of this host."""
    return instance.create_run_for_job(
        dg.job(name="begun")(lambda: None),
        tags={PROCESS_TAG: f"{HOST}-{pid}"},
        status=dg.DagsterRunStatus.STARTED,
    )


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_manifest_of_a_run_that_goes_on_waits_for_its_end(layout, homes, recorder):
    """A step that is tried again replaces its manifest."""
    instance = homes("home")
    one = tailer(recorder, layout, instance)
    one.cursor()
    run = begun(instance, 1)
    wanted = [download(layout, 0, run.run_id), download(layout, 1)]
    one.tick()
    assert relayed_tickers(recorder) == wanted[1:]
    instance.report_run_failed(run)
    one.tick()
    assert sorted(relayed_tickers(recorder)) == wanted


def test_a_manifest_of_a_run_whose_process_is_gone_is_told(layout, homes, recorder):
    instance = homes("home")
    one = tailer(recorder, layout, instance)
    one.cursor()
    run = begun(instance, dead_pid())
    wanted = [download(layout, 0, run.run_id)]
    one.tick()
    assert relayed_tickers(recorder) == wanted


class Listed:
    """An orchestrator's log of so many runs that succeeded, a record each."""

    instance, where = "listed", "a list"

    def __init__(self, n):
        self.there = [
            LogRecord(i, "success", f"run{i}", "derive", T0 + dt.timedelta(seconds=i))
            for i in range(1, n + 1)
        ]

    def head(self):
        return len(self.there)

    def records(self, after, limit):
        return self.there[after : after + limit]

    def open(self):
        return None

    def going_on(self, run_id):
        return False


def test_two_thousand_five_hundred_behind_drain_completely(layout):
    """More than is read at a time; one tick tells all, or says how many are left."""
    events = Embedded(layout, embedded_settings(event_relay_start="beginning"))
    log = Listed(2_500)
    one = Tailer(layout, events, log)
    none = one.tick(seconds=0.0)
    assert (none.records, none.behind, none.more) == (0, 2_200, True)
    assert "2200 or more behind" in none.summary
    assert json.loads(events.log.fact("relay_status:listed"))["more"]
    tick = one.tick(seconds=600.0)
    assert (tick.records, tick.behind, tick.more) == (2_500, 0, False)
    told = [json.loads(e.data)["eventTime"] for b in events.log.read([LINEAGE]) for e in b]
    assert [dt.datetime.fromisoformat(t) for t in told] == [r.time for r in log.there]
    assert one.tick().records == 0
    events.close()
