"""Content hash of an Arrow table: equal values give equal hashes, whatever the encoding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_AT_ONCE = 10_000
_NOTHING, _END = (pa.scalar(text, pa.large_string()) for text in ("", "\0"))


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _with_ends(column: pa.ChunkedArray) -> Iterator[bytes]:
    """Texts, each with a zero byte after it, run together, some at a time."""
    for i in range(0, len(column), _AT_ONCE):
        texts = column.slice(i, _AT_ONCE).cast(pa.large_string()).combine_chunks()
        ended = pc.binary_join_element_wise(texts, _NOTHING, _END)
        if isinstance(ended, pa.ChunkedArray):
            ended = ended.combine_chunks()
        _, offsets, values = ended.buffers()
        ends = np.frombuffer(offsets, np.int64)[ended.offset : ended.offset + len(ended) + 1]
        if values is not None:
            yield values[int(ends[0]) : int(ends[-1])].to_pybytes()


def _nulls(column: pa.ChunkedArray) -> bytes:
    """A bit for each value, 1 where it is null."""
    if column.null_count == 0:
        return bytes((len(column) + 7) // 8)
    return np.packbits(column.is_null().to_numpy()).tobytes()


def content_hash(table: pa.Table) -> str:
    """SHA-256 (hex) over names, types and values, in row order.

    Independent of chunking, compression and the Parquet writer's version, so two files with the
    same hash hold the same data.
    """
    digest = hashlib.sha256()
    for field, column in zip(table.schema, table.columns, strict=True):
        digest.update(f"{field.name}:{field.type}:{len(column)}\0".encode())
        digest.update(_nulls(column))
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            for part in _with_ends(column.drop_null()):
                digest.update(part)
        else:
            values = column.drop_null() if column.null_count else column
            if pa.types.is_date32(field.type):
                values = values.cast(pa.int32())
            elif pa.types.is_timestamp(field.type):
                values = values.cast(pa.int64())
            elif pa.types.is_boolean(field.type):
                values = pc.cast(values, pa.int8())
            digest.update(np.ascontiguousarray(values.to_numpy()).data)
    return digest.hexdigest()
