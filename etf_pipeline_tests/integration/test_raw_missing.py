"""Raw batches partly gone: a rebuild is refused, nothing is lost in silence, the remedies work."""

import datetime as dt
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.errors import RawMissingError, ReasonCode
from etf_pipeline.library.doctor import examine
from etf_pipeline.library.status import store_status
from etf_pipeline.model.corrections import load_corrections
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import OutcomeKind
from etf_pipeline.model.rows import to_frame
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.store.batches import list_batch_ids
from etf_pipeline.store.corrections import keep_corrections
from etf_pipeline.store.histories import history_as_of
from etf_pipeline.store.reader import file_info
from etf_pipeline.store.writer import META_KEY
from etf_pipeline_tests.support import World, asx_days, bars, instrument, walk

VAS, VGS = instrument("VAS"), instrument("VGS")
DAYS = asx_days("2024-01-02", 330)
CLOSES = walk(330)
ENDS = (300, 310, 320)  # sessions that each download ends with
HEADER = "ticker,date,field,value,reason,author\n"


def day(i):
    return DAYS[i].astype("datetime64[D]").astype(dt.date)


def night(i):
    return dt.datetime.combine(day(i), dt.time(12), dt.UTC)


def grow(world, end, *instruments, full=False):
    """The run of the night of a session: download and update; the update's outcomes."""
    world.now = night(end - 1)
    for one in instruments:
        world.serve(one.ticker, bars(DAYS[:end], CLOSES[:end]))
    world.download(*instruments, full=full)
    return world.update(*instruments)


@pytest.fixture
def grown(world: World):
    """A whole history and two trailing windows of VAS, each a batch."""
    for end in ENDS:
        grow(world, end, VAS)
    world.batches = list_batch_ids(world.layout, "XASX")
    assert len(world.batches) == 3
    return world


def batch(world, number):
    return world.layout.batches("XASX") / f"{world.batches[number]}.parquet"


def declare(world, text="", *instruments):
    """A run with nothing new but what is declared."""
    path = world.root / "corrections.csv"
    path.write_text(HEADER + text)
    world.runs += 1
    declared = load_corrections(path, Universe((VAS, VGS)))
    kept = keep_corrections(world.store, declared, world.now)
    chosen = instruments or (VAS,)
    return update_histories(world.store, world.this_run, chosen, corrections=kept).outcomes[0]


CORRECT = f"VAS,{day(315)},volume,5,counted,ann\n"


def raise_rules(world):
    """As if the history had been assessed by the rules of an earlier release."""
    path = world.layout.of(HISTORY, "VAS")
    rewrite(path, lambda meta: meta | {"rules": 1})


def rewrite(path, change):
    table = pq.read_table(path)
    meta = dict(table.schema.metadata)
    body = change(json.loads(meta[META_KEY]))
    pq.write_table(table.replace_schema_metadata(meta | {META_KEY: json.dumps(body)}), path)


def test_a_history_names_the_batches_it_was_built_from_and_a_rebuild_the_same(grown: World):
    assert file_info(grown.layout.of(HISTORY, "VAS")).meta["batches"] == grown.batches
    before = grown.bytes_on_disk()
    grown.layout.of(HISTORY, "VAS").unlink()
    grown.update(VAS)
    assert grown.bytes_on_disk() == before


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("why", ["correction", "rules", "listed_since", "watermark", "torn"])
def test_a_rebuild_without_a_batch_is_refused_and_goes_on_once_it_is_back(grown, number, why):
    path = batch(grown, number)
    aside = grown.root / "aside.parquet"
    path.rename(aside)
    chosen = instrument("VAS", listed_since=day(5)) if why == "listed_since" else VAS

    def again():
        return declare(grown, CORRECT if why == "correction" else "", chosen)

    if why == "rules":
        raise_rules(grown)
    if why == "watermark":
        grown.layout.watermark("XASX").unlink()
    if why == "torn":
        (grown.root / "quarantine" / "VAS.parquet").unlink()
    before = grown.bytes_on_disk("historical")
    for _ in range(2):
        told = again()
        assert (told.outcome, told.failure_kind) == (OutcomeKind.REJECTED, None)
        assert told.reason_code is ReasonCode.RAW_GONE
        assert not told.reason_code.transient
        assert grown.batches[number] in told.reason
        assert "1 of the 3 raw batches" in told.reason
        assert "etf run --full --tickers VAS" in told.reason
        assert grown.bytes_on_disk("historical") == before
    aside.rename(path)
    assert again().good
    first = 5 if why == "listed_since" else 0
    assert grown.history()["close"].tolist() == pytest.approx(CLOSES[first:320].tolist())


