"""The download and the histories as steps: codes, sources, places, and what is left alone."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import ReasonCode, SettingsError
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources import open_source
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.ingest.sources.simulated import SimulatedSource
from etf_pipeline.model.corrections import VOID_REMEDY, Correction
from etf_pipeline.model.schemas import HISTORY, MANIFEST, QUARANTINE, RAW
from etf_pipeline.settings import Settings
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.history_checks import examine
from etf_pipeline.steps.result import Published, Run, StepResult
from etf_pipeline.store.hashing import content_hash, file_hash
from etf_pipeline.store.manifests import read_manifest
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline.store.store import Store
from etf_pipeline.store.writer import publish
from etf_pipeline_tests.support import World, asx_days, bars, instrument, leftover, walk, yahoo_rows

ROWS = bars(asx_days("2024-09-02", 300), walk(300))
VAS, VGS = instrument("VAS"), instrument("VGS")


@pytest.mark.parametrize(
    ("kind", "arg", "outcome", "code"),
    [
        ("429", None, "failed", ReasonCode.RATE_LIMITED),
        ("500", None, "failed", ReasonCode.SOURCE_UNREACHABLE),
        ("truncated", None, "failed", ReasonCode.SOURCE_UNREACHABLE),
        ("not_found", None, "failed", ReasonCode.SYMBOL_MISSING),
        ("wrong_symbol", "IVV.AX", "rejected", ReasonCode.OTHER_SYMBOL),
        ("currency", "USD", "rejected", ReasonCode.OTHER_CURRENCY),
        ("monthly", None, "rejected", ReasonCode.OTHER_SPACING),
        ("monthly", "lies", "rejected", ReasonCode.OTHER_SPACING),
    ],
)
def test_a_fault_has_a_code(world: World, kind, arg, outcome, code):
    world.serve("VAS", ROWS)
    world.yahoo.fault("VAS.AX", kind, arg=arg)
    found = world.download(VAS)["VAS"]
    assert (found.outcome, found.reason_code) == (outcome, code)
    after = world.update(VAS)["VAS"]
    assert (after.outcome, after.failure_kind) == ("failed", "transient")
    assert after.reason_code is ReasonCode.NOTHING_DOWNLOADED


def test_the_code_of_what_is_gone_of_a_deadline_and_of_a_fund_that_ended(world: World):
    world.serve("VAS", ROWS)
    world.serve("VGS", ROWS)
    ended = instrument("VGS", last_session=ROWS.index[-1].date())
    world.run(VAS, VGS)
    world.yahoo.fault("VAS.AX", "not_found")
    codes = []
    for _ in range(3):
        world.now += dt.timedelta(days=1)
        found = world.run(VAS, VGS)
        codes.append(found["VAS"].reason_code)
    assert codes == [ReasonCode.SYMBOL_MISSING, ReasonCode.SYMBOL_MISSING, ReasonCode.SYMBOL_GONE]
    assert world.run(ended)["VGS"].reason_code is ReasonCode.NO_LONGER_TRADES
    world.settings = world.configured(
        run_deadline_seconds=0.2, yahoo_backoff_seconds=5.0, yahoo_backoff_max_seconds=5.0
    )
    world.yahoo.faults.clear()
    world.yahoo.fault("VAS.AX", "429")
    assert world.run(VAS)["VAS"].reason_code is ReasonCode.RUN_DEADLINE


def test_the_code_of_what_is_refused_or_remarked_on(world: World):
    world.serve("VAS", ROWS)
    world.serve("VGS", ROWS.assign(open=0.0))  # every row is held back
    world.run(VAS, VGS)
    assert world.update(VGS)["VGS"].reason_code is ReasonCode.NO_USABLE_ROW
    short = ROWS[200:].copy()
    short[["open", "high", "low", "close"]] /= 4
    world.serve("VAS", short)
    assert world.download(VAS)["VAS"].reason_code is ReasonCode.LEVEL_SHORTENED
    restated = ROWS.copy()
    restated[["open", "high", "low", "close"]] /= 4
    world.serve("VAS", restated)
    assert world.download(VAS)["VAS"].reason_code is ReasonCode.RESTATED
    assert world.update(VAS)["VAS"].reason_code is ReasonCode.RESTATED
    world.layout.of(HISTORY, "VAS").write_bytes(b"x")
    found = world.update(VAS)["VAS"]
    assert found.reason_code is ReasonCode.REBUILT
    assert found.reason.startswith("rebuilt from raw batches: the file was damaged; restated:")


def test_the_code_of_an_adjustment_that_is_not_the_sources(world: World, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    earlier = np.arange(len(ROWS)) < len(ROWS) // 2
    theirs = ROWS["close"] * np.where(earlier, 0.995, 1.0)
    rows = yahoo_rows(ROWS).assign(**{"Adj Close": theirs})
    rows.loc[rows.index[-3], "Dividends"] = 1e-4  # so that nothing is implied by the ratio
    rows.to_parquet(folder / "VAS.parquet")
    run = Run("one", world.now, "XASX")
    terms, clock = Terms(), lambda: world.now
    download(world.store, run, FilesSource(folder), [VAS, VGS], terms, clock=clock)
    vas, vgs = update_histories(world.store, run, [VAS, VGS]).outcomes
    assert vas.reason_code is ReasonCode.ADJUSTMENT_DIFFERS
    assert vgs.reason_code is ReasonCode.NOTHING_DOWNLOADED
    (folder / "VGS.csv").write_text("Date,Price\n2024-01-02,1\n")
    found = download(world.store, run, FilesSource(folder), [VGS], terms, clock=clock)
    assert found.outcomes[0].reason_code is ReasonCode.UNREADABLE_ANSWER


def test_a_file_of_a_user_is_rejected_by_both_steps_and_not_judged(world: World):
    world.serve("VAS", ROWS)
    path = world.layout.of(HISTORY, "VAS")
    path.parent.mkdir(parents=True)
    pd.DataFrame({"Close": [1.0]}, index=pd.DatetimeIndex(["2024-01-02"], name="Date")).to_parquet(
        path
    )
    for step in (world.download, world.update):
        assert step(VAS)["VAS"].reason_code is ReasonCode.FOREIGN_FILE
    assert examine(world.store, [VAS], StepResult("price_history"), NOW.date()) == []


def test_a_run_of_simulated_prices_is_simulated_whatever_the_setting_says(world: World):
    """Rows that failed name whom this run asked; without a download, whose the files are."""
    world.serve("VAS", ROWS)
    world.run(VAS)
    clock = lambda: world.now  # noqa: E731
    source = SimulatedSource(clock)
    run = Run("sim", world.now, "XASX")
    download(world.store, run, source, [VAS], Terms(full=True), clock=clock)
    instruments = [VAS, instrument("NONE")]
    setting = "files:elsewhere"
    result = update_histories(world.store, run, instruments, source=setting)
    assert [(o.outcome, o.source) for o in result.outcomes] == [
        ("rejected", "simulated"),  # it would mix; the history is Yahoo's, the run's is not
        ("failed", setting),  # of which nothing says anything
    ]
    again = update_histories(world.store, Run("alone", world.now, "XASX"), [VAS], source=setting)
    assert [(o.outcome, o.source) for o in again.outcomes] == [("rejected", "yahoo")]
    world.layout.of(HISTORY, "VAS").unlink()
    world.layout.watermark("XASX").unlink()
    gone = update_histories(world.store, Run("gone", world.now, "XASX"), [VAS], source=setting)
    assert [(o.outcome, o.source) for o in gone.outcomes] == [("rejected", "simulated")]
    path = world.layout.of(MANIFEST, "price_history", "gone", "XASX")
    assert set(read_table(path).column("source").to_pylist()) == {"simulated"}


def test_a_manifest_says_where_and_why(world: World):
    world.serve("VAS", ROWS)
    world.yahoo.fault("VGS.AX", "currency", arg="USD")
    world.serve("VGS", ROWS)
    world.run(VAS, VGS)
    run = world.this_run.run_id
    vas, vgs = read_manifest(world.layout.of(MANIFEST, "raw_prices", run, "XASX"))
    batch = world.layout.root / vas.path
    assert batch == world.layout.of(RAW, "XASX", vas.batch_id)
    assert file_hash(batch) == vas.batch_hash
    assert (vgs.path, vgs.reason_code) == (None, ReasonCode.OTHER_CURRENCY)
    vas, vgs = read_manifest(world.layout.of(MANIFEST, "price_history", run, "XASX"))
    history = read_table(world.layout.root / vas.path)
    assert content_hash(history) == vas.content_hash
    assert (vgs.path, vgs.source) == (None, "yahoo")


def test_a_download_is_recorded_when_it_ends(world: World):
    """Not when it began: until then nobody could have known."""
    world.serve("VAS", ROWS)
    times = iter(world.now + dt.timedelta(minutes=m) for m in (0, 20))
    source = open_source("yahoo", world.settings)
    result = download(
        world.store, Run("slow", world.now, "XASX"), source, [VAS], Terms(), clock=times.__next__
    )
    recorded = read_table(result.manifest).column("recorded_at")[0].as_py()
    assert recorded == world.now + dt.timedelta(minutes=20)


def test_a_step_sweeps_what_it_writes_to_and_nothing_else(world: World):
    world.serve("VAS", ROWS)
    layout = world.layout
    raw = [leftover(layout.batches("XASX")), leftover(layout.manifests("raw_prices"))]
    histories = [
        leftover(layout.folder(HISTORY)),
        leftover(layout.folder(QUARANTINE)),
        leftover(layout.manifests("price_history")),
    ]
    other = [leftover(layout.batches("XNYS")), leftover(layout.root / "risk")]
    world.download(VAS)
    assert [p.exists() for p in raw + histories + other] == [False] * 2 + [True] * 5
    world.update(VAS)
    assert [p.exists() for p in histories + other] == [False] * 3 + [True] * 2


def test_what_a_run_published_is_not_validated_again_and_other_files_are(world: World):
    world.serve("VAS", ROWS)
    world.serve("VGS", ROWS.drop(ROWS.index[-5]))
    world.run(VAS, VGS)
    path = world.layout.of(HISTORY, "VAS")
    table = pq.read_table(path)
    reversed_rows = table.take(pa.array(range(len(table) - 1, -1, -1)))
    publish(path, HISTORY, reversed_rows)  # which no writer of ours would
    rows, digest = table.num_rows, content_hash(reversed_rows)
    for changed, error in ((False, "dates are not strictly ascending"), (True, None)):
        published = [Published(HISTORY, path, rows, digest, changed)]
        result = StepResult("price_history", published=published)
        vas, vgs = examine(world.store, [VAS, VGS], result, NOW.date())
        assert vas.error == error
        assert vgs.missing == (ROWS.index[-5].date(),)
        assert vgs.error is None


def test_examining_says_the_same_of_a_file_just_written_and_of_one_left_alone(world: World):
    world.serve("VAS", ROWS.drop(ROWS.index[[-40, -5]]))
    faulty = ROWS.copy()
    faulty.iloc[[10, 20], 0] = 0.0  # two zero opens
    world.serve("VGS", faulty)
    world.download(VAS, VGS)
    first = update_histories(world.store, world.this_run, [VAS, VGS])
    again = update_histories(world.store, world.this_run, [VAS, VGS])
    assert [p.changed for p in first.published] == [True, True]
    assert again.published == []
    seen = list(examine(world.store, [VAS, VGS], first, NOW.date()))
    left = list(examine(world.store, [VAS, VGS], again, NOW.date()))
    assert seen == left
    assert [s.traded.tolist() for s in seen] == [s.traded.tolist() for s in left]
    assert seen[0].missing == (ROWS.index[-5].date(),)  # the other is longer ago than 30 rows
    assert [f.held_back for f in seen] == [0, 2]


@pytest.mark.parametrize(
    ("name", "label"), [("yahoo", "yahoo"), ("simulated", "simulated"), ("files:.", "files")]
)
def test_a_setting_opens_the_source_that_it_names(name, label):
    assert open_source(name, Settings()).name == label


def test_a_setting_that_names_no_source_is_refused():
    with pytest.raises(SettingsError, match="'bloomberg': must be yahoo, files:DIR or simulated"):
        open_source("bloomberg", Settings())


def test_a_history_s_outcome_says_its_currency_and_so_does_the_manifest(world: World):
    world.serve("VAS", ROWS, currency="USD")
    american = instrument("VAS", currency="USD")
    world.download(american)
    for _ in range(2):  # collected, then unchanged
        result = update_histories(world.store, world.this_run, [american], source="yahoo")
        assert [(o.currency, o.fx) for o in result.outcomes] == [("USD", None)]
        told = read_manifest(result.manifest)
        assert [(o.currency, o.fx) for o in told] == [("USD", None)]


@pytest.mark.parametrize("full", [False, True])
def test_a_currency_corrected_in_the_universe_is_never_ignored(tmp_path, full):
    """Files that name none: the old label stays on the history, so it is refused by name."""
    folder = tmp_path / "files"
    folder.mkdir()
    yahoo_rows(ROWS).to_parquet(folder / "VAS.parquet")
    world = FilesWorld(tmp_path, folder)
    assert world.run(VAS).good
    before = world.history("VAS")
    corrected = instrument("VAS", currency="USD")
    for _ in range(2):  # not once only
        told = world.run(corrected, full)
        assert (told.outcome, told.reason_code) == ("rejected", ReasonCode.OTHER_CURRENCY)
        assert "its history is in AUD, and the universe says USD" in told.reason
    assert world.run(VAS, full).good  # put back
    assert world.history("VAS") == before
    # the remedy: another ticker, whose symbol is the same
    renamed = instrument("VASU", symbol="VAS.AX", currency="USD")
    (folder / "VAS.parquet").rename(folder / "VASU.parquet")
    assert world.run(renamed, full).good
    assert world.currency("VASU") == "USD"


class FilesWorld:
    """A store that is filled from a folder of files."""

    def __init__(self, root, folder):
        self.store = Store.at(root / "store", 10)
        self.folder = folder
        self.runs = 0

    def run(self, one, full=False):
        """The history step's outcome, after a download."""
        self.runs += 1
        run = Run(f"run-{self.runs}", NOW + dt.timedelta(hours=self.runs), "XASX")
        settings = Settings(data_dir=self.store.layout.root, source=f"files:{self.folder}")
        clock = lambda: run.recorded_at  # noqa: E731
        source = open_source(settings.source, settings, clock)
        download(self.store, run, source, [one], Terms.of(settings, full), clock=clock)
        (outcome,) = update_histories(self.store, run, [one], source="files").outcomes
        return outcome

    def history(self, ticker):
        return self.store.layout.of(HISTORY, ticker).read_bytes()

    def currency(self, ticker):
        return file_info(self.store.layout.of(HISTORY, ticker)).meta["currency"]


