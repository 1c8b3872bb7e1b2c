"""A working copy: what is damaged, foreign, lost or somebody else's never passes for the truth."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import CorruptFileError, ShareAwayError, ShareError
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.model.schemas import HISTORY, MANIFEST, QUARANTINE, RAW, RISK_METRICS
from etf_pipeline.orchestration.sharing import maintained, recorded, updated
from etf_pipeline.share.opening import open_place
from etf_pipeline.share.publishing import publish, unpublished
from etf_pipeline.share.work import before_deriving, before_ingest, complete, refresh
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.store.manifests import read_manifest
from etf_pipeline.store.reader import read_history
from etf_pipeline.store.stages import read_stage, write_stage
from etf_pipeline.store.watermark import Watermark
from etf_pipeline.store.writer import META_KEY
from etf_pipeline.store.writer import publish as write
from etf_pipeline_tests.share.machines import SHARDS, Machine, from_scratch, later
from etf_pipeline_tests.stored_support import turn_a_bit

SHARD = SHARDS[0]


@pytest.fixture
def machine(folder, tmp_path):
    """A machine that has published its first night."""
    made = Machine(tmp_path / "one", folder)
    made.night("0", SHARD)
    return made


@pytest.fixture
def share(tmp_path):
    """The folder of the share."""
    return tmp_path / "share"


def history(machine, n=0):
    """A history of the shard."""
    return machine.pipeline.layout.files(HISTORY)[n]


def in_share(share, machine, path):
    return share / machine.pipeline.layout.relative(path)


def edited(path):
    """Change a price in a file by hand, with a tool that keeps the footer."""
    table = pq.read_table(path, partitioning=None)
    at = table.schema.get_field_index("close")
    closes = table.column("close").to_pylist()
    closes[-1] *= 2
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(closes)), path)


def cut(path):
    """End a file early."""
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("harm", [edited, cut])
def test_a_damaged_file_is_never_published_and_the_good_one_comes_back(machine, share, harm):
    path = history(machine)
    good = path.read_bytes()
    harm(path)
    bad = path.read_bytes()
    with pytest.raises(CorruptFileError, match=path.name):
        publish(machine.pipeline.working_copy, machine.pipeline.working_copy.names.of([path]))
    assert in_share(share, machine, path).read_bytes() == good
    machine.update("1", SHARD)
    assert path.read_bytes() == good == in_share(share, machine, path).read_bytes()
    assert path.with_name(f"{path.name}.damaged").read_bytes() == bad


def test_a_damaged_batch_is_never_published(machine, share):
    machine.now = later(1)
    alone = Machine(machine.folder, now=machine.now)
    alone.download("alone", SHARD)
    batch = machine.pipeline.layout.batch_files(SHARD)[-1]
    cut(batch)
    copy = machine.pipeline.working_copy
    with pytest.raises(CorruptFileError, match=batch.name):
        publish(copy, copy.names.of([batch]))
    assert not in_share(share, machine, batch).exists()


def test_a_users_own_file_is_neither_published_nor_replaced(machine, share, caplog):
    path = history(machine)
    theirs = pa.table({"Date": ["2025-01-02"], "Close": [1.0]})
    pq.write_table(theirs, path)
    other = path.with_name("MINE.parquet")
    pq.write_table(theirs, other)
    held = path.read_bytes()
    published = in_share(share, machine, path).read_bytes()
    with caplog.at_level(logging.WARNING):
        machine.update("1", SHARD)
        refresh(machine.pipeline.working_copy)
    assert path.read_bytes() == held
    assert in_share(share, machine, path).read_bytes() == published
    assert not in_share(share, machine, other).exists()
    assert "MINE.parquet was not written by this pipeline and is not published" in caplog.text


def test_a_lost_index_costs_no_data(machine, share, tmp_path):
    machine.now = later(1)
    machine.night("1", SHARD)
    shutil.rmtree(machine.pipeline.layout.share_index.parent)
    before = {p: p.stat().st_mtime_ns for p in share.rglob("*.parquet")}
    again = Machine(machine.folder, machine.url, now=machine.now)
    again.update("1b", SHARD)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    again.now = later(2)
    again.night("2", SHARD)
    again.derive("2")
    assert again.files() == from_scratch(tmp_path / "alone", again)


def test_a_damaged_index_is_begun_anew(machine):
    machine.pipeline.layout.share_index.write_bytes(b"no database" * 1000)
    again = Machine(machine.folder, machine.url, now=later(1))
    again.night("1", SHARD)
    assert unpublished(again.pipeline.working_copy) == []


def spoiled(place, name, data):
    """Put other bytes in the place of an object, as with the tools of the store's vendor."""
    place.replace(name, data, place.list(name.rpartition("/")[0])[name])


