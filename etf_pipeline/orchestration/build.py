"""Fresh Dagster definitions from settings: everything that Dagster is told of, put together.

Nothing is read from the environment here; `etf_pipeline.definitions` does that.
"""

from __future__ import annotations

import datetime as dt

import dagster as dg

from etf_pipeline.events.settings import EventSettings
from etf_pipeline.orchestration.assets.portfolios import backtests, optimised_portfolios
from etf_pipeline.orchestration.assets.price_history import price_history_asset
from etf_pipeline.orchestration.assets.raw_prices import raw_prices_asset
from etf_pipeline.orchestration.assets.risk import correlations, risk_metrics
from etf_pipeline.orchestration.assets.serving import reports, sql_catalog
from etf_pipeline.orchestration.beginning import noting_the_beginning
from etf_pipeline.orchestration.executors import executor
from etf_pipeline.orchestration.jobs import derive_job, ingest_job
from etf_pipeline.orchestration.partitions import exchange_partitions
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.schedules import exchange_schedules, upkeep_schedule
from etf_pipeline.orchestration.sensors import automation_sensor, tailer_sensor
from etf_pipeline.orchestration.upkeep import maintain_job
from etf_pipeline.settings import Settings


def build_definitions(
    settings: Settings, events: EventSettings | None, pipeline: Pipeline | None = None
) -> dg.Definitions:
    """Everything Dagster is to know.

    Args:
        settings: of this code location.
        events: where events go; None for nowhere.
        pipeline: replaces the resource (another clock, source or progress display).
    """
    pipeline = pipeline or Pipeline(settings, events)
    partitions = exchange_partitions(pipeline.universe)
    ingest, upkeep = ingest_job(settings.data_dir), maintain_job(settings.data_dir)
    delay = dt.timedelta(minutes=settings.close_delay_minutes)
    return dg.Definitions(
        assets=[
            raw_prices_asset(partitions, settings.retry_delay_seconds),
            price_history_asset(partitions),
            risk_metrics,
            correlations,
            optimised_portfolios,
            backtests,
            sql_catalog,
            reports,
        ],
        jobs=[ingest, derive_job(settings.data_dir), upkeep],
        schedules=[
            *exchange_schedules(pipeline.universe, delay, ingest, settings.schedules_enabled),
            upkeep_schedule(upkeep, settings.schedules_enabled),
        ],
        sensors=[automation_sensor(settings.data_dir), tailer_sensor(events)],
        resources={"pipeline": noting_the_beginning(pipeline)},
        executor=executor(settings.executor),
    )