NOW = dt.datetime(2025, 11, 12, 12, tzinfo=dt.UTC)


def test_a_currency_that_was_corrected_in_the_universe_is_not_passed_over(world: World, tmp_path):
    """Files name no currency: what they are in is the universe's word, then and now."""
    folder = tmp_path / "files"
    folder.mkdir()
    path = folder / "VAS.csv"
    yahoo_rows(ROWS).to_csv(path)
    terms, source = Terms.of(world.settings, False), FilesSource(folder)

    def run(currency, *declared):
        world.runs += 1
        one, clock = [instrument("VAS", currency=currency)], lambda: world.now
        world.now += dt.timedelta(seconds=1)
        args, kept = (world.store, world.this_run), {"corrections": declared}
        down = download(*args, source, one, terms, clock=clock, **kept).outcomes[0]
        return down, update_histories(*args, one, **kept).outcomes[0]

    assert all(o.good for o in run("GBp"))
    before = world.bytes_on_disk("raw", "historical", "quarantine")
    for text in (None, ROWS.assign(close=ROWS["close"] * 1.0001)):
        if text is not None:
            yahoo_rows(text).to_csv(path)  # news as well
        for outcome in run("GBP"):
            assert outcome.outcome == "rejected"
            assert outcome.reason_code is ReasonCode.OTHER_CURRENCY
            assert "its history is in GBp, and the universe says GBP" in outcome.reason
            assert VOID_REMEDY in outcome.reason
        assert world.bytes_on_disk("raw", "historical", "quarantine") == before
    yahoo_rows(ROWS).to_csv(path)
    assert [o.outcome for o in run("GBp")] == ["unchanged", "unchanged"]  # nothing is lost by it
    # the remedy that is named
    day = world.now.date()
    void = Correction("VAS", day, "void", "", np.nan, "in pounds", "ann", before=world.now)
    assert all(o.good for o in run("GBP", void))
    assert file_info(world.layout.of(HISTORY, "VAS")).meta["currency"] == "GBP"
    assert all(o.good for o in run("GBP", void))


