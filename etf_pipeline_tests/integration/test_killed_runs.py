"""A run that is killed between its batch and its manifest: what it collected is told."""

import dagster as dg
import pyarrow.parquet as pq
import pytest

from etf_pipeline.events.factory import open_events
from etf_pipeline.events.facts import events_of_manifest
from etf_pipeline.events.tailer import Tailer
from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.store.batches import list_batch_ids
from etf_pipeline.store.killed_runs import tell_all_killed_runs
from etf_pipeline.store.writer import META_KEY, locked
from etf_pipeline_tests.events_support import embedded_settings
from etf_pipeline_tests.support import World, asx_days, bars, instrument, walk

VAS, VGS, VAF = (instrument(name) for name in ("VAS", "VGS", "VAF"))
DAYS, CLOSES = asx_days("2024-01-02", 330), walk(330)


def collect(world, end, *instruments):
    for one in instruments:
        world.serve(one.ticker, bars(DAYS[:end], CLOSES[:end]))
    return world.download(*instruments, VAF)  # which the source does not know


def manifest(world):
    """Of the run that downloaded last."""
    return world.layout.of(MANIFEST, "raw_prices", world.this_run.run_id, "XASX")


def killed(world):
    """As if the last run had ended after its batch; what its manifest said, and events of it."""
    path = manifest(world)
    rows = [r for r in pq.read_table(path).to_pylist() if r["batch_id"] is not None]
    told = [e for e in events_of_manifest(world.layout, path, "id") if "Collected" in e.type]
    path.unlink()
    return path, rows, [e._replace(recorded_us=0) for e in told if e.type == "ETFDataCollected"]


def told_of(world, path):
    found = [e._replace(recorded_us=0) for e in events_of_manifest(world.layout, path, "id")]
    return pq.read_table(path).to_pylist(), found


@pytest.mark.parametrize("by", ["the next run", "whoever looks"])
def test_what_killed_runs_collected_is_told_as_they_would_have(world: World, by):
    collect(world, 300, VAS, VGS)
    whole = manifest(world).read_bytes()
    lost = []
    for end in (310, 320):  # killed one after the other
        collect(world, end, VAS, VGS)
        lost.append((world.this_run.run_id, killed(world)))
        assert len(lost[-1][1][1]) == len(lost[-1][1][2]) == 2
        if by == "whoever looks":
            with locked(world.layout.lock("raw", "XASX"), 1):  # it may be going on
                tell_all_killed_runs(world.layout)
            assert not lost[-1][1][0].exists()
    if by == "the next run":
        collect(world, 325, VAS)
    else:
        tell_all_killed_runs(world.layout)
        before = {p: p.stat().st_mtime_ns for p in world.layout.manifest_files("raw_prices")}
        tell_all_killed_runs(world.layout)  # once
        assert before == {p: p.stat().st_mtime_ns for p in before}
    for _, (path, rows, events) in lost:
        assert told_of(world, path) == (rows, events)
    assert world.layout.of(MANIFEST, "raw_prices", "run00001", "XASX").read_bytes() == whole


def test_the_relay_tells_them(world: World, tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        settings = embedded_settings(event_relay_start="beginning")
        recorder = open_events(world.layout, settings, publish=False)
        tailer = Tailer(world.layout, recorder, DagsterLog(instance))
        collect(world, 300, VAS, VGS)
        killed(world)
        tailer.tick()
        found = [e for b in recorder.log.read() for e in b]
        (batch,) = list_batch_ids(world.layout, "XASX")
        assert {(e.type, e.subject, e.payload().batch_id) for e in found} == {
            ("ETFDataCollected", name, batch) for name in ("VAS", "VGS")
        }
        assert tailer.tick().relayed == 0
        recorder.close()


def test_a_batch_that_does_not_say_what_it_collected_is_left_alone(world: World):
    """By an earlier release."""
    collect(world, 300, VAS)
    path = world.layout.batches("XASX") / f"{list_batch_ids(world.layout, 'XASX')[0]}.parquet"
    said = pq.read_metadata(path).metadata[META_KEY]
    assert b'"run": {' in said
    meta = {META_KEY: said.replace(b'"run": {', b'"other": {')}
    pq.write_table(pq.read_table(path).replace_schema_metadata(meta), path)
    killed(world)
    tell_all_killed_runs(world.layout)
    assert world.layout.manifest_files("raw_prices") == []
