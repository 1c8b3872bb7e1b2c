"""What run manifests say of themselves in their footers, without a row being read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.store.reader import file_info


@dataclass(frozen=True)
class ManifestFooter:
    """What a manifest says of itself without a row being read.

    `recorded_at` is None where nothing tells it; `names_batch` whether any row names a raw batch.
    """

    path: Path
    asset: str
    partition: str
    recorded_at: dt.datetime | None
    names_batch: bool
    size: int
    content_hash: str


def manifest_footer(path: Path) -> ManifestFooter | None:
    """The footer of a manifest; None for a file that this package did not write.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        FileNotFoundError: there is no such file.
    """
    info, groups = file_info(path), _row_groups(path)
    if info.content_hash is None or info.meta.get("table") != MANIFEST.name:
        return None
    told = info.meta.get("recorded_at")
    times = [g["recorded_at"].max for g in groups if _said(g, "recorded_at")]
    return ManifestFooter(
        path,
        str(info.meta.get("asset", "")),
        str(info.meta.get("partition", "")),
        dt.datetime.fromisoformat(told) if told else max(times, default=None),
        any(_said(g, "batch_id") for g in groups),
        path.stat().st_size,
        info.content_hash,
    )


def _row_groups(path: Path) -> list[dict[str, Any]]:
    """Statistics by column of each row group; None where there are none."""
    footer = pq.read_metadata(path)
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    columns = [[g.column(j) for j in range(g.num_columns)] for g in groups]
    return [{c.path_in_schema: c.statistics for c in group} for group in columns]


def _said(group: Mapping[str, Any], name: str) -> bool:
    """Whether a column of a row group has any value that is not null."""
    found = group.get(name)
    return found is not None and bool(found.has_min_max)
