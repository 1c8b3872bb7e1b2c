"""Every path of the store: `Layout.of(TABLE, …)` is the only place where one is made."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etf_pipeline.model.assets import PRICE_HISTORY
from etf_pipeline.model.file_names import decode_ticker, encode_ticker, slug
from etf_pipeline.model.schemas import EVENTS, HISTORY, MANIFEST, RAW, Granularity, Table
from etf_pipeline.store.closed import is_there
from etf_pipeline.store.listing import matching

_AS_OF_FILE = "part.parquet"
_ANY_FILE = "*.parquet"
_BEGUN = (".locks", "begun")
_ANY_DAY = f"as_of={'[0-9]' * 4}-{'[0-9]' * 2}-{'[0-9]' * 2}"


@dataclass(frozen=True)
class Layout:
    """Paths below one data folder. Computes, touches nothing unless it says so."""

    root: Path

    def of(self, table: Table, *key: Any) -> Path:
        """File of a table.

        Args:
            table: which table.
            key: what the file is about, as `Table.granularity` says: `of(RAW, partition,
                batch_id)`, `of(HISTORY, ticker)`, `of(MANIFEST, asset, run_id, partition)`,
                `of(WEIGHTS, as_of)`, `of(CORRECTIONS, name)`, `of(EVENTS, channel, day, name)`.
        """
        return self.folder(table).joinpath(*_PARTS[table.granularity](*key))

    def folder(self, table: Table) -> Path:
        """Folder below which every file of a table lies."""
        return self.root.joinpath(*_folder(table))

    def pattern(self, table: Table) -> str:
        """Every file of a table, as a glob below the store with `/` between folders."""
        return "/".join((*_folder(table), *_PATTERNS[table.granularity]))

    def files(self, table: Table) -> list[Path]:
        """Every file of a table that is there, in order of name. Looks at the disk."""
        found = matching(self.root, self.pattern(table))
        dated = table.granularity is Granularity.AS_OF
        return [path for path in found if self._is_of_a_day(path)] if dated else found

    def newest(self, table: Table) -> Path | None:
        """File of the newest `as_of` partition; None before the first. Looks at the disk."""
        return max(self.files(table), default=None)

    def strays(self, table: Table) -> list[Path]:
        """Parquet files beside the `as_of` partitions that are none of its own. Looks at the disk.

        In a folder that is no day, or under another name than ours have.
        """
        ours = set(self.files(table))
        return [p for p in matching(self.folder(table), f"*/{_ANY_FILE}") if p not in ours]

    def as_of(self, path: Path) -> dt.date:
        """The day whose partition a file of an `as_of` table lies in."""
        return dt.date.fromisoformat(path.parent.name.removeprefix("as_of="))

    def _is_of_a_day(self, path: Path) -> bool:
        with contextlib.suppress(ValueError):
            return path.parent.name == f"as_of={self.as_of(path)}"
        return False

    def relative(self, path: Path) -> str:
        """A path below the store as manifests keep it: from the root, with `/`."""
        return path.relative_to(self.root).as_posix()

    def absolute(self, relative: str) -> Path:
        """The path that `relative` made such a text of."""
        return self.root / relative

    def find_history(self, ticker: str) -> Path:
        """The history file to read: ours, else one that a user named after the plain ticker.

        Raises:
            UnreadableFileError: their folder may not be opened.
        """
        ours = self.of(HISTORY, ticker)
        if not is_there(ours) and "/" not in ticker and "\\" not in ticker:
            plain = self.folder(HISTORY) / f"{ticker}.parquet"
            if is_there(plain):
                return plain
        return ours

    def damaged(self, ticker: str) -> Path:
        """Where a ticker's history is set aside when it cannot be read."""
        return self.set_aside(self.of(HISTORY, ticker), "damaged")

    def batches(self, partition: str) -> Path:
        """Folder of one partition's raw batches."""
        return self.folder(RAW) / encode_ticker(partition)

    def batch_files(self, partition: str) -> list[Path]:
        """One partition's raw batches, oldest first. Looks at the disk."""
        return matching(self.batches(partition), _ANY_FILE)

    def manifests(self, asset: str) -> Path:
        """Folder of one asset's manifests."""
        return self.folder(MANIFEST) / asset

    def manifest_files(self, asset: str) -> list[Path]:
        """One asset's manifests, in order of name. Looks at the disk."""
        return matching(self.manifests(asset), _ANY_FILE)

    def manifests_of(self, asset: str, run_id: str) -> list[Path]:
        """Manifests of one run, whatever the partition. Looks at the disk."""
        return matching(self.manifests(asset), f"{slug(run_id)}-*.parquet")

    def watermark(self, partition: str) -> Path:
        """File that says which raw batches the histories of a partition already hold."""
        return self.manifests(PRICE_HISTORY) / f"{encode_ticker(partition)}.applied"

    def published(self, partition: str) -> Path:
        """File that says which content the histories of a partition were published with."""
        return self.manifests(PRICE_HISTORY) / f"{encode_ticker(partition)}.published"

    def looked(self, partition: str) -> Path:
        """File that says in which raw batches the tickers of a partition were looked for."""
        return self.manifests(PRICE_HISTORY) / f"{encode_ticker(partition)}.looked"

    def seen(self, partition: str) -> Path:
        """File that says what is known of the histories of a partition without opening them."""
        return self.manifests(PRICE_HISTORY) / f"{encode_ticker(partition)}.seen"

    @property
    def watermark_pattern(self) -> str:
        """Every such file, as a glob below the store."""
        return "/".join((*_folder(MANIFEST), PRICE_HISTORY, "*.applied"))

    def watermarks(self) -> dict[str, Path]:
        """Every such file that is there, by partition. Looks at the disk."""
        found = matching(self.root, self.watermark_pattern)
        return {decode_ticker(path.stem): path for path in found}

    @property
    def share_index(self) -> Path:
        """What this folder has of the share that it is a working copy of, in SQLite."""
        return self.root / ".share" / "index.sqlite"

    def set_aside(self, path: Path, why: str) -> Path:
        """Where a file is moved that is not to be read any more; `why` ends its name."""
        return path.with_name(f"{path.name}.{why}")

    @property
    def reports(self) -> Path:
        """Folder of the reports."""
        return self.root / "reports"

    def report(self, portfolio: str | None) -> Path:
        """A portfolio's report; the universe's when None."""
        name = "universe" if portfolio is None else f"portfolio-{_report_name(portfolio)}"
        return self.reports / f"{name}.html"

    @property
    def catalogue(self) -> Path:
        """The DuckDB file of views over the store."""
        return self.root / "etf.duckdb"

    @property
    def event_log(self) -> Path:
        """The local event log, in SQLite."""
        return self.root / "events" / "events.sqlite"

    @property
    def store_id(self) -> Path:
        """File that holds the id of the store."""
        return self.root / "events" / "store_id"

    def event_log_part(self, first: int) -> Path:
        """File of the same log as Parquet, for DuckDB, from event number `first` on."""
        return self.root / "events" / "log" / f"{first:012d}.parquet"

    @property
    def event_log_pattern(self) -> str:
        """Every such file, as a glob below the store."""
        return "events/log/*.parquet"

    def event_log_parts(self) -> list[Path]:
        """Every such file that is there, in order. Looks at the disk."""
        return matching(self.root, self.event_log_pattern)

    @property
    def event_log_copied(self) -> Path:
        """File that says how far the log is copied."""
        return self.root / "events" / "log.copied"

    @property
    def read_models(self) -> Path:
        """The projections of the events, in SQLite."""
        return self.root / "events" / "projections.sqlite"

    @property
    def archive(self) -> Path:
        """Folder of the archived events."""
        return self.folder(EVENTS)

    def head(self, log: str, name: str) -> Path:
        """File of a signed head of one log."""
        return self.archive / "heads" / encode_ticker(log) / f"{name}.head"

    @property
    def head_pattern(self) -> str:
        """Every signed head, as a glob below the store."""
        return "/".join((*_folder(EVENTS), "heads/*/*.head"))

    def head_files(self) -> list[Path]:
        """Every signed head that is there, in order of name. Looks at the disk."""
        return matching(self.root, self.head_pattern)

    def lock(self, kind: str, name: str) -> Path:
        """File on which writers of one `kind` of thing named `name` take turns."""
        return self.root / ".locks" / kind / f"{encode_ticker(name)}.lock"

    def begun(self, asset: str, partition: str, run_id: str) -> Path:
        """File that marks a stage as begun by a run."""
        name = f"{asset}-{encode_ticker(partition or 'ALL')}-{slug(run_id)}.json"
        return self.root.joinpath(*_BEGUN, name)

    def begun_files(self) -> list[Path]:
        """Every such file that is there, in order of name. Looks at the disk."""
        return matching(self.root.joinpath(*_BEGUN), "*.json")


