"""verify and doctor of runs: what nobody told of them, and manifests that cannot be read."""

import datetime as dt
import json
import os

import pytest

from etf_pipeline.events.facts import events_of_manifest
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.proof.verify import verify
from etf_pipeline.events.tailer import STATUS
from etf_pipeline.library.doctor import examine
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline_tests.events_support import embedded_settings
from etf_pipeline_tests.pipeline.relayed import download

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


@pytest.fixture
def events(layout):
    made = Embedded(layout, embedded_settings())
    yield made
    made.close()


def said(events, instance, ago, behind=0, problem=None):
    """What a tailer said some time ago."""
    status = {
        "at": (NOW - ago).isoformat(),
        "behind": behind,
        "more": False,
        "pending": 0,
        "problem": problem,
        "instance": instance,
        "where": f"/homes/{instance}",
    }
    events.log.append([], facts={f"{STATUS}:{instance}": json.dumps(status)})


def found(events, layout):
    return {c.name: c for c in verify(events, layout)}


def written(layout, i, ago):
    """A manifest of a run some time ago."""
    download(layout, i, at=NOW - ago)
    path = max(layout.manifest_files("raw_prices"), key=lambda p: p.stat().st_mtime_ns)
    moment = (NOW - ago).timestamp()
    os.utime(path, (moment, moment))
    return path


def test_a_tailer_that_is_behind_is_no_proof(layout, events):
    assert "runs told" not in found(events, layout)
    said(events, "one", dt.timedelta(hours=1), behind=7, problem="Kafka does not answer")
    told = found(events, layout)["runs told"]
    assert not told.ok
    for words in ("7 records", "/homes/one", "Kafka does not answer", "event_relay"):
        assert words in told.detail
    # its home was removed, and another one is read since: that is said
    said(events, "two", dt.timedelta(minutes=5))
    told = found(events, layout)["runs told"]
    assert told.ok and "7 records of Dagster at /homes/one" in told.detail
    said(events, "one", dt.timedelta(minutes=1))
    told = found(events, layout)["runs told"]
    assert told.ok and "/homes" not in told.detail


def test_manifests_that_nobody_looked_for(layout, events):
    written(layout, 1, dt.timedelta(days=9))
    said(events, "one", dt.timedelta(days=5))
    written(layout, 2, dt.timedelta(hours=2))  # soon
    assert found(events, layout)["runs told"].ok
    written(layout, 3, dt.timedelta(days=4))
    told = found(events, layout)["runs told"]
    assert not told.ok and told.detail.startswith("1 manifests were written since")
    said(events, "one", dt.timedelta(0))
    assert found(events, layout)["runs told"].ok


def test_a_copied_store_whose_files_have_new_times(layout, events):
    run, at = ("run00001", "XASX"), NOW - dt.timedelta(days=6)
    for asset, kind in (("raw_prices", OutcomeKind.FAILED), ("correlations", OutcomeKind.UPDATED)):
        write_manifest(layout, asset, *run, [Outcome("T1", kind, "a reason")], at, "yahoo")
    path = layout.of(MANIFEST, "raw_prices", *run)
    # told at once, from its manifest; correlations have no events of their own
    events.append(events_of_manifest(layout, path, events.instance))
    said(events, "one", dt.timedelta(days=6))
    early = written(layout, 2, dt.timedelta(days=8))  # before events were on
    copied = (NOW - dt.timedelta(days=2)).timestamp()
    manifests = [p for a in ("raw_prices", "correlations") for p in layout.manifest_files(a)]
    assert len(manifests) == 3 and early in manifests
    for one in manifests:
        os.utime(one, (copied, copied))
    assert found(events, layout)["runs told"].ok
    # what was told of the run is not a copy: the tailer has not come to the rest of it
    told = (NOW - dt.timedelta(days=6, hours=1)).timestamp()
    os.utime(path, (told, told))
    assert found(events, layout)["runs told"].detail.startswith("1 manifests were written since")
    os.utime(path, (copied, copied))
    written(layout, 3, dt.timedelta(days=4))
    assert found(events, layout)["runs told"].detail.startswith("1 manifests were written since")


@pytest.mark.parametrize("kind", ["no Parquet", "other rows"])
def test_damaged_manifests_are_named(layout, events, kind, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path, other = (written(layout, i, dt.timedelta(days=i)) for i in (1, 2))
    assert found(events, layout)["manifests whole"].ok
    if kind == "no Parquet":
        path.write_bytes(b"PAR1 nothing PAR1")
    else:  # the footer is as it was
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        changed = [s.replace("T", "U") for s in table.column("subject").to_pylist()]
        at = table.schema.get_field_index("subject")
        pq.write_table(table.set_column(at, table.schema.field(at), [changed]), path)
    told = found(events, layout)["manifests whole"]
    assert not told.ok and str(path) in told.detail and str(other) not in told.detail
    doctor = next(f for f in examine(layout.root) if f.name == "manifests")
    assert not doctor.ok
    assert str(path) in doctor.detail
