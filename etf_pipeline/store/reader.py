"""Reading the store: exact, thin, and with errors that name the file and the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError, StoreError
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.rows import to_frame
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.store.closed import cannot_open
from etf_pipeline.store.remedies import remedy_for
from etf_pipeline.store.rewriting import is_ours, is_rewritten_alike
from etf_pipeline.store.user_files import UserFile, read_user_file
from etf_pipeline.store.writer import META_KEY

_SMALL = 20_000  # rows
_OF_TICKERS = (HISTORY.name, QUARANTINE.name)


@dataclass(frozen=True)
class FileInfo:
    """What a file's footer says, without reading a row."""

    path: Path
    meta: dict[str, Any]
    num_rows: int

    @property
    def ours(self) -> bool:
        """Whether this package wrote the file."""
        return "content_hash" in self.meta

    @property
    def content_hash(self) -> str | None:
        """SHA-256 of the content, None for a user's own file."""
        return self.meta.get("content_hash")

    @property
    def source(self) -> str:
        """`yahoo`, `files`, `simulated`, or `user` for a file that this package did not write."""
        return str(self.meta.get("source", "user"))


def file_info(path: Path) -> FileInfo:
    """Read a footer.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        UnreadableFileError: it may not be opened.
        FileNotFoundError: there is no such file.
    """
    return file_footer(path)[0]


