"""The seven event types, versioned.

Facts, not blobs: data events name the raw batch that holds the rows. A version never changes once
published: another shape is another version, with an upcaster from the one before. Their schemas
are in `docs/events/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import Field, ValidationError

from etf_pipeline.errors import EventFormatError
from etf_pipeline.events.model.version1 import (
    ETFDataCollected1,
    ETFDataUpdated1,
    PortfolioOptimized1,
    PriceDataQueried1,
    RiskMetricsCalculated1,
    RunData,
)
from etf_pipeline.events.model.version1 import EventData as EventData

DATA, PORTFOLIO, QUERY, LINEAGE = (
    "etf-data-events",
    "portfolio-events",
    "query-events",
    "lineage-events",
)
CHANNELS = (DATA, PORTFOLIO, QUERY)
_CURRENCY = "what prices are in: ISO 4217, or a unit of it such as GBp; null if that is not known"
_FX = (
    "currency pairs that prices were converted with, and the content hash of each one's history "
    "(its first digits); null when none were"
)


class ETFDataCollected(ETFDataCollected1):
    """A raw batch now holds what was not known of the ticker: rows, or what was said besides."""

    currency: str | None = Field(None, description=_CURRENCY)


class ETFDataUpdated(ETFDataUpdated1):
    """The history of the ticker was replaced by one that holds all batches up to `batch_id`."""

    currency: str | None = Field(None, description=_CURRENCY)


class ETFDataRejected(RunData):
    """Data of the ticker was refused and nothing was stored."""

    asset: str = Field(description="asset that refused")
    reason: str = Field(description="why, in words")


class ETFDataCollectionFailed(RunData):
    """The ticker could not be collected; a run that failed as a whole names its partition."""

    asset: str = Field(description="asset that failed")
    failure_kind: str | None = Field(description="transient, permanent or missing")
    reason: str = Field(description="why, in words")
    whole_run: bool = Field(False, description="no ticker's outcome is known")


class RiskMetricsCalculated(RiskMetricsCalculated1):
    """Risk metrics of the ticker were computed; null values could not be."""

    currency: str | None = Field(None, description=_CURRENCY)
    fx: dict[str, str | None] | None = Field(None, description=_FX)


class PortfolioOptimized(PortfolioOptimized1):
    """A portfolio was optimised, or could not be: then `weights` is null and `message` says why."""

    currency: str | None = Field(
        None, description="what returns are in, ISO 4217; null when no file says its currency"
    )
    fx: dict[str, str | None] | None = Field(None, description=_FX)


class PriceDataQueried(PriceDataQueried1):
    """Prices of the ticker were handed to a caller of the library."""

    currency: str | None = Field(None, description=_CURRENCY)


def rates_used(named: str | None) -> dict[str, str | None] | None:
    """Exchange rates as manifests name them (`PAIR:hash,PAIR`), by pair."""
    if named is None:
        return None
    parts = (one.partition(":") for one in named.split(","))
    return {pair: digest or None for pair, _, digest in parts}


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


def _says_no_currency(payload: dict[str, Any]) -> dict[str, Any]:
    """Version 1 as version 2: it did not say what prices are in."""
    return payload


REGISTRY = Registry()
for _model in (ETFDataRejected, ETFDataCollectionFailed):
    REGISTRY.add(_model, DATA)
_TWO: tuple[tuple[type[EventData], type[EventData], str], ...] = (
    (ETFDataCollected1, ETFDataCollected, DATA),
    (ETFDataUpdated1, ETFDataUpdated, DATA),
    (RiskMetricsCalculated1, RiskMetricsCalculated, PORTFOLIO),
    (PortfolioOptimized1, PortfolioOptimized, PORTFOLIO),
    (PriceDataQueried1, PriceDataQueried, QUERY),
)
for _first, _second, _channel in _TWO:
    REGISTRY.add(_first, _channel, _second.__name__)
    REGISTRY.add(_second, _channel, version=2, upcast=_says_no_currency)


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
