"""Nights more than 400 days apart on a real Dagster instance, and what upkeep leaves of them."""

import datetime as dt
import sqlite3
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from etf_pipeline.errors import LockTimeoutError, StoreError
from etf_pipeline.events.cursor import OVERLAP
from etf_pipeline.model import assets
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.model.schemas import HISTORY, MANIFEST, RAW, RISK_METRICS
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.orchestration.maintenance import maintain
from etf_pipeline.orchestration.runner import run_graph, tailed
from etf_pipeline.store.batches import list_batch_ids, open_batch
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.retention import DATED
from etf_pipeline.store.writer import locked
from etf_pipeline_tests.events_support import embedded_settings
from etf_pipeline_tests.pipeline.support import execute, make_pipeline

PORTFOLIO = "portfolios:\n  - name: p\n    tickers: [VAS, VGS]\n    objective: min_volatility\n"
NIGHTS = ["2023-10-03", "2023-10-31", "2024-12-03"]
# Of those: the last of October 2023, and what is not more than 400 days before the newest.
STAY = ["2023-10-31", "2024-12-03"]


def at(day):
    return dt.datetime.fromisoformat(day).replace(hour=12, tzinfo=dt.UTC)


def of_night(pipeline, day):
    """The pipeline on another night."""
    return replace(pipeline, clock=lambda: at(day))


def made(folder):
    tickers = dict.fromkeys(("VAS", "VGS"), "XASX")
    return make_pipeline(folder, tickers, portfolios=PORTFOLIO, lookback_years=1)


def days(layout, table):
    return [f"{layout.as_of(p)}" for p in layout.files(table)]


def everything(layout, *tables):
    return {p: p.read_bytes() for t in tables for p in layout.files(t)}


class Kept:
    """A store after its nights and its upkeep, and what was seen on the way."""

    def __init__(self, folder, instance):
        self.pipeline, self.instance = made(folder), instance
        self.layout = self.pipeline.layout
        for day in NIGHTS:
            report = run_graph(of_night(self.pipeline, day), instance)
            assert not report.errors
        self.pipeline = of_night(self.pipeline, NIGHTS[-1])
        self.runs = [r.run_id for r in reversed(instance.get_runs())]
        self.latest = self.materialisations()
        self.untouched = everything(self.layout, RAW, HISTORY)
        self.there = set(self.layout.root.rglob("*"))
        self.dry = maintain(self.pipeline, instance, "dry", dry_run=True)
        self.after_dry = set(self.layout.root.rglob("*"))
        self.done = maintain(self.pipeline, instance, "upkeep")
        self.again = maintain(self.pipeline, instance, "again")

    def materialisations(self):
        """The newest of each asset, and of each partition, as the UI shows them."""
        found = {}
        for asset in LINEAGE:
            key = dg.AssetKey(asset)
            last = self.instance.get_latest_materialization_event(key)
            found[asset] = (last.run_id, last.timestamp)
            found |= {
                (asset, p): v
                for p, v in self.instance.event_log_storage.get_latest_storage_id_by_partition(
                    key, dg.DagsterEventType.ASSET_MATERIALIZATION
                ).items()
            }
        return found


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    (folder / "home").mkdir()
    instance = dg.DagsterInstance.local_temp(str(folder / "home"))
    yield Kept(folder, instance)
    instance.dispose()


def test_dailies_go_and_month_ends_stay(kept):
    assert {t.name: days(kept.layout, t) for t in DATED} == {t.name: STAY for t in DATED}


def test_a_dry_run_says_the_same_and_changes_nothing(kept):
    assert kept.after_dry == kept.there
    assert kept.dry.record is None
    told = [(n.kind, n.removed, n.removed_bytes) for n in kept.dry.lines]
    assert told == [(n.kind, n.removed, n.removed_bytes) for n in kept.done.lines][: len(told)]
    assert sum(n.removed for n in kept.dry.lines) == len(DATED) * 1 + 5 * 1 + 4


def test_raw_batches_and_histories_are_not_touched(kept):
    assert everything(kept.layout, RAW, HISTORY) == kept.untouched


def test_the_record_names_each_file_that_went_with_its_hash(kept):
    rows = read_table(kept.done.record).to_pylist()
    files = {p for p in kept.there - set(kept.layout.root.rglob("*")) if p.suffix == ".parquet"}
    named = [r for r in rows if not r["subject"].startswith("run ")]
    assert {kept.layout.absolute(r["subject"]) for r in named} == files
    assert all(r["content_hash"] and r["outcome"] == "removed" for r in named)
    assert len(rows) - len(named) == 4
    assert [p for p in kept.layout.files(MANIFEST) if p.parent.name == assets.MAINTENANCE] == [
        kept.done.record
    ]


def test_upkeep_again_finds_nothing(kept):
    assert kept.again.record is None
    assert [n.removed for n in kept.again.lines] == [0] * len(kept.again.lines)


def test_dagster_lets_go_old_runs_and_shows_the_newest_of_every_asset(kept):
    assert [kept.instance.has_run(r) for r in kept.runs] == [False] * 4 + [True] * 2
    assert kept.materialisations() == kept.latest
    home = Path(kept.instance.root_directory)
    left = [p for r in kept.runs[:4] for p in home.rglob(f"*{r}*")]
    assert left == []
    with sqlite3.connect(home / "history" / "runs" / "index.db") as db:
        held = {r for (r,) in db.execute("SELECT DISTINCT run_id FROM event_logs")}
    assert held == set(kept.runs[4:])


