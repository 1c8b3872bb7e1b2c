"""Whether a file is what it and its name say: before it is published, and when it was pulled."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import EtfError
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.schemas import (
    CORRECTIONS,
    HISTORY,
    MANIFEST,
    QUARANTINE,
    RAW,
    Granularity,
    Table,
)
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.stages import STAGES, stage_path
from etf_pipeline.store.user_files import read_user_file
from etf_pipeline.store.writer import META_KEY


class Fitness(Enum):
    """What a file turned out to be."""

    OURS = "as this pipeline wrote it"
    FOREIGN = "readable, but not written by this pipeline"
    DAMAGED = "damaged, or changed by hand"


@dataclass(frozen=True)
class Judged:
    """What a file turned out to be, why, and what its footer says."""

    fit: Fitness
    why: str = ""
    meta: Mapping[str, Any] | None = None


def judged(layout: Layout, table: Table | None, path: Path, data: bytes) -> Judged:
    """Judge the bytes that are to be, or are, a file of a table; of no table, that there are any.

    Parquet vouches for its content by the hash in its footer, and for what it is about by what the
    footer names. Raw batches have no hash: of them every page has to be what its checksum says.

    Args:
        layout: the store.
        table: which table; None for what is none's.
        path: where the file is, or is to be.
        data: its bytes.
    """
    if table is None:
        return Judged(Fitness.OURS) if data else Judged(Fitness.DAMAGED, "it is empty")
    try:
        with pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True) as handle:
            found = handle.read(use_threads=False)
            meta = json.loads((handle.metadata.metadata or {}).get(META_KEY, b"null"))
    except (OSError, ValueError, pa.ArrowException):
        return Judged(Fitness.DAMAGED, "it is not readable Parquet")
    if meta is None:
        return Judged(Fitness.FOREIGN, "it was not written by this pipeline")
    if not isinstance(meta, dict):
        return Judged(Fitness.DAMAGED, "its footer is not what this pipeline writes")
    other = _other(layout, table, path, meta)
    if other is not None:
        return Judged(Fitness.DAMAGED, other, meta)
    if table is RAW:
        whole = "pieces" in meta
    else:
        whole = content_hash(found.replace_schema_metadata(None)) == meta.get("content_hash")
    if not whole:
        return Judged(Fitness.DAMAGED, "its rows are not those that its footer names", meta)
    return Judged(Fitness.OURS, meta=meta)


def pulled(layout: Layout, table: Table, path: Path, data: bytes) -> Judged:
    """The same of an object that is to become a local file.

    A file that somebody put into the share is a history only, and one that can be read as such.
    """
    one = judged(layout, table, path, data)
    if one.fit is not Fitness.FOREIGN:
        return one
    if table is not HISTORY:
        return Judged(Fitness.DAMAGED, one.why)
    try:
        read_user_file(path, pq.read_table(io.BytesIO(data)))
    except EtfError as error:
        return Judged(Fitness.DAMAGED, str(error))
    return one


def _other(layout: Layout, table: Table, path: Path, meta: Mapping[str, Any]) -> str | None:
    """What a file is about, by its footer, if that is not what its name says."""
    if meta.get("table", table.name) != table.name:
        return f"it is a file of {meta['table']}"
    names = _NAMED.get(table) or (_day if table.granularity is Granularity.AS_OF else None)
    return None if names is None else names(layout, path, meta)


def _ticker(_: Layout, path: Path, meta: Mapping[str, Any]) -> str | None:
    whose = meta.get("ticker")
    return None if whose in (None, decode_ticker(path.stem)) else f"it is the file of {whose}"


def _batch(_: Layout, path: Path, meta: Mapping[str, Any]) -> str | None:
    folder = decode_ticker(path.parent.name)
    batch, partition = meta.get("batch_id", path.stem), meta.get("partition", folder)
    if (batch, partition) == (path.stem, folder):
        return None
    return f"it is the batch {batch} of {partition}"


def _version(_: Layout, path: Path, meta: Mapping[str, Any]) -> str | None:
    end = path.stem.partition("-")[2]
    return (
        None if end in ("", str(meta.get("content_hash"))[: len(end)]) else "it is another version"
    )


def _run(layout: Layout, path: Path, meta: Mapping[str, Any]) -> str | None:
    asset, run, partition = (meta.get(key) for key in ("asset", "run_id", "partition"))
    if asset is None or run is None:
        return None
    stage = path.parent.name == STAGES
    of = stage_path(layout, asset, partition or "")
    right = of if stage else layout.of(MANIFEST, asset, run, partition or "")
    return None if right.parts[-2:] == path.parts[-2:] else f"it tells of {asset} in the run {run}"


def _day(layout: Layout, path: Path, meta: Mapping[str, Any]) -> str | None:
    day = layout.as_of(path).isoformat()
    return None if meta.get("as_of", day) == day else f"it is the file of {meta['as_of']}"


_NAMED: dict[Table, Callable[[Layout, Path, Mapping[str, Any]], str | None]] = {
    HISTORY: _ticker,
    QUARANTINE: _ticker,
    RAW: _batch,
    CORRECTIONS: _version,
    MANIFEST: _run,
}
