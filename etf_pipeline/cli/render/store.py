"""What `etf status` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from etf_pipeline.cli.render.tables import compact_table, marked, show_notes


def show_status(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    """The state of a store for people: a row per ticker, problems below."""
    numbers = ("rows", "first", "last", "held back")
    table = compact_table("Store", ("ticker", "source", "last run"), numbers)
    for r in rows:
        table.add_row(
            marked(r["ticker"], problem=bool(r["problem"])),
            r["source"],
            r["outcome"] or "",
            str(r["rows"]),
            str(r["first"] or ""),
            str(r["last"] or ""),
            str(r["quarantined"]),
        )
    console.print(table)
    show_notes(console, {r["ticker"]: r["problem"] or r["distributions"] for r in rows})
