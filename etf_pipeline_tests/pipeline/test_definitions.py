"""What the code location offers: a snapshot, so that a change of it is a decision."""

import dagster as dg
import pytest

from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline_tests.pipeline.support import make_pipeline

TABLES = ["backtests", "correlations", "optimised_portfolios", "price_history", "risk_metrics"]


@pytest.fixture
def repository(tmp_path):
    tickers = {"VAS": "XASX", "VGS": "XASX", "VAF": "XASX", "SPY": "XNYS", "IWM": "XNYS"}
    pipeline = make_pipeline(tmp_path, tickers, shards=2)
    return build_definitions(pipeline.settings, pipeline).get_repository_def()


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
        "optimised_portfolios": ("portfolios", ["correlations", "price_history", "risk_metrics"]),
        "backtests": ("portfolios", ["correlations", "price_history", "risk_metrics"]),
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
        "risk_metrics.metrics_possible": True,
        "correlations.correlations_psd": True,
        "optimised_portfolios.weights_add_up": True,
        "optimised_portfolios.every_portfolio_optimised": False,
    }


def test_jobs_schedules_and_sensors(repository):
    jobs = {j.name for j in repository.get_all_jobs() if not j.name.startswith("__")}
    assert jobs == {"ingest", "derive"}
    schedules = {
        s.name: (s.cron_schedule, s.execution_timezone, s.default_status.value)
        for s in repository.schedule_defs
    }
    assert schedules == {
        "ingest_xasx": ("45 16 * * 1,2,3,4,5", "Australia/Sydney", "STOPPED"),
        "ingest_xnys": ("45 16 * * 1,2,3,4,5", "America/New_York", "STOPPED"),
    }
    assert sorted(s.name for s in repository.sensor_defs) == ["derived_tables", "event_relay"]


def test_partitions_are_exchanges_or_their_shards(repository):
    graph = repository.asset_graph
    for key in ("raw_prices", "price_history"):
        partitions = graph.get(dg.AssetKey(key)).partitions_def
        assert partitions.get_partition_keys() == ["XASX", "XNYS-00", "XNYS-01"]
    assert graph.get(dg.AssetKey("risk_metrics")).partitions_def is None


def test_policies(repository):
    graph = repository.asset_graph
    raw = graph.get(dg.AssetKey("raw_prices")).assets_def
    assert raw.op.pool == "yahoo"
    assert raw.op.retry_policy.max_retries == 2
    assert raw.op.retry_policy.backoff is dg.Backoff.EXPONENTIAL
    assert graph.get(dg.AssetKey("price_history")).freshness_policy is not None
    for key in ("risk_metrics", "correlations", "optimised_portfolios"):
        condition = graph.get(dg.AssetKey(key)).automation_condition
        assert "all_deps_blocking_checks_passed" in str(condition.get_node_snapshot("x")) or (
            condition.get_label() == "when inputs change"
        )


def test_a_schedule_asks_for_every_shard_once_a_day(repository):
    schedule = repository.get_schedule_def("ingest_xnys")
    import datetime as dt
    from zoneinfo import ZoneInfo

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
