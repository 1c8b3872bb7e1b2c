"""The system as a user has it: provider, replay, time travel, rebuilding, archive, verification."""

import asyncio
import contextlib
import datetime as dt
import json
import re
import shutil
import sqlite3
import uuid
from collections import Counter

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from etf_pipeline import ETFDataProvider, get_etf_system
from etf_pipeline.errors import (
    ArgumentError,
    EventError,
    EventsOffError,
    ProofError,
    SettingsError,
    StoreError,
)
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.facts import events_of_manifest
from etf_pipeline.events.kafka.timeouts import Timeouts
from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.kafka.variables import variables
from etf_pipeline.events.log.archive import LOG, TOPICS, Archive, Origin
from etf_pipeline.events.log.catching_up import project_archive
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.model.envelope import event_id, lineage_event, micros, source_of
from etf_pipeline.events.model.numbers import Gap
from etf_pipeline.events.model.state import fold
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.modes.kafka import Kafka
from etf_pipeline.events.proof.archiving import Reading, read_all
from etf_pipeline.events.proof.losses import declare_lost, missing_events
from etf_pipeline.events.proof.rebuild import Rebuilder
from etf_pipeline.events.proof.verify import verify
from etf_pipeline.events.proof.walk import walk as walk_chain
from etf_pipeline.events.settings import client_config, load_event_settings, redacted
from etf_pipeline.library.selftest import selftest
from etf_pipeline.library.system import ETFSystem
from etf_pipeline.model.schemas import HISTORY, MANIFEST, RAW
from etf_pipeline.settings import Settings
from etf_pipeline.store.hashing import file_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.writer import META_KEY
from etf_pipeline_tests.events_support import (
    T0,
    embedded_settings,
    ids,
    kafka_settings,
    linked,
    put_back,
    queries,
    read_file,
    wait_until,
)
from etf_pipeline_tests.support import asx_days, bars, instrument, walk, yahoo_rows
from etf_pipeline_tests.yahoo_standin import Series

UTC = dt.UTC


def relay(world, system, run_id, run_time):
    """What the relay does with the manifests of one run, without an orchestrator."""
    for asset in ("raw_prices", "price_history"):
        path = world.layout.of(MANIFEST, asset, run_id, "XASX")
        events = events_of_manifest(world.layout, path, system.event_store.instance)
        system.event_store.append(events)


def run(world, system, *instruments):
    """One run of both steps, with events; returns when it was over."""
    world.download(*instruments)
    run_id = f"run{world.runs:05d}"
    outcomes = world.update(*instruments)
    write_manifest(
        world.layout, "price_history", run_id, "XASX", outcomes.values(), world.now, "yahoo"
    )
    relay(world, system, run_id, world.now)
    over = world.now + dt.timedelta(seconds=1)
    world.now += dt.timedelta(days=3)
    return over


def open_system(world, settings=None):
    return ETFSystem(
        Settings(data_dir=world.root, universe_file=world.root / "none.csv"),
        settings or embedded_settings(),
    )


@pytest.fixture(params=["embedded", "noida-db"])
def system(request, world):
    settings = None
    if request.param != "embedded":
        servers = request.getfixturevalue("shared_brokers")(request.param).servers
        settings = kafka_settings(servers)
    made = open_system(world, settings)
    yield made
    made.close()


def two_runs(world, system):
    """A first download, and a later one that revises and extends it; times after each."""
    days = asx_days("2024-01-02", 320)
    closes = walk(320)
    vas, vgs = instrument("VAS"), instrument("VGS")
    for ticker in ("VAS", "VGS"):
        world.serve(ticker, bars(days[:300], closes[:300]))
    world.now = dt.datetime.combine(days[299].astype(object), dt.time(12), UTC)
    first = run(world, system, vas, vgs)
    revised = closes.copy()
    revised[298] += 0.01
    world.serve("VAS", bars(days, revised))
    world.serve("VGS", bars(days, closes))
    world.now = dt.datetime.combine(days[319].astype(object), dt.time(12), UTC)
    second = run(world, system, vas, vgs)
    return first, second


def replay(system, *times):
    return asyncio.run(system.replay_events(*times))


def test_histories_are_rebuilt_as_they_were_and_proven(world, system, tmp_path):
    from etf_pipeline.store.reader import file_info

    days = asx_days("2024-01-02", 320)
    vas = instrument("VAS")
    world.serve("VAS", bars(days[:300], walk(320)[:300]))
    world.now = dt.datetime.combine(days[299].astype(object), dt.time(12), UTC)
    first = run(world, system, vas)
    hash_then = file_info(world.layout.of(HISTORY, "VAS")).content_hash
    bytes_then = world.layout.of(HISTORY, "VAS").read_bytes()
    world.serve("VAS", bars(days, walk(320)))
    world.now = dt.datetime.combine(days[319].astype(object), dt.time(12), UTC)
    run(world, system, vas)
    assert file_info(world.layout.of(HISTORY, "VAS")).content_hash != hash_then
    (found,) = asyncio.run(system.rebuild_history(first, tmp_path / "then"))
    assert (found.status, found.content_hash, found.rows) == ("proved", hash_then, 300)
    assert (tmp_path / "then/historical/VAS.parquet").read_bytes() == bytes_then
    (now,) = asyncio.run(system.rebuild_history(world.now, tmp_path / "now"))
    assert now.status == "proved"
    assert (tmp_path / "now/historical/VAS.parquet").read_bytes() == (
        world.layout.of(HISTORY, "VAS").read_bytes()
    )
    early = dt.datetime(2020, 1, 1, tzinfo=UTC)
    assert asyncio.run(system.rebuild_history(early, tmp_path / "early")) == []


def test_replay_and_time_travel(world, system):
    first, second = two_runs(world, system)
    whole = replay(system)
    assert len(whole) == 8
    assert [len(e.batches) for e in whole.etfs.values()] == [2, 2]
    then = asyncio.run(system.state_at(first))
    assert [len(e.batches) for e in then.etfs.values()] == [1, 1]
    assert whole.etfs["VAS"].updated.rows_revised == 1
    assert replay(system, first) == replay(system, first, second)
    assert len(replay(system, first)) == 4
    assert len(replay(system, None, first)) == 4
    assert replay(system, None, first) == then
    # all were recorded today, long after they happened
    assert len(asyncio.run(system.state_at(second, "record"))) == 0
    assert asyncio.run(system.state_at(dt.datetime.now(UTC), "record")) == whole
    assert len(replay(system, dt.datetime(2100, 1, 1, tzinfo=UTC))) == 0


def test_equal_instants_of_any_zone_give_equal_states(world, system):
    from zoneinfo import ZoneInfo

    first, _ = two_runs(world, system)
    there = [first.astimezone(ZoneInfo(z)) for z in ("Australia/Sydney", "America/New_York")]
    assert replay(system, None, there[0]) == replay(system, None, there[1])


def test_a_naive_time_is_taken_as_utc_and_that_is_said(world, system, tmp_path):
    first, _ = two_runs(world, system)
    naive = first.astimezone(UTC).replace(tzinfo=None)
    for asked, meant in (
        (lambda t: system.replay_events(t), lambda: replay(system, first)),
        (lambda t: system.replay_events(from_timestamp=t), lambda: replay(system, first)),
        (lambda t: system.replay_events(None, t), lambda: replay(system, None, first)),
        (lambda t: system.state_at(t), lambda: asyncio.run(system.state_at(first))),
    ):
        with pytest.warns(UserWarning, match=rf"{naive.isoformat()}: has no time zone .* UTC"):
            found = asyncio.run(asked(naive))
        assert found == meant()
    with pytest.warns(UserWarning, match="instant .* taken as UTC"):
        rebuilt = asyncio.run(system.rebuild_history(naive, tmp_path / "naive"))
    assert rebuilt == asyncio.run(system.rebuild_history(first, tmp_path / "aware"))
    assert {r.status for r in rebuilt} == {"proved"}


