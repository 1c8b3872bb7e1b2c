"""Corrections from the file to the history, the rebuild, the past and SQL, and back again."""

import datetime as dt

import dagster as dg
import numpy as np
import pytest

from etf_pipeline.cli.exit_codes import ExitCode, of_error
from etf_pipeline.errors import CorrectionsError, ReasonCode
from etf_pipeline.events.facts import events_of_manifest
from etf_pipeline.events.model.state import fold
from etf_pipeline.events.proof.rebuild import Rebuilder
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.yahoo import YahooSource
from etf_pipeline.library.provider import ETFDataProvider
from etf_pipeline.model.corrections import load_corrections
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import OutcomeKind
from etf_pipeline.model.schemas import HISTORY, MANIFEST, QUARANTINE
from etf_pipeline.orchestration.runner import run_graph
from etf_pipeline.steps.catalogue import open_catalogue
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.store.corrections import keep_corrections
from etf_pipeline.store.histories import history_as_of
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table
from etf_pipeline_tests.pipeline.support import make_pipeline
from etf_pipeline_tests.support import World, asx_days, bars, instrument, walk

VAS, VGS = instrument("VAS"), instrument("VGS")
DAYS = asx_days("2024-01-02", 320)
CLOSES = walk(320)
HEADER = "ticker,date,field,value,reason,author\n"


def day(i):
    return DAYS[i].astype("datetime64[D]").astype(dt.date)


@pytest.fixture
def faulty(world: World):
    """A close of VAS that is a thousand times too high, and a good VGS, both downloaded."""
    rows = bars(DAYS, CLOSES)
    wrong = rows.copy()
    wrong.iloc[40, :4] *= 1000.0
    world.serve("VAS", wrong)
    world.serve("VGS", rows)
    world.now = dt.datetime.combine(day(319), dt.time(12), dt.UTC)
    world.run(VAS, VGS)
    return world


def declare(world, text):
    """What a run does with the file: kept, then applied. The outcomes by ticker."""
    path = world.root / "corrections.csv"
    path.write_text(HEADER + text)
    world.runs += 1
    world.now += dt.timedelta(hours=1)
    declared = load_corrections(path, Universe((VAS, VGS)))
    kept = keep_corrections(world.store, declared, world.now)
    result = update_histories(world.store, world.this_run, (VAS, VGS), corrections=kept)
    return {o.subject: o for o in result.outcomes}


CORRECT = f"VAS,{day(40)},close,{CLOSES[40]},decimal point,ann\n" + "".join(
    f"VAS,{day(40)},{name},{CLOSES[40] * factor:.6f},decimal point,ann\n"
    for name, factor in (("open", 1.0), ("high", 1.01), ("low", 0.99))
)


def test_a_correction_counts_with_nothing_new_and_is_undone_byte_for_byte(faulty: World):
    before = faulty.bytes_on_disk()
    done = declare(faulty, CORRECT)
    assert done["VAS"].outcome is OutcomeKind.UPDATED
    assert done["VAS"].reason_code is ReasonCode.CORRECTED
    assert done["VAS"].reason == "1 row corrected as declared"
    assert done["VGS"].outcome is OutcomeKind.UNCHANGED
    history = faulty.history()
    assert history["close"].iloc[40] == CLOSES[40]
    assert history["flag"].iloc[40] == "corrected"
    assert np.allclose(history["adj_close"], CLOSES, rtol=1e-12)
    assert faulty.findings() == {(str(day(40)), "corrected"): "flagged"}
    corrected = faulty.bytes_on_disk()
    assert declare(faulty, CORRECT)["VAS"].outcome is OutcomeKind.UNCHANGED
    assert faulty.bytes_on_disk() == corrected
    # the source's answer is still known: no revision
    assert faulty.download(VAS)["VAS"].outcome is OutcomeKind.UNCHANGED
    assert declare(faulty, "")["VAS"].outcome is OutcomeKind.UPDATED
    assert faulty.bytes_on_disk() == before


