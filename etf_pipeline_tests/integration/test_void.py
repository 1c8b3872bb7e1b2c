"""What was known of a ticker is declared void: the remedy of a first download that was wrong."""

import datetime as dt
from dataclasses import dataclass, field

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import CorrectionsError, ProofError, ReasonCode
from etf_pipeline.events.facts import events_of_manifest
from etf_pipeline.events.model.state import fold
from etf_pipeline.events.proof.rebuild import Rebuilder, restore
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.model.corrections import VOID_REMEDY, load_corrections
from etf_pipeline.model.instruments import Instrument, Universe
from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.model.schemas import HISTORY, MANIFEST, QUARANTINE
from etf_pipeline.orchestration.runner import run_graph
from etf_pipeline.steps.catalogue import open_catalogue
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.store.corrections import keep_corrections
from etf_pipeline.store.histories import history_as_of
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table
from etf_pipeline_tests.pipeline.support import NOW, make_pipeline
from etf_pipeline_tests.support import World, asx_days, bars, instrument, walk, yahoo_rows

HEADER = "ticker,date,field,value,reason,author\n"
PRICES = ["open", "high", "low", "close"]
DAYS = asx_days("2024-01-02", 320)
ROWS = bars(DAYS, walk(320))
OTHER = bars(DAYS, walk(320, seed=8, start=31.0))
VAS, VGS = instrument("VAS"), instrument("VGS")


@dataclass
class Desk:
    """A world whose analyst has a corrections file, read at each run of both steps."""

    world: World
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world.now = dt.datetime.combine(DAYS[-1].astype(object), dt.time(12), dt.UTC)
        self.world.root.mkdir(parents=True, exist_ok=True)
        self.file.write_text(HEADER)

    @property
    def file(self):
        return self.world.root / "corrections.csv"

    def void(self, reason="read without its decimal comma"):
        """Declare what is known of VAS by now void; the instant."""
        now = self.world.now
        line = f"VAS,{now.date()},void,{now.isoformat()},{reason},ann\n"
        self.file.write_text(self.file.read_text() + line)
        return now

    def run(self, *instruments: Instrument, source=None, before_history=None):
        """One run: its download's outcome of VAS, and its history's."""
        world, chosen = self.world, instruments or (VAS,)
        world.now += dt.timedelta(minutes=1)
        declared = load_corrections(self.file, Universe((VAS, VGS)), world.now)
        kept = keep_corrections(world.store, declared, world.now)
        if source is None:
            found = world.download(*chosen)
        else:
            world.runs += 1
            clock = lambda: world.now  # noqa: E731
            result = download(
                world.store, world.this_run, source, chosen, Terms(), clock=clock, corrections=kept
            )
            found = {o.subject: o for o in result.outcomes}
        result = update_histories(world.store, world.this_run, chosen, corrections=kept)
        self.outcomes = {o.subject: o for o in result.outcomes}
        return found["VAS"], self.outcomes["VAS"]

    def closes(self):
        return self.world.history()["close"].tolist()

    def events(self, run):
        made = []
        for asset in ("raw_prices", "price_history"):
            path = self.world.layout.of(MANIFEST, asset, f"run{run:05d}", "XASX")
            made += events_of_manifest(self.world.layout, path, "instance")
        return made


@pytest.fixture
def desk(world: World):
    return Desk(world)


def scaled(rows, factor):
    return rows.assign(**{name: rows[name] * factor for name in PRICES})


def short(rows):
    return scaled(rows[200:], 0.25)


