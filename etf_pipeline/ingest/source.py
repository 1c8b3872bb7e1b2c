"""The contract of a price source, and the two things it may answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import pandas as pd

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import FailureKind, OutcomeKind, Remark

Clock = Callable[[], dt.datetime]
REJECTED: Literal[OutcomeKind.REJECTED] = OutcomeKind.REJECTED


@dataclass(frozen=True)
class Request:
    """One ticker's prices from `start` on, or all of them when `start` is None."""

    instrument: Instrument
    start: dt.date | None = None

    @property
    def full(self) -> bool:
        """Whether the whole history is asked for."""
        return self.start is None


@dataclass(frozen=True)
class Download:
    """An answer: rows as `model.rows` has them, with the columns of `DOWNLOAD_COLUMNS`.

    `symbol`, `currency` and `granularity` are what the source itself says it sent;
    `dividend_notes` what it says of single dividends, see `schemas.RAW`, by date. An event that is
    NaN is not told, and what is known of it stays.

    Attributes:
        origin: the file they are from.
        whole: the rows are all that the source has, though only a part was asked for.
        implied: distributions are told by the adjusted close alone, so that one on the first day
            does not show.
        remarks: told of a ticker's first rows.
    """

    request: Request
    rows: pd.DataFrame
    symbol: str
    currency: str
    granularity: str = "1d"
    dividend_notes: Mapping[dt.date, str] = field(default_factory=dict)
    origin: str | None = None
    whole: bool = False
    implied: bool = False
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class FetchFailure:
    """No usable answer.

    Attributes:
        kind: `transient` (try again later), `missing` (the source knows no such symbol; never
            final on one day), `permanent` or `rejected` (an answer to another question).
        code: why, to decide by.
        reason: why, in words.
    """

    request: Request
    kind: FailureKind | Literal[OutcomeKind.REJECTED]
    code: ReasonCode
    reason: str


class PriceSource(Protocol):
    """Where prices come from. One instance serves one run."""

    @property
    def name(self) -> str:
        """`yahoo`, `files` or `simulated`: the label in every file."""
        ...

    def fetch(self, requests: Sequence[Request]) -> Iterator[Download | FetchFailure]:
        """One answer per request, in request order, as they become available.

        One ticker's failure is its own answer and never ends the others.
        """
        ...


def utc_now() -> dt.datetime:
    """The clock used unless a caller brings its own."""
    return dt.datetime.now(dt.UTC)
