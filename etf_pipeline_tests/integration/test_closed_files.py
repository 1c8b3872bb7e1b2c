"""Files and folders that may not be opened: nobody is told that they are damaged."""

import datetime as dt
import json
import os
import subprocess
import sys

import pyarrow as pa
import pytest

from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.model.schemas import QUARANTINE, WEIGHTS
from etf_pipeline.store.batches import BatchWriter, new_batch_id
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.writer import publish
from etf_pipeline_tests.soak.nursery import can_forbid_writing, without_rights
from etf_pipeline_tests.stored_support import publish_closes
from etf_pipeline_tests.support import asx_days, bars, walk

pytestmark = pytest.mark.skipif(not can_forbid_writing(), reason="root may open everything here")

NOW = dt.datetime(2024, 3, 7, tzinfo=dt.UTC)
COMMANDS = {
    "risk": ["risk", "VAS", "--years", "0"],
    "status": ["status"],
    "doctor": ["doctor"],
    "prices": ["sql", "SELECT count(*) FROM prices"],
    "quality": ["sql", "SELECT count(*) FROM quality"],
    "runs": ["sql", "SELECT count(*) FROM runs"],
    "weights": ["sql", "SELECT count(*) FROM weights"],
    "raw": ["sql", "SELECT count(*) FROM raw_answers"],
}
# Each command in this process, as `etf` ends it, while one file or folder is closed after another.
_PROGRAM = """
import contextlib, io, json, sys
from pathlib import Path
from etf_pipeline.cli import app
asked = json.loads(sys.argv[1])
for name, (path, commands) in asked["closed"].items():
    path = Path(path)
    mode = path.stat().st_mode
    for command in commands:
        said = io.StringIO()
        path.chmod(0)
        sys.argv = ["etf", *asked["commands"][command], "--data-dir", asked["store"]]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                app.main()
            except SystemExit as end:
                code = end.code
        path.chmod(mode)
        print(json.dumps([name, command, code, said.getvalue()]), flush=True)
"""


@pytest.fixture
def layout(tmp_path):
    """A store with a file of each kind."""
    layout = Layout(tmp_path / "store")
    days, closes = asx_days("2024-01-02", 60), walk(60)
    publish_closes(layout.root, "VAS", days, closes, open=[0.0, *closes[1:]])  # a finding
    with BatchWriter(layout, "XASX", new_batch_id(NOW, "run"), "files") as batch:
        rows = bars(days, closes, adj_close_source=closes)
        batch.add("VAS", "VAS.AX", "XASX", "AUD", True, rows)
    done = Outcome("VAS", OutcomeKind.UPDATED)
    write_manifest(layout, assets.RAW_PRICES, "run", "XASX", [done], NOW, "")
    row = {"string": "VAS", "double": 1.0, "bool": True, "int64": 1}
    rows = [{c.name: row.get(c.kind) for c in WEIGHTS.columns}]
    path = layout.of(WEIGHTS, NOW.date())
    publish(path, WEIGHTS, pa.Table.from_pylist(rows, schema=WEIGHTS.arrow))
    (layout.root / "events").mkdir()
    return layout


def test_a_closed_file_is_named_with_what_helps_and_never_called_damaged(layout):
    history, quarantine = layout.find_history("VAS"), layout.of(QUARANTINE, "VAS")
    looking = ["status", "doctor"]
    closed = {
        "histories": (history.parent, ["risk", *looking, "prices"]),
        "history": (history, ["risk", *looking, "prices"]),
        "quarantines": (quarantine.parent, ["risk", *looking, "quality"]),
        "quarantine": (quarantine, ["risk", *looking, "quality"]),
        "events": (layout.root / "events", [*looking, "prices"]),
        "batch": (layout.batch_files("XASX")[0], [*looking, "raw"]),
        "manifest": (layout.manifest_files(assets.RAW_PRICES)[0], [*looking, "runs"]),
        "weights": (layout.of(WEIGHTS, NOW.date()), [*looking, "weights"]),
    }
    asked = {
        "store": str(layout.root),
        "commands": COMMANDS,
        "closed": {name: (str(path), commands) for name, (path, commands) in closed.items()},
    }
    found = subprocess.run(
        [*without_rights(), sys.executable, "-c", _PROGRAM, json.dumps(asked)],
        env=os.environ | {"EVENT_STORE_TYPE": "embedded", "COLUMNS": "1000"},
        text=True,
        capture_output=True,
        timeout=240,
        check=True,
    )
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(lines) == sum(len(commands) for _, commands in closed.values())
    for name, command, code, said in lines:
        about = f"{name} {command}: {said}"
        assert code == (3 if (name, command) in PARTIAL else 1), about
        assert str(closed[name][0]) in said, about
        assert "readable" in said, about
        for word in ("unexpected", "not readable Parquet", "damaged", "restore", "move it away"):
            assert word not in said, about


# `etf status` shows the others, and what is wrong with this one.
PARTIAL = {(name, "status") for name in ("history", "quarantine", "batch", "weights")}


def test_a_history_that_may_not_be_opened_is_not_set_aside(layout):
    """Which is what becomes of a damaged one."""
    program = (
        "import sys; from pathlib import Path; from etf_pipeline.store.layout import Layout\n"
        "from etf_pipeline.store.histories import read_known\n"
        "try: read_known(Layout(Path(sys.argv[1])), 'VAS')\n"
        "except Exception as error: print(type(error).__name__)"
    )
    path = layout.find_history("VAS")
    path.chmod(0)
    found = subprocess.run(
        [*without_rights(), sys.executable, "-c", program, str(layout.root)],
        text=True,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert found.stdout == "UnreadableFileError\n"
