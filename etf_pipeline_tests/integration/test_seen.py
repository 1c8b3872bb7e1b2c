"""What is known of histories without opening them holds for as long as nobody touches the files."""

import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.steps.history_checks import examine
from etf_pipeline.steps.result import StepResult
from etf_pipeline.store.seen import SeenFile
from etf_pipeline_tests.support import asx_days, bars, instrument, walk

VAS, VGS = instrument("VAS"), instrument("VGS")
ROWS = bars(asx_days("2024-09-02", 300), walk(300))


@pytest.fixture
def kept(world):
    """Two histories of a night, and the same question asked of a source with nothing new."""
    for ticker in ("VAS", "VGS"):
        world.serve(ticker, ROWS)
    world.run(VAS, VGS)
    return world


def known(world, ticker="VAS"):
    return SeenFile(world.layout, "XASX").of(ticker)


def flipped(path):
    """The file with one byte of its pages changed, as a disk may do; times and all else stay."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[200] ^= 0xFF
    with path.open("r+b") as handle:
        handle.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def as_if_untouched(world):
    """The stamps of the files as they are now, which no change of a file alone would leave."""
    path = world.layout.seen("XASX")
    table = pq.read_table(path, partitioning=None)
    rows = table.to_pylist()
    for row in rows:
        for name, of in (("history", HISTORY), ("quarantine", QUARANTINE)):
            status = world.layout.of(of, row["ticker"]).stat()
            row[name] = [
                status.st_ino,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
            ]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


@pytest.mark.parametrize("table", [HISTORY, QUARANTINE])
@pytest.mark.parametrize("how", ["rewritten", "touched", "put back", "gone"])
def test_whoever_touches_a_file_ends_what_is_known_of_it(kept, table, how):
    path = kept.layout.of(table, "VAS")
    assert known(kept) is not None
    status = path.stat()
    match how:
        case "rewritten":
            path.write_bytes(path.read_bytes())
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        case "touched":
            os.utime(path)
        case "put back":
            shutil.copy2(path, path.with_suffix(".copy"))
            path.with_suffix(".copy").replace(path)
        case "gone":
            path.unlink()
    assert known(kept) is None
    assert known(kept, "VGS") is not None


def test_what_was_touched_and_is_whole_is_known_again_after_one_look(kept):
    os.utime(kept.layout.of(HISTORY, "VAS"))
    found = examine(kept.store, [VAS, VGS], StepResult("price_history"), kept.now.date())
    assert [one.error for one in found] == [None, None]
    assert known(kept) is not None


def test_a_history_changed_on_disk_is_found_at_once_or_when_its_turn_comes(kept):
    path = kept.layout.of(HISTORY, "VAS")
    flipped(path)
    nothing = StepResult("price_history")

    def errors(day):
        return [one.error for one in examine(kept.store, [VAS, VGS], nothing, day)]

    today = kept.now.date()
    assert [error is None for error in errors(today)] == [False, True]
    as_if_untouched(kept)  # as a disk does it
    month = [errors(today.replace(day=d)) for d in range(1, 31)]
    assert sum(bad is not None for bad, _ in month) == 1
    assert all(good is None for _, good in month)


def test_other_rows_under_the_footer_of_a_history_are_an_error(kept):
    path = kept.layout.of(HISTORY, "VAS")
    table = pq.read_table(path, partitioning=None)
    closes = pa.array([c * 1.01 for c in table.column("close").to_pylist()])
    at = table.schema.get_field_index("close")
    pq.write_table(table.set_column(at, table.schema.field(at), closes), path)
    (bad, _) = examine(kept.store, [VAS, VGS], StepResult("price_history"), kept.now.date())
    assert f"{path}: its rows are not those that it was published with" in bad.error
    path.unlink()  # the remedy it names
    kept.update(VAS, VGS)
    (good, _) = examine(kept.store, [VAS, VGS], StepResult("price_history"), kept.now.date())
    assert good.error is None


@pytest.mark.parametrize("content", [b"", b"half", None])
def test_losing_it_costs_time_only(kept, content):
    path = kept.layout.seen("XASX")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert {str(o.outcome) for o in kept.run(VAS, VGS).values()} == {"unchanged"}
    examine(kept.store, [VAS, VGS], StepResult("price_history"), kept.now.date())
    assert known(kept) is not None


def test_a_night_with_nothing_new_opens_no_history(kept):
    """Their pages are gone from the disk, and nobody needs them."""
    paths = [kept.layout.of(HISTORY, t) for t in ("VAS", "VGS")]
    for path in paths:
        with path.open("r+b") as handle:
            handle.write(bytes(path.stat().st_size))
    as_if_untouched(kept)
    assert {str(o.outcome) for o in kept.run(VAS, VGS).values()} == {"unchanged"}
    result = StepResult("price_history")
    days = [kept.now.date().replace(day=d) for d in (1, 2, 3, 4)]
    found = [[o.error for o in examine(kept.store, [VAS, VGS], result, day)] for day in days]
    assert [None, None] in found
