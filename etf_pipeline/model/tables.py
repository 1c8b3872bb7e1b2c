"""What a table is: columns with units, a key, and what one of its files is about.

Arrow itself is imported when a schema is first asked for: a path needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


class Granularity(Enum):
    """What one file of a table is about, which is what its path is made from."""

    BATCH = "a download of a partition: partition, batch id"
    TICKER = "a ticker: its id"
    RUN = "an asset of a run: asset, run id, partition"
    AS_OF = "a day: the newest session it was computed from"
    VERSION = "a version of something declared: its name"
    EVENTS = "a day of a channel: channel, day, name of the file"


@dataclass(frozen=True)
class Column:
    """One column: name, Arrow type by name, what it holds (with unit), whether it may be null."""

    name: str
    kind: str
    description: str
    nullable: bool = True

    @property
    def type(self) -> pa.DataType:
        """The Arrow type."""
        return _arrow_types()[self.kind]


@dataclass(frozen=True)
class Table:
    """One table: its columns, its key and its sort order (the key), and where it belongs.

    `group` names what is published together; `granularity` says what one file is about. Paths are
    made from both by `store.layout.Layout.of`.
    """

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    group: str
    granularity: Granularity

    @cached_property
    def arrow(self) -> pa.Schema:
        """The exact schema of every file of this table."""
        import pyarrow as pa

        return pa.schema([pa.field(c.name, c.type, c.nullable) for c in self.columns])

    @cached_property
    def names(self) -> list[str]:
        """Column names, in file order."""
        return [c.name for c in self.columns]


@lru_cache(maxsize=1)
def _arrow_types() -> dict[str, pa.DataType]:
    import pyarrow as pa

    known = (pa.float64(), pa.string(), pa.int64(), pa.date32(), pa.bool_())
    return {str(t): t for t in (*known, pa.timestamp("us", tz="UTC"))}