def test_updates_after_a_correction_equal_a_rebuild(faulty: World):
    declare(faulty, CORRECT)
    rows = bars(DAYS, CLOSES)
    more = asx_days("2024-01-02", 330)
    rows = bars(more, np.r_[CLOSES, np.full(10, CLOSES[-1]) + np.arange(10) * 0.01])
    rows.iloc[40, :4] *= 1000.0
    faulty.serve("VAS", rows)
    faulty.now = dt.datetime.combine(more[-1].astype(object), dt.time(12), dt.UTC)
    faulty.run(VAS)
    assert len(faulty.history()) == 330
    assert faulty.history()["close"].iloc[40] == CLOSES[40]
    advanced = faulty.bytes_on_disk()
    for table in (HISTORY, QUARANTINE):
        faulty.layout.of(table, "VAS").unlink()
    faulty.runs += 1
    faulty.update(VAS)
    assert faulty.bytes_on_disk() == advanced


def test_the_past_is_seen_with_the_corrections_of_its_time(faulty: World):
    then = faulty.now
    declare(faulty, CORRECT)
    assert history_as_of(faulty.layout, VAS, then).history.num_rows == 319
    now = history_as_of(faulty.layout, VAS, faulty.now)
    assert now.history.equals(read_table(faulty.layout.of(HISTORY, "VAS")))
    declare(faulty, "")
    assert history_as_of(faulty.layout, VAS, faulty.now).history.num_rows == 319


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_corrected_history_is_proven_by_its_events(faulty: World, tmp_path, withdrawn):
    declare(faulty, CORRECT)
    events = []
    for asset, run in (("raw_prices", 1), ("price_history", 1), ("price_history", faulty.runs)):
        path = faulty.layout.of(MANIFEST, asset, f"run{run:05d}", "XASX")
        events += events_of_manifest(faulty.layout, path, "instance")
    etf = fold([events]).etf("VAS")
    content = faulty.layout.of(HISTORY, "VAS").read_bytes()
    if withdrawn:  # the events still are of the corrected one
        declare(faulty, "")
    into = Layout(tmp_path / "into")
    with Rebuilder(faulty.layout, into) as rebuilder:
        found = rebuilder.rebuild(etf)
    assert (found.status, found.reason) == ("proved", None)
    assert into.of(HISTORY, "VAS").read_bytes() == content


def test_sql_shows_what_counts(tmp_path):
    pipeline = make_pipeline(tmp_path, corrections_file=tmp_path / "corrections.csv")
    with dg.instance_for_test() as instance:
        run_graph(pipeline, instance)
        history = read_table(pipeline.layout.of(HISTORY, "VAS")).to_pylist()
        row = history[100]
        text = f"VAS,{row['date']},close,{row['close'] * 1.001:.6f},checked,ann\n"
        query = "SELECT ticker, date, field, value, reason, author FROM corrections"
        for lines in (text, ""):
            (tmp_path / "corrections.csv").write_text(HEADER + lines)
            report = run_graph(pipeline, instance)
            assert report.errors == []
            with open_catalogue(pipeline.store, pipeline.settings.universe_file) as db:
                found = db.query(query).rows
            assert [tuple(r[:3]) for r in found] == (
                [("VAS", row["date"], "close")] if lines else []
            )
            close = read_table(pipeline.layout.of(HISTORY, "VAS")).column("close")[100].as_py()
            assert close == pytest.approx(row["close"] * (1.001 if lines else 1.0), rel=1e-6)


def test_a_bad_file_ends_the_run_before_anything_is_changed(tmp_path):
    pipeline = make_pipeline(tmp_path, corrections_file=tmp_path / "corrections.csv")
    (tmp_path / "corrections.csv").write_text(HEADER + "VAS,2024-01-02,close,0,typo,ann\n")
    with pytest.raises(CorrectionsError, match="line 2: value 0: close must be positive") as caught:
        pipeline.declared()
    assert of_error(caught.value) is ExitCode.USAGE
    with dg.instance_for_test() as instance:
        report = run_graph(pipeline, instance)
    assert any("line 2" in error for error in report.errors)
    assert not pipeline.layout.folder(HISTORY).exists()