def test_the_only_batch_gone_is_told_and_downloading_it_whole_again_mends_it(world: World):
    grow(world, 300, VAS)
    (gone,) = list_batch_ids(world.layout, "XASX")
    shutil.rmtree(world.layout.batches("XASX"))
    before = world.bytes_on_disk()
    for _ in range(2):
        told = declare(world, CORRECT.replace(str(day(315)), str(day(200))))
        assert told.reason_code is ReasonCode.RAW_GONE
        assert gone in told.reason
        assert world.bytes_on_disk() == before
    world.download(VAS, full=True)
    mended = world.update(VAS)["VAS"]
    assert mended.reason_code is ReasonCode.CORRECTED
    history = world.history()
    assert history["close"].tolist() == pytest.approx(CLOSES[:300].tolist())
    assert history["volume"].iloc[200] == 5
    assert not [f for f in examine(world.root) if f.name == "raw batches" and not f.ok]


@pytest.mark.parametrize("number", [0, 1])
def test_nights_go_on_from_what_is_known_and_say_what_is_gone(grown: World, number):
    batch(grown, number).unlink()
    told = grown.update(VAS)["VAS"]
    assert told.outcome is OutcomeKind.UNCHANGED
    assert told.reason_code is ReasonCode.RAW_GONE
    told = grow(grown, 330, VAS)["VAS"]
    assert (told.outcome, told.rows_added) == (OutcomeKind.UPDATED, 10)
    assert told.reason_code is ReasonCode.RAW_GONE
    assert "1 of the 4 raw batches" in told.reason
    assert grown.history()["close"].tolist() == pytest.approx(CLOSES.tolist())
    (row,) = store_status(grown.root)
    assert grown.batches[number] in row["problem"]
    (found,) = [f for f in examine(grown.root) if f.name == "raw batches"]
    assert not found.ok
    assert grown.batches[number] in found.detail
    shown = CliRunner().invoke(app, ["status", "--data-dir", str(grown.root), "--json"])
    assert shown.exit_code == 3


def test_a_whole_download_mends_at_once_what_later_rebuilds_need(grown: World):
    gone = grown.batches[1]
    batch(grown, 1).unlink()
    told = grow(grown, 320, VAS, full=True)["VAS"]
    assert (told.outcome, told.reason_code) == (OutcomeKind.UNCHANGED, None)
    meta = file_info(grown.layout.of(HISTORY, "VAS")).meta
    assert meta["superseded"] == [gone]
    assert store_status(grown.root)[0]["problem"] is None
    assert declare(grown, CORRECT).reason_code is ReasonCode.CORRECTED
    assert len(grown.history()) == 320
    # nothing is left to mend, so the next one is no news
    before = list_batch_ids(grown.layout, "XASX")
    grow(grown, 320, VAS, full=True)
    assert list_batch_ids(grown.layout, "XASX") == before
    # the past that the batch was needed for cannot be told, the present can
    with pytest.raises(RawMissingError, match=gone):
        history_as_of(grown.layout, VAS, night(310))
    now = to_frame(history_as_of(grown.layout, VAS, night(325)).history)
    assert now["close"].tolist() == pytest.approx(CLOSES[:320].tolist())


def test_a_whole_download_that_lacks_known_sessions_mends_nothing(grown: World):
    batch(grown, 0).unlink()
    rows = bars(DAYS[:320], CLOSES[:320])
    grown.serve("VAS", rows.drop(rows.index[[40, 41]]))
    grown.download(VAS, full=True)
    told = grown.update(VAS)["VAS"]
    assert told.reason_code is ReasonCode.RAW_GONE
    assert len(grown.history()) == 320
    told = declare(grown, CORRECT)
    assert told.outcome is OutcomeKind.REJECTED
    assert f"2 sessions are in its history and in no download that is left ({day(40)} to" in (
        told.reason
    )
    assert len(grown.history()) == 320
    # the remedy for those who want to go on without them
    grown.layout.of(HISTORY, "VAS").rename(grown.root / "aside.parquet")
    grown.now = night(321)
    grown.download(VAS)
    assert declare(grown, CORRECT).good
    assert len(grown.history()) == 318


