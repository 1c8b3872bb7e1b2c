"""Atomic publication of Parquet files: the old file or the new one, never a part of one."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from etf_pipeline.errors import DiskFullError, LockTimeoutError, StoreError
from etf_pipeline.model.schemas import EVENTS, SCHEMA_VERSION, Table
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.processes import FOREIGN_SECONDS, HOST, is_gone, process_name

_FULL = (errno.ENOSPC, errno.EDQUOT)
# DuckDB writes ahead into a file beside its own.
_WAL = ".wal"
_TEMPS = (".*.tmp", f".*.tmp{_WAL}")
META_KEY = b"etf_pipeline"
MADE_FROM_KEY = b"etf_pipeline.made_from"


def file_metadata(table: Table, digest: str, extra: Mapping[str, object]) -> dict[bytes, bytes]:
    """Footer metadata of a file of `table`: schema version, content hash and `extra`."""
    body = {"table": table.name, "schema_version": SCHEMA_VERSION, "content_hash": digest, **extra}
    return {META_KEY: json.dumps(body, sort_keys=True).encode()}


def publish(
    path: Path,
    table: Table,
    data: pa.Table,
    extra: Mapping[str, object] | None = None,
    *,
    validate: Callable[[pa.Table], None] | None = None,
    digest: str | None = None,
    made_from: bytes | None = None,
    anew: bool = False,
    held: Mapping[bytes, bytes] | None = None,
) -> bool:
    """Validate `data`, then replace `path` with it in one step.

    Args:
        path: the file to replace.
        table: its table; `data` must have exactly that schema.
        data: the content.
        extra: more footer metadata (source, currency, …).
        validate: raises when the content may not be published.
        digest: `content_hash(data)`, where the caller has it already.
        made_from: what the content was made from, see `store.made_from`; kept in the footer too.
        anew: write it whatever the footer of the file that is there says.
        held: `footer_metadata(path)`, likewise.

    Returns:
        False when the file holds this content already. It is left alone then, unless the same
        came of something else, which its footer says from now on.

    Raises:
        StoreError: wrong schema, a full or read-only disk. The old file is untouched.
    """
    if data.schema.names != table.names or any(
        a.type != b.type for a, b in zip(data.schema, table.arrow, strict=True)
    ):
        raise StoreError(f"{path}: columns {data.schema} are not those of {table.name}")
    if validate is not None:
        validate(data)
    meta = file_metadata(table, digest or content_hash(data), extra or {})
    before = {} if anew else footer_metadata(path) if held is None else held
    same = before.get(META_KEY) == meta[META_KEY]
    if same and before.get(MADE_FROM_KEY) == made_from:
        return False
    if made_from is not None:
        meta[MADE_FROM_KEY] = made_from
    final = _as_declared(data, table.arrow).replace_schema_metadata(meta)
    # Signed heads name an archive file by its hash: one that is made again is the same to the byte.
    pages = table is not EVENTS
    with atomic_file(path) as handle:
        pq.write_table(final, handle, **parquet_options(table.arrow, checksums=pages))
    return not same


def parquet_options(schema: pa.Schema, *, checksums: bool = True) -> dict[str, Any]:
    """How every file is encoded: zstd, dictionaries for text only, and a checksum of every page.

    Prices hardly repeat; without dictionaries they are written twice as fast and end smaller.
    A bit that the disk has turned would else be a price like any other: no time or size tells.
    """
    text = [f.name for f in schema if pa.types.is_string(f.type)]
    return {
        "compression": "zstd",
        "use_dictionary": text or False,
        "write_page_checksum": checksums,
    }


def temp_beside(path: Path) -> Path:
    """A name for what is to become `path`: never matched by `*.parquet`, known to the sweep."""
    return path.with_name(f".{path.name}.{process_name()}-{secrets.token_hex(4)}.tmp")


@contextmanager
def filled(temp: Path) -> Iterator[BinaryIO]:
    """A binary file, on the disk in whole when the block ends well."""
    with temp.open("wb") as handle:
        yield handle
        handle.flush()
        os.fsync(handle.fileno())


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well, and vanishes otherwise.

    Temp sibling (never matched by `*.parquet`), fsync, `os.replace`, fsync of the folder.
    """
    temp = temp_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filled(temp) as handle:
            yield handle
        temp.replace(path)
        _fsync_dir(path.parent)
    except OSError as error:
        raise _explain(path, error) from error
    finally:
        # After a successful replace there is nothing to remove.
        # On a read-only or vanished disk the original error says what is wrong.
        with contextlib.suppress(OSError):
            temp.unlink(missing_ok=True)


