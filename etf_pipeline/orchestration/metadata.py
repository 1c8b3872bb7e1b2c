"""Metadata of a materialisation: counts, ranges, reasons, hashes and a small chart.

`materialised` says in Dagster's words what came of a step; nothing of it is decided in an asset.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from etf_pipeline.model.outcomes import Outcome, cells
from etf_pipeline.model.schemas import Granularity
from etf_pipeline.steps.result import Chart, StepResult


def data_version(hashes: Iterable[str]) -> dg.DataVersion:
    """One version for many content hashes: equal content gives an equal version."""
    return dg.DataVersion(hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()[:32])


def materialised(
    result: StepResult,
    checks: Sequence[dg.AssetCheckResult] = (),
    more: Mapping[str, Any] | None = None,
) -> dg.MaterializeResult[Any]:
    """What came of a step, with the results of its checks and metadata that only Dagster needs."""
    return dg.MaterializeResult(
        metadata=result_metadata(result) | dict(more or {}),
        data_version=data_version(result.version_of) if result.version_of else None,
        check_results=list(checks),
    )


def result_metadata(result: StepResult) -> dict[str, Any]:
    """Every entry that there is to show of a step's result.

    A table of one day tells its rows; what is made per ticker tells what came of each.
    """
    found: dict[str, Any] = {}
    if result.where is not None:
        found["dagster/uri"] = result.where.resolve().as_uri()
    if result.source:
        found["source"] = result.source
    if result.as_of is not None:
        found["as_of"] = str(result.as_of)
    main = result.published[0] if result.published else None
    if main is not None and main.table.granularity is Granularity.AS_OF:
        found |= {"dagster/row_count": main.rows, "changed": main.changed}
    elif result.manifest is not None:
        found |= outcome_metadata(result.outcomes, result.manifest)
    return found | {name: _shown(value) for name, value in result.details.items()}


def _shown(value: Any) -> Any:
    """One detail, as Dagster shows it best."""
    if isinstance(value, Chart):
        return bar_chart(value.values, value.title)
    if isinstance(value, Path):
        return dg.MetadataValue.url(value.resolve().as_uri())
    if isinstance(value, dt.date):
        return str(value)
    if isinstance(value, Mapping):
        return dg.MetadataValue.json(dict(value))
    if isinstance(value, list | tuple):
        return dg.MetadataValue.json(list(value))
    return value


def outcome_metadata(outcomes: Sequence[Outcome], manifest: Path) -> dict[str, Any]:
    """Counts, range, reasons and the manifest of a per-ticker asset."""
    counts = Counter(str(o.outcome) for o in outcomes)
    dates = [d for o in outcomes for d in (o.first_date, o.last_date) if d is not None]
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
        "tickers": outcome_table(outcomes),
    }


def outcome_table(outcomes: Sequence[Outcome], most: int = 200) -> dg.MetadataValue[Any]:
    """The outcomes as a table, those that are not good first."""
    chosen = sorted(outcomes, key=lambda o: (o.good, o.subject))[:most]
    return markdown_table([cells(o) | {"reason": o.reason or ""} for o in chosen])


def markdown_table(rows: Sequence[Mapping[str, str]]) -> dg.MetadataValue[Any]:
    """Rows of the same columns as a table; a bar inside a value would end its cell."""
    if not rows:
        return dg.MetadataValue.md("nothing to show")
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[v.replace("|", "/") for v in row.values()] for row in rows]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


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