def other_days(path):
    """A table's file as of another day."""
    table = pq.ParquetFile(path).read()
    meta = json.loads(table.schema.metadata[META_KEY]) | {"as_of": "2025-11-03"}
    out = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({META_KEY: json.dumps(meta)}), out)
    return out.getvalue().to_pybytes()


def test_what_is_damaged_or_anothers_in_the_share_harms_no_copy(url, tmp_path, caplog):
    """A reader keeps what it has and goes on; whoever has a good file publishes it again."""
    machine, other = Machine(tmp_path / "one", url), Machine(tmp_path / "two", url)
    machine.night("0", SHARD)
    machine.derive("0")
    reads = other.pipeline.working_copy
    assert refresh(reads).away is None
    good, layout = other.files(), machine.pipeline.layout
    first, second, third = layout.files(HISTORY)[:3]
    stranger = Machine(tmp_path / "three", now=later(-1))
    stranger.night("else", SHARD)
    theirs = stranger.pipeline.layout.of(HISTORY, third.stem)
    table = layout.files(RISK_METRICS)[0]
    batch = layout.batch_files(SHARD)[0]
    quarantine, told = layout.files(QUARANTINE)[:2], layout.manifest_files("risk_metrics")[0]
    bad = {
        first: first.read_bytes()[: first.stat().st_size // 2],
        second: first.read_bytes(),
        third: theirs.read_bytes(),
        table: other_days(table),
        quarantine[0]: quarantine[1].read_bytes(),
        batch: batch.read_bytes()[:-100],
        told: layout.manifest_files("raw_prices")[0].read_bytes(),
    }
    names = {layout.relative(path): data for path, data in bad.items()}
    for name, data in names.items():
        spoiled(reads.place, name, data)
    for _ in range(2):  # it is told again
        caplog.clear()
        assert refresh(reads).away is None
        assert all(name in caplog.text for name in list(names)[:3])
        assert other.files() == good
    fresh = Machine(tmp_path / "four", url)
    refresh(fresh.pipeline.working_copy)
    assert not {layout.relative(p) for p in (first, second, third, table)} & fresh.files().keys()
    with pytest.raises(CorruptFileError, match="no file of it here"):
        fresh.derive("1")
    machine.now = later(1)
    refresh(machine.pipeline.working_copy)
    result = machine.night("1", SHARD)
    assert {o.outcome for o in result.outcomes} == {"updated"}
    machine.derive("1")
    assert from_scratch(tmp_path / "alone", machine).items() <= machine.files().items()
    for name in names:
        assert reads.bytes_of(name) == (machine.root / name).read_bytes()
    refresh(reads)
    assert other.files() == machine.files()


def test_a_machine_whose_copy_is_older_never_passes_it_for_what_was_damaged(
    machine, share, tmp_path
):
    other = Machine(tmp_path / "two", machine.url, now=later(1))
    refresh(other.pipeline.working_copy)
    machine.now = later(1)
    machine.night("1", SHARD)
    path = history(machine)
    newest = path.read_bytes()
    cut(in_share(share, machine, path))
    refresh(other.pipeline.working_copy)
    assert len(read_history(history(other), ["close"])) + 1 == len(read_history(path, ["close"]))
    other.update("2", SHARD)
    assert history(other).read_bytes() == newest == in_share(share, machine, path).read_bytes()


@pytest.mark.parametrize("reads", [False, True])
def test_histories_restored_from_a_backup_give_way_to_newer_ones(machine, share, tmp_path, reads):
    """They are whole and ours, so nothing else tells them from what a step made last."""
    layout = machine.pipeline.layout
    backup = tmp_path / "backup"
    backup.mkdir()
    for path in layout.files(HISTORY):
        shutil.copy2(path, backup)
    machine.now = later(1)
    machine.night("1", SHARD)
    newer = {p: p.read_bytes() for p in layout.files(HISTORY)}
    for path in newer:
        shutil.copy2(backup / path.name, path)
    assert all(p.read_bytes() != held for p, held in newer.items())
    again = Machine(machine.folder, machine.url, now=machine.now)
    if reads:
        refresh(again.pipeline.working_copy)
    else:
        again.update("2", SHARD)
    assert {p: p.read_bytes() for p in newer} == newer
    assert {p: in_share(share, machine, p).read_bytes() for p in newer} == newer
    assert unpublished(again.pipeline.working_copy, [HISTORY, QUARANTINE]) == []


def test_raw_batches_that_the_share_has_lost_come_back(machine, share, tmp_path, caplog):
    """As after a restore of the share from a backup: a machine that has them publishes them."""
    backup = shutil.copytree(share, tmp_path / "backup")
    machine.now = later(1)
    machine.night("1", SHARD)
    shutil.rmtree(share)
    shutil.copytree(backup, share)
    again = Machine(machine.folder, machine.url, now=later(1))
    with caplog.at_level(logging.WARNING):
        again.update("2", SHARD)
    assert "has lost 1 raw_prices files that are here" in caplog.text
    other = Machine(tmp_path / "two", machine.url, now=later(2))
    other.night("3", SHARD)
    other.derive("3")
    assert len(other.pipeline.layout.files(RAW)) == 3
    assert other.files() == from_scratch(tmp_path / "alone", other)


def test_another_file_under_the_name_of_a_batch_is_a_loud_error(machine, share):
    copy, layout = machine.pipeline.working_copy, machine.pipeline.layout
    first = layout.batch_files(SHARD)[0]
    target = in_share(share, machine, first)
    copy.index.drop(copy.names.of([first]))
    publish(copy, copy.names.of([first]))  # the same bytes are fine
    held = pq.ParquetFile(target).read()
    pq.write_table(held.slice(1), target)
    copy.index.drop(copy.names.of([first]))
    with pytest.raises(ShareError, match=first.stem):
        publish(copy, copy.names.of([first]))


@pytest.mark.parametrize("table", [RAW, HISTORY], ids=lambda t: t.name)
def test_a_bit_that_turned_in_the_share_reaches_nobody(machine, share, tmp_path, table, caplog):
    ours = machine.pipeline.layout.files(table)[0]
    held, theirs = ours.read_bytes(), in_share(share, machine, ours)
    turn_a_bit(theirs, "close")
    theirs.touch()  # a folder's ETag is of times
    assert theirs.read_bytes() != held
    refresh(machine.pipeline.working_copy, raw=True)
    assert ours.read_bytes() == held
    assert "is not taken" in caplog.text
    machine.night("0", SHARD)
    assert ours.read_bytes() == theirs.read_bytes() == held
    other = Machine(tmp_path / "two", machine.url)
    other.night("0", SHARD)
    assert other.files() == machine.files()


def test_a_raw_batch_of_other_rows_takes_no_good_one_s_place(machine, share):
    """As somebody wrote it with a tool of theirs, footer and all."""
    ours = machine.pipeline.layout.batch_files(SHARD)[0]
    held, theirs = ours.read_bytes(), in_share(share, machine, ours)
    found = pq.ParquetFile(theirs).read()
    pq.write_table(found.slice(1), theirs)
    told = f"{ours.stem}.*has other bytes under this name"
    with pytest.raises(ShareError, match=told):
        refresh(machine.pipeline.working_copy, raw=True)
    with pytest.raises(ShareError, match=told):
        machine.night("1", SHARD)
    assert ours.read_bytes() == held


@pytest.mark.parametrize("new", [0, 1], ids=["nothing new", "a new session"])
def test_a_bit_that_turned_in_a_history_is_no_revision(tmp_path, new):
    """No time and no size of it tells."""
    alone, whole = (Machine(tmp_path / name) for name in ("alone", "whole"))
    for one in (alone, whole):
        one.night("0", SHARD)
    path = history(alone)
    turn_a_bit(path, "close")
    for one in (alone, whole):
        one.now = later(new)
        one.night("1", SHARD)
    assert alone.files() == whole.files()


def test_a_history_that_the_share_has_lost_stays_and_comes_back(machine, share, tmp_path, caplog):
    """As where somebody removed it from the bucket: no machine has dropped it."""
    other = Machine(tmp_path / "two", machine.url)
    refresh(other.pipeline.working_copy)
    path = history(other)
    held = path.read_bytes()
    in_share(share, other, path).unlink()
    for _ in range(2):
        caplog.clear()
        refresh(other.pipeline.working_copy)
        assert (
            f"has lost 1 files that no machine has dropped (historical/{path.name})" in caplog.text
        )
        assert path.read_bytes() == held
    other.night("0", SHARD)  # at the same hour: nothing is new
    assert in_share(share, other, path).read_bytes() == held
    caplog.clear()
    refresh(machine.pipeline.working_copy)
    assert caplog.text == ""


def test_a_history_that_is_lost_everywhere_is_made_again(machine, share, tmp_path):
    path = history(machine)
    held = in_share(share, machine, path).read_bytes()
    in_share(share, machine, path).unlink()
    other = Machine(tmp_path / "two", machine.url)
    other.night("0", SHARD)
    assert other.pipeline.layout.absolute(machine.pipeline.layout.relative(path)).exists()
    assert in_share(share, machine, path).read_bytes() == held


def test_what_a_step_removes_the_share_drops(machine, share, tmp_path, caplog):
    other = Machine(tmp_path / "two", machine.url)
    refresh(other.pipeline.working_copy)
    line = machine.pipeline
    chosen = line.universe.in_partition(SHARD)
    gone = [line.layout.of(t, chosen[0].ticker) for t in (HISTORY, QUARANTINE)]
    theirs = [other.pipeline.layout.absolute(line.layout.relative(p)) for p in gone]
    held = theirs[0].read_bytes()

    def step(some):
        result = update_histories(line.store, machine.run("1", SHARD), some, source="simulated")
        for path in gone:
            path.unlink()
        return result

    updated(line, machine.run("1", SHARD), chosen, step)
    assert not any(in_share(share, machine, p).exists() for p in gone)
    left = [p for p in line.layout.files(HISTORY) if p not in gone]
    assert all(in_share(share, machine, p).exists() for p in left)
    refresh(other.pipeline.working_copy)
    assert not any(p.exists() for p in theirs)
    assert theirs[0].with_name(f"{theirs[0].name}.dropped").read_bytes() == held
    # what is dropped once can be lost later, when it is there again
    other.now = later(1)
    other.night("2", SHARD)
    made = theirs[0].read_bytes()
    in_share(share, machine, gone[0]).unlink()
    caplog.clear()
    refresh(other.pipeline.working_copy)
    assert "that no machine has dropped" in caplog.text
    assert theirs[0].read_bytes() == made


def test_a_store_that_was_there_before_is_published_whole_and_not_made_anew(folder, tmp_path):
    """The first run with the setting: marks are kept, so nothing is built from scratch."""
    Machine(tmp_path / "one").night("0", SHARD)
    joined = Machine(tmp_path / "one", folder)
    marks = Watermark.load(joined.pipeline.layout.watermark(SHARD))
    result = joined.update("1", SHARD)
    assert {o.outcome for o in result.outcomes} == {"unchanged"}
    kept = Watermark.load(joined.pipeline.layout.watermark(SHARD))
    assert kept.last == marks.last
    assert kept.seen == {p.stem for p in joined.pipeline.layout.batch_files(SHARD)}
    other = Machine(tmp_path / "two", folder)
    refresh(other.pipeline.working_copy, raw=True)
    assert other.files() == joined.files()


def test_a_share_that_became_empty_is_away(machine, share):
    for path in list(share.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = Machine(machine.folder, machine.url)
    with pytest.raises(ShareAwayError, match="mounted"):
        again.night("1", SHARD)
    assert list(share.rglob("*.parquet")) == []


def test_another_share_is_refused(machine, tmp_path):
    (tmp_path / "other").mkdir()
    url = (tmp_path / "other").as_uri()
    Machine(tmp_path / "two", url).night("0", SHARD)
    with pytest.raises(ShareError, match="another share"):
        Machine(machine.folder, url).night("1", SHARD)


def test_two_stores_that_have_nothing_in_common_do_not_become_one(machine, share, tmp_path):
    stranger = Machine(tmp_path / "demo", now=later(1))
    stranger.night("demo", SHARD)
    before = sorted(share.rglob("*"))
    with pytest.raises(ShareError, match="two stores"):
        Machine(tmp_path / "demo", machine.url).night("1", SHARD)
    assert sorted(share.rglob("*")) == before


def test_a_run_taken_for_killed_tells_more_itself(machine, share, tmp_path):
    """Another machine told of the run from its batch; the run's own manifest takes its place."""
    layout, copy = machine.pipeline.layout, machine.pipeline.working_copy
    path = layout.manifest_files("raw_prices")[0]
    whole = pq.ParquetFile(path).read()
    target = in_share(share, machine, path)
    held = target.read_bytes()
    # One row of four, as of a run of which one ticker had entered the batch.
    rows = whole.slice(0, 1)
    target.unlink()
    write(target, MANIFEST, rows.replace_schema_metadata(None))
    copy.index.drop(copy.names.of([path]))
    assert publish(copy, copy.names.of([path])) == []
    assert target.read_bytes() == held
    assert len(read_manifest(target)) == 4


def test_what_is_told_late_of_a_stage_does_not_hide_what_was_told_since(machine, tmp_path):
    other = Machine(tmp_path / "two", machine.url)
    late, since = machine.pipeline, other.pipeline
    failed = Outcome("reports", OutcomeKind.FAILED, "disk full", FailureKind.TRANSIENT)
    write_stage(late.layout, failed, "monday", "", later(1))
    good = Outcome("reports", OutcomeKind.UPDATED)
    recorded(since, [write_stage(since.layout, good, "tuesday", "", later(2))])
    complete(late.working_copy)
    refresh(since.working_copy)
    assert refresh(late.working_copy).away is None
    for line in (late, since):
        assert read_stage(line.layout, "reports").run_id == "tuesday"
    # And what is told in time takes the place of what was.
    recorded(late, [write_stage(late.layout, failed, "wednesday", "", later(3))])
    refresh(since.working_copy)
    assert read_stage(since.layout, "reports").run_id == "wednesday"


@pytest.mark.parametrize("asset", ["price_history", "reports"])
def test_of_a_stage_what_a_step_made_later_counts_whatever_the_clocks(machine, tmp_path, asset):
    """The first machine's clock is an hour fast."""
    other = Machine(tmp_path / "two", machine.url)
    fast, right = machine.pipeline, other.pipeline
    failed = Outcome(asset, OutcomeKind.FAILED, "disk full", FailureKind.TRANSIENT)
    recorded(fast, [write_stage(fast.layout, failed, "monday", "", later(61))])
    copy = right.working_copy
    if asset == "price_history":
        before_ingest(copy, "XASX", machine.pipeline.universe)
    else:
        before_deriving(copy)
    good = Outcome(asset, OutcomeKind.UPDATED)
    recorded(right, [write_stage(right.layout, good, "tuesday", "", later(2))])
    for line in (fast, right):
        refresh(line.working_copy)
        assert read_stage(line.layout, asset).run_id == "tuesday"


def test_names_that_lead_out_of_the_store_are_no_names_of_ours(machine, share):
    names = machine.pipeline.working_copy.names
    for name in ("historical/../../x.parquet", "../x.parquet", "historical/.x.parquet", "/x"):
        assert names.table_of(name) is None
    (share / "historical" / "sub").mkdir()
    (share / "historical" / "sub" / "x.parquet").write_bytes(b"x")
    refresh(machine.pipeline.working_copy)
    assert not (machine.root / "historical" / "sub").exists()


def test_without_the_setting_nothing_of_it_is_imported(tmp_path):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from etf_pipeline_tests.share.machines import SHARDS, Machine\n"
        "from etf_pipeline import ETFDataProvider\n"
        "made = Machine(Path(sys.argv[1]))\n"
        "made.night('0', SHARDS[0]); made.derive('0')\n"
        "ETFDataProvider(made.root).available_etfs\n"
        "print([m for m in sys.modules if m.startswith(('obstore', 'etf_pipeline.share'))])\n"
        "print((made.root / '.share').exists())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    assert run.stdout.split("\n")[:2] == ["[]", "False"]


def test_objects_are_plain_parquet_under_the_names_of_files(machine, share):
    """Any engine reads the share: here pyarrow, without us."""
    for path in machine.pipeline.layout.files(HISTORY):
        table = pq.ParquetFile(in_share(share, machine, path)).read()
        assert table.num_rows > 1000
    names = {p.relative_to(share).as_posix().partition("/")[0] for p in share.rglob("*.*")}
    shared = {"raw", "historical", "quarantine", "manifests", "share.json", ".locks"}
    assert names <= shared
    assert json.loads((share / "share.json").read_text()).keys() == {"id"}
    assert isinstance(open_place(machine.url, 1.0).list("")["share.json"].size, int)
    assert Path(machine.root, ".share").is_dir()


def test_what_upkeep_lets_go_the_share_lets_go_too(machine, share, tmp_path):
    """And no copy brings it back: the others let go of theirs by their own upkeep."""
    machine.night("0b", SHARDS[1])
    machine.derive("0")
    other = Machine(tmp_path / "two", machine.url)
    refresh(other.pipeline.working_copy)
    layout = machine.pipeline.layout
    day = layout.files(RISK_METRICS)[0]
    mine = other.pipeline.layout.files(RISK_METRICS)[0]
    maintained(machine.pipeline, day.unlink)
    assert not in_share(share, machine, day).exists()
    refresh(machine.pipeline.working_copy)
    other.night("1", SHARD)
    assert not day.exists()
    assert mine.exists()
    assert not in_share(share, machine, day).exists()