def test_the_founding_call_works(world, system):
    two_runs(world, system)
    with pytest.warns(UserWarning, match=r"from_timestamp 2025-01-01T00:00:00: has no time zone"):
        state = asyncio.run(
            system.replay_events(from_timestamp=dt.datetime(2025, 1, 1))  # noqa: DTZ001
        )
    assert state == replay(system, dt.datetime(2025, 1, 1, tzinfo=UTC))


def test_a_lost_file_is_rebuilt_by_loading_it(world, system, caplog):
    two_runs(world, system)
    before = system.provider.load_etf_data("VAS")
    path = world.layout.of(HISTORY, "VAS")
    content = path.read_bytes()
    path.unlink()
    after = system.provider.load_etf_data("VAS")
    assert after.equals(before)
    assert path.read_bytes() == content
    assert "VAS had no Parquet file: rebuilt from 2 raw batches" in caplog.text


def test_a_lost_file_with_a_damaged_batch_is_an_error(world, system):
    two_runs(world, system)
    path = world.layout.of(HISTORY, "VAS")
    path.unlink()
    batch = sorted(world.layout.folder(RAW).rglob("*.parquet"))[0]
    batch.write_bytes(batch.read_bytes()[:-1] + b"x")
    with pytest.raises(ProofError, match="not the file that was collected"):
        system.provider.load_etf_data("VAS")
    assert not path.exists()


def test_a_lost_file_that_comes_out_different_is_an_error(world, system, tmp_path):
    two_runs(world, system)
    path = world.layout.of(HISTORY, "VGS")
    path.unlink()
    batches = sorted(world.layout.folder(RAW).rglob("*.parquet"))
    shutil.move(batches[0], tmp_path / "elsewhere.parquet")
    with pytest.raises(ProofError, match="is gone"):
        system.provider.load_etf_data("VGS")
    found = asyncio.run(system.rebuild_history(world.now, tmp_path / "now"))
    assert {r.status for r in found} == {"differs"}
    assert not (tmp_path / "now" / "historical").exists()


def test_provider_calls_are_recorded(world, system):
    two_runs(world, system)
    provider = system.provider
    assert provider.use_event_sourcing
    provider.load_etf_data("VAS")
    provider.get_latest_prices(["VAS", "VGS"])
    provider.get_returns(["VAS", "VGS"], start="2025-01-02")
    metrics = provider.calculate_risk_metrics("VAS", lookback_years=1)
    answer = provider.optimize_portfolio_mean_variance(
        ["VAS", "VGS"], risk_budget=0.5, lookback_years=1
    )
    state = replay(system)
    assert state.query_counts == {"VAS": 3, "VGS": 2}
    told = state.risk["VAS"]
    assert told.origin == "library"
    assert told.metrics["1y"]["volatility"] == metrics["volatility"]
    assert told.metrics["1y"]["start"] == metrics["start"].isoformat()
    found = state.portfolios["VAS+VGS"]
    assert found.weights == answer["optimal_weights"]
    assert found.parameters["risk_budget"] == 0.5
    assert found.parameters["tickers"] == ["VAS", "VGS"]
    (loaded,) = {
        e.id: e
        for b in system.events(["query-events"])
        for e in b
        if json.loads(e.data)["operation"] == "load_etf_data"
    }.values()
    data = loaded.payload()
    assert data.rows == len(provider.load_etf_data("VAS"))
    assert len(data.content_hash) == 64


def test_a_failed_optimisation_is_recorded_too(world, system):
    two_runs(world, system)
    answer = system.provider.optimize_portfolio_mean_variance(
        ["VAS", "VGS"], risk_budget=1e-6, lookback_years=1
    )
    assert not answer["optimization_success"]
    found = replay(system).portfolios["VAS+VGS"]
    assert (found.success, found.weights) == (False, None)
    assert found.message == answer["optimization_message"]


def test_direct_mode_records_nothing_and_says_so(world):
    days = asx_days("2024-01-02", 300)
    world.serve("VAS", bars(days, walk(300)))
    world.run(instrument("VAS"))
    provider = ETFDataProvider(world.root)
    assert not provider.use_event_sourcing
    provider.load_etf_data("VAS")
    assert not (world.root / "events").exists()
    system = get_etf_system(world.root)
    with pytest.raises(EventsOffError, match="EVENT_STORE_TYPE=embedded"):
        replay(system)
    system.close()


def test_without_events_a_rebuilt_history_is_called_unproven(world, tmp_path):
    days = asx_days("2024-01-02", 300)
    world.serve("VAS", bars(days, walk(300)))
    world.run(instrument("VAS"))
    system = get_etf_system(world.root)
    (found,) = asyncio.run(system.rebuild_history(world.now, tmp_path / "then"))
    assert found.status == "unproven"
    assert (tmp_path / "then/historical/VAS.parquet").read_bytes() == (
        world.layout.of(HISTORY, "VAS").read_bytes()
    )
    before = (tmp_path / "then/historical/VAS.parquet").read_bytes()
    for into, words in (
        (world.root, "another folder"),
        (world.root / "historical", "lies in the store"),
        (world.root / "new", "lies in the store"),
        (tmp_path / "then", "holds something already"),
        (world.root.parent, "holds something already"),
        (tmp_path / "then/historical/VAS.parquet", "is a file"),
    ):
        with pytest.raises(ValueError, match=words):
            asyncio.run(system.rebuild_history(dt.datetime(2020, 1, 1, tzinfo=UTC), into))
    assert (tmp_path / "then/historical/VAS.parquet").read_bytes() == before
    assert not (world.root / "new").exists()
    system.close()


def test_a_folder_that_takes_no_histories_is_an_error_and_no_difference(world, tmp_path):
    days = asx_days("2024-01-02", 300)
    world.serve("VAS", bars(days, walk(300)))
    world.run(instrument("VAS"))
    into = Layout(tmp_path / "then")
    into.folder(HISTORY).parent.mkdir()
    into.folder(HISTORY).write_text("a file where a folder should be")
    with (
        Rebuilder(world.layout, into) as rebuilder,
        pytest.raises(StoreError, match="cannot write"),
    ):
        rebuilder.rebuild_unproven("VAS", "9")


def test_the_environment_turns_events_on(world, monkeypatch):
    days = asx_days("2024-01-02", 300)
    world.serve("VAS", bars(days, walk(300)))
    world.run(instrument("VAS"))
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    provider = ETFDataProvider(world.root)
    assert provider.use_event_sourcing
    provider.load_etf_data("VAS")
    assert ETFDataProvider(world.root)._calls.events is provider._calls.events
    system = get_etf_system(world.root)
    assert replay(system).query_counts == {"VAS": 1}
    system.close()
    provider._calls.events.close()


