"""Immutable raw batches: one file per download run and partition, one row group per ticker."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.schemas import RAW, SCHEMA_VERSION
from etf_pipeline.store.layout import Layout, encode_ticker, slug
from etf_pipeline.store.reader import to_frame
from etf_pipeline.store.writer import META_KEY, atomic_file

BAR_COLUMNS = ("open", "high", "low", "close", "volume")
EVENT_COLUMNS = ("dividends", "stock_splits", "capital_gains")
VALUE_COLUMNS = (*BAR_COLUMNS, *EVENT_COLUMNS)
_STAMP = "%Y%m%dT%H%M%S%fZ"


@dataclass(frozen=True)
class PieceInfo:
    """What a batch says of one ticker: how it was asked for and what the source called it."""

    ticker: str
    symbol: str
    exchange: str
    currency: str
    full: bool
    row_group: int


@dataclass(frozen=True)
class Piece:
    """One ticker's rows of one batch.

    `rows` is indexed by session date and has the columns of `VALUE_COLUMNS` and
    `adj_close_source`; a row without a price (an event only) has a null close.
    """

    info: PieceInfo
    batch_id: str
    source: str
    rows: pd.DataFrame


def new_batch_id(collected_at: dt.datetime, run_id: str) -> str:
    """Id that sorts by collection time; `collected_at` must be aware."""
    stamp = collected_at.astimezone(dt.UTC).strftime(_STAMP)
    return f"{stamp}-{slug(run_id)[:8]}"


def collected_at(batch_id: str) -> dt.datetime:
    """Collection time (UTC, aware) of a batch id."""
    return dt.datetime.strptime(batch_id.partition("-")[0], _STAMP).replace(tzinfo=dt.UTC)


class BatchWriter:
    """Collects pieces into one batch; memory holds one ticker at a time."""

    def __init__(self, layout: Layout, partition: str, batch_id: str, source: str) -> None:
        self.batch_id = batch_id
        self._path = layout.batch(partition, batch_id)
        self._source = source
        self._pieces: list[PieceInfo] = []
        self._stack = ExitStack()
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> BatchWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._writer is None:
            return
        if exc[0] is None:
            body = {
                "table": RAW.name,
                "schema_version": SCHEMA_VERSION,
                "source": self._source,
                "batch_id": self.batch_id,
                "pieces": [asdict(p) for p in self._pieces],
            }
            self._writer.add_key_value_metadata({META_KEY.decode(): json.dumps(body)})
        self._writer.close()
        self._stack.__exit__(*exc)  # type: ignore[arg-type]

    def add(
        self, ticker: str, symbol: str, exchange: str, currency: str, full: bool, rows: pd.DataFrame
    ) -> None:
        """Append one ticker's rows as a row group of their own."""
        if self._writer is None:
            handle = self._stack.enter_context(atomic_file(self._path))
            self._writer = pq.ParquetWriter(handle, RAW.arrow, compression="zstd")
        info = PieceInfo(ticker, symbol, exchange, currency, full, len(self._pieces))
        table = frame_to_arrow(rows.assign(ticker=ticker), RAW.arrow)
        self._writer.write_table(table, row_group_size=max(1, len(rows)))
        self._pieces.append(info)

    def __len__(self) -> int:
        return len(self._pieces)


def frame_to_arrow(rows: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """A frame indexed by session date as an Arrow table of `schema`; NaN becomes null."""
    columns: list[Any] = []
    for field in schema:
        if field.name == "date":
            array = pa.array(rows.index.to_numpy().astype("datetime64[D]"))
        else:
            values = rows[field.name].to_numpy()
            if pa.types.is_integer(field.type):
                missing = np.isnan(values.astype("float64"))
                clean = np.where(missing, 0, values).astype("int64")
                array = pa.array(clean, mask=missing)
            elif pa.types.is_string(field.type):
                array = pa.array(values.tolist(), pa.string(), from_pandas=True)
            else:
                array = pa.array(values, field.type, from_pandas=True)
        columns.append(array)
    return pa.table(columns, schema=schema)


@dataclass(frozen=True)
class Batch:
    """One raw batch on disk: its footer read, its rows not."""

    path: Path
    batch_id: str
    source: str
    pieces: dict[str, PieceInfo]

    @contextmanager
    def opened(self) -> Iterator[BatchReader]:
        """Keep the file open while reading several pieces of it."""
        with pq.ParquetFile(self.path) as handle:
            yield BatchReader(self, handle)


@dataclass(frozen=True)
class BatchReader:
    """Reads pieces of an open batch."""

    batch: Batch
    handle: pq.ParquetFile

    def piece(self, ticker: str) -> Piece:
        """One ticker's rows; `KeyError` when the batch has none."""
        info = self.batch.pieces[ticker]
        try:
            table = self.handle.read_row_group(info.row_group)
        except (OSError, pa.ArrowException) as error:
            raise _corrupt(self.batch.path) from error
        rows = to_frame(table.drop_columns(["ticker"])).astype("float64")
        return Piece(info, self.batch.batch_id, self.batch.source, rows)


def list_batch_ids(layout: Layout, partition: str) -> list[str]:
    """Ids of a partition's batches, oldest first."""
    folder = layout.raw_dir / encode_ticker(partition)
    return sorted(p.stem for p in folder.glob("*.parquet"))


def open_batch(layout: Layout, partition: str, batch_id: str) -> Batch:
    """Read one batch's footer.

    Raises:
        CorruptFileError: the file is damaged; raw batches are never rewritten, so restore it.
    """
    path = layout.batch(partition, batch_id)
    try:
        meta = json.loads((pq.read_metadata(path).metadata or {})[META_KEY])
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise _corrupt(path) from error
    pieces = {p["ticker"]: PieceInfo(**p) for p in meta["pieces"]}
    return Batch(path, batch_id, meta["source"], pieces)


def partitions_with_batches(layout: Layout) -> Iterable[Path]:
    """Folders below `raw/`."""
    return sorted(p for p in layout.raw_dir.glob("*") if p.is_dir())


def _corrupt(path: Path) -> CorruptFileError:
    return CorruptFileError(
        f"raw batch {path} is damaged: restore it from a backup, or move it away and run "
        "`etf run --full` to download the tickers again"
    )
