"""Several machines on one share end with what one machine would have made, to the last byte."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from etf_pipeline.errors import ShareAwayError, ShareError
from etf_pipeline.model.schemas import HISTORY, MANIFEST, RAW
from etf_pipeline.orchestration.sharing import updated
from etf_pipeline.share import opening
from etf_pipeline.share.work import refresh
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.store.manifests import read_manifest
from etf_pipeline.store.reader import file_info
from etf_pipeline.store.watermark import Watermark
from etf_pipeline_tests.share.machines import SHARDS, Machine, from_scratch, later


@pytest.fixture
def impatient(monkeypatch):
    """A share that is away is given up on soon."""
    monkeypatch.setattr(opening, "STEP_PATIENCE", 1.0)


def one_machine(folder, nights):
    """What one machine without a share makes."""
    alone = Machine(folder)
    for n in range(nights):
        alone.now = later(n)
        for shard in SHARDS:
            alone.night(f"{n}-{shard}", shard)
        alone.derive(f"{n}-tables")
    return alone


def bring_up_to_date(machine):
    told = refresh(machine.pipeline.working_copy, raw=True)
    assert told.away is None
    return machine.files()


def test_machines_in_turn_are_one_machine(url, tmp_path):
    """Shards change machines from night to night, and so does who makes the tables."""
    machines = [Machine(tmp_path / name, url) for name in ("first", "second")]
    for n in range(3):
        for m in machines:
            m.now = later(n)
        for k, shard in enumerate(SHARDS):
            machines[(n + k) % 2].night(f"{n}-{shard}", shard)
        machines[n % 2].derive(f"{n}-tables")
    expected = one_machine(tmp_path / "alone", 3).files()
    assert len(expected) == 8 * 2 + 3 * 2
    for m in machines:
        assert bring_up_to_date(m) == expected


def test_machines_at_once_are_one_machine(bucket, tmp_path):
    machines = [Machine(tmp_path / name, bucket) for name in ("first", "second")]
    with ThreadPoolExecutor(2) as pool:
        for n in range(2):
            for m in machines:
                m.now = later(n)
            jobs = zip(machines, SHARDS, strict=True)
            list(pool.map(lambda job, n=n: job[0].night(f"{n}-{job[1]}", job[1]), jobs))
            list(pool.map(lambda m, n=n: m.derive(f"{n}-tables"), machines))
    expected = one_machine(tmp_path / "alone", 2).files()
    for m in machines:
        assert bring_up_to_date(m) == expected


def test_two_on_one_shard_at_once_lose_nothing(url, tmp_path):
    """Both download and update the same shard, night after night, in no order."""
    machines = [Machine(tmp_path / name, url) for name in ("first", "second")]
    with ThreadPoolExecutor(2) as pool:
        for n in range(3):
            for m in machines:
                m.now = later(n)
            list(pool.map(lambda m, n=n: m.night(f"{n}-{m.folder.name}", SHARDS[0]), machines))
    machines[0].night("last", SHARDS[1])
    machines[0].night("last", SHARDS[0])
    machines[0].derive("last")
    expected = from_scratch(tmp_path / "alone", machines[0])
    for m in machines:
        assert bring_up_to_date(m) == expected


def test_what_another_machine_published_first_is_pulled_and_built_upon(url, tmp_path):
    """The other publishes a later night in the middle of a step, after this one has pulled."""
    slow, quick = Machine(tmp_path / "slow", url), Machine(tmp_path / "quick", url)
    shard, line = SHARDS[0], slow.pipeline
    slow.night("first", shard)
    slow.now, quick.now = later(1), later(2)
    slow.download("slow", shard)
    run, tries = slow.run("slow", shard), []

    def step(some):
        result = update_histories(line.store, run, some, source="simulated")
        if not tries:
            quick.night("quick", shard)
        tries.append(sorted(i.ticker for i in some))
        return result

    chosen = line.universe.in_partition(shard)
    everyone = sorted(i.ticker for i in chosen)
    result = updated(line, run, chosen, step)
    assert tries == [everyone, everyone]
    slow.derive("slow")
    assert slow.files() == from_scratch(tmp_path / "alone", slow)
    assert bring_up_to_date(quick) == slow.files()
    # What is told is what is in the share: of each ticker once, with the hash of its history.
    told = read_manifest(line.layout.of(MANIFEST, "price_history", "slow", shard))
    assert [o.subject for o in told] == everyone
    hashes = {t: file_info(line.layout.of(HISTORY, t)).content_hash for t in everyone}
    assert {o.subject: o.content_hash for o in told} == hashes
    assert {o.subject: o.content_hash for o in result.outcomes} == hashes


def test_only_what_was_lost_is_made_again(folder, tmp_path):
    """The other machine does one ticker of the shard; the manifest tells of all."""
    slow, quick = Machine(tmp_path / "slow", folder), Machine(tmp_path / "quick", folder)
    shard, line = SHARDS[0], slow.pipeline
    slow.night("first", shard)
    slow.now, quick.now = later(1), later(2)
    slow.download("slow", shard)
    run, tries = slow.run("slow", shard), []
    chosen = line.universe.in_partition(shard)
    one = chosen[1].ticker

    def step(some):
        result = update_histories(line.store, run, some, source="simulated")
        if not tries:
            quick.download("quick", shard, one)
            quick.update("quick", shard, one)
        tries.append([i.ticker for i in some])
        return result

    result = updated(line, run, chosen, step)
    assert tries == [[i.ticker for i in chosen], [one]]
    told = read_manifest(line.layout.of(MANIFEST, "price_history", "slow", shard))
    assert told == sorted(result.outcomes, key=lambda o: o.subject)
    outcomes = {o.subject: o.outcome for o in told}
    assert {t for t, o in outcomes.items() if o == "updated"} == outcomes.keys() - {one}
    slow.derive("slow")
    assert slow.files() == from_scratch(tmp_path / "alone", slow)


def test_a_copy_that_missed_nights_catches_up(bucket, tmp_path):
    worker, stale = Machine(tmp_path / "worker", bucket), Machine(tmp_path / "stale", bucket)
    stale.night("0", SHARDS[0])
    for n in range(1, 4):
        worker.now = later(n)
        worker.night(f"{n}", SHARDS[0])
    stale.now = later(4)
    stale.night("4", SHARDS[0])
    expected = from_scratch(tmp_path / "alone", stale)
    stale.derive("4")
    assert bring_up_to_date(stale) == expected
    assert bring_up_to_date(worker) == expected


@pytest.mark.parametrize("puts", [0, 4, 9])
def test_a_share_that_goes_away_in_the_middle_and_comes_back(
    bucket, gate, tmp_path, impatient, puts
):
    """After so many objects of a night; the next run publishes what this one made."""
    machine = Machine(tmp_path / "one", bucket)
    machine.night("0", SHARDS[0])
    machine.now = later(1)
    gate.puts = puts

    def night():
        machine.night("1", SHARDS[0])
        machine.derive("1")

    with pytest.raises(ShareAwayError, match="does not answer") as caught:
        night()
    assert caught.value.code.transient
    gate.shut()
    gate.open()
    machine.night("2", SHARDS[0])
    machine.derive("2")
    other = Machine(tmp_path / "two", bucket, now=later(1))
    expected = from_scratch(tmp_path / "alone", machine)
    assert machine.files() == expected
    assert bring_up_to_date(other) == expected


@pytest.mark.parametrize("puts", [4])
def test_what_a_killed_publisher_left_is_published_by_the_next_run(bucket, gate, tmp_path, puts):
    """Killed with -9 while some objects of its night are in the share, and some are not."""
    machine = Machine(tmp_path / "one", bucket)
    machine.night("0", SHARDS[0])
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from etf_pipeline_tests.share.machines import Machine, later\n"
        "Machine(Path(sys.argv[1]), sys.argv[2], now=later(1)).night('1', sys.argv[3])\n"
    )
    gate.puts = puts
    child = subprocess.Popen([sys.executable, "-c", program, machine.folder, bucket, SHARDS[0]])
    assert gate.shut_by_itself.wait(60)
    child.kill()
    assert child.wait(20) == -9
    gate.open()
    machine.now = later(1)
    machine.night("2", SHARDS[0])
    machine.derive("2")
    expected = from_scratch(tmp_path / "alone", machine)
    assert machine.files() == expected
    assert bring_up_to_date(Machine(tmp_path / "two", bucket)) == expected
    # What the killed run collected is told, by itself or by the run after it.
    layout = machine.pipeline.layout
    batches = {p.stem for p in layout.files(RAW)}
    told = {o.batch_id for p in layout.manifest_files("raw_prices") for o in read_manifest(p)}
    assert batches == told - {None}


def test_a_batch_that_appears_after_a_larger_one_is_not_passed_over(folder, tmp_path):
    """Its machine was slow, or its clock was late: the marks had gone past its id."""
    quick, late = Machine(tmp_path / "quick", folder), Machine(tmp_path / "late", folder)
    shard = SHARDS[0]
    quick.night("0", shard)
    # Downloads without the share what the other has not seen, an hour before it.
    late.now = later(1).replace(hour=11)
    alone = Machine(late.folder, now=late.now)
    alone.download("late", shard)
    batch = alone.pipeline.layout.batch_files(shard)[-1]
    held = batch.read_bytes()
    batch.unlink()
    quick.now = later(2)
    quick.night("1", shard)
    last = Watermark.load(quick.pipeline.layout.watermark(shard)).last
    assert len(last) == 4
    assert batch.stem < min(last.values())
    copy = quick.pipeline.working_copy
    copy.place.create(
        quick.pipeline.layout.relative(quick.root / batch.relative_to(late.root)), held
    )
    quick.update("2", shard)
    quick.derive("2")
    assert quick.files() == from_scratch(tmp_path / "alone", quick)
    named = Watermark.load(quick.pipeline.layout.watermark(shard)).seen
    assert batch.stem in named


def test_a_bucket_that_is_not_there_is_named(s3, tmp_path):
    machine = Machine(tmp_path / "one", "s3://no-such-bucket/x")
    with pytest.raises(ShareError, match="no bucket at s3://no-such-bucket/x"):
        machine.night("0", SHARDS[0])
