"""The second versions of those event types that have a later one. Published, and never changed."""

from __future__ import annotations

from pydantic import Field

from etf_pipeline.events.model.version1 import (
    ETFDataCollected1,
    ETFDataUpdated1,
    PortfolioOptimized1,
    RiskMetricsCalculated1,
)

CURRENCY = "what prices are in: ISO 4217, or a unit of it such as GBp; null if that is not known"
FX = (
    "currency pairs that prices were converted with, and the content hash of each one's history "
    "(its first digits); null when none were"
)


class ETFDataCollected2(ETFDataCollected1):
    """A raw batch now holds what was not known of the ticker: rows, or what was said besides."""

    currency: str | None = Field(None, description=CURRENCY)


class ETFDataUpdated2(ETFDataUpdated1):
    """The history of the ticker was replaced by one that holds all batches up to `batch_id`."""

    currency: str | None = Field(None, description=CURRENCY)


class RiskMetricsCalculated2(RiskMetricsCalculated1):
    """Risk metrics of the ticker were computed; null values could not be."""

    currency: str | None = Field(None, description=CURRENCY)
    fx: dict[str, str | None] | None = Field(None, description=FX)


class PortfolioOptimized2(PortfolioOptimized1):
    """A portfolio was optimised, or could not be: then `weights` is null and `message` says why."""

    currency: str | None = Field(
        None, description="what returns are in, ISO 4217; null when no file says its currency"
    )
    fx: dict[str, str | None] | None = Field(None, description=FX)