def test_distributions_of_the_provider(world: World):
    closes = np.full(600, 100.0) + np.arange(600) * 0.01
    days = asx_days("2023-01-03", 600)
    dividends, gains = np.zeros(600), np.zeros(600)
    paid = {60: 1.0, 123: 1.1, 186: 0.9, 249: 1.0, 312: 1.2, 375: 300.0}
    for i, amount in paid.items():
        dividends[i] = amount
        if amount < 50:
            closes[i:] -= amount
    gains[249] = 0.4
    world.serve("VAS", bars(days, closes, dividends=dividends, capital_gains=gains))
    world.now = dt.datetime.combine(days[-1].astype(object), dt.time(12), dt.UTC)
    world.run(VAS)
    found = ETFDataProvider(world.root).get_distributions(["VAS"]).loc["VAS"]
    assert list(found.columns) == [
        "dividends",
        "capital_gains",
        "total",
        "withheld",
        "yield_12m",
    ]
    assert [d.date() for d in found.index] == [days[i].astype(object) for i in paid]
    assert found["total"].tolist() == pytest.approx([1.0, 1.1, 0.9, 1.0, 1.2, 0.0])
    assert found["dividends"].iloc[3] == pytest.approx(0.6)
    assert found["capital_gains"].iloc[3] == 0.4
    assert found["withheld"].iloc[5] == 300.0
    assert found["yield_12m"].isna().tolist() == [True, True, True, False, False, True]
    # 63 sessions are a quarter: the four newest are a year
    assert found["yield_12m"].iloc[4] == pytest.approx((1.1 + 0.9 + 1.0 + 1.2) / closes[312])


@pytest.mark.parametrize("left", [1, 0], ids=["windows are left", "nothing is left"])
def test_a_history_whose_raw_batches_are_gone_is_kept_and_not_rebuilt_from_the_rest(world, left):
    """A folder that was tidied, or restored in part: the history would shrink to a month."""
    rows = bars(DAYS, CLOSES)
    world.serve("VAS", rows[:300])
    world.now = dt.datetime.combine(day(299), dt.time(12), dt.UTC)
    world.run(VAS)
    world.serve("VAS", rows)
    world.now = dt.datetime.combine(day(319), dt.time(12), dt.UTC)
    world.run(VAS)
    path = world.layout.of(HISTORY, "VAS")
    before = path.read_bytes()
    batches = sorted(world.layout.batch_files("XASX"))
    assert len(batches) == 2
    for batch in batches[: 2 - left]:
        batch.unlink()
    outcome = declare(world, f"VAS,{day(310)},volume,1234,exchange's notice,ann\n")["VAS"]
    assert (outcome.outcome, outcome.reason_code) == (OutcomeKind.REJECTED, ReasonCode.RAW_GONE)
    assert f"({day(0)} to " in outcome.reason
    assert "etf run --full" in outcome.reason
    assert path.read_bytes() == before
    # What the message says helps.
    world.now += dt.timedelta(hours=1)
    world.run(VAS, full=True)
    assert read_table(path).num_rows == 320


def test_a_level_that_is_to_stay_is_declared_and_then_taken(world):
    """Pence become pounds under one label: refused, declared as the message says, and taken."""
    rows = bars(DAYS, CLOSES)
    world.serve("VAS", rows[:300])
    world.now = dt.datetime.combine(day(299), dt.time(12), dt.UTC)
    world.run(VAS)
    pounds = rows.copy()
    pounds.iloc[:, :4] /= 100.0
    world.serve("VAS", pounds)
    world.now = dt.datetime.combine(day(319), dt.time(12), dt.UTC)
    outcome = world.run(VAS)["VAS"]
    assert (outcome.outcome, outcome.reason_code) == (OutcomeKind.REJECTED, ReasonCode.OTHER_LEVEL)
    assert "declare stock_splits 100 in the corrections" in outcome.reason
    assert f"the first session after {day(299)}" in outcome.reason
    path = world.root / "corrections.csv"
    path.write_text(HEADER + f"VAS,{day(300)},stock_splits,100,pounds from now on,ann\n")
    declared = load_corrections(path, Universe((VAS, VGS)))
    world.runs += 1
    taken = download(
        world.store,
        world.this_run,
        YahooSource(world.settings),
        [VAS],
        Terms.of(world.settings, True),
        clock=lambda: world.now,
        corrections=declared,
    )
    assert [o.outcome for o in taken.outcomes] == [OutcomeKind.UPDATED]
    kept = keep_corrections(world.store, declared, world.now)
    (outcome,) = update_histories(world.store, world.this_run, [VAS], corrections=kept).outcomes
    assert outcome.outcome == OutcomeKind.UPDATED
    history = read_table(world.layout.of(HISTORY, "VAS"))
    assert history.column("close").to_numpy() == pytest.approx(CLOSES / 100.0, rel=1e-6)
    built = history_as_of(world.layout, VAS, world.now + dt.timedelta(hours=1))
    assert built.history.equals(history)
