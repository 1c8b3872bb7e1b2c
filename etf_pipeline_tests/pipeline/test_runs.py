"""Runs of the graph on a real Dagster instance: what is recorded, retried and held back."""

import datetime as dt
import shutil
from collections import Counter

import dagster as dg
import pytest

from etf_pipeline.cli.exit_codes import of_run
from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.schemas import (
    BACKTEST_EVENTS,
    BACKTEST_WEIGHTS,
    BACKTESTS,
    CORRELATIONS,
    FRONTIER,
    HISTORY,
    MANIFEST,
    RAW,
    RISK_METRICS,
    SUMMARY,
    WEIGHTS,
)
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.runner import run_graph
from etf_pipeline.store.manifests import read_manifest
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline_tests.pipeline.support import NOW, execute, make_pipeline
from etf_pipeline_tests.support import asx_days, bars, walk, yahoo_rows
from etf_pipeline_tests.yahoo_standin import Series

TABLES = ("risk_metrics", "correlations", "optimised_portfolios", "backtests")
SERVED = ("sql_catalog", "reports")


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


def test_the_whole_graph(tmp_path, instance):
    pipeline = make_pipeline(tmp_path)
    report = run_graph(pipeline, instance)
    assert report.errors == []
    assert of_run(report, chosen=False) == 0
    assert {t: o.outcome for t, o in report.tickers.items()} == dict.fromkeys(
        ("VAS", "VGS", "VAF"), "collected"
    )
    assert set(report.backtests) == set(report.portfolios) != set()
    assert all(o.good for o in report.backtests.values())
    layout = pipeline.layout
    day = read_table(layout.of(HISTORY, "VAS"), ["date"]).column("date")[-1].as_py()
    for table in (
        RISK_METRICS,
        CORRELATIONS,
        WEIGHTS,
        SUMMARY,
        FRONTIER,
        BACKTESTS,
        BACKTEST_WEIGHTS,
        BACKTEST_EVENTS,
    ):
        path = layout.of(table, day)
        rows = read_table(path)
        assert rows.num_rows > 0
        # simulated data say so in every row and in every file
        assert set(rows.column("source").to_pylist()) == {"simulated"}
        assert file_info(path).source == "simulated"
    assert file_info(layout.of(HISTORY, "VAS")).source == "simulated"


def test_a_second_run_with_nothing_new_changes_no_byte(tmp_path, instance):
    pipeline = make_pipeline(tmp_path)
    run_graph(pipeline, instance)
    folders = ("raw", "historical", "quarantine", "risk", "portfolios")

    def snapshot():
        return {
            p: (p.read_bytes(), p.stat().st_mtime_ns)
            for f in folders
            for p in (pipeline.layout.root / f).rglob("*.parquet")
        }

    before = snapshot()
    assert {p.relative_to(pipeline.layout.root).parts[0] for p in before} == set(folders)
    report = run_graph(pipeline, instance)
    assert {o.outcome for o in report.tickers.values()} == {"unchanged"}
    assert snapshot() == before


def test_what_a_materialisation_says(tmp_path, instance):
    pipeline = make_pipeline(tmp_path)
    execute(pipeline, instance, "ingest", "XASX")
    execute(pipeline, instance, "derive")
    event = instance.get_latest_materialization_event(dg.AssetKey("price_history"))
    metadata = event.asset_materialization.metadata
    assert metadata["tickers_ok"].value == 3
    assert metadata["tickers_not_ok"].value == 0
    assert metadata["first_date"].value == "2014-01-02"
    assert "| VAS | collected |" in metadata["tickers"].value
    assert metadata["dagster/uri"].value.startswith("file://")
    manifest = read_manifest(pipeline.layout.of(MANIFEST, "price_history", event.run_id, "XASX"))
    assert [o.subject for o in manifest] == ["VAF", "VAS", "VGS"]
    tags = event.asset_materialization.tags
    assert tags["dagster/data_version"]
    weights = instance.get_latest_materialization_event(dg.AssetKey("optimised_portfolios"))
    assert "image/svg+xml" in weights.asset_materialization.metadata["weights_calm"].value


def test_equal_content_gives_an_equal_data_version(tmp_path, instance):
    pipeline = make_pipeline(tmp_path)
    versions = []
    for days in (0, 0, 1):  # on the third there is a new session
        pipeline.clock = lambda days=days: NOW + dt.timedelta(days=days)
        execute(pipeline, instance, "ingest", "XASX")
        event = instance.get_latest_materialization_event(dg.AssetKey("price_history"))
        versions.append(event.asset_materialization.tags["dagster/data_version"])
    assert versions[0] == versions[1] != versions[2]


def event_types(instance, run_id):
    """How many events of each type a run left."""
    logs = instance.all_logs(run_id)
    return Counter(e.dagster_event.event_type_value for e in logs if e.is_dagster_event)


def served(yahoo, *tickers, n=800):
    for i, ticker in enumerate(tickers):
        rows = bars(asx_days("2022-09-01", n), walk(n, seed=i))
        yahoo.series[f"{ticker}.AX"] = Series(yahoo_rows(rows))