def file_footer(path: Path) -> tuple[FileInfo, pq.FileMetaData]:
    """A footer, and what Parquet itself says in it, from one opening.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        UnreadableFileError: it may not be opened.
        FileNotFoundError: there is no such file.
    """
    with _open(path) as handle:
        footer = handle.metadata
        return FileInfo(path, _meta(path, footer), footer.num_rows), footer


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file (or some columns) as Arrow.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        UnreadableFileError: it may not be opened.
        FileNotFoundError: there is no such file.
    """
    with _open(path) as handle:
        return _whole(path, handle, columns)


def read_through(path: Path) -> FileInfo:
    """A footer, after every page of the file was read and held against its checksum, if it has one.

    A file of ours is written again besides, where that proves it: see `rewriting`. Never more of it
    in memory than its bytes and the rows of a group.

    Raises:
        CorruptFileError: the file is not readable Parquet, or not as it was written.
        UnreadableFileError: it may not be opened.
        FileNotFoundError: there is no such file.
    """
    try:
        raw = path.read_bytes()  # once: it may be replaced meanwhile
        with pq.ParquetFile(pa.BufferReader(raw), page_checksum_verification=True) as handle:
            info = FileInfo(path, _meta(path, handle.metadata), handle.metadata.num_rows)
            ours = is_ours(raw)
            alike = is_rewritten_alike(handle, raw) if ours else None  # reads all of it
            for group in () if ours else range(handle.num_row_groups):
                handle.read_row_group(group, use_threads=False)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unread(path, error) from error
    if alike is False:
        what = "its rows are written with other bytes"
        raise CorruptFileError(f"{path} is not as it was written ({what}): {remedy_for(path)}")
    return info


def read_rows(path: Path, wanted: pc.Expression) -> pa.Table:
    """Those rows of a file that meet a condition; never more of it in memory than that and a part.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        UnreadableFileError: it may not be opened.
        FileNotFoundError: there is no such file.
    """
    try:
        return pq.read_table(
            path, filters=wanted, partitioning=None, page_checksum_verification=True
        )
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise _unread(path, error) from error


def columns_of(path: Path) -> list[str]:
    """Names of a file's columns, from its footer.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        UnreadableFileError: it may not be opened.
        FileNotFoundError: there is no such file.
    """
    with _open(path) as handle:
        return list(handle.schema_arrow.names)


def read_ours(
    path: Path, columns: Sequence[str], wanted: Callable[[FileInfo], bool]
) -> tuple[FileInfo, pa.Table | None]:
    """A footer, and some columns if it is one of those that are wanted, from one opening.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        UnreadableFileError: it may not be opened.
        FileNotFoundError: there is no such file.
    """
    with _open(path) as handle:
        footer = handle.metadata
        info = FileInfo(path, _meta(path, footer), footer.num_rows)
        return info, _whole(path, handle, columns) if wanted(info) else None


def read_with_footer(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """A file as Arrow, and what its footer says besides, from one opening of it.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        UnreadableFileError: it may not be opened.
        FileNotFoundError: there is no such file.
    """
    with _open(path) as handle:
        return _whole(path, handle), _meta(path, handle.metadata)


def _whole(path: Path, handle: pq.ParquetFile, columns: Sequence[str] | None = None) -> pa.Table:
    wanted = list(columns) if columns is not None else None
    # Of a small file threads take longer to start than there is to read.
    threads = handle.metadata.num_rows > _SMALL
    try:
        return handle.read(columns=wanted, use_threads=threads)
    except (OSError, pa.ArrowException) as error:
        raise _unread(path, error) from error


def read_history(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """One ticker's history, indexed by naive session date, ascending.

    A user's own file loads the same way, see `user_files.read_user_file`.

    Args:
        path: the Parquet file.
        columns: names of `schemas.HISTORY` wanted, all by default.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        UnreadableFileError: it may not be opened, or a user's own file holds what cannot be read
            beyond doubt.
        FileNotFoundError: there is no such file.
    """
    wanted = [c for c in (columns or HISTORY.names) if c != "date"]
    with _open(path) as handle:
        try:
            if "content_hash" in _meta(path, handle.metadata):
                return to_frame(handle.read(columns=["date", *wanted]))
            table = handle.read()
        except (OSError, pa.ArrowException) as error:
            raise _unread(path, error) from error
    return read_user_file(path, table).rows[wanted]


def user_file(path: Path) -> UserFile:
    """A history that somebody else wrote, with what is declared of it.

    Raises:
        CorruptFileError: the file is not readable Parquet.
        UnreadableFileError: it may not be opened, or holds what cannot be read beyond doubt.
        FileNotFoundError: there is no such file.
    """
    return read_user_file(path, read_table(path))


def read_adjusted(path: Path) -> tuple[pd.Series, FileInfo, UserFile | None]:
    """One ticker's adjusted closes by session date, and the footer, from one opening.

    With it, if somebody else wrote the file, what it came to.
    """
    with _open(path) as handle:
        info = FileInfo(path, _meta(path, handle.metadata), handle.metadata.num_rows)
        try:
            if info.ours:
                table = handle.read(columns=["date", "adj_close"])
                dates = table.column("date").to_numpy().astype("datetime64[s]")
                index = pd.DatetimeIndex(dates, name="date", copy=False)
                values = table.column("adj_close").to_numpy()
                return pd.Series(values, index, name="adj_close", copy=False), info, None
            table = handle.read()
        except (OSError, pa.ArrowException) as error:
            raise _unread(path, error) from error
    user = read_user_file(path, table)
    return user.rows["adj_close"], info, user


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise _unread(path, error) from error


def _meta(path: Path, footer: pq.FileMetaData) -> dict[str, Any]:
    """What a footer of ours says.

    Raises:
        CorruptFileError: it is damaged where Parquet itself does not look, or the file is a copy of
            another ticker's.
    """
    raw = (footer.metadata or {}).get(META_KEY)
    try:
        meta = dict(json.loads(raw)) if raw else {}
    except (ValueError, TypeError) as error:
        raise _unread(path, error) from error
    whose = meta.get("ticker")
    if meta.get("table") in _OF_TICKERS and whose not in (None, decode_ticker(path.stem)):
        raise CorruptFileError(f"{path} is a copy of the file of {whose}: {remedy_for(path)}")
    return meta


def _unread(path: Path, error: Exception) -> StoreError:
    """Why a file was not read: it may not be opened, or is damaged."""
    if (closed := cannot_open(path, error)) is not None:
        return closed
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CorruptFileError(f"{path} is not readable Parquet ({detail}): {remedy_for(path)}")
