"""A disk that fills while the catalogue is written, or under the event log: what helps is said."""

import shutil

import duckdb
import pytest

from etf_pipeline.errors import DiskFullError, EventError, ReasonCode
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.status import examined_status
from etf_pipeline.steps.catalogue_building import build_catalogue
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import embedded_settings, queries
from etf_pipeline_tests.support import disk_in_memory


@pytest.fixture
def small_disk(tmp_path):
    with disk_in_memory(tmp_path / "disk", "size=3m") as folder:
        yield folder


def test_a_disk_without_room_for_the_catalogue(small_disk):
    layout = Layout(small_disk / "store")
    layout.root.mkdir()
    ballast = small_disk / "ballast"
    for left in (0, 4_096, 16_384, 65_536, 300_000):
        ballast.unlink(missing_ok=True)
        ballast.write_bytes(bytes(max(shutil.disk_usage(small_disk).free - left, 0)))
        with pytest.raises(DiskFullError, match="free some space") as told:
            build_catalogue(layout, small_disk / "none.csv", "signature")
        assert told.value.code is ReasonCode.DISK_FULL
        assert list(layout.root.iterdir()) == []
    ballast.unlink()
    build_catalogue(layout, small_disk / "none.csv", "signature")
    # without a history, every view is there and empty
    with duckdb.connect(str(layout.catalogue), read_only=True) as db:
        assert db.execute("SELECT ticker, currency, remark FROM currencies").fetchall() == []


def test_a_disk_without_room_for_the_event_log(small_disk):
    layout, settings = Layout(small_disk / "store"), embedded_settings()
    events = Embedded(layout, settings)
    try:
        events.append(queries(1))
        assert examined_status(layout.root, settings)[0].problem is None
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free))
        with pytest.raises(EventError, match="free some space"):
            events.append(queries(2_000, start=1))
        problem = examined_status(layout.root, settings)[0].problem
        assert problem is not None
        assert str(layout.event_log) in problem and "free some space" in problem
        ballast.unlink()
        events.append(queries(1, start=1))
        assert examined_status(layout.root, settings)[0].problem is None
    finally:
        events.close()
