"""Which files of a store are shared, and how: their names in the share are those below the store.

Not shared are locks and temp files, `etf.duckdb` and reports (each machine makes its own of the
tables; a page tells when it was drawn), and the event log, which is one machine's own record. The
archive of the events is published, and never pulled: a machine reads its own record.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from etf_pipeline.model.schemas import (
    CORRECTIONS,
    DATED,
    EVENTS,
    HISTORY,
    MANIFEST,
    QUARANTINE,
    RAW,
    TABLES,
    Table,
)
from etf_pipeline.store.layout import Layout

# What is read of a store but for the raw batches, which few readers want.
READ = (CORRECTIONS, MANIFEST, QUARANTINE, HISTORY, *DATED)
# What is published is complete for whoever finds the last of it: a history names its quarantine,
# and a manifest the batch that it tells of.
ORDER = (RAW, CORRECTIONS, QUARANTINE, HISTORY, *DATED, MANIFEST, EVENTS)
# Other bytes under a name of these are never right.
IMMUTABLE = frozenset((RAW, CORRECTIONS, EVENTS))
# The state of today: a file of these that the share has dropped is not to be read any more.
CURRENT = frozenset((HISTORY, QUARANTINE))


class Names:
    """Names of one store's files."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._patterns = {t: layout.pattern(t).split("/") for t in TABLES}
        self._heads = layout.head_pattern.split("/")

    def folder(self, table: Table) -> str:
        """The folder below which a table's objects are."""
        return self._layout.relative(self._layout.folder(table))

    def has(self, table: Table, name: str) -> bool:
        """Whether a name is one of a table's files; never one that leads out of the store."""
        return _fits(name, self._patterns[table])

    def path(self, name: str) -> Path:
        """The local file of an object."""
        return self._layout.absolute(name)

    def of(self, paths: Iterable[Path]) -> list[str]:
        """The names of local files."""
        return [self._layout.relative(path) for path in paths]

    def local(self, table: Table) -> list[str]:
        """The names of a table's files that are here."""
        found = self.of(self._layout.files(table))
        if table is EVENTS:
            found += self.of(self._layout.head_files())
        return [name for name in found if self.table_of(name) is table or table is EVENTS]

    def table_of(self, name: str) -> Table | None:
        """The table that a name is a file of; None for signed heads and all else."""
        return next((t for t in ORDER if self.has(t, name)), None)


def _fits(name: str, pattern: list[str]) -> bool:
    parts = name.split("/")
    return len(parts) == len(pattern) and all(
        not part.startswith(".") and "\\" not in part and fnmatchcase(part, one)
        for part, one in zip(parts, pattern, strict=True)
    )
