"""Run configuration that the ingest assets share."""

import dagster as dg
from pydantic import Field


class IngestConfig(dg.Config):
    """What to download. The defaults do what a schedule should."""

    tickers: list[str] = Field([], description="Only these tickers; empty means all.")
    source: str = Field(
        "", description="yahoo, files:DIR or simulated; empty means the ETF_SOURCE setting."
    )
    full_refresh: bool = Field(
        False, description="Ask for the whole history of every ticker, not the trailing window."
    )


class HistoryConfig(dg.Config):
    """Which histories to bring up to date."""

    tickers: list[str] = Field([], description="Only these tickers; empty means all.")
