"""Immutable raw batches: one file per download run and partition, one row group per ticker."""

from __future__ import annotations

import datetime as dt
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError, StoreError
from etf_pipeline.history.slices import BatchSlice, SliceInfo
from etf_pipeline.model.file_names import STAMP, slug
from etf_pipeline.model.rows import DOWNLOAD_COLUMNS, download_rows, to_arrow
from etf_pipeline.model.schemas import RAW, SCHEMA_VERSION
from etf_pipeline.store.closed import cannot_open
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.listing import matching
from etf_pipeline.store.remedies import RAW_BATCH
from etf_pipeline.store.writer import META_KEY, atomic_file, parquet_options

_OPEN_FILES = 8
_NOTE = "dividend_note"
_READ = ["date", *DOWNLOAD_COLUMNS, _NOTE]
NO_NOTES: Mapping[dt.date, str] = {}


def new_batch_id(now: dt.datetime, run_id: str, last: str | None = None) -> str:
    """Id that sorts by collection time, and behind every batch that is there.

    Histories take batches in the order of their ids, so one that sorted before the last would never
    be looked at. A clock that was fast and has been put right makes such times.

    Args:
        now: aware.
        run_id: of the run that collects it.
        last: the newest id of the partition.
    """
    stamp = now.astimezone(dt.UTC)
    if last is not None:
        stamp = max(stamp, collected_at(last) + dt.timedelta(microseconds=1))
    return f"{stamp.strftime(STAMP)}-{slug(run_id)[:8]}"


def collected_at(batch_id: str) -> dt.datetime:
    """Collection time (UTC, aware) of a batch id."""
    return dt.datetime.strptime(batch_id.partition("-")[0], STAMP).replace(tzinfo=dt.UTC)


class BatchWriter:
    """Collects slices into one batch; memory holds one ticker at a time.

    `rows` is how many rows it has so far; `run` is what it says of the run, see `killed_runs.py`.
    """

    def __init__(self, layout: Layout, partition: str, batch_id: str, source: str) -> None:
        self.batch_id = batch_id
        self._path = layout.of(RAW, partition, batch_id)
        self._partition, self._source = partition, source
        self.rows = 0
        self.run: Mapping[str, Any] | None = None
        self._slices: list[SliceInfo] = []
        self._stack = ExitStack()
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> BatchWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._writer is None:
            return
        if exc[0] is None:
            body: dict[str, Any] = {
                "table": RAW.name,
                "schema_version": SCHEMA_VERSION,
                "source": self._source,
                "batch_id": self.batch_id,
                "partition": self._partition,
                # The footer's word for the slices, which every release reads.
                "pieces": [asdict(s) for s in self._slices],
            }
            if self.run is not None:
                body["run"] = self.run
            self._writer.add_key_value_metadata({META_KEY.decode(): json.dumps(body)})
        self._writer.close()
        self._stack.__exit__(*exc)  # type: ignore[arg-type]

    def add(
        self,
        ticker: str,
        symbol: str,
        exchange: str,
        currency: str,
        full: bool,
        rows: pd.DataFrame,
        dividend_notes: Mapping[dt.date, str] = NO_NOTES,
    ) -> None:
        """Append one ticker's rows, with the columns of `DOWNLOAD_COLUMNS`, as a row group.

        `dividend_notes` is what the source said of single dividends, by date.

        Raises:
            ValueError: there are no rows; an empty row group would not be written.
        """
        if rows.empty:
            raise ValueError(f"no rows of {ticker} to put into a batch")
        if self._writer is None:
            handle = self._stack.enter_context(atomic_file(self._path))
            self._writer = pq.ParquetWriter(handle, RAW.arrow, **parquet_options(RAW.arrow))
        info = SliceInfo(ticker, symbol, exchange, currency, full, len(self._slices))
        values = rows.to_numpy()
        columns: dict[str, Any] = {name: values[:, i] for i, name in enumerate(rows.columns)}
        columns["ticker"] = pa.array([ticker], pa.string()).take(pa.array([0] * len(rows)))
        columns[_NOTE] = (
            [dividend_notes.get(day) for day in pd.DatetimeIndex(rows.index).date]
            if dividend_notes
            else pa.nulls(len(rows), pa.string())
        )
        table = to_arrow(rows.index.to_numpy(), columns, RAW.arrow)
        self._writer.write_table(table, row_group_size=max(1, len(rows)))
        self._slices.append(info)
        self.rows += len(rows)

    def __len__(self) -> int:
        return len(self._slices)