def test_one_ticker_of_many_fails_and_the_others_are_published(tmp_path, instance, yahoo):
    served(yahoo, "VAS", "VGS")  # VAF is not there
    pipeline = make_pipeline(tmp_path, source="yahoo", yahoo_url=yahoo.url)
    report = run_graph(pipeline, instance)
    assert report.tickers["VAS"].outcome == "collected"
    assert report.tickers["VAF"].outcome == "failed"
    assert "no prices" in report.tickers["VAF"].reason
    assert of_run(report, chosen=False) == 3
    assert report.portfolios["pair"].good
    assert "no history of VAF" in report.portfolios["calm"].reason
    checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(dg.AssetKey("raw_prices"), "every_ticker_answered")]
    )
    (record,) = checks.values()
    evaluation = record.event.dagster_event.asset_check_evaluation_data
    assert not evaluation.passed
    assert "VAF" in evaluation.description


def test_all_failing_for_a_passing_reason_is_retried_and_then_a_failure(tmp_path, instance, yahoo):
    served(yahoo, "VAS", "VGS", "VAF")
    yahoo.fault("*", "500")
    pipeline = make_pipeline(tmp_path, source="yahoo", yahoo_url=yahoo.url)
    report = run_graph(pipeline, instance)
    assert of_run(report, chosen=False) == 1
    assert "none of 3 tickers succeeded" in report.errors[0]
    assert event_types(instance, instance.get_runs()[0].run_id)["STEP_RESTARTED"] == 2


def test_what_cannot_pass_is_not_retried(tmp_path, instance, yahoo):
    served(yahoo, "VAS", "VGS", "VAF")
    yahoo.fault("*", "currency", arg="USD")
    pipeline = make_pipeline(tmp_path, source="yahoo", yahoo_url=yahoo.url)
    result = execute(pipeline, instance, "ingest", "XASX")
    assert not result.success
    types = event_types(instance, result.run_id)
    assert types["STEP_FAILURE"] == 1
    assert types["STEP_RESTARTED"] == 0
    assert set(yahoo.seen.values()) == {1}


def test_a_transient_failure_is_overcome_by_the_retry(tmp_path, instance, yahoo):
    served(yahoo, "VAS", "VGS", "VAF")
    # two tries of two requests for each of three tickers fail, the step's second try works
    yahoo.fault("*", "500", times=12)
    pipeline = make_pipeline(tmp_path, source="yahoo", yahoo_url=yahoo.url, yahoo_concurrency=1)
    result = execute(pipeline, instance, "ingest", "XASX")
    assert result.success
    assert event_types(instance, result.run_id)["STEP_RESTARTED"] == 1
    assert pipeline.layout.of(HISTORY, "VAS").exists()


def test_the_main_job_never_falls_back_to_another_source(tmp_path, instance):
    pipeline = make_pipeline(tmp_path, source="yahoo", yahoo_url="http://127.0.0.1:9")
    report = run_graph(pipeline, instance)
    assert of_run(report, chosen=False) == 1
    assert list(pipeline.layout.root.rglob("historical/*.parquet")) == []
    assert list(pipeline.layout.root.rglob("risk/**/*.parquet")) == []


def test_a_failed_blocking_check_holds_back_what_depends_on_it(tmp_path, instance):
    """A damaged history that nothing can rebuild must not reach the tables by automation."""
    folder = tmp_path / "prices"
    folder.mkdir()
    for i, ticker in enumerate(("VAS", "VGS", "VAF")):
        rows = bars(asx_days("2022-09-01", 800), walk(800, seed=i))
        yahoo_rows(rows).to_parquet(folder / f"{ticker}.parquet")
    pipeline = make_pipeline(tmp_path, source=f"files:{folder}")
    defs = build_definitions(pipeline.settings, None, pipeline)
    before = dg.evaluate_automation_conditions(defs=defs, instance=instance)
    execute(pipeline, instance, "ingest", "XASX")
    good = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=before.cursor)
    assert good.total_requested > 0  # what the damage is to hold back
    (folder / "VGS.parquet").unlink()
    for batch in pipeline.layout.folder(RAW).rglob("*.parquet"):
        batch.unlink()
    path = pipeline.layout.of(HISTORY, "VGS")
    path.write_bytes(path.read_bytes()[:-100])
    result = execute(pipeline, instance, "ingest", "XASX")
    evaluations = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert evaluations["histories_valid"].passed is False
    assert "VGS.parquet is not readable" in evaluations["histories_valid"].description
    assert path.exists()  # the damaged file is still there to be looked at
    after = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=before.cursor)
    assert after.total_requested == 0


