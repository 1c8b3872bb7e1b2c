import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import LockTimeoutError, ReasonCode, StoreError
from etf_pipeline.model.schemas import FRONTIER
from etf_pipeline.store import writer
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.writer import atomic_file, locked, publish, sweep_temp_files
from etf_pipeline_tests.support import disk_in_memory


def table(points=3, name="a"):
    rows = [
        {
            "portfolio": name,
            "point": i,
            "expected_return": i / 10,
            "volatility": i / 5,
            "sharpe_ratio": None,
            "source": "simulated",
        }
        for i in range(points)
    ]
    return pa.Table.from_pylist(rows, schema=FRONTIER.arrow)


def listing(folder):
    return sorted(p.name for p in folder.iterdir())


def test_publish_and_read_back(tmp_path):
    path = tmp_path / "deep" / "x.parquet"
    assert publish(path, FRONTIER, table(), {"source": "simulated"})
    assert pq.read_table(path).equals(table())
    meta = json.loads(pq.read_metadata(path).metadata[writer.META_KEY])
    assert meta["source"] == "simulated"
    assert meta["schema_version"] == "1"
    assert meta["content_hash"] == content_hash(table())
    assert listing(path.parent) == ["x.parquet"]


def test_unchanged_content_is_not_rewritten(tmp_path):
    path = tmp_path / "x.parquet"
    publish(path, FRONTIER, table())
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not publish(path, FRONTIER, table())
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert publish(path, FRONTIER, table(4))


def test_a_refused_table_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.parquet"
    publish(path, FRONTIER, table())
    old = path.read_bytes()

    def refuse(_):
        raise ValueError("not today")

    with pytest.raises(ValueError, match="not today"):
        publish(path, FRONTIER, table(5), validate=refuse)
    with pytest.raises(StoreError, match="frontier"):
        publish(path, FRONTIER, table().drop_columns(["source"]))
    nulls = table().set_column(2, "expected_return", pa.nulls(3, pa.float64()))
    with pytest.raises((ValueError, StoreError)):
        publish(path, FRONTIER, nulls)
    assert path.read_bytes() == old
    assert listing(tmp_path) == ["x.parquet"]


def test_an_error_in_the_middle_leaves_the_old_file_and_no_temp(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")

    def fail_half_way():
        with atomic_file(path) as handle:
            handle.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == ["x.bin"]


def test_temp_files_are_never_matched_by_the_readers_pattern(tmp_path):
    with atomic_file(tmp_path / "x.parquet") as handle:
        handle.write(b"1")
        assert len(list(tmp_path.iterdir())) == 1
        assert list(tmp_path.glob("*.parquet")) == []


def test_only_the_folders_asked_for_are_swept(tmp_path):
    """A step sweeps what it writes to; sweeping everything takes as long as the store is large."""
    one, two, three = (tmp_path / n for n in ("one", "two", "three"))
    for folder in (one, two, three):
        left = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder)], capture_output=True, check=False
        )
        assert left.returncode == -9, left.stderr
    assert sweep_temp_files(one, two, tmp_path / "absent") == 2
    assert list(tmp_path.rglob("*.tmp")) == list(three.glob(".*"))


def test_temp_files_of_a_dead_process_are_swept_and_live_ones_are_not(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)], capture_output=True, check=False
    )
    assert child.returncode == -9, child.stderr
    assert len(list(tmp_path.rglob("*.tmp"))) == 1
    with atomic_file(tmp_path / "mine.parquet") as handle:
        handle.write(b"1")
        assert sweep_temp_files(tmp_path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["mine.parquet"]


CHILD = """
import os, sys, pathlib, signal
from etf_pipeline.store.writer import atomic_file
with atomic_file(pathlib.Path(sys.argv[1]) / "theirs.parquet") as handle:
    handle.write(b"half")
    handle.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def tiny_disk(tmp_path):
    """A one-megabyte disk."""
    with disk_in_memory(tmp_path / "tiny", "size=1m") as folder:
        yield folder


def test_a_full_disk_is_told_plainly_and_the_old_file_survives(tiny_disk):
    path = tiny_disk / "x.parquet"
    publish(path, FRONTIER, table())
    old = path.read_bytes()
    (tiny_disk / "ballast").write_bytes(os.urandom(1_000_000))
    big = pa.concat_tables([table(5, os.urandom(40).hex()) for _ in range(4000)])
    with pytest.raises(
        StoreError, match=r"disk full while writing .*x\.parquet .*free some space"
    ) as told:
        publish(path, FRONTIER, big)
    assert told.value.code is ReasonCode.DISK_FULL
    assert path.read_bytes() == old
    assert list(tiny_disk.glob(".*")) == []


def test_a_read_only_folder_is_told_plainly(tiny_disk):
    path = tiny_disk / "x.parquet"
    publish(path, FRONTIER, table())
    old = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(StoreError, match=r"cannot write .*writable or set ETF_DATA_DIR"):
        publish(path, FRONTIER, table(9))
    with (
        pytest.raises(StoreError, match="ETF_DATA_DIR"),
        locked(tiny_disk / ".locks" / "VAS.lock", 0.1),
    ):
        pass
    assert path.read_bytes() == old


def test_what_is_in_the_way_is_named_and_can_be_moved(tmp_path):
    """A folder where the file is to be, a file where its folder is to be, and above that."""
    folder = tmp_path / "folder.parquet"
    (folder / "inside").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"")
    beneath, further = tmp_path / "file/a.parquet", tmp_path / "file/b/a.parquet"
    told = {folder: "it is a folder"}
    told |= dict.fromkeys((beneath, further), f"{tmp_path / 'file'} is not a folder")
    for path, why in told.items():
        with pytest.raises(StoreError) as error, atomic_file(path):
            pass
        assert str(error.value) == f"cannot write {path}: {why}; move it away and run again"
    folder.rename(tmp_path / "away")
    (tmp_path / "file").unlink()
    for path in told:
        with atomic_file(path) as handle:
            handle.write(b"x")
        assert path.read_bytes() == b"x"


def test_a_held_lock_is_waited_for_and_then_named(tmp_path):
    path = tmp_path / "locks" / "VAS.lock"
    held, release = threading.Event(), threading.Event()

    def hold():
        with locked(path, 1):
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    with (
        pytest.raises(LockTimeoutError, match=r"VAS.*ETF_LOCK_TIMEOUT_SECONDS"),
        locked(path, 0.05),
    ):
        pass
    release.set()
    thread.join()
    with locked(path, 1):
        pass


def test_hash_depends_on_values_only(tmp_path):
    one = table(100)
    two = pa.concat_tables([one.slice(0, 37), one.slice(37)])
    assert content_hash(one) == content_hash(two)
    path = tmp_path / "x.parquet"
    pq.write_table(one, path, compression="snappy")
    assert content_hash(pq.read_table(path)) == content_hash(one)
    assert content_hash(one) != content_hash(table(101))
    nan = one.set_column(4, "sharpe_ratio", pa.array([0.0] * 100))
    assert content_hash(nan) != content_hash(one)


def test_store_code_opens_files_for_writing_only_in_the_writer():
    """Every publication goes through one place."""
    package = Path(writer.__file__).parents[1]
    offenders = [
        str(p.relative_to(package))
        for p in package.rglob("*.py")
        if p.name not in ("writer.py",)
        and any(
            w in p.read_text()
            for w in ('.open("w', ".write_text(", ".write_bytes(", "to_parquet(", "pq.write_table(")
        )
    ]
    assert offenders == []