def _folder(table: Table) -> tuple[str, ...]:
    if table.granularity is Granularity.AS_OF:
        return (table.group, table.name)
    return (table.group, "archive") if table.granularity is Granularity.EVENTS else (table.group,)


def _batch(partition: str, batch_id: str) -> tuple[str, ...]:
    return encode_ticker(partition), f"{batch_id}.parquet"


def _ticker(ticker: str) -> tuple[str, ...]:
    return (f"{encode_ticker(ticker)}.parquet",)


def _run(asset: str, run_id: str, partition: str = "") -> tuple[str, ...]:
    return asset, f"{slug(run_id)}-{encode_ticker(partition or 'ALL')}.parquet"


def _version(name: str) -> tuple[str, ...]:
    return (f"{name}.parquet",)


def _as_of(day: dt.date) -> tuple[str, ...]:
    return f"as_of={day:%Y-%m-%d}", _AS_OF_FILE


def _events(channel: str, day: dt.date, name: str) -> tuple[str, ...]:
    return f"topic={channel}", f"day={day}", f"{name}.parquet"


_PARTS: dict[Granularity, Callable[..., tuple[str, ...]]] = {
    Granularity.BATCH: _batch,
    Granularity.TICKER: _ticker,
    Granularity.RUN: _run,
    Granularity.VERSION: _version,
    Granularity.AS_OF: _as_of,
    Granularity.EVENTS: _events,
}
_PATTERNS = {
    Granularity.BATCH: ("*", _ANY_FILE),
    Granularity.TICKER: (_ANY_FILE,),
    Granularity.RUN: ("*", _ANY_FILE),
    Granularity.VERSION: (_ANY_FILE,),
    Granularity.AS_OF: (_ANY_DAY, _AS_OF_FILE),
    Granularity.EVENTS: ("*", "*", _ANY_FILE),
}


def _report_name(portfolio: str) -> str:
    # Portfolio names are in lower case more often than not; only what is unsafe is encoded.
    safe = all(c.isascii() and (c.isalnum() or c in "-_") for c in portfolio)
    return portfolio if safe else encode_ticker(portfolio)
