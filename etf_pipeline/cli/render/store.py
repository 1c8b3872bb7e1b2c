"""What `etf status` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from etf_pipeline.cli.render.tables import compact_table, marked, show_notes

if TYPE_CHECKING:
    from etf_pipeline.store.stages import Stage


def show_stages(console: Console, stages: Sequence[Stage]) -> None:
    """How the last run of each stage went; what is wrong below. Nothing before the first run."""
    if not stages:
        return
    table = compact_table("Stages", ("stage", "last run", "ended"), ())
    for s in stages:
        table.add_row(
            marked(s.name, problem=not s.good),
            str(s.outcome.outcome),
            f"{s.recorded_at:%Y-%m-%d %H:%M %Z}",
        )
    console.print(table)
    show_notes(console, {s.name: s.sentence if not s.good else s.outcome.reason for s in stages})


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
            "" if r["quarantined"] is None else str(r["quarantined"]),
        )
    console.print(table)
    show_notes(console, {r["ticker"]: r["problem"] or r["distributions"] for r in rows})
