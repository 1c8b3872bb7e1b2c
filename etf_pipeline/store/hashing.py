"""Content hash of an Arrow table: equal values give equal hashes, whatever the encoding."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_hash(table: pa.Table) -> str:
    """SHA-256 (hex) over names, types and values, in row order.

    Independent of chunking, compression and the Parquet writer's version, so two files with the
    same hash hold the same data.
    """
    digest = hashlib.sha256()
    for field in table.schema:
        column = table.column(field.name)
        digest.update(f"{field.name}:{field.type}:{len(column)}\0".encode())
        digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            for text in column.drop_null().to_pylist():
                digest.update(str(text).encode() + b"\0")
        else:
            values = column.drop_null()
            if pa.types.is_date32(field.type):
                values = values.cast(pa.int32())
            elif pa.types.is_timestamp(field.type):
                values = values.cast(pa.int64())
            elif pa.types.is_boolean(field.type):
                values = pc.cast(values, pa.int8())
            digest.update(values.to_numpy().tobytes())
    return digest.hexdigest()
