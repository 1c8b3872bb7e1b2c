"""What the code location offers: a snapshot, so that a change of it is a decision."""

import datetime as dt
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline_tests.events_support import embedded_settings
from etf_pipeline_tests.pipeline.support import make_pipeline

TABLES = ["backtests", "correlations", "optimised_portfolios", "price_history", "risk_metrics"]


@pytest.fixture
def repository(tmp_path):
    tickers = {"VAS": "XASX", "VGS": "XASX", "VAF": "XASX", "SPY": "XNYS", "IWM": "XNYS"}
    pipeline = make_pipeline(tmp_path, tickers, shards=2)
    return build_definitions(pipeline.settings, None, pipeline).get_repository_def()


def test_assets_and_what_they_depend_on(repository):
    graph = repository.asset_graph
    found = {
        k.to_user_string(): (
            graph.get(k).group_name,
            sorted(p.to_user_string() for p in graph.get(k).parent_keys),
        )
        for k in graph.get_all_asset_keys()
    }
    assert found == {
        "raw_prices": ("ingest", []),
        "price_history": ("history", ["raw_prices"]),
        "risk_metrics": ("risk", ["price_history"]),
        "correlations": ("risk", ["price_history"]),
        "optimised_portfolios": ("portfolios", ["price_history"]),
        "backtests": ("portfolios", ["price_history"]),
        "sql_catalog": ("serving", TABLES),
        "reports": ("serving", TABLES),
    }


def test_checks_and_which_of_them_block(repository):
    graph = repository.asset_graph
    found = {
        f"{k.asset_key.to_user_string()}.{k.name}": graph.get(k).blocking
        for k in graph.asset_check_keys
    }
    assert found == {
        "raw_prices.every_ticker_answered": False,
        "price_history.histories_valid": True,
        "price_history.histories_complete": False,
        "price_history.nothing_quarantined": False,
        "price_history.distributions_agree": False,
        "price_history.calendar_agrees": False,
        "risk_metrics.metrics_possible": True,
        "correlations.correlations_psd": True,
        "correlations.every_ticker_correlated": False,
        "optimised_portfolios.weights_add_up": True,
        "optimised_portfolios.every_portfolio_optimised": False,
    }


def test_jobs_schedules_and_sensors(repository):
    jobs = {j.name for j in repository.get_all_jobs() if not j.name.startswith("__")}
    assert jobs == {"ingest", "derive", "maintain"}
    schedules = {
        s.name: (s.cron_schedule, s.execution_timezone, s.default_status.value)
        for s in repository.schedule_defs
    }
    assert schedules == {
        # two currencies need the rates between them
        "ingest_fx": ("45 0 * * 2,3,4,5,6", "Europe/London", "STOPPED"),
        "ingest_xasx": ("45 16 * * 1,2,3,4,5", "Australia/Sydney", "STOPPED"),
        "ingest_xnys": ("45 16 * * 1,2,3,4,5", "America/New_York", "STOPPED"),
        "maintain_weekly": ("0 12 * * 0", "UTC", "STOPPED"),
    }
    assert sorted(s.name for s in repository.sensor_defs) == ["derived_tables", "event_relay"]


def test_a_day_that_ends_at_midnight_is_downloaded_in_the_morning_after(tmp_path):
    pipeline = make_pipeline(tmp_path, {"AUDUSD=X": "FX", "VAS": "XASX"})
    repository = build_definitions(pipeline.settings, None, pipeline).get_repository_def()
    schedules = {s.name: (s.cron_schedule, s.execution_timezone) for s in repository.schedule_defs}
    assert schedules["ingest_fx"] == ("45 0 * * 2,3,4,5,6", "Europe/London")


def test_one_currency_needs_no_rates(tmp_path):
    pipeline = make_pipeline(tmp_path)
    repository = build_definitions(pipeline.settings, None, pipeline).get_repository_def()
    assert [s.name for s in repository.schedule_defs] == ["ingest_xasx", "maintain_weekly"]
    assert pipeline.universe.partitions() == ["XASX"]
    assert pipeline.rates_for(["VAS"]) == []


def test_partitions_are_exchanges_or_their_shards(repository):
    graph = repository.asset_graph
    for key in ("raw_prices", "price_history"):
        partitions = graph.get(dg.AssetKey(key)).partitions_def
        assert partitions.get_partition_keys() == ["FX", "XASX", "XNYS-00", "XNYS-01"]
    assert graph.get(dg.AssetKey("risk_metrics")).partitions_def is None
    job = repository.get_job("ingest")
    assert job.partitions_def.get_partition_keys() == ["FX", "XASX", "XNYS-00", "XNYS-01"]
    assert repository.get_job("derive").partitions_def is None