def test_derived_assets_follow_new_histories(tmp_path, instance):
    """Tables and portfolios when histories have passed their checks, what people open after."""
    pipeline = make_pipeline(tmp_path)
    defs = build_definitions(pipeline.settings, None, pipeline)

    def tick(cursor=None):
        return dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=cursor)

    def requested(tick):
        return {n for n in (*TABLES, *SERVED) if tick.get_num_requested(dg.AssetKey(n))}

    first = tick()
    assert requested(first) == set()
    execute(pipeline, instance, "ingest", "XASX")
    second = tick(first.cursor)
    assert requested(second) >= set(TABLES)
    job = defs.get_repository_def().get_implicit_global_asset_job_def()
    for names in (TABLES, SERVED):
        keys = [dg.AssetKey(n) for n in names]
        assert job.execute_in_process(asset_selection=keys, instance=instance).success
    third = tick(second.cursor)
    assert requested(third) <= set(SERVED)
    assert requested(tick(third.cursor)) == set()


def test_rates_that_come_first_fail_nothing_and_prices_are_followed_then(tmp_path, instance):
    tickers = {"VAS": "XASX", "VGS": "XASX", "VAF": "XASX", "AUDUSD=X": "FX"}
    pipeline = make_pipeline(tmp_path, tickers)
    defs = build_definitions(pipeline.settings, None, pipeline)
    tables = [dg.AssetKey("risk_metrics"), dg.AssetKey("correlations")]

    def tick(cursor=None):
        return dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=cursor)

    first = tick()
    assert execute(pipeline, instance, "ingest", "FX").success
    second = tick(first.cursor)
    asked = [k for k in tables if second.get_num_requested(k)]
    assert asked == tables  # as if there were prices
    job = defs.get_repository_def().get_implicit_global_asset_job_def()
    result = job.execute_in_process(asset_selection=tables, instance=instance)
    assert result.success
    assert result.get_asset_materialization_events() == []
    assert execute(pipeline, instance, "derive").success  # all of it, by hand
    assert not (pipeline.layout.root / "risk").exists()
    third = tick(second.cursor)
    assert third.total_requested == 0
    assert execute(pipeline, instance, "ingest", "XASX").success
    assert [k for k in tables if tick(third.cursor).get_num_requested(k)] == tables
    assert execute(pipeline, instance, "derive").success
    assert pipeline.layout.newest(RISK_METRICS) is not None
    assert pipeline.layout.newest(SUMMARY) is not None


def test_portfolios_read_none_of_the_risk_tables(tmp_path, instance):
    """What `model.lineage` declares: without the tables they come out the same, byte for byte."""
    pipeline = make_pipeline(tmp_path)
    execute(pipeline, instance, "ingest", "XASX")
    execute(pipeline, instance, "derive")
    folder = pipeline.layout.root / "portfolios"
    before = {p: p.read_bytes() for p in folder.rglob("*.parquet")}
    assert before
    shutil.rmtree(folder)
    shutil.rmtree(pipeline.layout.root / "risk")
    repository = build_definitions(pipeline.settings, None, pipeline).get_repository_def()
    result = repository.get_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[dg.AssetKey("optimised_portfolios"), dg.AssetKey("backtests")],
        instance=instance,
    )
    assert result.success
    assert {p: p.read_bytes() for p in folder.rglob("*.parquet")} == before


def test_an_exchange_not_downloaded_yet_does_not_hold_back_the_others(tmp_path, instance):
    tickers = {"VAS": "XASX", "VGS": "XASX", "VAF": "XASX", "SPY": "XNYS"}
    pipeline = make_pipeline(tmp_path, tickers)
    defs = build_definitions(pipeline.settings, None, pipeline)
    before = dg.evaluate_automation_conditions(defs=defs, instance=instance)
    execute(pipeline, instance, "ingest", "XASX")
    after = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=before.cursor)
    assert after.get_num_requested(dg.AssetKey("risk_metrics")) == 1


def test_run_configuration_chooses_tickers_and_source(tmp_path, instance, yahoo):
    served(yahoo, "VAS", "VGS", "VAF")
    pipeline = make_pipeline(tmp_path, yahoo_url=yahoo.url)
    result = execute(
        pipeline, instance, "ingest", "XASX", tickers=["VAS"], source="yahoo", full_refresh=True
    )
    assert result.success
    assert file_info(pipeline.layout.of(HISTORY, "VAS")).source == "yahoo"
    assert set(yahoo.seen) == {"VAS.AX"}


def test_a_bad_portfolio_file_fails_that_asset_with_its_line(tmp_path, instance):
    pipeline = make_pipeline(tmp_path)
    run_graph(pipeline, instance)
    pipeline.settings.portfolios_file.write_text(
        "portfolios:\n  - name: a\n    tickers: [NOPE]\n    objective: max_sharpe\n"
    )
    report = run_graph(Pipeline(pipeline.settings, clock=lambda: NOW), instance)
    bad = {s.asset: s.outcome for s in report.stages if not s.good}
    # All that read the file: correlations has every pair of a portfolio.
    assert set(bad) == {"correlations", "optimised_portfolios", "backtests", "reports"}
    assert {o.reason_code for o in bad.values()} == {ReasonCode.BAD_PORTFOLIO_FILE}
    assert all("line 3" in o.reason and "NOPE" in o.reason for o in bad.values())
    assert of_run(report, chosen=False) == 3