def test_use_event_sourcing_can_be_said(world, monkeypatch):
    days = asx_days("2024-01-02", 300)
    world.serve("VAS", bars(days, walk(300)))
    world.run(instrument("VAS"))
    with pytest.raises(EventsOffError, match=r"use_event_sourcing=True: .*_TYPE=embedded"):
        ETFDataProvider(world.root, use_event_sourcing=True)
    direct = ETFDataProvider(world.root, use_event_sourcing=False)
    assert not direct.use_event_sourcing
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    quiet = ETFDataProvider(world.root, use_event_sourcing=False)
    assert not quiet.use_event_sourcing
    assert quiet.load_etf_data("VAS").equals(direct.load_etf_data("VAS"))
    assert not (world.root / "events").exists()
    loud = ETFDataProvider(world.root, use_event_sourcing=True)
    loud.load_etf_data("VAS")
    system = get_etf_system(world.root)
    shared = ETFDataProvider(world.root, events=system.event_store, use_event_sourcing=False)
    shared.load_etf_data("VAS")
    assert replay(system).query_counts == {"VAS": 1}
    system.close()
    loud._calls.events.close()
    for odd in (1, "false", []):
        with pytest.raises(ArgumentError, match=r"use_event_sourcing .*True, False or None"):
            ETFDataProvider(world.root, use_event_sourcing=odd)


def test_event_sourcing_that_waits_for_kafka_is_refused_with_the_remedy(world, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(EventsOffError, match=r"127\.0\.0\.1:1 .*EVENT_STORE_TYPE=kafka"):
        ETFDataProvider(world.root, use_event_sourcing=True)


def test_a_call_that_cannot_be_recorded_fails(world, system, monkeypatch):
    two_runs(world, system)
    before = len(replay(system))
    log = system.event_store.log.path
    system.provider.load_etf_data("VAS")
    with sqlite3.connect(log) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON events "
            "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    with pytest.raises((EventError, sqlite3.IntegrityError), match="disk full"):
        system.provider.load_etf_data("VAS")
    with sqlite3.connect(log) as other:
        other.execute("DROP TRIGGER full")
    assert len(replay(system)) == before + 1


# --- tampering -----------------------------------------------------------------------------------


def checks(system):
    return {c.name: c for c in verify(system.event_store, system.layout)}


def test_everything_verifies(world, system):
    two_runs(world, system)
    assert system.event_store.drain(30) == 0
    found = checks(system)
    assert all(c.ok for c in found.values()), found


def tamper(path, *statements):
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (
            [
                "DROP TRIGGER events_never_change",
                "UPDATE events SET data = replace(data, '10', '11') WHERE seq = 4",
            ],
            "event 4",
        ),
        (
            [
                "DROP TRIGGER events_never_change",
                "UPDATE events SET time_us = time_us - 1 WHERE seq = 2",
            ],
            "event 2",
        ),
        (["DROP TRIGGER events_never_go", "DELETE FROM events WHERE seq = 5"], "event 5"),
        (["DROP TRIGGER events_never_go", "DELETE FROM events WHERE seq > 7"], "8 to 10"),
    ],
)
def test_tampering_with_the_log_shows(world, statements, told):
    system = open_system(world)
    system.event_store.append(queries(10))
    tamper(system.event_store.log.path, *statements)
    check = checks(system)["log untouched"]
    assert not check.ok
    assert told in check.detail
    system.close()


