"""Which manifests have to stay, as what they tell is not recorded as events yet."""

import datetime as dt
import json
import os
import shutil

import pytest

from etf_pipeline.events.cursor import Cursor
from etf_pipeline.events.cursors import CURSOR
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.facts import told_of_manifest
from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.log.retention import archive_log, prune
from etf_pipeline.events.unrecorded import Unrecorded
from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline_tests.events_support import embedded_settings

AT = dt.datetime(2025, 3, 31, 12, tzinfo=dt.UTC)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


@pytest.fixture
def events(layout):
    """A log that was begun before any manifest was written."""
    opened = open_events(layout, embedded_settings(), publish=False)
    opened.log.append([], facts={"swept": json.dumps({"since": 0, "folders": {}})})
    yield opened
    opened.close()


def manifest(layout, asset=assets.RAW_PRICES, **row):
    outcome = Outcome("VAS", OutcomeKind.COLLECTED, **({"batch_id": "b"} | row))
    return write_manifest(layout, asset, "run", "XASX", [outcome], AT, "yahoo")


def waits(layout, path, settings=None):
    unrecorded = Unrecorded(layout, settings or embedded_settings())
    try:
        return unrecorded.waits(path)
    finally:
        unrecorded.close()


def tell(layout, events, path):
    events.append(told_of_manifest(layout, path, events.instance).events)


def test_until_its_events_are_in_the_log(layout, events):
    path = manifest(layout)
    assert waits(layout, path)
    tell(layout, events, path)
    assert not waits(layout, path)


def test_what_the_archive_holds_need_not_be_in_the_log(layout, events):
    path = manifest(layout)
    tell(layout, events, path)
    archive = Archive(layout)
    archive_log(events.log, archive, AT)
    assert prune(events.log, archive, 0, events.log.last()).events == 1
    assert not waits(layout, path)
    shutil.rmtree(layout.archive)
    assert waits(layout, path)


def test_what_tells_nothing_waits_for_nothing(layout, events):
    assert not waits(layout, manifest(layout, batch_id=None))
    assert not waits(layout, manifest(layout, assets.BACKTESTS))


def test_a_manifest_that_cannot_be_read_waits(layout, events):
    path = manifest(layout)
    tell(layout, events, path)
    path.write_bytes(b"half")
    assert waits(layout, path)


def test_from_before_events_were_begun_nothing_is_told(layout, events):
    path = manifest(layout)
    os.utime(path, (1, 1))
    events.log.append([], facts={"swept": json.dumps({"since": 2 * 10**9, "folders": {}})})
    assert not waits(layout, path)


@pytest.mark.parametrize(("kind", "expected"), [("embedded", True), ("none", False)])
def test_before_the_first_event_all_waits_if_events_are_asked_for(layout, kind, expected):
    settings = embedded_settings(event_store_type=kind)
    assert waits(layout, manifest(layout), settings) is expected
    assert not layout.event_log.exists()


def test_how_far_an_instance_was_read(layout, events):
    unrecorded = Unrecorded(layout, embedded_settings())
    assert unrecorded.read_up_to("home") == 0
    events.log.append([], facts={f"{CURSOR}:home": Cursor(17, 3).dump()})
    assert unrecorded.read_up_to("home") == 17
    assert unrecorded.read_up_to("another") == 0
    assert unrecorded.parked_records("home") == []
    unrecorded.close()
    off = Unrecorded(layout, embedded_settings(event_store_type="none"))
    assert off.read_up_to("home") == 17, "what was begun goes on being waited for"
    assert off.read_up_to("another") is None
    off.close()
