"""What `etf doctor` finds, in folders that are well and in folders that are not."""

import datetime as dt
import os
import shutil
import socket

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.library.doctor import examine
from etf_pipeline.library.status import unfit_status
from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.model.schemas import QUARANTINE, RISK_METRICS, WEIGHTS
from etf_pipeline.store.batches import BatchWriter, new_batch_id
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.writer import locked, publish
from etf_pipeline_tests.conftest import ROOT
from etf_pipeline_tests.stored_support import publish_closes, turn_a_bit
from etf_pipeline_tests.support import asx_days, bars, disk_in_memory, walk

ALL = [
    "Python",
    "packages",
    "settings",
    "universe",
    "portfolios",
    "corrections",
    "risk-free",
    "store writable",
    "disk",
    "share",
    "histories",
    "raw batches",
    "manifests",
    "tables",
    "upkeep",
    "events",
    "parked records",
    "signing key",
    "refused events",
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with the universe and the portfolios of the repository."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("universe.csv", "portfolios.yaml"):
        shutil.copy(ROOT / "data" / name, tmp_path / "data" / name)
    return tmp_path


def found(data_dir=None):
    return {f.name: f for f in examine(data_dir)}


def faults(data_dir=None):
    return {name: f.detail for name, f in found(data_dir).items() if not f.ok}


def test_a_fresh_folder_is_well(place):
    checks = found()
    assert list(checks) == ALL
    assert faults() == {}
    assert checks["settings"].detail == "source yahoo, store data/etf"
    assert checks["histories"].detail == "none yet: run `etf run`"
    assert checks["events"].detail == "off (direct mode)"
    assert checks["store writable"].detail == str(place / "data")
    assert not (place / "data" / "etf").exists()  # looking changes nothing


def test_bad_settings_end_it(place, monkeypatch):
    monkeypatch.setenv("ETF_YAHOO_ATTEMPTS", "0")
    checks = found()
    assert list(checks) == ALL[:3]
    assert "ETF_YAHOO_ATTEMPTS='0'" in faults()["settings"]


def test_a_bad_universe_takes_what_names_its_tickers_with_it(place):
    path = place / "data" / "universe.csv"
    path.write_text(path.read_text().replace("XASX", "ASX", 1))
    bad = faults()
    assert set(bad) == {"universe", "portfolios", "corrections"}
    assert "exchange 'ASX'" in bad["universe"]


def test_a_bad_portfolio_file(place):
    (place / "data" / "portfolios.yaml").write_text("portfolios:\n  - name: a\n")
    assert set(faults()) == {"portfolios"}


def test_what_is_free_of_risk_is_looked_for(place, monkeypatch):
    rates = place / "f1.csv"
    rates.write_text("date,rate\n2024-01-02,4.35\n")
    for value, ok, detail in (
        ("0.04", True, "0.04 a year"),
        ("VAF", True, "returns of VAF"),
        ("VAFF", False, "did you mean"),
        ("f1.csv", False, "per cent or a fraction"),
        ("f2.csv", False, "f2.csv cannot be read"),
    ):
        monkeypatch.setenv("ETF_RISK_FREE_RATE", value)
        assert (found()["risk-free"].ok, detail in found()["risk-free"].detail) == (ok, True)
    rates.with_name("f1.csv.json").write_text('{"unit": "percent"}')
    monkeypatch.setenv("ETF_RISK_FREE_RATE", "f1.csv")
    assert found()["risk-free"].detail == "rates in f1.csv"


def test_a_damaged_history_is_named(place):
    path = Layout(place / "store").find_history("VAS")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not Parquet")
    bad = faults(place / "store")
    assert set(bad) == {"histories"}
    assert bad["histories"].startswith(f"1 of 1 cannot be read: {path} is not readable Parquet")
    assert "move it away and run `etf run`" in bad["histories"]


def test_a_bit_that_turned_in_a_page_is_found_in_every_file_of_the_store(place):
    """Which footers do not tell, nor sizes, nor times."""
    layout = Layout(place / "store")
    days, closes = asx_days("2024-01-02", 60), walk(60)
    histories = [publish_closes(layout.root, t, days, closes) for t in ("VAF", "VAS", "VGS")]
    now = dt.datetime(2024, 3, 7, tzinfo=dt.UTC)
    done = Outcome("VAS", OutcomeKind.UPDATED, content_hash="a" * 64)
    batch = BatchWriter(layout, "XASX", new_batch_id(now, "run"), "files")
    with batch:
        batch.add("VAS", "VAS.AX", "XASX", "AUD", True, bars(days, closes, adj_close_source=closes))
    manifest = write_manifest(layout, assets.RISK_METRICS, "run", "", [done], now, "")
    day, row = dt.date(2024, 3, 7), {"string": "VAS", "double": 1.0, "bool": True, "int64": 1}
    rows = [{c.name: row.get(c.kind) for c in WEIGHTS.columns}]
    weights = layout.of(WEIGHTS, day)
    publish(weights, WEIGHTS, pa.Table.from_pylist(rows, schema=WEIGHTS.arrow))
    assert faults(layout.root) == {}
    (raw,) = layout.batch_files("XASX")
    for path, column in (
        (histories[0], "close"),
        (histories[2], "adj_close"),
        (raw, "close"),
        (manifest, "content_hash"),
        (weights, "weight"),
    ):
        turn_a_bit(path, column)
    assert unfit_status(layout.root) == []  # footers are whole
    bad = faults(layout.root)
    assert set(bad) == {"histories", "raw batches", "manifests", "tables"}
    both = f"{histories[0]}, {histories[2]} are not readable Parquet: move it away and run"
    assert bad["histories"].startswith(f"2 of 3 cannot be read: {both} `etf run`")
    assert f"{raw} is not readable Parquet: restore it" in bad["raw batches"]
    assert "run `etf run --full`" in bad["raw batches"]
    assert f"{manifest} is not readable Parquet: put a good copy" in bad["manifests"]
    assert f"{weights} is not readable Parquet: move it away" in bad["tables"]


def test_a_table_that_cannot_be_read_is_named_with_what_helps(place):
    layout = Layout(place / "store")
    beside = layout.folder(RISK_METRICS) / "as_of=tmp" / "part.parquet"
    beside.parent.mkdir(parents=True)
    pq.write_table(pa.table({"a": [1]}), beside)
    told = found(layout.root)["tables"]
    assert told.ok
    assert str(beside) in told.detail
    paths = [layout.of(RISK_METRICS, dt.date(2024, 3, 7)), layout.of(QUARANTINE, "VAS")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    bad = faults(layout.root)
    assert set(bad) == {"tables"}
    for path in paths:
        assert f"{path} is not readable Parquet: move it away and run `etf run`" in bad["tables"]
    assert [r["path"] for r in unfit_status(layout.root)] == list(map(str, paths))
    paths[1].unlink()
    pq.write_table(pa.table({"a": [1]}), paths[0])
    assert f"{paths[0]} is not of this package" in faults(layout.root)["tables"]
    paths[0].unlink()
    assert unfit_status(layout.root) == []


@pytest.fixture
def read_only(tmp_path):
    with disk_in_memory(tmp_path / "tiny", "size=1m,ro") as folder:
        yield folder


def test_a_small_disk_that_cannot_be_written(place, read_only):
    bad = faults(read_only / "store")
    assert set(bad) == {"store writable", "disk"}
    assert "set ETF_DATA_DIR to a folder that can" in bad["store writable"]
    assert bad["disk"] == "0.00 GiB free; a run may need 1 GiB"


def test_a_home_of_dagster_on_a_full_disk_of_its_own(place, tmp_path, monkeypatch):
    with disk_in_memory(tmp_path / "small", "size=1m") as disk:
        home = disk / "home"
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        bad = faults(place / "store")
        assert set(bad) == {"disk"} and f"DAGSTER_HOME={home}" in bad["disk"]
        assert not home.exists()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"EVENT_STORE_TYPE": "neither"}, "EVENT_STORE_TYPE='neither'"),
        ({"KAFKA_ACKS": "0", "EVENT_STORE_TYPE": "embedded"}, "acks is fixed"),
    ],
)
def test_bad_event_settings(place, monkeypatch, variables, words):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    bad = faults()
    assert set(bad) == {"events"}
    assert words in bad["events"]


