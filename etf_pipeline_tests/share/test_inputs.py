"""Files that one machine has for itself: who makes other tables from them is told of by name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.store.reader import read_history
from etf_pipeline_tests.share.machines import SHARDS, Machine, later


@pytest.fixture
def machines(url, tmp_path):
    """Two on one share; the first has made a night and its tables."""
    found = [Machine(tmp_path / name, url) for name in ("first", "second")]
    for shard in SHARDS:
        found[0].night("0", shard)
    found[0].derive("0")
    return found


def test_what_is_equal_is_not_spoken_of(machines, caplog):
    for one in machines:
        one.derive("1")
    assert "not the same" not in caplog.text


def test_prices_of_a_machine_alone_are_told_of_by_both(machines, caplog):
    first, second = machines
    second.derive("1")
    path = second.pipeline.layout.of(HISTORY, "T1")
    rows = read_history(path).tail(700)
    path.unlink()
    pq.write_table(pa.table({"Date": rows.index, "Close": rows["close"].to_numpy()}), path)
    for one, n in ((second, "2"), (first, "3")):
        caplog.clear()
        one.derive(n)
        said = [r.getMessage() for r in caplog.records if "not the same" in r.getMessage()]
        assert said
        for text in said:
            assert "historical/T1.parquet" in text
            assert str(first.root) in text
            assert str(second.root) in text


def test_a_file_that_people_edit_is_compared_for_a_week(machines, caplog):
    first, second = machines
    file = second.pipeline.settings.portfolios_file
    file.write_text(file.read_text() + "# a note\n")
    second.derive("1")
    assert f"{file} (portfolios) is not the same" in caplog.text
    caplog.clear()
    first.now = later(8)  # the second has made nothing for so long
    first.derive("2")
    assert "not the same" not in caplog.text


def test_two_stores_of_one_host_are_two_machines(url, tmp_path, caplog, monkeypatch):
    """Each is begun in a folder of its own, where both stores have one name."""
    for n, place in enumerate(("here", "there")):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        one = Machine(Path("data"), url)
        file = one.pipeline.settings.portfolios_file
        file.write_text(file.read_text() + f"# {place}\n")
        for shard in SHARDS:
            one.night(f"{n}", shard)
        one.derive(f"{n}")
    said = [r.getMessage() for r in caplog.records if "not the same" in r.getMessage()]
    assert said
    for text in said:
        assert str(tmp_path / "here") in text
        assert str(tmp_path / "there") in text
