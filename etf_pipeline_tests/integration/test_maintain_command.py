"""`etf maintain`: what it says, its exit codes, and what a kill leaves."""

import datetime as dt
import json
import subprocess
import sys
import time

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.model.schemas import WEIGHTS
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.writer import publish

FIRST, DAYS = dt.date(2023, 1, 1), 300
ROW = {"portfolio": "p", "ticker": "VAS", "source": "simulated"}
ROW |= dict.fromkeys(("weight", "expected_return", "volatility"), 1.0)


@pytest.fixture
def layout(tmp_path, monkeypatch):
    """A store of 300 days of weights, all of them and one of today's year."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ETF_DATA_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    made = Layout(tmp_path / "store")
    for n in [*range(DAYS), 900]:
        day = FIRST + dt.timedelta(days=n)
        rows = pa.Table.from_pylist([ROW], schema=WEIGHTS.arrow)
        publish(made.of(WEIGHTS, day), WEIGHTS, rows)
    return made


def maintain(*options):
    return CliRunner().invoke(app, ["maintain", *options])


def test_what_would_go_is_said_and_then_goes(layout):
    dry = maintain("--dry-run")
    assert dry.exit_code == 0
    # ten months, the last of them ending with its last file
    assert "weights: 290 would go (" in dry.output
    assert "ages are counted from the newest session, 2025-06-19" in dry.output
    assert "events: not touched; `etf events archive --prune`" in dry.output
    assert len(layout.files(WEIGHTS)) == DAYS + 1
    assert "dagster runs: 0 would go" in dry.output
    assert sorted(p.name for p in layout.root.parent.iterdir()) == ["store"], "it made nothing"
    said = json.loads(maintain("--json").output)
    (weights,) = [k for k in said["kinds"] if k["kind"] == "weights"]
    assert (weights["removed"], weights["kept"], weights["problems"]) == (290, 11, [])
    assert read_table(layout.root / said["record"]).num_rows == 290
    again = json.loads(maintain("--json").output)
    assert (sum(k["removed"] for k in again["kinds"]), again["record"]) == (0, None)


def test_a_store_without_tables_has_nothing_old(layout, monkeypatch):
    monkeypatch.setenv("ETF_DATA_DIR", "elsewhere")
    for option, went in ((["--dry-run"], "would go"), ([], "removed")):
        done = maintain(*option)
        assert done.exit_code == 0
        assert "has no table of any day yet" in done.output
        assert f"\nweights: 0 {went}\n" in done.output
        assert f"\ndagster runs: 0 {went}\n" in done.output


def test_a_kill_in_the_middle_leaves_a_whole_store(layout):
    """Every file that is left can be read, and what should have gone goes next time."""
    before = {layout.relative(p) for p in layout.files(WEIGHTS)}
    command = [sys.executable, "-c", "from etf_pipeline.cli.app import main; main()", "maintain"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None and len(layout.files(WEIGHTS)) > DAYS - 20:
        time.sleep(0.001)
    process.kill()
    process.wait(60)
    left = layout.files(WEIGHTS)
    assert len(left) <= DAYS - 20
    assert all(read_table(p).num_rows == 1 for p in left)
    assert maintain().exit_code == 0
    assert len(layout.files(WEIGHTS)) == 11
    gone = before - {layout.relative(p) for p in layout.files(WEIGHTS)}
    rows = [r for p in layout.manifest_files("maintenance") for r in read_table(p).to_pylist()]
    assert {r["subject"] for r in rows} == gone
