"""Whether a file is what it says it is: asked before it is published, and when it was pulled."""

from __future__ import annotations

import io
import json
from enum import Enum

import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.model.schemas import RAW, Table
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.writer import META_KEY


class Fitness(Enum):
    """What a file turned out to be."""

    OURS = "as this pipeline wrote it"
    FOREIGN = "readable, but not written by this pipeline"
    DAMAGED = "damaged, or changed by hand"


def fitness(table: Table | None, data: bytes) -> Fitness:
    """Judge the bytes of a file of a table; of what is no table, that it can be read.

    Parquet vouches for its content by the hash in its footer. Raw batches have none: of them every
    row group has to be readable, and the footer complete.
    """
    if table is None:
        return Fitness.OURS if data else Fitness.DAMAGED
    try:
        with pq.ParquetFile(io.BytesIO(data)) as handle:
            found = handle.read(use_threads=False)
            meta = json.loads((handle.metadata.metadata or {}).get(META_KEY, b"null"))
    except (OSError, ValueError, pa.ArrowException):
        return Fitness.DAMAGED
    if meta is None:
        return Fitness.FOREIGN
    if not isinstance(meta, dict) or meta.get("table", table.name) != table.name:
        return Fitness.DAMAGED
    if table is RAW:
        return Fitness.OURS if "pieces" in meta else Fitness.DAMAGED
    same = content_hash(found.replace_schema_metadata(None)) == meta.get("content_hash")
    return Fitness.OURS if same else Fitness.DAMAGED