def test_embedded_events_are_well(place, monkeypatch):
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    assert found()["events"].detail == "embedded"


@pytest.mark.parametrize("kind", ["auto", "kafka"])
def test_a_broker_that_does_not_answer(place, monkeypatch, kind):
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("EVENT_STORE_TYPE", kind)
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", server)
        bad = faults()
    assert set(bad) == {"events"}
    assert server in bad["events"]
    assert "refuse" in bad["events"]


def test_a_lock_that_is_held_is_no_fault(place):
    with locked(Layout(place / "data" / "etf").lock("raw", "XASX"), 1):
        assert faults() == {}


def test_what_is_not_installed_is_told(place):
    text = found()["packages"].detail
    assert [part.split()[0] for part in text.split(", ")] == [
        "dagster",
        "yfinance",
        "duckdb",
        "matplotlib",
        "confluent_kafka",
    ]
    assert os.sep not in text


def test_a_key_that_cannot_sign(place, monkeypatch):
    assert found()["signing key"].detail == "no key is set"
    monkeypatch.setenv("EVENT_SIGNING_KEY", str(place / "gone.pem"))
    assert list(faults()) == ["signing key"]
    assert "gone.pem: cannot be read" in faults()["signing key"]


def test_upkeep_that_was_not_done_is_told_and_no_fault(place, monkeypatch):
    layout = Layout(place / "data" / "etf")
    assert found()["upkeep"].detail == "nothing is older than is kept"
    for day in ("2023-01-30", "2023-01-31", "2023-02-01", "2023-02-02", "2025-03-03"):
        path = layout.of(WEIGHTS, dt.date.fromisoformat(day))
        publish(path, WEIGHTS, WEIGHTS.arrow.empty_table(), {"source": "files"})
    told = found()["upkeep"]
    assert told.ok
    assert told.detail.startswith("2 dailies are older than ETF_KEEP_DAYS=400: `etf maintain`")
    monkeypatch.setenv("ETF_KEEP_DAYS", "-1")
    assert found()["upkeep"].detail == "dailies are kept for ever"