def test_the_manifest_of_the_newest_batch_stays(kept):
    """Without it that batch would count as one of a run that was killed, and be told again."""
    (newest,) = list_batch_ids(kept.layout, "XASX")[-1:]
    run = open_batch(kept.layout, "XASX", newest).run
    assert kept.layout.of(MANIFEST, assets.RAW_PRICES, run["run_id"], "XASX").exists()


def test_another_stores_runs_are_left(kept, tmp_path):
    """One instance may be used for several stores, and for others' jobs."""
    other = made(tmp_path)
    done = maintain(kept.pipeline, kept.instance, "before")
    run_graph(of_night(other, "2023-10-03"), kept.instance)

    @dg.job
    def somebody_elses():
        pass

    theirs = somebody_elses.execute_in_process(instance=kept.instance)
    ours = {n.kind: n for n in done.lines}["dagster runs"]
    lines = {n.kind: n for n in maintain(kept.pipeline, kept.instance, "after").lines}
    assert (lines["dagster runs"].removed, lines["dagster runs"].kept) == (0, ours.kept)
    assert lines["dagster runs"].notes == ("3 are of other stores or jobs, and are left",)
    assert kept.instance.has_run(theirs.run_id)


def test_two_do_not_fight(kept):
    lock = kept.layout.lock("maintain", "UPKEEP")
    settings = kept.pipeline.settings.model_copy(update={"lock_timeout_seconds": 0.0})
    hurried = replace(kept.pipeline, settings=settings)
    with locked(lock, 0.0), pytest.raises(LockTimeoutError, match="has been writing UPKEEP"):
        maintain(hurried, kept.instance, "second")
    with locked(lock, 0.0):
        assert maintain(hurried, kept.instance, "looks only", dry_run=True).lines


def test_a_clock_that_is_behind_removes_nothing(kept):
    with pytest.raises(StoreError, match="nothing is removed"):
        maintain(of_night(kept.pipeline, "2023-11-01"), kept.instance, "behind")


def test_the_job_does_the_same_and_the_night_after_goes_on(kept):
    assert execute(kept.pipeline, kept.instance, "maintain").success
    report = run_graph(of_night(kept.pipeline, "2024-12-04"), kept.instance)
    assert not report.errors
    assert days(kept.layout, RISK_METRICS) == [*STAY, "2024-12-04"]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_schedule_is_on_as_the_others_are(tmp_path, enabled):
    pipeline = made(tmp_path)
    settings = pipeline.settings.model_copy(update={"schedules_enabled": enabled})
    repository = build_definitions(settings, None).get_repository_def()
    schedule = repository.get_schedule_def("maintain_weekly")
    others = {s.default_status for s in repository.schedule_defs}
    assert others == {schedule.default_status}
    assert (schedule.default_status is dg.DefaultScheduleStatus.RUNNING) is enabled


def test_what_is_not_recorded_as_events_yet_stays(tmp_path):
    """Manifests, the tables that they are told from, and Dagster's runs; then they go."""
    (tmp_path / "home").mkdir()
    silent = embedded_settings(openlineage_disabled=True)
    pipeline = replace(made(tmp_path), event_settings=silent)
    nights = [of_night(pipeline, d) for d in ("2023-10-03", "2023-10-31", "2024-12-03")]
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        with tailed(nights[0], instance):
            pass  # events begin here, and nobody tails the nights
        for night in nights:
            run_graph(night, instance)
        first = [r.run_id for r in instance.get_runs()][-2:]
        lines = {n.kind: n for n in maintain(nights[-1], instance, "early").lines}
        assert days(pipeline.layout, RISK_METRICS) == ["2023-10-03", "2023-10-31", "2024-12-03"]
        assert all(map(instance.has_run, first))
        assert "4 older kept: their events are not recorded yet" in lines["dagster runs"].notes[0]
        for asset in (assets.PRICE_HISTORY, assets.RISK_METRICS):
            assert lines[f"manifests of {asset}"].notes == (
                "1 older kept: their events are not recorded yet",
            )
        with tailed(nights[-1], instance):
            pass
        maintain(nights[-1], instance, "told")
        assert days(pipeline.layout, RISK_METRICS) == ["2023-10-31", "2024-12-03"]
        assert len(pipeline.layout.manifest_files(assets.RISK_METRICS)) == 2
        assert all(map(instance.has_run, first)), "Dagster's log is known again by them"
        instance.report_runless_asset_event(dg.AssetMaterialization(assets.REPORTS))
        with sqlite3.connect(tmp_path / "home" / "history" / "runs" / "index.db") as db:
            db.execute(
                "UPDATE event_logs SET id = id + ? WHERE id = (SELECT max(id) FROM event_logs)",
                [OVERLAP],
            )
        with tailed(nights[-1], instance):
            pass
        maintain(nights[-1], instance, "later")
        assert not any(map(instance.has_run, first))
        head = DagsterLog(instance).head()
        with tailed(nights[-1], instance):
            pass  # the log is still known: nothing is told again
        assert DagsterLog(instance).head() == head