@pytest.mark.parametrize(
    ("wrong", "right", "code"),
    [
        (scaled(ROWS, 0.001), ROWS, ReasonCode.OTHER_LEVEL),
        (OTHER, ROWS, ReasonCode.OTHER_SECURITY),
        (ROWS, short(ROWS), ReasonCode.LEVEL_SHORTENED),
    ],
    ids=["a thousandth", "another fund", "another level, shorter"],
)
def test_a_wrong_first_answer_is_replaced_in_one_run_and_comes_back(desk, wrong, right, code):
    world = desk.world
    world.serve("VAS", wrong)
    desk.run()
    before, batches = world.bytes_on_disk(), world.bytes_on_disk("raw")
    assert desk.closes() == pytest.approx(wrong["close"].tolist())
    world.serve("VAS", right)
    refused, _ = desk.run()
    assert (refused.outcome, refused.reason_code) == ("rejected", code)
    assert VOID_REMEDY in refused.reason
    assert world.bytes_on_disk() == before

    instant = desk.void()
    taken, updated = desk.run()
    assert (taken.outcome, taken.rows_added) == ("collected", len(right))
    assert (updated.outcome, updated.reason_code) == ("updated", ReasonCode.CORRECTED)
    words = f"what was collected before {instant:%Y-%m-%dT%H:%M:%SZ} is void"
    assert f"{words}: read without its decimal comma (ann)" in updated.reason
    assert desk.closes() == pytest.approx(right["close"].tolist())
    assert str(world.history()["flag"].iloc[0]) == "voided"
    assert world.findings()[(str(right.index[0].date()), "voided")] == "flagged"
    after = world.bytes_on_disk()
    for name, content in batches.items():
        assert world.bytes_on_disk("raw")[name] == content

    # settled: nothing is asked for again, and rebuilt it is the same
    assert desk.run()[0].outcome == "unchanged"
    assert desk.outcomes["VAS"].outcome == "unchanged"
    for table in (HISTORY, QUARANTINE):
        world.layout.of(table, "VAS").unlink()
    update_histories(world.store, world.this_run, [VAS])
    assert world.bytes_on_disk() == after

    # withdrawn, what was known is there again
    desk.file.write_text(HEADER)
    desk.run()
    assert world.bytes_on_disk() == before


def test_a_right_file_replaces_the_wrong_one(desk, tmp_path):
    """Also another source's: its rows are not mixed with those that are void."""
    folder = tmp_path / "files"
    folder.mkdir()
    yahoo_rows(ROWS).to_parquet(folder / "VAS.parquet")
    desk.world.serve("VAS", OTHER)
    desk.run()
    for _ in range(2):
        _, mixed = desk.run(source=FilesSource(folder))
        assert (mixed.outcome, mixed.reason_code) == ("rejected", ReasonCode.MIXED_ORIGIN)
        assert VOID_REMEDY in mixed.reason
    desk.void()
    taken, updated = desk.run(source=FilesSource(folder))
    assert (taken.outcome, updated.outcome, updated.source) == ("collected", "updated", "files")
    assert desk.closes() == pytest.approx(ROWS["close"].tolist())
    assert desk.run(source=FilesSource(folder))[1].outcome == "unchanged"


def test_another_currency_is_taken_when_the_old_one_is_void(desk):
    desk.world.serve("VAS", ROWS)
    desk.run()
    dollars = instrument("VAS", currency="USD")
    converted = scaled(ROWS, 0.65)
    desk.world.serve("VAS", converted, currency="USD")
    _, mixed = desk.run(dollars)
    assert (mixed.outcome, mixed.reason_code) == ("rejected", ReasonCode.OTHER_CURRENCY)
    assert VOID_REMEDY in mixed.reason
    desk.void()
    _, updated = desk.run(dollars)
    assert (updated.outcome, updated.currency) == ("updated", "USD")
    assert desk.closes() == pytest.approx(converted["close"].tolist())


def test_without_a_new_answer_there_is_no_history(desk):
    world = desk.world
    world.serve("VAS", OTHER)
    world.serve("VGS", ROWS)
    desk.run(VAS, VGS)
    before = world.bytes_on_disk()
    desk.void()
    world.yahoo.fault("VAS.AX", "429")
    world.settings = world.configured(yahoo_attempts=1)
    failed, held = desk.run(VAS, VGS)
    assert failed.outcome == "failed"
    assert failed.reason.endswith(" is void: read without its decimal comma (ann)")
    assert (held.outcome, held.reason_code) == ("failed", ReasonCode.VOIDED)
    assert "there is no history until the source answers anew" in held.reason
    left = {name: b for name, b in before.items() if "VGS" in name}
    assert world.bytes_on_disk() == left
    assert desk.outcomes["VGS"].outcome == "unchanged"

    world.yahoo.faults.clear()
    world.serve("VAS", ROWS)
    taken, updated = desk.run(VAS, VGS)
    assert (taken.outcome, updated.outcome) == ("collected", "collected")
    assert desk.closes() == ROWS["close"].tolist()

    # withdrawn while nobody answers, it is the old one again
    world.yahoo.fault("VAS.AX", "429")
    desk.file.write_text(HEADER)
    desk.run(VAS, VGS)
    assert world.bytes_on_disk() == before