def test_the_log_refuses_changes(world):
    system = open_system(world)
    system.event_store.append(queries(3))
    for statement in ("UPDATE events SET subject = 'X'", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            tamper(system.event_store.log.path, statement)
    assert linked(system.event_store.log) == 3
    system.close()


def test_changed_files_of_the_store_show(world, system):
    two_runs(world, system)
    batch = sorted(world.layout.folder(RAW).rglob("*.parquet"))[0]
    content = batch.read_bytes()
    batch.write_bytes(content[:-1] + b"x")
    assert "was changed" in checks(system)["raw batches whole"].detail
    batch.unlink()
    assert "is gone" in checks(system)["raw batches whole"].detail
    batch.write_bytes(content)
    shutil.copy(world.layout.of(HISTORY, "VGS"), world.layout.of(HISTORY, "VAS"))
    found = checks(system)
    assert found["raw batches whole"].ok
    assert "VAS" in found["histories as recorded"].detail


def test_rows_of_a_history_that_were_changed_below_their_footer_show(world, system):
    two_runs(world, system)
    path = world.layout.of(HISTORY, "VAS")
    whole = pq.read_table(path)
    at = whole.schema.get_field_index("close")
    higher = pc.multiply(whole["close"], 2.0)
    pq.write_table(whole.set_column(at, whole.schema.field(at), higher), path)
    assert pq.read_metadata(path).metadata[META_KEY] == whole.schema.metadata[META_KEY]
    check = checks(system)["histories as recorded"]
    assert not check.ok
    assert f"VAS: its rows were changed after they were written; move {path} away" in check.detail
    path.unlink()
    assert len(system.provider.load_etf_data("VAS")) == len(whole)
    assert checks(system)["histories as recorded"].ok


def test_a_batch_of_what_was_said_besides_rows_is_told_and_proven(world, tmp_path):
    """The adjusted close of the source changes no price, but the history stands on it."""
    system = open_system(world)
    days = asx_days("2024-01-02", 30)
    rows = yahoo_rows(bars(days, walk(30)))
    vas = instrument("VAS")
    world.now = dt.datetime.combine(days[29].astype(object), dt.time(12), UTC)
    world.yahoo.series["VAS.AX"] = Series(rows)
    run(world, system, vas)
    said = rows.copy()
    said.iloc[:15, said.columns.get_loc("Adj Close")] *= 0.99
    world.yahoo.series["VAS.AX"] = Series(said)
    run(world, system, vas)
    batches = sorted(world.layout.folder(RAW).rglob("*.parquet"))
    assert len(batches) == 2
    told = replay(system).etf("VAS").batches
    assert [b.batch_id for b in told] == [p.stem for p in batches]
    assert [b.batch_hash for b in told] == [file_hash(p) for p in batches]
    assert (told[1].rows_added, told[1].rows_revised) == (0, 0)
    assert checks(system)["raw batches whole"].detail == "2 batches, as collected"
    (found,) = asyncio.run(system.rebuild_history(world.now, tmp_path / "now"))
    assert found.status == "proved"
    batches[1].unlink()
    check = checks(system)["raw batches whole"]
    assert not check.ok
    assert f"{batches[1]} is gone" in check.detail
    system.close()


def test_a_batch_that_a_history_holds_and_no_event_names_is_missed(world):
    """As stores have them whose events were off for a while."""
    system = open_system(world)
    days = asx_days("2024-01-02", 40)
    vas = instrument("VAS")
    for n in (30, 40):
        world.serve("VAS", bars(days[:n], walk(40)[:n]))
        world.now = dt.datetime.combine(days[n - 1].astype(object), dt.time(12), UTC)
        if n == 30:
            run(world, system, vas)
        else:
            world.run(vas)
    newest = sorted(world.layout.folder(RAW).rglob("*.parquet"))[-1]
    assert checks(system)["raw batches whole"].ok
    newest.unlink()
    told = f"batch {newest.stem}, which the history of VAS stands on, is gone"
    assert checks(system)["raw batches whole"].detail == told
    system.close()


def test_an_older_batch_that_a_history_holds_and_no_event_names_is_missed(world):
    """The run that downloaded it was killed before it could say so; later ones were told."""
    system = open_system(world)
    days = asx_days("2024-01-02", 40)
    vas = instrument("VAS")
    for n in (20, 30, 40):
        world.serve("VAS", bars(days[:n], walk(40)[:n]))
        world.now = dt.datetime.combine(days[n - 1].astype(object), dt.time(12), UTC)
        if n == 30:
            world.run(vas)
        else:
            run(world, system, vas)
    middle = sorted(world.layout.folder(RAW).rglob("*.parquet"))[1]
    assert checks(system)["raw batches whole"].ok
    middle.unlink()
    found = checks(system)["raw batches whole"]
    assert not found.ok
    assert middle.stem in found.detail
    assert "restore raw/ from a backup" in found.detail
    system.close()


def test_a_download_that_no_event_tells_of_is_missed(world):
    """Of a run that nobody relayed, although a later one was."""
    system = open_system(world)
    days, vas, vgs = asx_days("2024-01-02", 40), instrument("VAS"), instrument("VGS")
    for n in (20, 30, 40):
        for ticker in ("VAS", "VGS"):
            world.serve(ticker, bars(days[:n], walk(40)[:n]))
        world.now = dt.datetime.combine(days[n - 1].astype(object), dt.time(12), UTC)
        if n == 30:
            world.run(vas, vgs)
            untold = f"run{world.runs:05d}"
        else:
            run(world, system, vas, vgs)
    middle = sorted(world.layout.folder(RAW).rglob("*.parquet"))[1]
    check = checks(system)["downloads told"]
    assert not check.ok
    assert check.detail == (
        f"no event tells of VAS in batch {middle.stem}; VGS in batch {middle.stem}"
    )
    # a run that was killed before its manifest is no download that was ever said
    (path,) = world.layout.manifests_of("raw_prices", untold)
    manifest = path.read_bytes()
    path.unlink()
    check = checks(system)["downloads told"]
    assert check.ok
    assert check.detail == "4 downloads, each told; 2 of runs that were killed"
    path.write_bytes(manifest)
    told = events_of_manifest(world.layout, path, system.event_store.instance)
    system.event_store.append(told[:1])
    assert f"no event tells of {told[1].subject} in" in checks(system)["downloads told"].detail
    system.event_store.append(told)
    assert checks(system)["downloads told"].detail == "6 downloads, each told"
    system.close()


def test_a_history_that_no_event_tells_of_is_missed(world):
    system = open_system(world)
    days, vas = asx_days("2024-01-02", 30), instrument("VAS")
    world.serve("VAS", bars(days, walk(30)))
    world.now = dt.datetime.combine(days[29].astype(object), dt.time(12), UTC)
    world.run(vas)
    (path,) = world.layout.manifests_of("raw_prices", f"run{world.runs:05d}")
    system.event_store.append(events_of_manifest(world.layout, path, system.event_store.instance))
    check = checks(system)["histories as recorded"]
    assert (check.ok, check.detail) == (False, "VAS: no event tells what its history is")
    system.close()


def test_what_a_killed_run_published_is_told_by_the_next(world):
    """Killed between its histories and what records them: no answer is news any more."""
    system = open_system(world)
    days, vas = asx_days("2024-01-02", 40), instrument("VAS")
    world.serve("VAS", bars(days[:30], walk(40)[:30]))
    world.now = dt.datetime.combine(days[29].astype(object), dt.time(12), UTC)
    run(world, system, vas)
    mark = world.layout.watermark("XASX")
    held = mark.read_text()
    world.serve("VAS", bars(days, walk(40)))
    world.now = dt.datetime.combine(days[39].astype(object), dt.time(12), UTC)
    assert world.run(vas)["VAS"].rows_added == 10
    mark.write_text(held)
    killed = f"run{world.runs:05d}"
    world.layout.of(MANIFEST, "price_history", killed, "XASX").unlink()
    # what it had come to is told, as it is of every run that failed
    (path,) = world.layout.manifests_of("raw_prices", killed)
    system.event_store.append(events_of_manifest(world.layout, path, system.event_store.instance))
    assert not checks(system)["histories as recorded"].ok
    run(world, system, vas)
    found = checks(system)
    assert all(c.ok for c in found.values()), found
    system.close()


# --- archive -------------------------------------------------------------------------------------


def test_archive_prune_and_verify(world):
    settings = embedded_settings(event_store_retention_days=1, event_store_id="instance")
    system = open_system(world, settings)
    system.event_store.append(queries(50))
    before = replay(system)
    system.event_store.archive(system.archive, T0)
    system.event_store.log.prune(30)
    system.event_store.append(queries(50, start=50))
    assert len(replay(system)) == 100
    assert replay(system).event_ids > before.event_ids
    system.event_store.archive(system.archive, T0 + dt.timedelta(days=1))
    system.event_store.log.prune(100)
    assert len(ids(system.event_store.log.read())) == 0
    assert len(replay(system)) == 100
    found = checks(system)
    assert all(c.ok for c in found.values()), found
    file = system.archive.files()[0].path
    content = file.read_bytes()
    file.unlink()
    assert "event 1 is missing" in checks(system)["log untouched"].detail
    file.write_bytes(content)
    model = Projections(world.root / "p.sqlite")
    assert project_archive(model, system.archive) == 100
    assert project_archive(model, system.archive) == 0
    model.close()
    system.close()


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("log", ["", "of another machine"])
def test_what_the_local_log_says_counts_whatever_copies_say(world, pruned, log):
    """A copy that tells an earlier time of recording has nothing known earlier, nor otherwise."""
    settings = embedded_settings(event_store_retention_days=1, event_store_id="instance")
    system = open_system(world, settings)
    made, theirs = queries(6), queries(3, start=6)
    system.event_store.append(made)
    if pruned:
        system.event_store.archive(system.archive, T0)
        system.event_store.prune(system.archive)
        assert system.event_store.log.anchor()[0] == 6
    before = replay(system)
    earlier = [
        e._replace(
            recorded_us=e.recorded_us - 10**12,
            time_us=e.time_us + n,
            data=e.data.replace('"rows":10', '"rows":11'),
            log=log,
            partition=0,
            position=n,
        )
        for n, e in enumerate([*made, *theirs])
    ]
    (path,) = system.archive.add(Origin(TOPICS), earlier, "20240101T000000000000Z")
    # listed before the archive of the log
    assert path == system.archive.files()[0].path
    after = replay(system)
    assert after.event_ids - before.event_ids == {e.id for e in theirs}
    known = asyncio.run(system.state_at(T0 - dt.timedelta(days=1), clock="record"))
    assert known.event_ids == {e.id for e in theirs}
    told = {e.id: (e.recorded_us, e.data) for e in system.newest_events(20)}
    assert {i: t for i, t in told.items() if i in before.event_ids} == {
        e.id: (e.recorded_us, e.data) for e in made
    }
    system.close()


def test_an_archive_file_that_was_taken_in_by_half_is_taken_in_whole(world):
    system = open_system(world)
    made = queries(6_000)  # more than are read at once
    system.event_store.append(made)
    system.event_store.archive(system.archive, T0)
    model = Projections(world.root / "p.sqlite")
    assert model.files() == set()
    refuse = "CREATE TRIGGER full BEFORE INSERT ON audit_trail WHEN NEW.id = '{}' BEGIN SELECT "
    with sqlite3.connect(model.path) as db:
        db.execute(refuse.format(made[-1].id) + "RAISE(ABORT, 'the disk is full'); END")
    with pytest.raises(Exception, match="the disk is full"):
        project_archive(model, system.archive)
    done = len(model.event_ids())
    assert 0 < done < 6_000
    assert model.files() == set()
    with sqlite3.connect(model.path) as db:
        db.execute("DROP TRIGGER full")
    assert project_archive(model, system.archive) == 6_000 - done
    assert model.event_ids() == {e.id for e in made}
    assert sum(model.query_counts().values()) == 6_000
    assert model.gaps() == []
    assert len(model.files()) == len(system.archive.files())
    model.close()
    system.close()


def test_an_archive_file_with_other_content_shows(world):
    import pyarrow.parquet as pq

    system = open_system(world)
    system.event_store.append(queries(20))
    system.event_store.archive(system.archive, T0)
    path = system.archive.files()[0].path
    table = pq.read_table(path)
    changed = table.set_column(
        4, table.schema.field(4), [["OTHER"] * table.num_rows]
    ).replace_schema_metadata(table.schema.metadata)
    pq.write_table(changed, path)
    assert "was changed" in checks(system)["archive untouched"].detail
    system.close()


@pytest.fixture
def machines(broker, tmp_path):
    """Two machines of one store."""
    settings = kafka_settings(broker.servers, kafka_topic_partitions=2, event_store_id="instance")
    made = [Kafka(Layout(tmp_path / name), settings, publish=False) for name in ("one", "two")]
    yield made
    for events in made:
        events.close(0)


def sent(events, *new):
    events.append(new)
    assert events.drain(30) == 0


def deleted(broker, events):
    """Have the broker let go of every query event that it has."""
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    topic = topic_name(events.settings, "query-events")
    ends = events.broker.reader.ranges(["query-events"])
    gone = [TopicPartition(topic, p, high) for (_, p), (_, high) in ends.items()]
    try:
        admin = AdminClient({"bootstrap.servers": broker.servers})
        for future in admin.delete_records(gone).values():
            future.result(10)
    except Exception as error:
        pytest.skip(f"this broker cannot delete records: {error}")


def test_what_other_machines_recorded_is_read_and_archived_once(broker, machines):
    """Archived, then taken by retention, then more: a replay has each event once."""
    one, two = machines
    archive = Archive(Layout(one.log.path.parents[1]))
    sent(two, *queries(60))
    assert one.archive(archive, T0).events == 60
    sent(two, *queries(40, start=60))
    assert sorted(ids(read_all(one, archive))) == sorted(e.id for e in queries(100))
    assert one.archive(archive, T0 + dt.timedelta(hours=1)).events == 40
    deleted(broker, one)
    assert sorted(ids(read_all(one, archive))) == sorted(e.id for e in queries(100))
    assert one.archive(archive, T0 + dt.timedelta(days=1)).events == 0
    # retention that outruns the archive is told, not passed over
    sent(two, *queries(40, start=100))
    deleted(broker, one)
    with pytest.raises(EventError, match="went by retention before they were archived"):
        ids(read_all(one, archive))
    with pytest.raises(EventError, match="went by retention"):
        one.archive(archive, T0 + dt.timedelta(days=2))


def test_what_brokers_let_go_before_it_was_archived_is_in_the_local_log(broker, tmp_path):
    events = Kafka(Layout(tmp_path), kafka_settings(broker.servers), publish=False)
    archive = Archive(Layout(tmp_path))
    sent(events, *queries(200))
    deleted(broker, events)
    assert sorted(ids(read_all(events, archive))) == sorted(e.id for e in queries(200))
    assert events.archive(archive, T0).events == 200
    events.close(0)


def test_what_a_machine_never_sent_is_missed_on_another(machines):
    """The second of three batches went, the first did not: what is between cannot be concluded."""
    one, two = machines
    first, later = queries(10), queries(5, start=10)
    two.append([*first, *later])
    held = [e for batch in two.log.read() for e in batch]
    assert all(d.ok for d in two.broker.append(held[10:]))
    with pytest.raises(EventError, match=rf"query-events 1 to 10 of log {two.log.id}"):
        ids(read_all(one, Archive(Layout(one.log.path.parents[1]))))
    assert two.drain(30) == 0
    found = ids(read_all(one, Archive(Layout(one.log.path.parents[1]))))
    assert set(found) == {e.id for e in [*first, *later]}


def test_a_number_that_no_log_gives_is_a_gap_and_no_lack_of_memory(machines):
    one, two = machines
    sent(two, *queries(3))
    (event,) = queries(1, start=3)
    forged = event._replace(source=f"/etf_pipeline/{one.instance}", log=two.log.id, number=2**61)
    assert all(d.ok for d in one.broker.append([forged]))
    layout = Layout(one.log.path.parents[1])
    missed = rf"query-events 4 to {2**61 - 1} of log {two.log.id}"
    with pytest.raises(EventError, match=missed):
        ids(read_all(one, Archive(layout)))
    found = {c.name: c for c in verify(one, layout)}
    assert re.search(missed, found["events readable"].detail)
    model = Projections(layout.root / "models.sqlite")
    with pytest.raises(EventError, match=missed):
        one.projector(model).run(once=True)
    model.close()
    declare_lost(one, Archive(layout), "A. Smith", "forged")
    assert forged.id in ids(read_all(one, Archive(layout)))


def test_a_forged_number_in_the_archive_is_a_gap_and_no_lack_of_memory(world):
    system = open_system(world)
    system.event_store.append(queries(3))
    held = [e for batch in system.event_store.log.read() for e in batch]
    (event,) = queries(1, start=3)
    forged = event._replace(
        source=held[0].source, partition=0, position=9, log=held[0].log, number=2**61
    )
    system.archive.add(Origin(LOG, "another"), [forged], "20250101T000000Z")
    with pytest.raises(EventError, match=f"query-events 4 to {2**61 - 1} of log {held[0].log}"):
        replay(system)
    system.close()


def test_what_is_lost_for_good_is_declared_and_stays_known(machines):
    """A machine is gone with events that it never sent: one word of somebody, kept for ever."""
    one, two = machines
    archive = Archive(Layout(one.log.path.parents[1]))
    two.append(queries(15))
    held = [e for batch in two.log.read() for e in batch]
    assert all(d.ok for d in two.broker.append(held[10:]))
    assert missing_events(one, archive).numbers == [Gap(two.log.id, "query-events", 1, 10)]
    (told,) = declare_lost(one, archive, "A. Smith", "disk of host 7")
    assert (told.first, told.last, told.who) == (1, 10, "A. Smith")
    assert one.drain(30) == 0
    for events in machines:  # the other one reads of it too
        at = Archive(Layout(events.log.path.parents[1]))
        assert missing_events(events, at).numbers == []
        assert {e.id for e in queries(15)[10:]} <= set(ids(read_all(events, at)))
        assert set(ids(read_all(events, at, ["query-events"])))
    state = fold(read_all(one, archive))
    assert [d.why for d in state.losses] == ["disk of host 7"]
    found = {c.name: c for c in verify(one, Layout(one.log.path.parents[1]))}
    assert "A. Smith: disk of host 7" in found["declared lost"].detail


def test_what_retention_took_too_early_is_declared_too(broker, machines):
    one, two = machines
    archive = Archive(Layout(one.log.path.parents[1]))
    sent(two, *queries(20))
    assert len(ids(read_all(one, archive))) == 20
    deleted(broker, one)
    assert sum(g.last - g.first + 1 for g in missing_events(one, archive).offsets) == 20
    told = declare_lost(one, archive, "A. Smith", "kept too short")
    assert {d.partition for d in told} <= {0, 1}
    sent(two, *queries(5, start=20))
    assert missing_events(one, archive).numbers == [Gap(two.log.id, "query-events", 1, 20)]
    declare_lost(one, archive, "A. Smith", "kept too short")
    assert {e.id for e in queries(5, start=20)} <= set(ids(read_all(one, archive)))


def test_what_this_machine_sent_itself_is_not_missed_when_topics_let_it_go(broker, machines):
    one, two = machines
    archive = Archive(Layout(one.log.path.parents[1]))
    sent(one, *queries(30))
    sent(two, *queries(4, start=100))
    sent(one, *queries(6, start=50))
    assert len(ids(read_all(one, archive))) == 40
    deleted(broker, one)
    assert sum(g.last - g.first + 1 for g in missing_events(one, archive).offsets) == 4
    told = declare_lost(one, archive, "A. Smith", "kept too short")
    assert sum(d.last - d.first + 1 for d in told) == 4
    assert set(ids(read_all(one, archive))) >= {e.id for e in [*queries(30), *queries(6, start=50)]}
    one.archive(archive, T0)
    sent(one, *queries(10, start=200))
    deleted(broker, one)
    assert missing_events(one, archive).offsets == []
    assert {e.id for e in queries(10, start=200)} <= set(ids(read_all(one, archive)))


def test_two_stores_on_one_prefix_are_two(broker, tmp_path, caplog):
    prefix = kafka_settings(broker.servers).kafka_topic_prefix
    stores = [
        Kafka(
            Layout(tmp_path / name),
            kafka_settings(broker.servers, kafka_topic_prefix=prefix, event_store_id=name),
            publish=False,
        )
        for name in ("blue", "green")
    ]
    for events, start, n in zip(stores, (0, 100), (30, 20), strict=True):
        mine = source_of(events.instance)
        sent(events, *(e._replace(source=mine) for e in queries(n, start=start)))
    for events, start, n in zip(stores, (0, 100), (30, 20), strict=True):
        archive = Archive(Layout(events.log.path.parents[1]))
        expected = {e.id for e in queries(n, start=start)}
        assert set(ids(read_all(events, archive))) == expected
        events.archive(archive, T0)
        assert sorted(ids(archive.read())) == sorted(expected)
        assert events.others.foreign.total() > 0
        assert "hold events of another store" in caplog.text
        assert all(c.ok for c in events.delivery_checks(archive))
        events.close(0)


def test_an_older_copy_of_the_log_put_back_hides_nothing_of_the_archive(tmp_path):
    layout, archive = Layout(tmp_path), Archive(Layout(tmp_path))
    events = Embedded(layout, embedded_settings())
    events.append(queries(10))
    events.close()
    copy = layout.event_log.read_bytes()
    events = Embedded(layout, embedded_settings())
    events.append(queries(10, start=10))
    events.archive(archive, T0)
    events.close()
    put_back(layout.event_log, copy)
    events = Embedded(layout, embedded_settings())
    assert set(ids(read_all(events, archive))) == {e.id for e in queries(20)}
    events.append(queries(15, start=50))
    expected = {e.id for e in [*queries(20), *queries(15, start=50)]}
    assert set(ids(read_all(events, archive))) == expected
    events.close()


def test_an_archive_of_topics_that_is_lost_is_made_again(machines):
    one, two = machines
    archive = Archive(Layout(one.log.path.parents[1]))
    told = [lineage_event(("run", str(i)), "job", micros(T0), "{}", "instance") for i in range(3)]
    sent(two, *queries(13), *told)
    one.append(queries(2, start=20))
    assert one.archive(archive, T0).events == 18
    assert {e.id: e[:9] for b in archive.read([LINEAGE]) for e in b} == {e.id: e[:9] for e in told}
    shutil.rmtree(archive.root)
    expected = {e.id for e in [*queries(13), *queries(2, start=20)]}
    assert set(ids(read_all(one, archive))) == expected
    assert one.archive(archive, T0 + dt.timedelta(days=1)).events == 18
    assert set(ids(archive.read([*CHANNELS, LINEAGE]))) == expected | {e.id for e in told}


def wiped(broker, events):
    """Have the broker lose its topics."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": broker.servers})
    prefix = events.settings.kafka_topic_prefix
    names = [t for t in admin.list_topics(timeout=10).topics if t.startswith(prefix)]
    for future in admin.delete_topics(names).values():
        future.result(20)
    wait_until(lambda: not set(names) & set(admin.list_topics(timeout=10).topics))


def test_a_topic_made_anew_that_let_go_of_its_first_records_gets_all_again(broker, tmp_path):
    """Offsets before those that it has now are not those of the topic before."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    settings = kafka_settings(broker.servers, event_store_id="instance", kafka_topic_partitions=1)
    events = Kafka(Layout(tmp_path), settings, publish=False)
    sent(events, *queries(10))
    events.close(0)
    wiped(broker, events)
    topic = topic_name(settings, "query-events")
    admin = AdminClient({"bootstrap.servers": broker.servers})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(20)
    producer = Producer({"bootstrap.servers": broker.servers})
    for _ in range(4):
        producer.produce(topic, b"a stranger's")
    assert producer.flush(20) == 0
    deleted(broker, events)
    events = Kafka(Layout(tmp_path), settings, publish=False)
    sent(events, *queries(1, start=50))
    there = set(ids(events.broker.read(["query-events"])))
    assert there == {e.id for e in [*queries(10), *queries(1, start=50)]}
    events.close(0)


@pytest.mark.parametrize("lost", ["all", "first", "last"])
def test_what_archive_and_topics_lost_of_others_is_missed(broker, machines, tmp_path, lost):
    """The log knows what it had archived; who sent it is silent."""
    one, two = machines
    archive = Archive(Layout(one.log.path.parents[1]))
    for day in range(3):
        sent(two, *queries(4, start=10 * day))
        sent(one, *queries(2, start=10 * day + 5))
        one.archive(archive, T0 + dt.timedelta(days=day))
    expected = set(ids(read_all(one, archive)))
    theirs = sorted(archive.files_of(Origin(TOPICS)), key=lambda f: (f.path.name[:16], f.first))
    chosen = {"all": theirs, "first": theirs[:1], "last": theirs[-1:]}[lost]
    for file in chosen:
        file.path.unlink()
    # what topics have still is read, and archived once more
    assert set(ids(read_all(one, archive))) == expected
    rows = sum(f.rows for f in chosen)
    assert one.archive(archive, T0 + dt.timedelta(days=10)).events == rows
    there = [e for f in archive.files_of(Origin(TOPICS)) for e in read_file(f.path)]
    assert len(there) == len({e.id for e in there}) == 12
    for file in archive.files_of(Origin(TOPICS)):
        if file.path.name.find("20251122") > 0 or lost == "all":
            file.path.unlink()
    wiped(broker, one)
    for commands in (lambda: ids(read_all(one, archive)), lambda: project(one, tmp_path)):
        with pytest.raises(EventError, match=f"query-events .* of log {two.log.id}"):
            commands()
    one.archive(archive, T0 + dt.timedelta(days=11))
    with pytest.raises(EventError, match="events are missing"):
        ids(read_all(one, archive))
    found = missing_events(one, archive).numbers
    assert {g.log for g in found} == {two.log.id}
    assert sum(g.last - g.first + 1 for g in found) == rows
    declare_lost(one, archive, "A", "gone")
    assert len(set(ids(read_all(one, archive)))) == len(expected) - rows + len(found)


def project(events, folder):
    projections = Projections(folder / f"{uuid.uuid4()}.sqlite")
    try:
        return events.projector(projections).run(once=True)
    finally:
        projections.close()


def test_what_two_machines_told_is_archived_with_the_numbers_of_both(broker, machines):
    one, two = machines
    archive = Archive(Layout(one.log.path.parents[1]))
    sent(one, *queries(5))
    sent(two, *queries(3, start=2), *queries(2, start=10))
    one.archive(archive, T0)
    deleted(broker, one)
    assert set(ids(read_all(one, archive))) == {e.id for e in [*queries(5), *queries(2, start=10)]}


def test_archived_topics_as_an_earlier_release_noted_them(machines):
    """Without up to where there are files: then these are all that counts."""
    one, two = machines
    archive = Archive(Layout(one.log.path.parents[1]))
    sent(two, *queries(5))
    one.archive(archive, T0)
    noted = [row[:4] for row in json.loads(one.log.fact("archived_topics"))]
    one.log.append([], facts={"archived_topics": json.dumps(noted)})
    sent(two, *queries(3, start=10))
    expected = {e.id for e in [*queries(5), *queries(3, start=10)]}
    assert set(ids(read_all(one, archive))) == expected
    assert one.archive(archive, T0 + dt.timedelta(days=1)).events == 3


def test_a_fresh_machine_continues_a_store_from_its_topics(broker, tmp_path):
    first = Kafka(Layout(tmp_path / "lost"), kafka_settings(broker.servers), publish=False)
    mine = source_of(first.instance)
    sent(first, *(e._replace(source=mine) for e in queries(30)))
    first.close(0)
    settings = first.settings.model_copy(update={"event_store_id": first.instance})
    fresh = Kafka(Layout(tmp_path / "fresh"), settings, publish=False)
    archive = Archive(Layout(tmp_path / "fresh"))
    sent(fresh, *(e._replace(source=mine) for e in queries(10, start=30)))
    assert set(ids(read_all(fresh, archive))) == {e.id for e in queries(40)}
    fresh.archive(archive, T0)
    deleted(broker, fresh)
    assert set(ids(read_all(fresh, archive))) == {e.id for e in queries(40)}
    fresh.close(0)


def test_an_older_copy_of_the_log_put_back_begins_anew(broker, tmp_path):
    """What it had sent and archived since is not lost, and its next numbers are no one else's."""
    layout = Layout(tmp_path)
    settings = kafka_settings(broker.servers, event_store_id="instance")
    events, archive = Kafka(layout, settings, publish=False), Archive(layout)
    sent(events, *queries(20))
    events.close(0)
    copy = layout.event_log.read_bytes()
    events = Kafka(layout, settings, publish=False)
    sent(events, *queries(10, start=20))
    events.archive(archive, T0)
    sent(events, *queries(5, start=30))
    before = events.log.id
    events.close(0)
    put_back(layout.event_log, copy)
    events = Kafka(layout, settings, publish=False)
    sent(events, *queries(7, start=50))
    events.archive(archive, T0 + dt.timedelta(days=1))
    sent(events, *queries(3, start=60))
    assert events.log.id != before
    expected = {e.id for e in [*queries(35), *queries(7, start=50), *queries(3, start=60)]}
    assert set(ids(read_all(events, archive))) == expected
    assert walk_chain(events.log, archive).events == 30
    events.close(0)


def test_what_an_older_copy_holds_is_not_missing_once_topics_let_it_go(broker, tmp_path):
    """Sent under the log's former id, and not archived by the time that Kafka let go of it."""
    layout = Layout(tmp_path)
    settings = kafka_settings(broker.servers, event_store_id="instance")
    events, archive = Kafka(layout, settings, publish=False), Archive(layout)
    sent(events, *queries(10))
    events.archive(archive, T0)
    sent(events, *queries(10, start=10))
    before = events.log.id
    events.close(0)
    copy = layout.event_log.read_bytes()
    events = Kafka(layout, settings, publish=False)
    deleted(broker, events)
    sent(events, *queries(5, start=20))
    events.close(0)
    put_back(layout.event_log, copy)
    events = Kafka(layout, settings, publish=False)
    sent(events, *queries(3, start=50))
    assert events.log.id != before
    wanted = {e.id for e in [*queries(25), *queries(3, start=50)]}
    assert set(ids(read_all(events, archive))) == wanted
    read = {e.id: (e.log, e.number) for batch in events.log.read() for e in batch}
    assert [read[e.id] for e in queries(20)] == [(before, n) for n in range(1, 21)]
    # Recorded before it was seen to be an older copy, under numbers that others have.
    assert [read[e.id] for e in queries(3, start=50)] == [(events.log.id, 0)] * 3
    checks = {c.name: c for c in verify(events, layout)}
    assert checks["numbers and store"].ok and checks["log untouched"].ok
    # of the five that only Kafka has no chain tells
    assert "; 5 of them are not of this log" in checks["events readable"].detail
    with contextlib.closing(Projections(tmp_path / "p.sqlite")) as models:
        assert events.projector(models).run(once=True) == 28
    # Archived under the new id and let go, they have their numbers still; what is gone is missed.
    events.archive(archive, T0 + dt.timedelta(days=1))
    events.log.prune(events.log.last())
    assert set(ids(read_all(events, archive))) == wanted
    for file in archive.files_of(Origin(LOG, events.log.id)):
        file.path.unlink()
    with pytest.raises(EventError, match=f"query-events 11 to 20 of log {before}"):
        list(read_all(events, archive))
    events.close(0)


@pytest.mark.parametrize("first", ["archived", "sent"])
def test_what_an_older_copy_had_not_sent_by_then_is_no_gap(broker, tmp_path, first):
    """It holds such events, which were sent since; those after them are in the archive alone."""
    layout = Layout(tmp_path)
    settings = kafka_settings(broker.servers, event_store_id="instance")
    events, archive = Kafka(layout, settings, publish=False), Archive(layout)
    sent(events, *queries(10))
    events.append([e._replace(source=source_of("instance")) for e in queries(5, start=10)])
    before = events.log.id
    events.close(0)
    copy = layout.event_log.read_bytes()
    events = Kafka(layout, settings, publish=False)
    sent(events, *queries(5, start=15))
    events.close(0)
    put_back(layout.event_log, copy)
    events = Kafka(layout, settings, publish=False)
    if first == "sent":
        sent(events, *queries(3, start=50))
    events.archive(archive, T0)
    assert events.log.id != before
    deleted(broker, events)
    wanted = [*queries(20), *(queries(3, start=50) if first == "sent" else ())]
    assert set(ids(read_all(events, archive))) == {e.id for e in wanted}
    read = {e.id: (e.log, e.number) for batch in events.log.read() for e in batch}
    assert [read[e.id] for e in queries(15)] == [(before, n) for n in range(1, 16)]
    events.close(0)


def half_sent(events, start):
    """Record six events, of which brokers have the last three; returns the others."""
    events.append([e._replace(source=source_of("instance")) for e in queries(6, start=start)])
    waiting = events.log.pending()
    assert all(d.ok for d in events.broker.append(waiting[3:], 30.0))
    return waiting[:3]


def test_what_is_recorded_and_sent_while_all_is_read_is_no_gap(machines):
    """One partition has what comes after what another gets next: neither machine misses any."""
    one, two = machines
    sent(one, *queries(10))
    sent(two, *(e._replace(source=source_of("instance")) for e in queries(10, start=100)))
    reading = Reading(one, Archive(one._layout), CHANNELS)
    batches = reading.batches()
    found = set(ids([next(batches)]))
    half_sent(one, 200)
    late = half_sent(two, 300)
    for batch in batches:
        found |= {e.id for e in batch}
        if late and {e.id for e in queries(3, start=303)} <= found:
            assert all(d.ok for d in two.broker.append(late, 30.0))
            late = half_sent(two, 400)[3:]
    assert not late
    assert found >= {
        e.id for n, k in ((10, 0), (10, 100), (6, 200), (6, 300)) for e in queries(n, start=k)
    }
    assert reading.gaps() == []


@pytest.mark.parametrize("count", [3, 30])
def test_an_older_copy_that_records_before_it_is_archived_gives_no_number_twice(
    broker, tmp_path, count
):
    """However far its numbers come in the meantime: those it had sent are no one else's."""
    layout = Layout(tmp_path)
    settings = kafka_settings(broker.servers, event_store_id="instance")
    events, archive = Kafka(layout, settings, publish=False), Archive(layout)
    sent(events, *queries(20))
    events.close(0)
    copy = layout.event_log.read_bytes()
    events = Kafka(layout, settings, publish=False)
    sent(events, *queries(10, start=20))
    events.close(0)
    put_back(layout.event_log, copy)
    events = Kafka(layout, settings, publish=False)
    sent(events, *queries(count, start=50))
    sent(events, *queries(5, start=100))
    events.archive(archive, T0)
    found = [e for batch in events.broker.read(["query-events"]) for e in batch if e.number]
    given = Counter((log, number) for log, number, _ in {(e.log, e.number, e.id) for e in found})
    assert len(given) >= 30 + 5
    assert set(given.values()) == {1}
    wanted = [*queries(30), *queries(count, start=50), *queries(5, start=100)]
    assert set(ids(read_all(events, archive))) == {e.id for e in wanted}
    assert all(c.ok for c in events.delivery_checks(archive) if c.name == "as sent")
    events.close(0)


def test_a_log_that_was_pruned_and_whose_deliveries_went_with_it_is_no_older_copy(broker, tmp_path):
    layout = Layout(tmp_path)
    settings = kafka_settings(
        broker.servers, event_store_id="instance", event_store_retention_days=1
    )
    events, archive = Kafka(layout, settings, publish=False), Archive(layout)
    sent(events, *queries(20))
    events.archive(archive, T0)
    assert events.prune(archive).events > 0
    before = events.log.id
    events.close(0)
    again = Kafka(layout, settings, publish=False)
    sent(again, *queries(3, start=50))
    assert again.log.id == before
    again.close(0)


def test_replay_of_a_dead_broker_is_an_error_not_an_empty_state(tmp_path, own_broker):
    settings = kafka_settings(own_broker.servers)
    events = Kafka(Layout(tmp_path), settings, timeouts=Timeouts(ask=1.0))
    system = ETFSystem(Settings(data_dir=tmp_path), events)
    system.event_store.append(queries(5))
    assert system.event_store.drain(30) == 0
    own_broker.kill()
    with pytest.raises(EventError, match="nothing was concluded"):
        replay(system)
    system.close()


# --- self-test, modes, settings ------------------------------------------------------------------


def test_selftest_passes_on_a_good_store(world, system):
    two_runs(world, system)
    world.serve("VAF", bars(asx_days("2024-01-02", 320), walk(320, seed=3)))
    run(world, system, instrument("VAF"))
    steps = list(selftest(lambda: system))
    assert all(s.ok for s in steps), steps
    assert steps[-1].name == "emit, replay and compare"


def test_selftest_fails_on_an_empty_store(tmp_path):
    steps = list(selftest(lambda: get_etf_system(tmp_path)))
    assert not all(s.ok for s in steps)
    assert "etf run" in next(s for s in steps if s.name == "load data").detail


def test_moving_from_embedded_to_kafka_takes_the_events_along(world, broker):
    system = open_system(world)
    system.event_store.append(queries(25))
    before = replay(system)
    system.close()
    moved = open_system(world, kafka_settings(broker.servers))
    assert moved.event_store.drain(30) == 0
    assert fold(moved.event_store.read()) == before
    moved.close()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("EVENT_STORE_TYPE", "sqlite", "EVENT_STORE_TYPE='sqlite'"),
        ("EVENT_STORE_RETENTION_DAYS", "-2", "EVENT_STORE_RETENTION_DAYS='-2'"),
        ("EVENT_RELAY_START", "2025-11-01", "with its zone"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost", "host:port"),
        ("KAFKA_TOPIC_PREFIX", "a b", "KAFKA_TOPIC_PREFIX"),
    ],
)
def test_wrong_settings_are_named(monkeypatch, name, value, told):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=told):
        load_event_settings()


