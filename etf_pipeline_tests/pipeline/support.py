"""A pipeline on a small universe, run by a real Dagster instance in process."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg

from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.settings import Settings

NOW = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)
HEADER = "ticker,symbol,exchange,name,asset_class,issuer,currency,shards\n"
PORTFOLIOS = """portfolios:
  - name: pair
    tickers: [VAS, VGS]
    objective: max_return
    risk_budget: 0.30
    lookback_years: 3
  - name: calm
    tickers: [VAS, VGS, VAF]
    objective: min_volatility
"""


_CLASSES = {"VAF": "fixed_income", "AUDUSD=X": "currency"}


def write_universe(folder: Path, tickers: dict[str, str], shards: int = 1) -> Path:
    """A universe file of `{ticker: MIC}`."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = {"XASX": (".AX", "AUD"), "XNYS": ("", "USD"), "FX": ("", "USD")}
    lines = [
        f"{t},{t}{suffix[m][0]},{m},{t},"
        f"{_CLASSES.get(t, 'australian_equity')},x,{suffix[m][1]},"
        f"{shards if m == 'XNYS' else 1}\n"
        for t, m in tickers.items()
    ]
    path = folder / "universe.csv"
    path.write_text(HEADER + "".join(lines))
    return path


def make_pipeline(folder: Path, tickers: dict[str, str] | None = None, **changes: Any) -> Pipeline:
    """Simulated prices at a fixed time unless `changes` say otherwise."""
    tickers = tickers or dict.fromkeys(("VAS", "VGS", "VAF"), "XASX")
    portfolios = folder / "portfolios.yaml"
    universe = write_universe(folder, tickers, changes.pop("shards", 1))
    portfolios.write_text(changes.pop("portfolios", PORTFOLIOS))
    values: dict[str, Any] = {
        "data_dir": folder / "store",
        "universe_file": universe,
        "portfolios_file": portfolios,
        "source": "simulated",
        "retry_delay_seconds": 0.0,
        "lock_timeout_seconds": 10.0,
        "yahoo_backoff_seconds": 0.01,
        "yahoo_backoff_max_seconds": 0.02,
        "yahoo_attempts": 2,
    }
    return Pipeline(Settings(**(values | changes)), clock=lambda: NOW)


def execute(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    job: str,
    partition: str | None = None,
    **ingest: Any,
) -> dg.ExecuteInProcessResult:
    """Run one job of fresh definitions."""
    repository = build_definitions(
        pipeline.settings, pipeline.event_settings, pipeline
    ).get_repository_def()
    config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    if ingest:
        config["ops"] = {"raw_prices": {"config": ingest}}
    return repository.get_job(job).execute_in_process(
        run_config=config, instance=instance, partition_key=partition, raise_on_error=False
    )
