"""Which file DuckDB failed at: it tells in Parquet's words, and often without a name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from etf_pipeline.errors import QueryError, ReasonCode
from etf_pipeline.model.schemas import EVENTS, Table
from etf_pipeline.sql.probing import readable
from etf_pipeline.sql.views import MACROS, VIEWS
from etf_pipeline.steps.catalogue_freshness import TABLE_OF
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.unfit import Fault, Unfit, unfit

_NAMES = re.compile(r"\w+")
_SQL = {**{view.name: view.sql for view in VIEWS}, **MACROS}
_CODES = {
    Fault.DAMAGED: ReasonCode.CORRUPT_FILE,
    Fault.CLOSED: ReasonCode.UNREADABLE_FILE,
    Fault.FOREIGN: ReasonCode.FOREIGN_FILE,
}


def culprit(layout: Layout, statement: str) -> QueryError | None:
    """The error of the file that a query failed at, with what helps; None where all can be read."""
    for table in tables_of(statement):
        logged = layout.event_log_parts() if table is EVENTS else []
        if found := unread([*layout.files(table), *logged], table):
            more = f" (and {len(found) - 1} more: `etf doctor`)" if len(found) > 1 else ""
            words = f"{found[0].what}{more}: {found[0].remedy}"
            return QueryError(words, code=_CODES[found[0].fault])
    return None


def tables_of(statement: str) -> list[Table]:
    """The tables whose files a statement may read: those of each view that it, or a view, names."""
    seen: set[str] = set()
    named = {name.lower() for name in _NAMES.findall(statement)} & _SQL.keys()
    while named:
        seen |= named
        inside = {name for one in named for name in _NAMES.findall(_SQL[one])}
        named = (inside & _SQL.keys()) - seen
    return list({t.name: t for t in map(TABLE_OF.get, sorted(seen)) if t is not None}.values())


def unread(paths: Iterable[Path], table: Table) -> list[Unfit]:
    """Those of a table's files that cannot be read: by footers, else to the last page.

    Where every page is as it was written, by what DuckDB itself makes of each.
    """
    there = list(paths)
    return (
        list(unfit(there, table))
        or list(unfit(there, table, through=True))
        or [Unfit(path, table, Fault.DAMAGED) for path in there if not readable(path)]
    )