def test_the_past_is_told_whole_or_not_at_all(grown: World):
    for end in ENDS:
        past = history_as_of(grown.layout, VAS, night(end))
        assert past.history.num_rows == end
    batch(grown, 1).unlink()
    assert history_as_of(grown.layout, VAS, night(305)).history.num_rows == 300
    for end in (315, 325):
        with pytest.raises(RawMissingError, match=grown.batches[1]):
            history_as_of(grown.layout, VAS, night(end))
    batch(grown, 0).unlink()
    with pytest.raises(RawMissingError, match=grown.batches[0]):
        history_as_of(grown.layout, VAS, night(305))
    assert history_as_of(grown.layout, VAS, night(200)) is None


def untold(world):
    """The history as a release wrote it that did not name batches, under earlier rules."""
    path = world.layout.of(HISTORY, "VAS")
    rewrite(path, lambda m: {k: v for k, v in m.items() if k != "batches"} | {"rules": 1})


@pytest.mark.parametrize(
    ("numbers", "lost"), [((0,), None), ((1,), 0), ((2,), 10), ((1, 2), 20), ((0, 1, 2), None)]
)
def test_of_a_history_that_names_no_batch_no_session_is_lost(grown: World, numbers, lost):
    """The second window holds all that the first does."""
    untold(grown)
    before = grown.bytes_on_disk("historical")
    for number in numbers:
        batch(grown, number).unlink()
    told = declare(grown)
    if lost == 0:
        assert told.good
        assert len(grown.history()) == 320
        return
    assert (told.outcome, told.reason_code) == (OutcomeKind.REJECTED, ReasonCode.RAW_GONE)
    assert lost is None or f"{lost} sessions are in its history" in told.reason
    assert grown.bytes_on_disk("historical") == before
    grown.now = night(321)
    grown.download(VAS, full=True)
    assert grown.update(VAS)["VAS"].good
    assert len(grown.history()) == 320
    assert file_info(grown.layout.of(HISTORY, "VAS")).meta["batches"]


def test_of_a_history_that_names_no_batch_rows_that_leave_by_declaration_are_no_loss(grown: World):
    untold(grown)
    assert declare(grown, "", instrument("VAS", listed_since=day(50))).good
    assert len(grown.history()) == 270


def test_a_damaged_history_is_not_made_again_from_less(grown: World):
    batch(grown, 1).unlink()
    path = grown.layout.of(HISTORY, "VAS")
    path.write_bytes(b"PAR1 not")
    told = declare(grown)
    assert told.reason_code is ReasonCode.RAW_GONE
    assert grown.batches[1] in told.reason
    assert path.read_bytes() == b"PAR1 not"
    grown.now = night(321)
    grown.download(VAS)  # whole, as it cannot be read
    assert grown.update(VAS)["VAS"].reason_code is ReasonCode.REBUILT
    assert len(grown.history()) == 320


def test_a_renamed_ticker_does_not_lose_what_its_former_name_had(grown: World):
    batch(grown, 0).unlink()
    renamed = instrument("VASX", symbol="VAS.AX", aliases=("VAS",))
    told = declare(grown, "", renamed)
    assert told.reason_code is ReasonCode.RAW_GONE
    assert len(grown.history("VAS")) == 320


def test_trailing_windows_alone_are_no_history(grown: World):
    batch(grown, 0).unlink()
    grown.layout.of(HISTORY, "VAS").unlink()
    told = declare(grown)
    assert told.reason_code is ReasonCode.RAW_GONE
    assert "only trailing windows" in told.reason
    with pytest.raises(RawMissingError, match="only trailing windows"):
        history_as_of(grown.layout, VAS, night(325))
    grown.now = night(321)
    grown.download(VAS)  # whole, as there is no history
    assert grown.update(VAS)["VAS"].outcome is OutcomeKind.COLLECTED
    assert grown.history()["close"].tolist() == pytest.approx(CLOSES[:320].tolist())


def test_what_is_void_need_not_be_there(grown: World):
    grown.now = night(321)
    void = f"VAS,{grown.now.date()},void,{grown.now.isoformat()},wrong,ann\n"
    for number in range(3):
        batch(grown, number).unlink()
    declare(grown, void)
    grown.now += dt.timedelta(hours=1)
    grown.download(VAS)
    assert grown.update(VAS)["VAS"].good
    assert np.allclose(grown.history()["close"], CLOSES[:320], rtol=1e-12)