@dataclass(frozen=True)
class Batch:
    """One raw batch on disk: its footer read, its rows not.

    `run` is what it says of the run that made it; None by an earlier release.
    """

    path: Path
    batch_id: str
    source: str
    slices: dict[str, SliceInfo]
    run: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SliceBars:
    """Days, closes and volumes of one slice, ascending; of two rows for a day, any."""

    days: npt.NDArray[np.datetime64]
    close: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]

    @property
    def first(self) -> np.datetime64:
        """The first day; NaT without any."""
        return self.days[0] if len(self.days) else np.datetime64("NaT")

    @property
    def last(self) -> np.datetime64:
        """The last day; NaT without any."""
        return self.days[-1] if len(self.days) else np.datetime64("NaT")

    def _at(self, day: np.datetime64) -> int | None:
        i = int(np.searchsorted(self.days, day))
        return i if i < len(self.days) and self.days[i] == day else None

    def traded(self, day: np.datetime64) -> bool:
        """Whether it has a close of that day, and its volume is not known to be 0."""
        i = self._at(day)
        return i is not None and self.volume[i] != 0

    def move(self, before: np.datetime64, day: np.datetime64) -> float | None:
        """Log return from one day to another, None when it lacks either."""
        i, j = self._at(before), self._at(day)
        if i is None or j is None:
            return None
        return float(np.log(self.close[j] / self.close[i]))


class BatchReader:
    """Reads batches, keeping the last few open: tickers follow each other in a batch."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._batches: dict[tuple[str, str], Batch] = {}
        self._ids: dict[str, list[str]] = {}
        self._open: OrderedDict[Path, pq.ParquetFile] = OrderedDict()

    def __enter__(self) -> BatchReader:
        return self

    def __exit__(self, *exc: object) -> None:
        for handle in self._open.values():
            handle.close()
        self._open.clear()

    def ids(self, partition: str) -> list[str]:
        """Ids of a partition's batches, oldest first, as they were when this was first asked."""
        if partition not in self._ids:
            self._ids[partition] = list_batch_ids(self._layout, partition)
        return self._ids[partition]

    def batch(self, partition: str, batch_id: str) -> Batch:
        """One batch's footer, read once."""
        key = (partition, batch_id)
        if key not in self._batches:
            self._batches[key] = open_batch(self._layout, partition, batch_id)
        return self._batches[key]

    def slices(self, partition: str, batch_id: str, names: Iterable[str]) -> list[BatchSlice]:
        """The slices that one batch has under any of these names.

        Raises:
            CorruptFileError: the batch is damaged.
        """
        batch = self.batch(partition, batch_id)
        return [self._slice(batch, batch.slices[n]) for n in names if n in batch.slices]

    def bars(self, partition: str, batch_id: str, name: str) -> SliceBars:
        """Closes and volumes of one ticker's slice.

        Raises:
            CorruptFileError: the batch is damaged.
        """
        batch = self.batch(partition, batch_id)
        try:
            table = self._handle(batch.path).read_row_group(
                batch.slices[name].row_group,
                columns=["date", "close", "volume"],
                use_threads=False,
            )
        except (OSError, pa.ArrowException) as error:
            raise _unread(batch.path, error) from error
        days = table.column("date").to_numpy().astype("datetime64[D]")
        close = table.column("close").to_numpy().astype("float64", copy=False)
        volume = table.column("volume").to_numpy().astype("float64", copy=False)
        usable = np.flatnonzero(np.isfinite(close) & (close > 0))
        order = usable[np.lexsort((close[usable], days[usable]))]
        return SliceBars(days[order], close[order], volume[order])

    def _slice(self, batch: Batch, info: SliceInfo) -> BatchSlice:
        try:
            table = self._handle(batch.path).read_row_group(
                info.row_group, columns=_READ, use_threads=False
            )
        except (OSError, pa.ArrowException) as error:
            raise _unread(batch.path, error) from error
        return BatchSlice(
            info, batch.batch_id, batch.source, download_rows(table), _dividend_notes(table)
        )

    def _handle(self, path: Path) -> pq.ParquetFile:
        if path in self._open:
            self._open.move_to_end(path)
        else:
            self._open[path] = pq.ParquetFile(path, page_checksum_verification=True)
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        return self._open[path]


def _dividend_notes(table: pa.Table) -> dict[dt.date, str]:
    """By date, for the few that have any; batches of earlier releases have no such column."""
    if _NOTE not in table.column_names:
        return {}
    noted = table.filter(pc.is_valid(table.column(_NOTE)))
    return dict(zip(noted.column("date").to_pylist(), noted.column(_NOTE).to_pylist(), strict=True))


def list_batch_ids(layout: Layout, partition: str) -> list[str]:
    """Ids of a partition's batches, oldest first."""
    return [p.stem for p in layout.batch_files(partition)]


def open_batch(layout: Layout, partition: str, batch_id: str) -> Batch:
    """Read one batch's footer.

    Raises:
        CorruptFileError: the file is damaged; raw batches are never rewritten, so restore it.
        UnreadableFileError: it may not be opened.
    """
    path = layout.of(RAW, partition, batch_id)
    try:
        meta = json.loads((pq.read_metadata(path).metadata or {})[META_KEY])
        slices = {s["ticker"]: SliceInfo(**s) for s in meta["pieces"]}
        return Batch(path, batch_id, meta["source"], slices, meta.get("run"))
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise _unread(path, error) from error


def partitions_with_batches(layout: Layout) -> Iterable[Path]:
    """Folders below `raw/`."""
    return [p for p in matching(layout.folder(RAW), "*") if p.is_dir()]


def _unread(path: Path, error: Exception) -> StoreError:
    return cannot_open(path, error) or CorruptFileError(f"raw batch {path} is damaged: {RAW_BATCH}")
