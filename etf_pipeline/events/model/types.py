"""The seven event types, versioned.

Facts, not blobs: data events name the raw batch that holds the rows. A version never changes once
published: another shape is another version, with an upcaster from the one before. Their schemas
are in `docs/events/`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from etf_pipeline.errors import EventFormatError

DATA, PORTFOLIO, QUERY, LINEAGE = (
    "etf-data-events",
    "portfolio-events",
    "query-events",
    "lineage-events",
)
CHANNELS = (DATA, PORTFOLIO, QUERY)
Origin = Literal["pipeline", "library"]
Number = float | None


class EventData(BaseModel):
    """Base of every payload. Unknown fields of a later minor change are ignored when read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class _Run(EventData):
    ticker: str = Field(description="ticker id of the universe")
    run_id: str = Field(description="Dagster run that did it")
    partition: str = Field(description="exchange (ISO 10383 MIC), or a shard of it")
    source: str = Field(description="yahoo, files or simulated")


class ETFDataCollected(_Run):
    """A raw batch now holds rows of the ticker that were not known before."""

    batch_id: str = Field(description="immutable raw batch that holds the rows")
    batch_hash: str | None = Field(description="SHA-256 of the batch file")
    rows_added: int = Field(description="sessions not known before")
    rows_revised: int = Field(description="sessions whose values changed")
    first_date: dt.date | None = Field(description="first session then known")
    last_date: dt.date | None = Field(description="last session then known")
    reason: str | None = Field(None, description="remark, in words")


class ETFDataUpdated(_Run):
    """The history of the ticker was replaced by one that holds all batches up to `batch_id`."""

    content_hash: str = Field(description="SHA-256 of the history's content")
    batch_id: str = Field(description="newest raw batch that the history holds")
    rules_version: int | None = Field(description="version of the quality rules applied")
    rows_added: int = Field(description="sessions not held before")
    rows_revised: int = Field(description="sessions whose values changed")
    rows_quarantined: int = Field(description="sessions held back by a quality rule")
    first_date: dt.date | None = Field(description="first session held")
    last_date: dt.date | None = Field(description="last session held")
    reason: str | None = Field(None, description="remark, in words")


class ETFDataRejected(_Run):
    """Data of the ticker was refused and nothing was stored."""

    asset: str = Field(description="asset that refused")
    reason: str = Field(description="why, in words")


class ETFDataCollectionFailed(_Run):
    """The ticker could not be collected; a run that failed as a whole names its partition."""

    asset: str = Field(description="asset that failed")
    failure_kind: str | None = Field(description="transient, permanent or missing")
    reason: str = Field(description="why, in words")
    whole_run: bool = Field(False, description="no ticker's outcome is known")


class RiskMetricsCalculated(EventData):
    """Risk metrics of the ticker were computed; null values could not be."""

    ticker: str = Field(description="ticker id")
    origin: Origin = Field(description="scheduled table, or a library call")
    run_id: str = Field(description="Dagster run, or the call's own id")
    as_of: dt.date | None = Field(description="newest session used")
    content_hash: str | None = Field(description="SHA-256 of the table, or of the history used")
    parameters: dict[str, str | float | None] = Field(description="what was asked for")
    metrics: dict[str, dict[str, Number | int | str]] | None = Field(
        description="values by window; null when the table was replaced before they were recorded"
    )


class PortfolioOptimized(EventData):
    """A portfolio was optimised, or could not be: then `weights` is null and `message` says why."""

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


class PriceDataQueried(EventData):
    """Prices of the ticker were handed to a caller of the library."""

    ticker: str = Field(description="ticker id")
    run_id: str = Field(description="the call's own id, shared by all tickers of one call")
    operation: str = Field(description="method of ETFDataProvider")
    rows: int = Field(description="sessions handed out")
    first_date: dt.date | None = Field(description="first of them")
    last_date: dt.date | None = Field(description="last of them")
    content_hash: str | None = Field(description="SHA-256 of the history read, null if a user's")


Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class Registry:
    """Which type has which versions, and how an older version becomes the newest."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, int], type[EventData]] = {}
        self._newest: dict[str, int] = {}
        self._channel: dict[str, str] = {}
        self._upcast: dict[tuple[str, int], Upcaster] = {}

    def add(
        self,
        model: type[EventData],
        channel: str,
        name: str | None = None,
        version: int = 1,
        upcast: Upcaster | None = None,
    ) -> None:
        """Make a version of type `name` (the model's by default) known.

        `upcast` turns the payload of the version before into one of this.

        Raises:
            ValueError: versions must follow each other, each with its upcaster.
        """
        name = name or model.__name__
        before = self._newest.get(name, 0)
        if version != before + 1 or (version > 1) != (upcast is not None):
            raise ValueError(f"{name} version {version} does not follow {before} with an upcaster")
        self._models[(name, version)] = model
        self._newest[name] = version
        self._channel[name] = channel
        if upcast is not None:
            self._upcast[(name, version - 1)] = upcast

    def name_of(self, data: EventData) -> tuple[str, int]:
        """Type name and version of a payload."""
        for key, model in self._models.items():
            if type(data) is model:
                return key
        raise EventFormatError(f"{type(data).__name__} is not a registered event type")

    def channel(self, name: str) -> str:
        """Channel (topic without prefix) of a type."""
        return self._channel[name]

    def versions(self) -> Iterator[tuple[str, int, type[EventData]]]:
        """Every version of every type."""
        for (name, version), model in sorted(self._models.items()):
            yield name, version, model

    def parse(self, name: str, version: int, payload: bytes | str) -> EventData:
        """A payload of any known version as the newest one.

        Raises:
            EventFormatError: unknown type or version, or a payload that is not of it.
        """
        model = self._models.get((name, version))
        if model is None:
            known = self._newest.get(name)
            raise EventFormatError(
                f"event {name} version {version} is not known here"
                + (f" (newest known: {known}); upgrade etf_pipeline" if known else "")
            )
        try:
            data: EventData = model.model_validate_json(payload)
            for step in range(version, self._newest[name]):
                values = self._upcast[(name, step)](data.model_dump())
                data = self._models[(name, step + 1)].model_validate(values)
        except ValidationError as error:
            where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise EventFormatError(f"event {name} version {version}: {where}") from None
        return data


REGISTRY = Registry()
for _model in (ETFDataCollected, ETFDataUpdated, ETFDataRejected, ETFDataCollectionFailed):
    REGISTRY.add(_model, DATA)
REGISTRY.add(RiskMetricsCalculated, PORTFOLIO)
REGISTRY.add(PortfolioOptimized, PORTFOLIO)
REGISTRY.add(PriceDataQueried, QUERY)


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema by file name, as published in `docs/events/`."""
    return {
        f"{name}.v{version}.json": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:etf_pipeline:event:{name}:{version}",
            **model.model_json_schema(mode="serialization"),
        }
        for name, version, model in REGISTRY.versions()
    }
