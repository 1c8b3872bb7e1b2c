"""Metadata of a materialisation: schema, lineage, counts, ranges, hashes and a small chart."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.model.schemas import Table

OWNERS = ["team:etf_pipeline"]


def table_schema(table: Table) -> dg.TableSchema:
    """A table's columns with types, descriptions and constraints."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                str(c.type),
                c.description,
                constraints=dg.TableColumnConstraints(nullable=c.nullable),
            )
            for c in table.columns
        ]
    )


def column_lineage(
    depends: Mapping[str, Sequence[tuple[str, str]]],
) -> dg.TableColumnLineage:
    """Lineage from `{column: [(asset, column), …]}`."""
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(dg.AssetKey(asset), name) for asset, name in sources]
            for column, sources in depends.items()
        }
    )


def data_version(hashes: Iterable[str]) -> dg.DataVersion:
    """One version for many content hashes: equal content gives an equal version."""
    return dg.DataVersion(hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()[:32])


def outcome_metadata(outcomes: Sequence[Outcome], manifest: Path) -> dict[str, Any]:
    """Counts, range, reasons and the manifest of a per-ticker asset."""
    counts = Counter(o.outcome for o in outcomes)
    dates = [d for o in outcomes for d in (o.first_date, o.last_date) if d is not None]
    rows = [
        f"| {o.subject} | {o.outcome} | {o.rows_added} | {o.rows_revised} | "
        f"{o.rows_quarantined} | {o.last_date or ''} | {(o.reason or '').replace('|', '/')} |"
        for o in sorted(outcomes, key=lambda o: (o.good, o.subject))[:200]
    ]
    table = "\n".join(
        [
            "| ticker | outcome | added | revised | quarantined | last | reason |",
            "|---|---|---|---|---|---|---|",
            *rows,
        ]
    )
    return {
        "tickers_ok": sum(o.good for o in outcomes),
        "tickers_not_ok": sum(not o.good for o in outcomes),
        "outcomes": dg.MetadataValue.json({str(k): n for k, n in counts.items()}),
        "rows_added": sum(o.rows_added for o in outcomes),
        "rows_revised": sum(o.rows_revised for o in outcomes),
        "rows_quarantined": sum(o.rows_quarantined for o in outcomes),
        "first_date": str(min(dates)) if dates else "none",
        "last_date": str(max(dates)) if dates else "none",
        "manifest": dg.MetadataValue.path(str(manifest)),
        "tickers": dg.MetadataValue.md(table),
    }


def bar_chart(values: Mapping[str, float], title: str) -> dg.MetadataValue[Any]:
    """A small bar chart of fractions, as SVG in markdown.

    Terse on purpose: the UI shows markdown in place only while it is short.
    """
    if not values:
        return dg.MetadataValue.md("nothing to draw")
    widest = max(abs(v) for v in values.values()) or 1.0
    bars = "".join(
        f"M72 {14 * i + 3}h{180 * abs(v) / widest:.0f}v10h-{180 * abs(v) / widest:.0f}z"
        for i, v in enumerate(values.values())
    )
    names = "".join(
        f'<text y="{14 * i + 12}">{name}<tspan x="{77 + 180 * abs(v) / widest:.0f}">'
        f"{v * 100:.1f}</tspan></text>"
        for i, (name, v) in enumerate(values.items())
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="{14 * len(values) + 4}">'
        f'<path fill="#3b82f6" d="{bars}"/>'
        f'<g fill="#888" font-family="sans-serif" font-size="11">{names}</g></svg>'
    )
    encoded = base64.b64encode(svg.encode()).decode()
    return dg.MetadataValue.md(f"![{title}, per cent](data:image/svg+xml;base64,{encoded})")
