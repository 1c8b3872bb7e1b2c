"""Macros that give a table as it was known at an instant; `ts` is a TIMESTAMPTZ.

Upkeep lets days of a table go, and records them before. What was known on such a day is told no
more, so it is an error: an older day is never taken for the one that was asked for.
"""

from __future__ import annotations

from etf_pipeline.model import assets
from etf_pipeline.model.schemas import RISK_METRICS, WEIGHTS, Table


def _as_of(table: Table) -> str:
    rows = f"{table.name}_history"
    known = f"SELECT max(as_of) FROM {rows} WHERE as_of <= CAST(ts AS DATE)"
    gone = (
        f"SELECT max(last_date) FROM runs WHERE asset = '{assets.MAINTENANCE}' "
        # the file of a day has a folder of its own in the table's, a manifest of that name has none
        f"AND split_part(subject, '/', 2) = '{table.name}' AND split_part(subject, '/', 4) <> '' "
        "AND last_date <= CAST(ts AS DATE)"
    )
    words = (
        f"'{table.name} of ' || gone || ' was the newest then, and `etf maintain` has let it go; ' "
        f"|| coalesce('the last day before that is kept is ' || known || ': FROM {rows} "
        "WHERE as_of = ''' || known || '''', 'no day before is kept')"
    )
    return (
        f"CREATE MACRO {table.name}_as_of(ts) AS TABLE SELECT * FROM {rows} WHERE as_of = ("
        "SELECT CASE WHEN gone > coalesce(known, DATE '0001-01-01') "
        f"THEN CAST(error({words}) AS DATE) ELSE known END "
        f"FROM (SELECT ({known}) AS known, ({gone}) AS gone))"
    )


MACROS = {f"{table.name}_as_of": _as_of(table) for table in (RISK_METRICS, WEIGHTS)}
