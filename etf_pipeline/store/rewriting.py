"""Whether a file is, to the last byte, what its own rows are written as.

Checksums of pages say nothing of a footer, where statistics, types and names are: a bit turned
there leaves out rows of a query, or has them read as something else. As rows of equal groups are
written as equal bytes, a file is proven by writing it again.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache

import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.store.writer import META_KEY, parquet_options

_SCHEMA_KEY = b"ARROW:schema"
# One of them is whole whatever bit is turned; no file of somebody else's has any.
_MARKS = (META_KEY, b'"content_hash"', b'"schema_version"')
_LIBRARY = "parquet-cpp-arrow version "  # before the number, in each file of ours
_PAGE = 1 << 20  # bytes; what the library begins a new one after


def is_ours(raw: bytes) -> bool:
    """Whether a file was written by this package, even if its footer does not say so any more."""
    length = int.from_bytes(raw[-8:-4], "little")
    footer = raw[max(0, len(raw) - length - 8) :]
    return any(mark in footer for mark in _MARKS)


def is_rewritten_alike(handle: pq.ParquetFile, raw: bytes) -> bool | None:
    """Whether a file of ours would be written with the very same bytes.

    None for one of which nobody can tell: another version of Parquet's library wrote it, or a
    column of a row group is more than a page, where pages begin as the rows came in.

    Args:
        handle: the file, open; every row group of it is read, one at a time.
        raw: its bytes.
    """
    small = [_one_page(rows) for rows in _groups(handle)]  # all are read, whatever one is
    if (written_by := str(handle.metadata.created_by)) != _our_name():
        return None if written_by.startswith(_LIBRARY) else False
    if not all(small):
        return None
    return any(_alike(handle, raw, late, pages) for late, pages in _WAYS)


# Whether what a footer says besides was added at the end, as of raw batches, whose rows come first;
# and whether pages have checksums.
_WAYS = ((False, True), (True, True), (False, False), (True, False))


class _DiffersError(Exception):
    """A byte is another one."""


class _Compared(io.RawIOBase):
    """Takes what is written and holds it against the bytes that there should be."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = memoryview(raw), 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object) -> int:
        """Compare some bytes more.

        Raises:
            _DiffersError: they are others.
        """
        given = memoryview(data).cast("B")  # type: ignore[arg-type]
        end = self._at + len(given)
        if self._raw[self._at : end] != given:
            raise _DiffersError
        self._at = end
        return len(given)

    @property
    def whole(self) -> bool:
        """Whether all has come."""
        return self._at == len(self._raw)


def _alike(handle: pq.ParquetFile, raw: bytes, late: bool, pages: bool) -> bool:
    schema = handle.schema_arrow
    if late:
        schema = schema.remove_metadata()
    compared = _Compared(raw)
    try:
        options = parquet_options(schema, checksums=pages)
        with pq.ParquetWriter(pa.PythonFile(compared, "w"), schema, **options) as writer:
            for rows in _groups(handle):
                given = rows.replace_schema_metadata(schema.metadata)
                writer.write_table(given, row_group_size=max(1, given.num_rows))
            if late:
                said = handle.metadata.metadata or {}
                writer.add_key_value_metadata({k: v for k, v in said.items() if k != _SCHEMA_KEY})
    except _DiffersError:
        return False
    return compared.whole


def _groups(handle: pq.ParquetFile) -> Iterator[pa.Table]:
    for group in range(handle.num_row_groups):
        yield handle.read_row_group(group, use_threads=False)


def _one_page(rows: pa.Table) -> bool:
    return all(column.nbytes < _PAGE for column in rows.columns)


@cache
def _our_name() -> str:
    """What the library that is here calls itself in the files that it writes."""
    sink, one = io.BytesIO(), pa.table({"a": [1]})
    with pq.ParquetWriter(sink, one.schema) as writer:
        writer.write_table(one)
    return str(pq.read_metadata(io.BytesIO(sink.getvalue())).created_by)