def test_how_each_asset_is_shown(repository):
    graph = repository.asset_graph
    found = {
        k.to_user_string(): (sorted(graph.get(k).kinds), graph.get(k).owners, graph.get(k).tags)
        for k in graph.get_all_asset_keys()
    }
    kinds = {"sql_catalog": "duckdb", "reports": "html"}
    assert found == {
        name: ([kind], ["team:etf_pipeline"], {f"dagster/kind/{kind}": ""})
        for name in (*TABLES, "raw_prices", "sql_catalog", "reports")
        for kind in [kinds.get(name, "parquet")]
    }
    assert all(graph.get(k).description for k in graph.get_all_asset_keys())


def test_policies(repository):
    graph = repository.asset_graph
    definitions = {k.to_user_string(): graph.get(k).assets_def for k in graph.get_all_asset_keys()}
    # a slot of Yahoo is taken by a download from Yahoo alone, which is known when it runs
    assert {n: d.op.pool for n, d in definitions.items() if d.op.pool} == {}
    retried = {n: d.op.retry_policy for n, d in definitions.items() if d.op.retry_policy}
    assert retried == {
        "raw_prices": dg.RetryPolicy(
            max_retries=2,
            delay=0.0,
            backoff=dg.Backoff.EXPONENTIAL,
            jitter=dg.Jitter.PLUS_MINUS,
        )
    }
    fresh = {
        k.to_user_string(): graph.get(k).freshness_policy
        for k in graph.get_all_asset_keys()
        if graph.get(k).freshness_policy is not None
    }
    assert fresh == {
        "price_history": dg.FreshnessPolicy.time_window(
            fail_window=dt.timedelta(days=6), warn_window=dt.timedelta(days=5)
        )
    }
    assert repository.get_job("ingest").executor_def.name == "in_process"


def labels(condition):
    """The labels of an automation condition and of all that it consists of."""
    return {condition.get_label()}.union(*map(labels, condition.children))


def test_derived_assets_follow_when_every_check_has_passed_and_nothing_runs(repository):
    graph = repository.asset_graph
    found = {
        k.to_user_string(): graph.get(k).automation_condition for k in graph.get_all_asset_keys()
    }
    assert {n for n, condition in found.items() if condition is None} == {
        "raw_prices",
        "price_history",
    }
    for condition in filter(None, found.values()):
        assert condition.get_label() == "when inputs change"
        assert labels(condition) >= {
            "any_deps_updated",
            "any_deps_in_progress",
            "in_progress",
            "all_deps_blocking_checks_passed",
        }


def test_what_jobs_and_the_automation_sensor_cover(repository):
    derived = {"backtests", "correlations", "optimised_portfolios", "risk_metrics"} | {
        "sql_catalog",
        "reports",
    }
    jobs = {
        name: {
            k.to_user_string() for k in repository.get_job(name).asset_layer.executable_asset_keys
        }
        for name in ("ingest", "derive")
    }
    assert jobs == {"ingest": {"raw_prices", "price_history"}, "derive": derived}
    sensor = repository.get_sensor_def("derived_tables")
    chosen = sensor.asset_selection.resolve(repository.asset_graph)
    assert {k.to_user_string() for k in chosen} == derived
    assert {
        s.name: (s.default_status.value, s.minimum_interval_seconds) for s in repository.sensor_defs
    } == {
        "derived_tables": ("RUNNING", 30),
        "event_relay": ("STOPPED", 15),
    }


def test_definitions_follow_their_arguments_and_not_the_environment(tmp_path, monkeypatch):
    """The two that would show: schedules that start switched on, and the sensor of the events."""
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    monkeypatch.setenv("ETF_EXECUTOR", "multiprocess")
    monkeypatch.setenv("ETF_UNIVERSE_FILE", str(tmp_path / "nowhere.csv"))
    pipeline = make_pipeline(tmp_path, schedules_enabled=True, executor="in_process")
    for events, status in ((None, "STOPPED"), (embedded_settings(), "RUNNING")):
        defs = build_definitions(pipeline.settings, events)
        repository = defs.get_repository_def()
        assert repository.get_sensor_def("event_relay").default_status.value == status
        assert repository.get_schedule_def("ingest_xasx").default_status.value == "RUNNING"
        assert repository.get_job("derive").executor_def.name == "in_process"


def test_a_schedule_asks_for_every_shard_once_a_day(repository):
    schedule = repository.get_schedule_def("ingest_xnys")
    tick = dt.datetime(2025, 11, 12, 16, 45, tzinfo=ZoneInfo("America/New_York"))
    context = dg.build_schedule_context(scheduled_execution_time=tick, repository_def=repository)
    requests = schedule.evaluate_tick(context).run_requests
    assert [(r.partition_key, r.run_key) for r in requests] == [
        ("XNYS-00", "XNYS-00-2025-11-12"),
        ("XNYS-01", "XNYS-01-2025-11-12"),
    ]


def test_every_table_has_a_schema_with_descriptions(repository):
    for key in repository.asset_graph.get_all_asset_keys():
        metadata = repository.asset_graph.get(key).metadata
        columns = metadata["dagster/column_schema"].columns
        assert columns
        assert all(c.description for c in columns)
