"""Files that lie where a table's files are and that no view, run or report can read.

A damaged file stops what reads its table. One that this package did not write is never read as if
it were ours, and never touched. One that may not be opened may be whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from etf_pipeline.errors import CorruptFileError, UnreadableFileError
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
from etf_pipeline.store.reader import file_info, read_through
from etf_pipeline.store.remedies import remedy_for

# Histories may be users' own, and `etf events verify` looks at events.
_LOOKED_AT = (*DATED, QUARANTINE, CORRECTIONS, RAW, MANIFEST)


class Fault(Enum):
    """What a file may be that it should not."""

    DAMAGED = "not readable Parquet"
    CLOSED = "closed to this user"
    FOREIGN = "not of this package"


@dataclass(frozen=True)
class Unfit:
    """A file that is not one of its table's, or that cannot be read as one.

    Attributes:
        path: of the file.
        table: whose place it is in.
        fault: what is wrong with it.
    """

    path: Path
    table: Table
    fault: Fault

    @property
    def what(self) -> str:
        """What is wrong with it."""
        return f"{self.path} is {self.fault.value}"

    @property
    def remedy(self) -> str:
        """What helps."""
        if self.fault is Fault.FOREIGN:
            return "move it away"
        if self.fault is Fault.CLOSED:
            return "make it readable; it may be whole"
        return remedy_for(self.path)

    @property
    def sentence(self) -> str:
        """What is wrong with it, what that stops, and what helps."""
        return f"{self.what}, and `etf sql` has no view of {self.table.name}: {self.remedy}"


def unfit(paths: Iterable[Path], table: Table, *, through: bool = False) -> Iterator[Unfit]:
    """Those of a table's files that are not what they should be.

    Histories of users are as they should be.

    Args:
        paths: of the files.
        table: theirs.
        through: read each to its last page and prove it, which takes some seconds for a thousand
            histories of twenty years; else their footers tell.
    """
    look = read_through if through else file_info
    for path in paths:
        try:
            named = look(path).meta.get("table")
        except FileNotFoundError:  # removed meanwhile
            continue
        except CorruptFileError:
            yield Unfit(path, table, Fault.DAMAGED)
        except UnreadableFileError:
            yield Unfit(path, table, Fault.CLOSED)
        else:
            if named != table.name and table is not HISTORY:
                yield Unfit(path, table, Fault.FOREIGN)


def unfit_files(
    layout: Layout, tables: Iterable[Table] = _LOOKED_AT, *, through: bool = False
) -> list[Unfit]:
    """All of them in a store, or of some tables; `through` as of `unfit`."""
    return [one for t in tables for one in unfit(layout.files(t), t, through=through)]


def all_named(found: Iterable[Unfit]) -> str:
    """Every one by name, those that the same helps together."""
    groups: dict[tuple[Fault, str], list[str]] = {}
    for one in found:
        groups.setdefault((one.fault, one.remedy), []).append(str(one.path))
    return "; ".join(
        f"{', '.join(paths)} {'is' if len(paths) == 1 else 'are'} {fault.value}: {remedy}"
        for (fault, remedy), paths in groups.items()
    )


def strays(layout: Layout) -> list[Path]:
    """Files beside the days of a table that nothing reads."""
    return [path for table in DATED for path in layout.strays(table)]
