"""What the store holds, told from file names and footers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError, UnreadableFileError
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.outcomes import distributions_in_words
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import FileInfo, file_info, read_history


@dataclass(frozen=True)
class HistoryInfo:
    """One ticker's history as its footer describes it; `error` when it cannot be read.

    `withheld` are ex-dates whose distribution is left out; `adj_close_gap` is how far our adjusted
    close is from the source's, relatively, but for what findings explain.
    """

    ticker: str
    path: Path
    rows: int = 0
    first_date: dt.date | None = None
    last_date: dt.date | None = None
    source: str = "user"
    currency: str | None = None
    error: str | None = None
    withheld: tuple[dt.date, ...] = ()
    adj_close_gap: float | None = None

    @property
    def distributions(self) -> str | None:
        """What is wrong with its distributions; None when nothing is known to be."""
        return distributions_in_words(self.withheld, self.adj_close_gap)


def available_tickers(layout: Layout) -> list[str]:
    """Tickers with a history file, sorted."""
    return sorted(decode_ticker(p.stem) for p in layout.files(HISTORY))


def describe_histories(layout: Layout) -> list[HistoryInfo]:
    """One entry per history file; a damaged one is listed with its error, not skipped."""
    return [describe(layout, t) for t in available_tickers(layout)]


def describe(layout: Layout, ticker: str) -> HistoryInfo:
    """One ticker's entry; an absent history is an entry of no rows, with an error."""
    path = layout.find_history(ticker)
    try:
        info = file_info(path)
        first, last = date_range(path) if info.ours else _users_range(path)
    except (CorruptFileError, UnreadableFileError) as error:
        return HistoryInfo(ticker, path, error=str(error))
    except FileNotFoundError:
        return HistoryInfo(ticker, path, source="", error="no history")
    return HistoryInfo(
        ticker,
        path,
        info.num_rows,
        first,
        last,
        info.source,
        info.meta.get("currency"),
        withheld=withheld_dates(info),
        adj_close_gap=info.meta.get("adj_close_gap"),
    )


def large_move_dates(info: FileInfo) -> tuple[dt.date, ...]:
    """Dates of lasting moves that may be no market's, as a history's footer names them."""
    return tuple(dt.date.fromisoformat(day) for day in info.meta.get("large_moves", ()))


def withheld_dates(info: FileInfo) -> tuple[dt.date, ...]:
    """Ex-dates whose distribution a history leaves out, as its footer names them."""
    return tuple(dt.date.fromisoformat(day) for day in info.meta.get("withheld", ()))


def unseen_dates(info: FileInfo) -> tuple[dt.date, ...]:
    """Ex-dates whose distribution counts and may be a fault, as a history's footer names them."""
    return tuple(dt.date.fromisoformat(day) for day in info.meta.get("unseen", ()))


def _users_range(path: Path) -> tuple[dt.date, dt.date]:
    days = read_history(path, ["close"]).index
    return days[0].date(), days[-1].date()


def date_range(path: Path) -> tuple[dt.date | None, dt.date | None]:
    """First and last `date` of a file of ours, from row-group statistics."""
    return footer_range(pq.read_metadata(path))


def footer_range(footer: pq.FileMetaData) -> tuple[dt.date | None, dt.date | None]:
    """The same of a footer that was read already."""
    ranges: list[tuple[dt.date, dt.date]] = []
    for i in range(footer.num_row_groups):
        group = footer.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            if column.path_in_schema == "date":
                if column.statistics is not None:
                    stats: Any = column.statistics
                    ranges.append((stats.min, stats.max))
                break
    if not ranges:
        return None, None
    return min(r[0] for r in ranges), max(r[1] for r in ranges)
