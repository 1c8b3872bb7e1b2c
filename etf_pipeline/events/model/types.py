"""The event types in their newest versions, and their registry.

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
    ETFDataCollectionFailed1,
    ETFDataRejected1,
    ETFDataUpdated1,
    PortfolioOptimized1,
    PriceDataQueried1,
    RiskMetricsCalculated1,
)
from etf_pipeline.events.model.version1 import EventData as EventData
from etf_pipeline.events.model.version2 import (
    CURRENCY,
    ETFDataCollected2,
    ETFDataUpdated2,
    PortfolioOptimized2,
    RiskMetricsCalculated2,
)

DATA, PORTFOLIO, QUERY, LINEAGE = (
    "etf-data-events",
    "portfolio-events",
    "query-events",
    "lineage-events",
)
CHANNELS = (DATA, PORTFOLIO, QUERY)
_CODE = "why, as a code of `errors.ReasonCode`; null where none was given"
_CORRECTIONS = (
    "version of the declared corrections that counted, a file in `corrections/`; null without any"
)
_GONE = (
    "why the values are not told here: the file with `content_hash` held something else, or was "
    "gone, before they were recorded; null when they are told"
)


class ETFDataCollected(ETFDataCollected2):
    """A raw batch now holds what was not known of the ticker: rows, or what was said besides."""

    corrections: str | None = Field(None, description=_CORRECTIONS)


class ETFDataUpdated(ETFDataUpdated2):
    """The history of the ticker was replaced by one that holds all batches up to `batch_id`."""

    corrections: str | None = Field(None, description=_CORRECTIONS)


class ETFDataRejected(ETFDataRejected1):
    """Data of the ticker was refused and nothing was stored."""

    reason_code: str | None = Field(None, description=_CODE)
    currency: str | None = Field(None, description=CURRENCY)
    corrections: str | None = Field(None, description=_CORRECTIONS)


class ETFDataCollectionFailed(ETFDataCollectionFailed1):
    """The ticker could not be collected; a run that failed as a whole names its partition."""

    reason_code: str | None = Field(None, description=_CODE)
    currency: str | None = Field(None, description=CURRENCY)
    corrections: str | None = Field(None, description=_CORRECTIONS)


class PipelineStageFailed(EventData):
    """A stage of a run failed or was stopped; what became of single subjects has its own events."""

    run_id: str = Field(description="Dagster run")
    job: str = Field(description="Dagster job")
    stage: str = Field(description="asset that failed; `run` when no stage of it had begun")
    partition: str = Field(description="exchange (ISO 10383 MIC), or a shard; empty for all")
    canceled: bool = Field(description="somebody stopped the run")
    reason_code: str = Field(description="why, as a code of `errors.ReasonCode`")
    reason: str = Field(description="why, in words")
    subjects: list[str] = Field(
        description="tickers or portfolios that did not come out; empty when it is not known "
        "which: it may be any of the stage"
    )


class RiskMetricsCalculated(RiskMetricsCalculated2):
    """Risk metrics of the ticker were computed; null values could not be."""

    gone: str | None = Field(None, description=_GONE)


class PortfolioOptimized(PortfolioOptimized2):
    """A portfolio was optimised, or could not be: then `weights` is null and `message` says why."""

    gone: str | None = Field(None, description=_GONE)


class PriceDataQueried(PriceDataQueried1):
    """Prices of the ticker were handed to a caller of the library."""

    currency: str | None = Field(None, description=CURRENCY)


class EventsLost(EventData):
    """Somebody declared events lost for good, so that replays go on without them."""

    log: str = Field(description="id of the local log whose numbers they had; empty for offsets")
    channel: str = Field(description="topic without its prefix")
    partition: int | None = Field(None, description="of the topic, where `first` is an offset")
    first: int = Field(description="number of the first lost event, or its offset")
    last: int = Field(description="number of the last lost event, or its offset")
    who: str = Field(description="who declared it")
    why: str = Field(description="why they are lost, in words")


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


def _says_no_more(payload: dict[str, Any]) -> dict[str, Any]:
    """A version as the next one, whose new fields are null where nothing was said of them."""
    return payload


REGISTRY = Registry()
_VERSIONS: tuple[tuple[str, tuple[type[EventData], ...]], ...] = (
    (DATA, (ETFDataCollected1, ETFDataCollected2, ETFDataCollected)),
    (DATA, (ETFDataUpdated1, ETFDataUpdated2, ETFDataUpdated)),
    (DATA, (ETFDataRejected1, ETFDataRejected)),
    (DATA, (ETFDataCollectionFailed1, ETFDataCollectionFailed)),
    (DATA, (PipelineStageFailed,)),
    (DATA, (EventsLost,)),
    (PORTFOLIO, (RiskMetricsCalculated1, RiskMetricsCalculated2, RiskMetricsCalculated)),
    (PORTFOLIO, (PortfolioOptimized1, PortfolioOptimized2, PortfolioOptimized)),
    (QUERY, (PriceDataQueried1, PriceDataQueried)),
)
for _channel, _models in _VERSIONS:
    for _version, _model in enumerate(_models, 1):
        _upcast = _says_no_more if _version > 1 else None
        REGISTRY.add(_model, _channel, _models[-1].__name__, _version, _upcast)


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
