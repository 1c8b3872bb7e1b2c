"""A file is proven by writing it again: a bit that is turned in its footer is found, too."""

import datetime as dt
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_through
from etf_pipeline.store.rewriting import is_rewritten_alike
from etf_pipeline_tests.derived_support import DerivedWorld
from etf_pipeline_tests.stored_support import publish_closes
from etf_pipeline_tests.support import asx_days, walk


def proven(path):
    raw = path.read_bytes()
    return is_rewritten_alike(pq.ParquetFile(io.BytesIO(raw)), raw)


def test_files_of_every_step_are_proven(tmp_path):
    world = DerivedWorld(tmp_path)
    world.save()
    for asset in ("risk_metrics", "correlations", "optimised_portfolios", "backtests"):
        world.run(asset)
    files = sorted(tmp_path.rglob("*.parquet"))
    assert {path.relative_to(tmp_path).parts[0] for path in files} >= {
        *("historical", "quarantine", "manifests", "portfolios", "risk")
    }
    for path in files:
        assert proven(path) is True, path
        read_through(path)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    root = tmp_path_factory.mktemp("history")
    days = asx_days("2020-01-02", 600)
    publish_closes(root, "VAS", days, walk(600), "AUD")
    return Layout(root).of(HISTORY, "VAS")


@given(st.data())
def test_any_bit_turned_in_a_footer_is_found(history, data):
    """But in the name of the library: it is no number, and says by whom a file can be proven."""
    raw = bytearray(history.read_bytes())
    length = int.from_bytes(raw[-8:-4], "little")
    name = pq.read_metadata(history).created_by.encode()
    first = raw.rindex(name)
    at = data.draw(st.integers(len(raw) - 8 - length, len(raw) - 9))
    if first - 3 <= at < first + len(name):
        return
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    turned = history.parents[1] / history.name
    turned.write_bytes(raw)
    with pytest.raises(CorruptFileError, match=r"VAS\.parquet"):
        read_through(turned)


def test_nobody_can_tell_of_many_pages_and_of_other_writers(tmp_path, history):
    """Chunks of rows decide where pages begin: two files of equal rows may then differ."""
    path = tmp_path / "large.parquet"
    pq.write_table(pa.table({"a": np.arange(200_000)}), path)
    assert proven(path) is None
    old = tmp_path / history.name
    raw = history.read_bytes()
    name = pq.read_metadata(history).created_by.encode()
    old.write_bytes(raw.replace(name, name[:-1] + b"!"))
    assert proven(old) is None
    read_through(old)


def test_rows_that_are_another_files_are_not_proven_by_its_footer(tmp_path):
    """Equal but for a number: each proves itself, and neither the other."""
    files = []
    for seed in (1, 2):
        days = asx_days("2020-01-02", 50)
        publish_closes(tmp_path / str(seed), "VAS", days, walk(50, seed), "AUD")
        files.append(Layout(tmp_path / str(seed)).of(HISTORY, "VAS"))
    first, second = files
    assert proven(first) is proven(second) is True
    assert not is_rewritten_alike(pq.ParquetFile(first), second.read_bytes())
    assert Layout(tmp_path / "1").of(QUARANTINE, "VAS").exists()
    assert dt.date(2020, 1, 2) in pq.read_table(first).column("date").to_pylist()