def test_kafka_without_servers_is_refused(monkeypatch):
    monkeypatch.setenv("EVENT_STORE_TYPE", "kafka")
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS"):
        load_event_settings()


def test_librdkafka_settings_by_environment(monkeypatch):
    for name, value in {
        "KAFKA_SASL_USERNAME": "me",
        "KAFKA_SASL_PASSWORD": "secret",
        "KAFKA_LINGER_MS": "20",
        "KAFKA_BOOTSTRAP_SERVERS": "x:1",
        "KAFKA_TOPIC_PREFIX": "p",
        "KAFKA_HOME": "/opt/kafka",
        "KAFKA_SERVICE_HOST": "10.0.0.1",
        "KAFKA_PORT_9092_TCP": "tcp://10.0.0.1:9092",
    }.items():
        monkeypatch.setenv(name, value)
    found = variables(load_event_settings())
    assert found.known == {"sasl.username": "me", "sasl.password": "secret", "linger.ms": "20"}
    assert set(found.unknown) == {"KAFKA_HOME", "KAFKA_SERVICE_HOST", "KAFKA_PORT_9092_TCP"}
    assert redacted(found.known) == {
        "sasl.username": "me",
        "sasl.password": "***",
        "linger.ms": "20",
    }
    with pytest.raises(SettingsError, match=r"KAFKA_ACKS: acks is fixed"):
        client_config({"KAFKA_ACKS": "0"})


