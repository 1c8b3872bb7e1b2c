"""Whether run manifests can be read, and are what was written."""

from __future__ import annotations

from collections.abc import Iterator

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model import assets
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline.store.stages import STAGES


def damaged_manifests(layout: Layout) -> Iterator[str]:
    """What is wrong with a store's manifests, in words: all rows are compared with their hash."""
    for asset in (*LINEAGE, assets.MAINTENANCE, STAGES):
        for path in layout.manifest_files(asset):
            try:
                digest = file_info(path).content_hash
                found = content_hash(read_table(path).replace_schema_metadata(None))
            except CorruptFileError as error:
                yield str(error)
            except FileNotFoundError:  # removed meanwhile
                continue
            else:
                if digest is not None and found != digest:
                    yield f"{path}: its rows are not what was written; restore it from a backup"