def day_of(i: int, hour: int = 12) -> dt.datetime:
    """An hour of the day of a session of `ROWS`."""
    return dt.datetime.combine(ROWS.index[i].date(), dt.time(hour), dt.UTC)


def test_a_clock_that_was_a_day_fast_and_is_put_right_loses_no_session(world: World):
    world.serve("VAS", ROWS[:-4])
    world.now = day_of(-5) + dt.timedelta(days=1)  # fast
    world.run(VAS)
    fast = world.layout.batch_files("XASX")[-1].stem
    for i in (-4, -3, -2):
        world.serve("VAS", ROWS[: i + 1])
        world.now = day_of(i) - (dt.timedelta(hours=4) if i == -4 else dt.timedelta(0))
        assert str(world.download(VAS)["VAS"].outcome) == "updated"
        assert str(world.update(VAS)["VAS"].outcome) == "updated"
        assert world.history().index[-1] == ROWS.index[i]
        assert str(world.download(VAS)["VAS"].outcome) == "unchanged"
    ids = [p.stem for p in world.layout.batch_files("XASX")]
    assert len(ids) == 4
    assert ids[0] == fast
    assert ids == sorted(ids)
    # Once the clock has passed what it said then, ids are what the clock says.
    assert ids[-1].startswith(f"{day_of(-2):%Y%m%dT%H%M%S}")
