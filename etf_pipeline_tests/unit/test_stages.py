"""What a store tells of the last run of a stage: its record, or the mark of one that left none."""

import datetime as dt
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import replace

import pytest

from etf_pipeline.errors import DiskFullError, ReasonCode
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.store.begun import read_marks
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.processes import HOST
from etf_pipeline.store.stages import (
    Stage,
    begin_stage,
    failed,
    keep_unrecorded,
    read_stages,
    stage_path,
    unrecorded,
    write_stage,
)
from etf_pipeline_tests.support import disk_in_memory

T0 = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)
GOOD = Outcome("reports", OutcomeKind.UPDATED)
KILLED = """
import datetime as dt, os, signal, sys
from pathlib import Path
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.stages import begin_stage
moment = dt.datetime.fromisoformat(sys.argv[2])
begin_stage(Layout(Path(sys.argv[1])), "reports", "killed", "", moment)
os.kill(os.getpid(), signal.SIGKILL)
"""


def later(minutes):
    return T0 + dt.timedelta(minutes=minutes)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path)


def killed(layout, moment):
    """A process begins the stage, and is killed."""
    command = [sys.executable, "-c", KILLED, str(layout.root), moment.isoformat()]
    assert subprocess.run(command, check=False).returncode == -9


def last(layout):
    """Run and reason code of the stage, as `etf status` has them."""
    return [(s.run_id, s.outcome.reason_code) for s in read_stages(layout)]


def test_a_run_that_is_killed_is_told_until_the_stage_is_recorded_again(layout):
    killed(layout, later(0))
    assert last(layout) == [("killed", ReasonCode.KILLED)]
    write_stage(layout, GOOD, "first", "", later(1))
    assert (last(layout), read_marks(layout)) == ([("first", None)], [])
    killed(layout, later(2))
    (stage,) = read_stages(layout)
    assert stage.since == later(2)
    assert "run killed began it at 2025-11-12 12:02 UTC and was ended before it" in stage.sentence
    write_stage(layout, failed("reports", ReasonCode.DISK_FULL, "full"), "second", "", later(3))
    assert last(layout) == [("second", ReasonCode.DISK_FULL)]
    killed(layout, later(4))
    (stage,) = read_stages(layout)
    assert (stage.outcome.reason_code, stage.since) == (ReasonCode.KILLED, later(3))


def test_what_is_under_way_is_told_once_it_is_over(layout):
    write_stage(layout, GOOD, "first", "", later(0))
    begin_stage(layout, "reports", "second", "", later(1))
    assert last(layout) == [("first", None)]
    write_stage(layout, GOOD, "second", "", later(2))
    assert (last(layout), read_marks(layout)) == ([("second", None)], [])


def test_a_mark_says_nothing_of_what_another_run_has_recorded_since(layout, tmp_path):
    """As another machine has, whose record is pulled; then a run of this one is killed again."""
    write_stage(layout, GOOD, "first", "", later(0))
    killed(layout, later(1))
    other = Layout(tmp_path / "other")
    write_stage(other, GOOD, "elsewhere", "", later(2))
    stage_path(other, "reports").replace(stage_path(layout, "reports"))
    assert last(layout) == [("elsewhere", None)]
    killed(layout, later(3))
    assert last(layout) == [("killed", ReasonCode.KILLED)]


def test_a_record_that_was_pulled_during_the_run_does_not_hide_its_end(layout, tmp_path):
    """A step pulls what other machines recorded before it began; that is older than its end."""
    write_stage(layout, GOOD, "first", "", later(0))
    killed(layout, later(2))
    other = Layout(tmp_path / "other")
    write_stage(other, GOOD, "elsewhere", "", later(1))
    stage_path(other, "reports").replace(stage_path(layout, "reports"))
    assert last(layout) == [("killed", ReasonCode.KILLED)]


def test_of_another_host_a_mark_tells_after_a_day(layout):
    """As of a container that was ended, whose name is no other's."""
    begin_stage(layout, "reports", "away", "", later(0))
    (path,) = layout.begun_files()
    path.write_text(path.read_text().replace(f'"{HOST}-', '"ffff-'))
    assert last(layout) == []
    made = path.stat().st_mtime
    os.utime(path, (made - 86_500, made - 86_500))
    assert last(layout) == [("away", ReasonCode.KILLED)]
    write_stage(layout, GOOD, "next", "", later(1))
    assert (last(layout), layout.begun_files()) == ([("next", None)], [])


def test_what_could_not_be_recorded_is_told_by_the_mark(layout):
    write_stage(layout, GOOD, "first", "", later(0))
    begin_stage(layout, "reports", "second", "", later(1))
    (known,) = read_stages(layout)
    said = unrecorded(layout, GOOD)
    keep_unrecorded(layout, type(known)(GOOD, "second", "", later(2)))
    (stage,) = read_stages(layout)
    assert (stage.run_id, stage.outcome) == ("second", said)
    assert str(layout.manifests("stages")) in stage.sentence
    write_stage(layout, GOOD, "third", "", later(3))
    assert last(layout) == [("third", None)]


def test_a_record_is_never_before_the_one_that_it_replaces(layout):
    """A clock that was an hour fast is put right."""
    write_stage(layout, GOOD, "first", "", later(60))
    second = write_stage(layout, GOOD, "second", "", later(1))
    assert later(60) < second.recorded_at < later(61)
    assert read_stages(layout) == [second]


def test_a_stage_on_a_full_disk_is_not_said_to_have_been_killed(tmp_path):
    """Whether it was marked while there was room, or never could be."""
    runs = [str(uuid.UUID(int=i)) for i in range(3)]
    with disk_in_memory(tmp_path / "disk", "size=1m") as disk:
        layout, ballast = Layout(disk), disk / "ballast"
        begin_stage(layout, "reports", runs[0], "", T0)
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free))
        with pytest.raises(DiskFullError):
            write_stage(layout, GOOD, runs[0], "", T0)
        with pytest.raises(DiskFullError):
            keep_unrecorded(layout, Stage(GOOD, runs[0], "", T0), ReasonCode.DISK_FULL)
        (disk / "more").write_bytes(bytes(shutil.disk_usage(disk).free))
        with pytest.raises(DiskFullError):
            begin_stage(layout, "raw_prices", runs[1], "XASX", T0)
        told = {(s.asset, s.partition, s.run_id): s.outcome for s in read_stages(layout)}
        assert set(told) == {("reports", "", runs[0]), ("raw_prices", "XASX", runs[1])}
        for outcome in told.values():
            assert outcome.reason_code is ReasonCode.DISK_FULL
            assert "free some space and run again" in outcome.reason
        ballast.unlink()
        now = dt.datetime.now(dt.UTC)
        write_stage(layout, GOOD, runs[2], "", now)
        write_stage(layout, replace(GOOD, subject="raw_prices"), runs[2], "XASX", now)
        assert all(s.good for s in read_stages(layout))
        assert read_marks(layout) == []