def check_room(path: Path, size: int = 2**20) -> None:
    """Show that the disk is full, if it is: where a library says of it what no program can read.

    Args:
        path: what was to be written.
        size: bytes that there has to be room for.

    Raises:
        DiskFullError: naming the path.
    """
    temp = temp_beside(path)
    try:
        with temp.open("wb") as handle:
            handle.write(bytes(size))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        if error.errno in _FULL:
            raise _explain(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temp.unlink(missing_ok=True)


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file, for a pipe."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **parquet_options(table.schema))
    return buffer.getvalue()


def write_text(path: Path, text: str) -> None:
    """Replace a small text file atomically."""
    with atomic_file(path) as handle:
        handle.write(text.encode())


def sweep_temp_files(*folders: Path, below: bool = True) -> int:
    """Remove temp files that a killed process left; returns how many.

    A step sweeps the folders that it writes to. A file of a live process of this host stays, and
    so does a recent one of another host.

    Args:
        folders: where to look; they need not be there.
        below: look into their own folders too.

    Raises:
        StoreError: a folder is read-only.
    """
    swept = 0
    patterns = [f"**/{one}" if below else one for one in _TEMPS]
    for temp in (t for folder in folders for one in patterns for t in folder.glob(one)):
        owner = temp.name.removesuffix(_WAL).rsplit(".", 2)[-2]
        try:
            if owner.startswith(f"{HOST}-"):
                stale = is_gone(owner)
            else:
                stale = time.time() - temp.stat().st_mtime > FOREIGN_SECONDS
            if stale:
                temp.unlink()
                swept += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _explain(temp, error) from error
    return swept


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[None]:
    """Hold the inter-process lock at `path`.

    Raises:
        LockTimeoutError: another process held it for `timeout` seconds.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=timeout)
        with lock:
            yield
    except Timeout:
        raise LockTimeoutError(
            f"another process has been writing {path.stem} for {timeout:g} s (lock {path}); "
            "wait for it to end, or raise ETF_LOCK_TIMEOUT_SECONDS"
        ) from None
    except OSError as error:
        raise _explain(path, error) from error


def footer_metadata(path: Path) -> Mapping[bytes, bytes]:
    """What a footer says; nothing where there is no readable file."""
    try:
        return pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowException):
        return {}


def _as_declared(data: pa.Table, schema: pa.Schema) -> pa.Table:
    """The same with this schema; nulls in columns that may not have any are refused."""
    nulls = any(c.null_count for c, f in zip(data.columns, schema, strict=True) if not f.nullable)
    return data.cast(schema) if nulls or not data.schema.equals(schema) else data


def _fsync_dir(folder: Path) -> None:
    if os.name == "nt":  # Windows has no handle for a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(path: Path, error: OSError) -> StoreError:
    if error.errno in _FULL:
        try:
            free = f"{shutil.disk_usage(path.parent).free / 2**20:.1f} MiB free"
        except OSError:
            free = "free space unknown"
        return DiskFullError(
            f"disk full while writing {path} ({free}): free some space and run again; "
            "the previous file is untouched"
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreError(
            f"cannot write {path}: {error.strerror}; make the folder writable "
            "or set ETF_DATA_DIR to one that is"
        )
    if (what := _in_the_way(path)) is not None:
        return StoreError(f"cannot write {path}: {what}; move it away and run again")
    return StoreError(f"cannot write {path}: {error.strerror or error}; the old file is untouched")


def _in_the_way(path: Path) -> str | None:
    """A folder where a file is to be, or a file where a folder is to be; None for neither."""
    if path.is_dir():
        return "it is a folder"
    found = next((p for p in path.parents if p.exists()), None)
    return None if found is None or found.is_dir() else f"{found} is not a folder"
