"""Files of a history that are not those which were published: an older copy, another's, damaged."""

import datetime as dt
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.model.outcomes import OutcomeKind
from etf_pipeline.model.schemas import HISTORY, QUARANTINE, RAW
from etf_pipeline.settings import Settings
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.store.batches import list_batch_ids, open_batch
from etf_pipeline.store.origins import incomplete
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline.store.store import Store
from etf_pipeline.store.stored_series import read_facts
from etf_pipeline.store.unfit import unfit_files
from etf_pipeline_tests.stored_support import damage_footer, turn_a_bit
from etf_pipeline_tests.support import asx_days, bars, instrument, walk

NOW = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)
N = 120
DAYS = asx_days("2025-02-03", N)
FUNDS = [instrument("VAS"), instrument("VGS")]


class World:
    """Two funds, whose prices come from files, and a store of them."""

    def __init__(self, folder):
        self.folder = folder
        self.store = Store.at(folder / "store", 5.0)
        self.rows = {f.ticker: bars(DAYS, walk(N, seed=i)) for i, f in enumerate(FUNDS)}
        self.count = 0

    @property
    def layout(self):
        return self.store.layout

    def collect(self, full=False):
        """A download of all there is."""
        for ticker, rows in self.rows.items():
            rows.rename_axis("Date").to_csv(self.folder / f"{ticker}.csv")
        run = self._next()
        source = FilesSource(self.folder, lambda: run.recorded_at)
        terms = Terms.of(Settings(), full)
        download(self.store, run, source, FUNDS, terms, clock=lambda: run.recorded_at)

    def update(self):
        """Histories brought up to date; what came of each."""
        self.store = Store.at(self.folder / "store", 5.0)
        found = update_histories(self.store, self._next(), FUNDS).outcomes
        return {o.subject: o.outcome for o in found}

    def _next(self):
        self.count += 1
        return Run(f"run{self.count:05d}", NOW + dt.timedelta(minutes=self.count), "XASX")

    def files(self):
        """Content of every history and quarantine."""
        found = [self.layout.of(t, f.ticker) for t in (HISTORY, QUARANTINE) for f in FUNDS]
        return {path: path.read_bytes() for path in found}


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.collect()
    made.update()
    return made


@pytest.mark.parametrize("table", [HISTORY, QUARANTINE])
def test_a_footer_that_is_damaged_is_rebuilt_and_holds_nobody_up(world, table):
    before = world.files()
    damage_footer(world.layout.of(table, "VAS"))
    with pytest.raises(CorruptFileError, match=r"VAS\.parquet is not readable Parquet"):
        file_info(world.layout.of(table, "VAS"))
    assert world.update()["VGS"] is OutcomeKind.UNCHANGED
    assert world.files() == before
    assert read_facts(world.layout, "VAS", world.store.cache).rows == N


def test_a_batch_whose_footer_is_damaged_is_named(world):
    (batch_id,) = list_batch_ids(world.layout, "XASX")
    path = next(iter(world.layout.batches("XASX").glob("*.parquet")))
    whole = path.read_bytes()
    at = whole.rindex(b'"pieces"')
    path.write_bytes(whole[: at + 1] + b"q" + whole[at + 2 :])
    with pytest.raises(CorruptFileError, match=r"is damaged: restore it"):
        open_batch(world.layout, "XASX", batch_id)


@pytest.mark.parametrize("table", [HISTORY, QUARANTINE])
def test_what_doctor_says_of_a_file_that_is_damaged_inside_helps(world, table, tmp_path):
    world.rows["VAS"].loc[DAYS[20], "open"] = 0.0  # a finding, so that quarantine has rows
    world.collect(full=True)
    world.update()
    right, path = world.files(), world.layout.of(table, "VAS")
    turn_a_bit(path, "close")
    (found,) = unfit_files(world.layout, [HISTORY, QUARANTINE], through=True)
    assert (found.path, found.remedy.partition(",")[0]) == (path, "move it away and run `etf run`")
    path.rename(tmp_path / "away")
    world.update()
    assert world.files() == right


def test_what_doctor_says_of_a_batch_that_is_damaged_inside_helps(world, tmp_path):
    right, (path,) = world.files(), world.layout.batch_files("XASX")
    turn_a_bit(path, "close")
    (found,) = unfit_files(world.layout, [RAW], through=True)
    assert "move it away and run `etf run --full`" in found.remedy
    path.rename(tmp_path / "away")
    world.collect(full=True)
    world.update()
    assert unfit_files(world.layout, through=True) == []
    assert list(incomplete(world.layout)) == []
    for one in world.layout.files(HISTORY):
        assert read_table(one).equals(pq.read_table(pa.BufferReader(right[one])))
        one.unlink()  # it can be made again from the batches that there are
    world.update()
    assert unfit_files(world.layout, [HISTORY], through=True) == []


def test_an_older_copy_of_a_history_is_brought_up_to_date_from_raw_batches(world, tmp_path):
    for folder in ("historical", "quarantine"):
        shutil.copytree(world.layout.root / folder, tmp_path / "copy" / folder)
    world.rows["VAS"].loc[DAYS[20], "close"] *= 1.01  # long before any trailing window
    world.rows["VAS"].loc[DAYS[20], "high"] *= 1.01
    world.collect()
    world.update()
    right = world.files()
    for folder in ("historical", "quarantine"):
        shutil.rmtree(world.layout.root / folder)
        shutil.copytree(tmp_path / "copy" / folder, world.layout.root / folder)
    assert world.update() == {"VAS": OutcomeKind.UPDATED, "VGS": OutcomeKind.UNCHANGED}
    assert world.files() == right


def test_the_files_of_another_ticker_are_not_taken_for_its_own(world):
    right = world.files()
    for table in (HISTORY, QUARANTINE):
        shutil.copy(world.layout.of(table, "VGS"), world.layout.of(table, "VAS"))
    world.update()
    assert world.files() == right


def test_what_was_published_is_looked_for_in_a_store_that_says_nothing_of_it(world):
    world.layout.published("XASX").unlink()  # as in a store of an earlier release
    right = world.files()
    assert set(world.update().values()) == {OutcomeKind.UNCHANGED}
    shutil.copy(world.layout.of(HISTORY, "VGS"), world.layout.of(HISTORY, "VAS"))
    shutil.copy(world.layout.of(QUARANTINE, "VGS"), world.layout.of(QUARANTINE, "VAS"))
    world.update()
    assert world.files() == right
    assert np.isfinite(read_facts(world.layout, "VAS", world.store.cache).rows)
