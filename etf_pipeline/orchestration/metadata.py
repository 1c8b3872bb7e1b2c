"""Metadata of a materialisation: schema, lineage, counts, ranges, hashes and a small chart."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from etf_pipeline.schemas import Table
from etf_pipeline.store.manifests import Outcome


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
        ["| ticker | outcome | added | revised | quarantined | last | reason |",
         "|---|---|---|---|---|---|---|", *rows]
    )  # fmt: skip
    return {
        "tickers_ok": sum(o.good for o in outcomes),
        "tickers_not_ok": sum(not o.good for o in outcomes),
        "outcomes": dg.MetadataValue.json(dict(counts)),
        "rows_added": sum(o.rows_added for o in outcomes),
        "rows_revised": sum(o.rows_revised for o in outcomes),
        "rows_quarantined": sum(o.rows_quarantined for o in outcomes),
        "first_date": str(min(dates)) if dates else "none",
        "last_date": str(max(dates)) if dates else "none",
        "manifest": dg.MetadataValue.path(str(manifest)),
        "tickers": dg.MetadataValue.md(table),
    }


def bar_chart(values: Mapping[str, float], title: str, unit: str = "%") -> dg.MetadataValue[Any]:
    """A small horizontal bar chart (SVG in markdown); `values` are fractions."""
    if not values:
        return dg.MetadataValue.md("nothing to draw")
    widest = max(abs(v) for v in values.values()) or 1.0
    height = 18 * len(values) + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="520" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<text x="4" y="14" font-weight="bold" fill="#888">{title}</text>',
    ]
    for i, (name, value) in enumerate(values.items()):
        y = 22 + 18 * i
        length = 300 * abs(value) / widest
        colour = "#3b82f6" if value >= 0 else "#ef4444"
        parts.append(
            f'<text x="4" y="{y + 11}" fill="#888">{name}</text>'
            f'<rect x="110" y="{y}" width="{length:.1f}" height="13" fill="{colour}"/>'
            f'<text x="{115 + length:.1f}" y="{y + 11}" fill="#888">{value * 100:.1f}{unit}</text>'
        )
    parts.append("</svg>")
    encoded = base64.b64encode("".join(parts).encode()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{encoded})")
