"""What is known of histories without opening them, while their files are as they were.

A night looks at each history of a partition: what its footer says, its newest rows, what checks
make of it. Of files that are on the disk as they were when they were last read or written, one file
per partition tells all that. Losing it costs time only.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import StoreError
from etf_pipeline.history.evidence import Evidence
from etf_pipeline.history.quality import MISSING, QUARANTINED
from etf_pipeline.model.rows import framed, values_of
from etf_pipeline.model.schemas import HISTORY, QUARANTINE, VALUE_COLUMNS
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import FileInfo
from etf_pipeline.store.writer import atomic_file, parquet_bytes

Days = npt.NDArray[np.datetime64]
FileStamp = tuple[int, int, int, int]
_NEWEST = 48  # rows that a trailing window is compared with
_RECENT = 30
_SECOND = 10**9  # ns
_CLOSE = VALUE_COLUMNS.index("close")
_VERSION = b"1"
_VERSION_KEY = b"etf_pipeline.seen"
_SCHEMA = pa.schema(
    [
        ("ticker", pa.string()),
        ("history", pa.list_(pa.int64(), 4)),
        ("quarantine", pa.list_(pa.int64(), 4)),
        ("told", pa.string()),
        ("days", pa.binary()),
        ("values", pa.binary()),
        ("traded", pa.binary()),
    ],
    metadata={_VERSION_KEY: _VERSION},
)


@dataclass(frozen=True)
class Judged:
    """What checks make of one ticker's history.

    Attributes:
        missing: sessions without a bar since the 30th newest row.
        held_back: how many sessions are quarantined.
        packed: days with a bar whose volume is not 0, see `traded`.
    """

    missing: tuple[dt.date, ...]
    held_back: int
    packed: bytes

    @property
    def traded(self) -> Days:
        """Days with a bar whose volume is not 0, ascending, datetime64[D]."""
        steps = np.frombuffer(zlib.decompress(self.packed), "<i4")
        return np.cumsum(steps, dtype=np.int64).astype("datetime64[D]")

    @classmethod
    def of(cls, history: pa.Table, quarantine: pa.Table) -> Judged:
        """Of a history and its quarantine, whose columns `date`, `volume` and `severity` count."""
        days = history.column("date").to_numpy()
        severity = np.array(quarantine.column("severity").to_pylist(), dtype=object)
        dates = quarantine.column("date").to_numpy()
        since = days[max(0, len(days) - _RECENT)]
        recent = dates[(severity == MISSING) & (dates >= since)]
        held_back = len(np.unique(dates[severity == QUARANTINED]))
        traded = days[history.column("volume").to_numpy() != 0].astype("datetime64[D]")
        return cls(tuple(recent.astype("datetime64[D]").tolist()), held_back, _packed(traded))


@dataclass(frozen=True)
class Newest:
    """The newest rows that are known of a ticker, before them the oldest one with a price.

    Attributes:
        days: seconds since 1970 of each row, int64; none where they would not do to compare with.
        values: theirs, of `VALUE_COLUMNS`, float64.
        since: the date from which every row that is known is among them.
    """

    days: bytes
    values: bytes
    since: np.datetime64

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Newest:
        """Of every row known."""
        dates, values = rows.index.to_numpy(), values_of(rows)
        priced = np.flatnonzero(~np.isnan(values[:, _CLOSE]))
        begin = max(0, len(dates) - _NEWEST)
        if len(priced) == 0 or priced[-1] < begin:
            return cls(b"", b"", np.datetime64("NaT"))
        at = np.arange(begin, len(dates))
        if priced[0] < begin:
            at = np.r_[priced[0], at]
        seconds = dates[at].astype("datetime64[s]").astype("<i8")
        return cls(seconds.tobytes(), values[at].astype("<f8").tobytes(), dates[begin])

    @property
    def rows(self) -> pd.DataFrame:
        """As `model.rows` has them."""
        days = np.frombuffer(self.days, "<i8").astype("datetime64[s]")
        values = np.frombuffer(self.values, "<f8").reshape(len(days), len(VALUE_COLUMNS))
        return framed(values, pd.DatetimeIndex(days, name="date"))

    def cover(self, rows: pd.DataFrame) -> bool:
        """Whether comparing rows with these is comparing them with all that is known."""
        return bool(self.days) and len(rows) > 0 and rows.index.to_numpy().min() >= self.since


@dataclass(frozen=True)
class Seen:
    """One ticker's history and quarantine, as they were when somebody had them in memory.

    Attributes:
        stamps: of the two files; None where it cannot be told that they are touched, or they do
            not go together.
        info: the history's footer.
        first, last: its date range.
        said: what the source said besides, as the quarantine's footer has it.
        newest: the newest rows that are known, as their source answered them.
        judged: what checks make of it.
    """

    stamps: tuple[FileStamp, FileStamp] | None
    info: FileInfo
    first: dt.date | None
    last: dt.date | None
    said: Mapping[str, Any]
    newest: Newest
    judged: Judged

    @classmethod
    def of(
        cls,
        stamps: tuple[FileStamp, FileStamp] | None,
        info: FileInfo,
        history: pa.Table,
        quarantine: pa.Table,
        said: Evidence,
        rows: pd.DataFrame,
    ) -> Seen:
        """Of files whose content is in memory.

        Args:
            stamps: of the files, from when they had this content.
            info: the history's footer.
            history: its table.
            quarantine: that of the other file.
            said: what the source said besides.
            rows: every row known, as `read_known` gives them.
        """
        days = history.column("date")
        return cls(
            stamps,
            info,
            days[0].as_py(),
            days[-1].as_py(),
            said.as_json(),
            Newest.of(rows),
            Judged.of(history, quarantine),
        )


def stamps_of(layout: Layout, ticker: str) -> tuple[FileStamp, FileStamp] | None:
    """What changes when anybody touches either file of a ticker; None where it cannot be told.

    The time of the last change of an inode cannot be set by those who edit a file or put an older
    one back, unlike that of its content.
    """
    history = _stamp(layout.of(HISTORY, ticker))
    quarantine = _stamp(layout.of(QUARANTINE, ticker))
    return None if history is None or quarantine is None else (history, quarantine)


def _stamp(path: Path) -> FileStamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    if status.st_ctime_ns % _SECOND == 0:
        return None  # a file system that keeps whole seconds: two contents may share one
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class SeenFile:
    """What is known of the histories of one partition."""

    def __init__(self, layout: Layout, partition: str) -> None:
        """Read it; an absent or damaged file, or one of another version, is an empty one."""
        self._layout, self._path = layout, layout.seen(partition)
        self._rows: dict[str, dict[str, Any] | Seen] = {}
        self._changed = False
        try:
            table = pq.read_table(self._path, partitioning=None, page_checksum_verification=True)
            if table.schema.equals(_SCHEMA) and table.schema.metadata == _SCHEMA.metadata:
                self._rows = {row["ticker"]: row for row in table.to_pylist()}
        except (OSError, ValueError, pa.ArrowException):
            pass

    def of(self, ticker: str) -> Seen | None:
        """What is known of a ticker; None when nothing is, or its files are other ones by now."""
        row = self._rows.get(ticker)
        if row is None:
            return None
        stamps = stamps_of(self._layout, ticker)
        if stamps is None or stamps != _stamps(row):
            return None
        if not isinstance(row, Seen):
            try:
                row = _seen(self._layout.of(HISTORY, ticker), stamps, row)
            except (ValueError, KeyError, TypeError, zlib.error):
                return None
            self._rows[ticker] = row
        return row

    def note(self, ticker: str, seen: Seen | None) -> None:
        """Know this of a ticker, if it is anything that lasts."""
        if seen is not None and seen.stamps is not None:
            self._rows[ticker] = seen
            self._changed = True

    def save(self) -> None:
        """Replace the file, if something else is known; where that fails, files are read again."""
        if not self._changed:
            return
        rows = [
            _as_row(ticker, row) if isinstance(row, Seen) else row
            for ticker, row in sorted(self._rows.items())
        ]
        with contextlib.suppress(StoreError), atomic_file(self._path) as handle:
            handle.write(parquet_bytes(pa.Table.from_pylist(rows, schema=_SCHEMA)))
        self._changed = False


def _stamps(row: Mapping[str, Any] | Seen) -> tuple[FileStamp, ...] | None:
    if isinstance(row, Seen):
        return row.stamps
    return tuple(row["history"]), tuple(row["quarantine"])


def _as_row(ticker: str, seen: Seen) -> dict[str, Any]:
    told = {
        "meta": seen.info.meta,
        "rows": seen.info.num_rows,
        "range": [str(seen.first), str(seen.last)],
        "said": seen.said,
        "since": str(seen.newest.since),
        "missing": [str(day) for day in seen.judged.missing],
        "held_back": seen.judged.held_back,
    }
    history, quarantine = seen.stamps or ((), ())
    return {
        "ticker": ticker,
        "history": list(history),
        "quarantine": list(quarantine),
        "told": json.dumps(told, sort_keys=True),
        "days": seen.newest.days,
        "values": seen.newest.values,
        "traded": seen.judged.packed,
    }


def _seen(path: Path, stamps: tuple[FileStamp, FileStamp], row: Mapping[str, Any]) -> Seen:
    told = json.loads(row["told"])
    first, last = (dt.date.fromisoformat(day) for day in told["range"])
    missing = tuple(dt.date.fromisoformat(day) for day in told["missing"])
    return Seen(
        stamps,
        FileInfo(path, told["meta"], told["rows"]),
        first,
        last,
        told["said"],
        Newest(row["days"], row["values"], np.datetime64(told["since"])),
        Judged(missing, told["held_back"], row["traded"]),
    )


def _packed(days: Days) -> bytes:
    """Ascending days in a few bytes, as most are a day or a weekend apart."""
    return zlib.compress(np.diff(days.astype("<i8"), prepend=0).astype("<i4").tobytes(), 1)