def test_an_unwritable_folder_is_told_at_once(tmp_path):
    (tmp_path / "events").write_text("a file where a folder should be")
    with pytest.raises(EventError, match="cannot be used"):
        open_events(tmp_path, embedded_settings()).log.verify_writable()


def test_ids_are_the_same_in_every_process():
    namespace = uuid.UUID("6d0f1c1e-6a3e-5b52-9a55-0a3b8a5f1f1d")
    assert event_id("a", "b") == str(uuid.uuid5(namespace, '["a","b"]'))
    assert event_id("a", "b") != event_id("ab")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s, _: s.replay_events("2025-01-01"), "from_timestamp '2025-01-01': is no time"),
        (lambda s, _: s.replay_events(T0, T0 - dt.timedelta(1)), "is after to_timestamp"),
        (lambda s, _: s.state_at(None), "instant None: is no time; give an aware one"),
        (lambda s, _: s.state_at(T0, "Event"), "clock 'Event': must be one of event, record"),
        (lambda s, root: s.rebuild_history("now", root / "x"), "instant 'now': is no time"),
        (lambda s, root: s.rebuild_history(T0, root), "must be another folder than the store"),
    ],
)
def test_times_are_times_and_in_order(world, system, call, words):
    with pytest.raises(ArgumentError, match=words):
        asyncio.run(call(system, world.root))
