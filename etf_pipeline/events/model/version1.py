"""The first versions of those event types that have a later one. Published, and never changed."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Origin = Literal["pipeline", "library"]
Number = float | None


class EventData(BaseModel):
    """Base of every payload. Unknown fields of a later minor change are ignored when read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class RunData(EventData):
    """What a run of the pipeline did to one ticker."""

    ticker: str = Field(description="ticker id of the universe")
    run_id: str = Field(description="Dagster run that did it")
    partition: str = Field(description="exchange (ISO 10383 MIC), or a shard of it")
    source: str = Field(description="yahoo, files or simulated")


class ETFDataCollected1(RunData):
    """A raw batch now holds rows of the ticker that were not known before."""

    model_config = ConfigDict(title="ETFDataCollected")

    batch_id: str = Field(description="immutable raw batch that holds the rows")
    batch_hash: str | None = Field(description="SHA-256 of the batch file")
    rows_added: int = Field(description="sessions not known before")
    rows_revised: int = Field(description="sessions whose values changed")
    first_date: dt.date | None = Field(description="first session then known")
    last_date: dt.date | None = Field(description="last session then known")
    reason: str | None = Field(None, description="remark, in words")


class ETFDataUpdated1(RunData):
    """The history of the ticker was replaced by one that holds all batches up to `batch_id`."""

    model_config = ConfigDict(title="ETFDataUpdated")

    content_hash: str = Field(description="SHA-256 of the history's content")
    batch_id: str = Field(description="newest raw batch that the history holds")
    rules_version: int | None = Field(description="version of the quality rules applied")
    rows_added: int = Field(description="sessions not held before")
    rows_revised: int = Field(description="sessions whose values changed")
    rows_quarantined: int = Field(description="sessions held back by a quality rule")
    first_date: dt.date | None = Field(description="first session held")
    last_date: dt.date | None = Field(description="last session held")
    reason: str | None = Field(None, description="remark, in words")


class ETFDataRejected1(RunData):
    """Data of the ticker was refused and nothing was stored."""

    model_config = ConfigDict(title="ETFDataRejected")

    asset: str = Field(description="asset that refused")
    reason: str = Field(description="why, in words")


class ETFDataCollectionFailed1(RunData):
    """The ticker could not be collected; a run that failed as a whole names its partition."""

    model_config = ConfigDict(title="ETFDataCollectionFailed")

    asset: str = Field(description="asset that failed")
    failure_kind: str | None = Field(description="transient, permanent or missing")
    reason: str = Field(description="why, in words")
    whole_run: bool = Field(False, description="no ticker's outcome is known")


class RiskMetricsCalculated1(EventData):
    """Risk metrics of the ticker were computed; null values could not be."""

    model_config = ConfigDict(title="RiskMetricsCalculated")

    ticker: str = Field(description="ticker id")
    origin: Origin = Field(description="scheduled table, or a library call")
    run_id: str = Field(description="Dagster run, or the call's own id")
    as_of: dt.date | None = Field(description="newest session used")
    content_hash: str | None = Field(description="SHA-256 of the table, or of the history used")
    parameters: dict[str, str | float | None] = Field(description="what was asked for")
    metrics: dict[str, dict[str, Number | int | str]] | None = Field(
        description="values by window; null when the table was replaced before they were recorded"
    )


class PortfolioOptimized1(EventData):
    """A portfolio was optimised, or could not be: then `weights` is null and `message` says why."""

    model_config = ConfigDict(title="PortfolioOptimized")

    portfolio: str = Field(description="name of the portfolio, or its tickers")
    origin: Origin = Field(description="scheduled table, or a library call")
    run_id: str = Field(description="Dagster run, or the call's own id")
    as_of: dt.date | None = Field(description="newest session used")
    content_hash: str | None = Field(description="SHA-256 of the weights table, if any")
    parameters: dict[str, Any] = Field(description="what was asked for")
    success: bool = Field(description="feasible and proven optimal within 1e-6")
    message: str = Field(description="in words")
    weights: dict[str, float] | None = Field(description="fraction by ticker")
    expected_return: Number = Field(description="fraction a year")
    volatility: Number = Field(description="fraction a year")
    sharpe_ratio: Number = Field(description="excess return over volatility")
    optimality_gap: Number = Field(description="upper bound of the return still to be had")


class PriceDataQueried1(EventData):
    """Prices of the ticker were handed to a caller of the library."""

    model_config = ConfigDict(title="PriceDataQueried")

    ticker: str = Field(description="ticker id")
    run_id: str = Field(description="the call's own id, shared by all tickers of one call")
    operation: str = Field(description="method of ETFDataProvider")
    rows: int = Field(description="sessions handed out")
    first_date: dt.date | None = Field(description="first of them")
    last_date: dt.date | None = Field(description="last of them")
    content_hash: str | None = Field(description="SHA-256 of the history read, null if a user's")