def test_a_window_that_continues_what_is_void_is_no_history(desk):
    """Found wrong after some nights: their windows alone are not taken for the whole."""
    world = desk.world
    world.serve("VAS", ROWS[:300])
    world.now = dt.datetime.combine(DAYS[299].astype(object), dt.time(12), dt.UTC)
    desk.run()
    instant = desk.void("the issuer has restated it")
    desk.file.write_text(HEADER)
    world.serve("VAS", ROWS)
    world.now = dt.datetime.combine(DAYS[319].astype(object), dt.time(12), dt.UTC)
    desk.run()
    assert len(world.history()) == 320
    line = f"VAS,{instant.date()},void,{instant.isoformat()},r,ann\n"
    desk.file.write_text(HEADER + line)
    world.yahoo.fault("VAS.AX", "429")
    world.settings = world.configured(yahoo_attempts=1)
    assert desk.run()[1].reason_code is ReasonCode.VOIDED
    world.yahoo.faults.clear()
    taken, _ = desk.run()
    assert taken.rows_added == 320
    assert desk.closes() == ROWS["close"].tolist()


def test_updates_after_it_equal_a_rebuild_and_the_past_stays(desk):
    world = desk.world
    world.now = dt.datetime.combine(DAYS[299].astype(object), dt.time(12), dt.UTC)
    world.serve("VAS", scaled(ROWS[:300], 100.0))
    desk.run()
    then = world.now
    desk.void()
    world.serve("VAS", ROWS[:300])
    desk.run()
    world.now = dt.datetime.combine(DAYS[319].astype(object), dt.time(12), dt.UTC)
    world.serve("VAS", ROWS)
    added, _ = desk.run()
    assert (added.outcome, added.rows_added) == ("updated", 20)
    advanced = world.bytes_on_disk()
    for table in (HISTORY, QUARANTINE):
        world.layout.of(table, "VAS").unlink()
    update_histories(world.store, world.this_run, [VAS])
    assert world.bytes_on_disk() == advanced
    now = history_as_of(world.layout, VAS, world.now)
    assert now.history.equals(read_table(world.layout.of(HISTORY, "VAS")))
    past = history_as_of(world.layout, VAS, then).history.column("close").to_numpy()
    assert np.allclose(past, ROWS["close"][:300] * 100.0, rtol=1e-12)


def test_withdrawn_the_old_level_is_not_mixed_with_what_came_since(desk):
    world = desk.world
    world.now = dt.datetime.combine(DAYS[299].astype(object), dt.time(12), dt.UTC)
    world.serve("VAS", scaled(ROWS[:300], 0.001))
    desk.run()
    before = world.bytes_on_disk()
    desk.void()
    world.serve("VAS", ROWS[:300])
    desk.run()
    world.now = dt.datetime.combine(DAYS[319].astype(object), dt.time(12), dt.UTC)
    world.serve("VAS", ROWS)
    desk.run()
    desk.file.write_text(HEADER)
    for refused in (False, True):
        taken, _ = desk.run()
        assert world.bytes_on_disk() == before
        assert (taken.reason_code is ReasonCode.OTHER_LEVEL) == refused


def test_another_security_that_is_held_is_settled_by_it(desk):
    """The fund's rows after a gap were another's from the first download on."""
    world = desk.world
    held = pd.concat([bars(DAYS[:150], walk(150, start=12.0)), ROWS[250:]])
    world.serve("VAS", held)
    _, outcome = desk.run()
    assert (outcome.outcome, outcome.reason_code) == ("rejected", ReasonCode.OTHER_SECURITY)
    assert VOID_REMEDY in outcome.reason
    desk.void()
    world.serve("VAS", ROWS)
    assert desk.run()[1].outcome == "collected"
    assert desk.closes() == ROWS["close"].tolist()


