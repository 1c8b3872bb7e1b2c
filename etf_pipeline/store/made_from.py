"""What a derived file was made from, as its own footer keeps it.

A file is made of parts: the rows of a ticker or of a portfolio. Each has a fingerprint of all that
decides its rows, so that those whose fingerprint is the same need not be made again.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model.schemas import Table
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_with_footer
from etf_pipeline.store.writer import MADE_FROM_KEY


@dataclass(frozen=True)
class MadeFrom:
    """What a file is made from.

    Attributes:
        parts: a fingerprint for each part, by ticker or portfolio.
        told: what there is to tell of a part besides its rows, plain data by the part's name.
        read: for people who look into the file: what was read and assumed, in plain data. It
            decides nothing.
    """

    parts: Mapping[str, str]
    told: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    read: Mapping[str, Any] = field(default_factory=dict)

    def as_bytes(self) -> bytes:
        """As a footer keeps it; the same for the same content."""
        body = {"parts": self.parts, "told": self.told, "read": self.read}
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> MadeFrom | None:
        """The same again; None of what is no such thing."""
        try:
            body = json.loads(raw)
            return cls(body["parts"], body["told"], body["read"])
        except (ValueError, TypeError, KeyError):
            return None

    def same_parts(self, parts: Mapping[str, str]) -> frozenset[str]:
        """Names of the parts that have the same fingerprint there."""
        return frozenset(name for name, one in parts.items() if self.parts.get(name) == one)


@dataclass(frozen=True)
class Kept:
    """A derived file that is what was published: `data` have the hash that its footer names."""

    table: Table
    path: Path
    as_of: dt.date
    data: pa.Table
    content_hash: str
    source: str
    made_from: MadeFrom


def newest_kept(
    layout: Layout, table: Table, parts: Mapping[str, str] | None = None
) -> Kept | None:
    """The newest file of a table of days, to take rows from.

    None where there is none, where it is damaged or its rows were changed by hand, where it has
    other columns, and where it does not say what it was made from, as those of earlier releases.

    Args:
        layout: the store.
        table: one of days.
        parts: fingerprints by part; of a file that has none of these not a row is read, and None is
            what comes of it. None for a file of any parts.
    """
    path = layout.newest(table)
    if path is None:
        return None
    try:
        raw = (pq.read_metadata(path).metadata or {}).get(MADE_FROM_KEY)
    except (OSError, pa.ArrowException):
        return None
    made_from = None if raw is None else MadeFrom.from_bytes(raw)
    if made_from is None or not (parts is None or made_from.same_parts(parts)):
        return None
    if (whole := _whole(path, table)) is None:
        return None
    data, meta = whole
    told = str(meta["content_hash"]), str(meta.get("source", ""))
    return Kept(table, path, layout.as_of(path), data, *told, made_from)


def is_whole(path: Path, table: Table) -> bool:
    """Whether a file can be read and holds what its footer says that it does."""
    return _whole(path, table) is not None


def _whole(path: Path, table: Table) -> tuple[pa.Table, dict[str, Any]] | None:
    """Rows and footer; None where they are damaged, changed by hand, or of other columns."""
    try:
        data, meta = read_with_footer(path)
    except (FileNotFoundError, CorruptFileError):
        return None
    fits = data.schema.equals(table.arrow) and meta.get("content_hash") == content_hash(data)
    return (data, meta) if fits else None
