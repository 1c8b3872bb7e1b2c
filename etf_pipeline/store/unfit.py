"""Files that lie where a table's files are and that no view, run or report can read.

A damaged file stops what reads its table. One that this package did not write is never read as if
it were ours, and never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model.schemas import (
    CORRECTIONS,
    DATED,
    HISTORY,
    MANIFEST,
    QUARANTINE,
    RAW,
    Table,
)
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import file_info

# Histories may be users' own, and `etf events verify` looks at events.
_LOOKED_AT = (*DATED, QUARANTINE, CORRECTIONS, RAW, MANIFEST)
_HELPS = {
    HISTORY.name: "run `etf run` to rebuild it, or put a good copy in its place",
    QUARANTINE.name: "run `etf run` to rebuild it, or put a good copy in its place",
    RAW.name: "put a good copy from a backup in its place, as nothing else holds what it held",
}


@dataclass(frozen=True)
class Unfit:
    """A file that is not one of its table's.

    Attributes:
        path: of the file.
        table: whose place it is in.
        damaged: it is not readable Parquet; else this package did not write it.
    """

    path: Path
    table: Table
    damaged: bool

    @property
    def what(self) -> str:
        """What is wrong with it."""
        return f"{self.path} is not {'readable Parquet' if self.damaged else 'of this package'}"

    @property
    def remedy(self) -> str:
        """What helps."""
        if not self.damaged:
            return "move it away"
        return _HELPS.get(self.table.name, "put a good copy in its place, or move it away")

    @property
    def sentence(self) -> str:
        """What is wrong with it, what that stops, and what helps."""
        return f"{self.what}, and `etf sql` has no view of {self.table.name}: {self.remedy}"


def unfit(paths: Iterable[Path], table: Table) -> Iterator[Unfit]:
    """Those of a table's files that are not what they should be, by their footers.

    Histories of users are as they should be.
    """
    for path in paths:
        try:
            named = file_info(path).meta.get("table")
        except FileNotFoundError:  # removed meanwhile
            continue
        except CorruptFileError:
            yield Unfit(path, table, damaged=True)
        else:
            if named != table.name and table is not HISTORY:
                yield Unfit(path, table, damaged=False)


def unfit_files(layout: Layout) -> list[Unfit]:
    """All of them in a store."""
    return [one for table in _LOOKED_AT for one in unfit(layout.files(table), table)]


def strays(layout: Layout) -> list[Path]:
    """Files beside the days of a table that nothing reads."""
    return [path for table in DATED for path in layout.strays(table)]