def test_events_prove_what_counts_and_bring_nothing_void_back(desk, tmp_path):
    world = desk.world
    world.serve("VAS", OTHER)
    desk.run()
    wrong = fold([desk.events(world.runs)]).etf("VAS")
    first = world.bytes_on_disk("historical")
    desk.void()
    world.yahoo.fault("VAS.AX", "429")
    world.settings = world.configured(yahoo_attempts=1)
    moment = world.now
    desk.run()
    with pytest.raises(ProofError, match=r"is void: read without its decimal comma \(ann\)"):
        restore(world.layout, wrong)
    assert not world.layout.of(HISTORY, "VAS").exists()
    into = Layout(tmp_path / "now")
    with Rebuilder(world.layout, into) as rebuilder:
        assert rebuilder.rebuild(wrong).status == "unproven"
        alone = rebuilder.rebuild_unproven("VAS", wrong.updated.batch_id)
        assert (alone.status, "is void" in alone.reason) == ("differs", True)
    assert not into.of(HISTORY, "VAS").exists()
    # as of before it was declared, it is proven to have been there
    with Rebuilder(world.layout, Layout(tmp_path / "then"), instant=moment) as rebuilder:
        assert rebuilder.rebuild(wrong).status == "proved"
    then = Layout(tmp_path / "then").of(HISTORY, "VAS").read_bytes()
    assert list(first.values()) == [then]

    world.yahoo.faults.clear()
    world.serve("VAS", ROWS)
    desk.run()
    content = world.layout.of(HISTORY, "VAS").read_bytes()
    right = fold([desk.events(world.runs)]).etf("VAS")
    with Rebuilder(world.layout, into) as rebuilder:
        found = rebuilder.rebuild(right)
    assert (found.status, found.reason) == ("proved", None)
    assert into.of(HISTORY, "VAS").read_bytes() == content
    world.layout.of(HISTORY, "VAS").unlink()
    restore(world.layout, right)
    assert world.layout.of(HISTORY, "VAS").read_bytes() == content


def test_a_whole_run_sees_it_in_its_download_and_sql_shows_it(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    corrections = tmp_path / "corrections.csv"
    pipeline = make_pipeline(tmp_path, corrections_file=corrections, source=f"files:{folder}")
    rows = yahoo_rows(ROWS).drop(columns="Adj Close")
    wrong = rows.assign(**{n: rows[n] / 1000 for n in ("Open", "High", "Low", "Close")})
    wrong.to_parquet(folder / "VAS.parquet")
    for ticker in ("VGS", "VAF"):
        other = bars(DAYS, walk(320, seed=sum(map(ord, ticker))))
        yahoo_rows(other).to_parquet(folder / f"{ticker}.parquet")
    history = pipeline.layout.of(HISTORY, "VAS")
    instant = NOW + dt.timedelta(minutes=1)
    line = f"VAS,{NOW.date()},void,{instant:%Y-%m-%dT%H:%MZ},a thousand times too small,ann\n"
    query = "SELECT ticker, field, value, before AT TIME ZONE 'UTC' FROM corrections"
    with dg.instance_for_test() as instance:
        run_graph(pipeline, instance)
        rows.to_parquet(folder / "VAS.parquet")
        run_graph(pipeline, instance)
        closes = read_table(history).column("close").to_numpy()
        assert np.allclose(closes, ROWS["close"] / 1000, rtol=1e-12)
        corrections.write_text(HEADER + line)
        with pytest.raises(CorrectionsError, match=r"line 2: value .* is in the future"):
            pipeline.declared()
        pipeline.clock = lambda: NOW + dt.timedelta(hours=1)
        assert run_graph(pipeline, instance).errors == []
        closes = read_table(history).column("close").to_numpy()
        assert np.allclose(closes, ROWS["close"], rtol=1e-12)
        with open_catalogue(pipeline.store, pipeline.settings.universe_file) as db:
            (found,) = db.query(query).rows
        assert tuple(found) == ("VAS", "void", None, instant.replace(tzinfo=None))
