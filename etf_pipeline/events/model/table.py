"""Events as an Arrow table, `schemas.EVENTS`, and back."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from etf_pipeline.events.model.envelope import Event
from etf_pipeline.model.schemas import EVENTS

# The columns in the order of an event's fields.
_NAMES = (
    "id",
    "type",
    "version",
    "source",
    "subject",
    "time",
    "recorded",
    "data",
    "channel",
    "partition",
    "position",
    "log",
    "number",
)


def to_table(events: Sequence[Event]) -> pa.Table:
    """At least one event as a table."""
    columns = list(zip(*events, strict=True))
    return pa.table(
        [
            pa.array(c, pa.int64()).cast(f.type)
            if pa.types.is_timestamp(f.type)
            else pa.array(c, f.type)
            for c, f in zip(columns, (EVENTS.arrow.field(n) for n in _NAMES), strict=True)
        ],
        schema=EVENTS.arrow,
    )


def from_table(table: pa.Table) -> list[Event]:
    """The events of a table; one by an earlier release lacks the last columns."""
    columns = [
        c.cast(pa.int64()).to_pylist() if pa.types.is_timestamp(c.type) else c.to_pylist()
        for c in table.columns
    ]
    return list(map(Event, *columns))
