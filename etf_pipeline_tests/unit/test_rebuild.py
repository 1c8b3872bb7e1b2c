"""Histories rebuilt from the raw batches that events name: proven, or not written."""

import datetime as dt
from dataclasses import replace

import pytest

from etf_pipeline.errors import ProofError
from etf_pipeline.events.facts import events_of_manifest
from etf_pipeline.events.model.state import fold
from etf_pipeline.events.proof.rebuild import Rebuilder, restore
from etf_pipeline.history.build import RULES_VERSION
from etf_pipeline.model.schemas import HISTORY, MANIFEST, RAW
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline_tests.support import asx_days, bars, instrument, walk

VAS = instrument("VAS")


@pytest.fixture
def told(world):
    """Two downloads of one ticker, and what their events say of it."""
    days, closes = asx_days("2024-01-02", 320), walk(320)
    events = []
    for n in (300, 320):
        world.serve("VAS", bars(days[:n], closes[:n]))
        world.now = dt.datetime.combine(days[n - 1].astype(object), dt.time(12), dt.UTC)
        world.download(VAS)
        run_id = f"run{world.runs:05d}"
        outcomes = world.update(VAS).values()
        write_manifest(world.layout, "price_history", run_id, "XASX", outcomes, world.now, "yahoo")
        for asset in ("raw_prices", "price_history"):
            path = world.layout.of(MANIFEST, asset, run_id, "XASX")
            events += events_of_manifest(world.layout, path, "instance")
    return fold([events]).etf("VAS")


def rebuilt(world, into, etf, **known):
    with Rebuilder(world.layout, into, known) as rebuilder:
        return rebuilder.rebuild(etf)


def test_what_is_rebuilt_is_the_same_file(world, told, tmp_path):
    into = Layout(tmp_path / "into")
    found = rebuilt(world, into, told)
    assert (found.status, found.rows, found.batches) == ("proved", 320, 2)
    assert found.content_hash == told.updated.content_hash
    assert into.of(HISTORY, "VAS").read_bytes() == world.layout.of(HISTORY, "VAS").read_bytes()


def test_no_more_batches_count_than_the_newest_event_names(world, told, tmp_path):
    into = Layout(tmp_path / "into")
    early = replace(
        told,
        batches=told.batches[:1],
        updated=told.updated.model_copy(update={"batch_id": told.batches[0].batch_id}),
    )
    found = rebuilt(world, into, early)
    assert found.status == "differs"  # the hash is still that of both batches
    assert "the events say" in found.reason
    assert not into.of(HISTORY, "VAS").exists()


def test_without_an_event_of_the_history_nothing_is_proven(world, told, tmp_path):
    into = Layout(tmp_path / "into")
    assert rebuilt(world, into, replace(told, updated=None)).status == "unproven"
    assert not into.of(HISTORY, "VAS").exists()
    with Rebuilder(world.layout, into) as rebuilder:
        found = rebuilder.rebuild_unproven("VAS", told.batches[-1].batch_id)
    assert (found.status, found.rows) == ("unproven", 320)
    assert into.of(HISTORY, "VAS").read_bytes() == world.layout.of(HISTORY, "VAS").read_bytes()


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_a_batch_that_is_not_what_it_was_is_named(world, told, tmp_path, what):
    batch = told.batches[0]
    path = world.layout.of(RAW, batch.partition, batch.batch_id)
    if what == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"x")
    found = rebuilt(world, Layout(tmp_path / "into"), told)
    assert found.status == "differs"
    assert str(path) in found.reason
    assert "backup" in found.reason


def test_a_history_of_other_quality_rules_names_their_version(world, told, tmp_path):
    old = told.updated.model_copy(
        update={"rules_version": RULES_VERSION - 1, "content_hash": "0" * 64}
    )
    found = rebuilt(world, Layout(tmp_path / "into"), replace(told, updated=old))
    assert found.status == "differs"
    assert f"version {RULES_VERSION - 1} then and are at {RULES_VERSION} now" in found.reason


def test_restoring_puts_the_file_back_or_says_why_not(world, told):
    path = world.layout.of(HISTORY, "VAS")
    content = path.read_bytes()
    path.unlink()
    assert restore(world.layout, told).status == "proved"
    assert path.read_bytes() == content
    path.unlink()
    wrong = replace(told, updated=told.updated.model_copy(update={"content_hash": "0" * 64}))
    with pytest.raises(ProofError, match="VAS cannot be rebuilt from events"):
        restore(world.layout, wrong)
    assert not path.exists()
