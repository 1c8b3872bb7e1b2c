"""Rows as a table, CSV, JSON or Markdown; as Parquet they never were rows."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import io
import json
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etf_pipeline.sql.safe import Answer

FORMATS = ("table", "csv", "json", "markdown", "parquet")


def rendered(answer: Answer, kind: str) -> str:
    """Rows as text: CSV, JSON, else (a table too) Markdown."""
    return {"csv": _csv, "json": _json}.get(kind, markdown)(answer)


def _csv(answer: Answer) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(answer.columns)
    for row in answer.rows:
        values = [plain(v) for v in row]
        writer.writerow([json.dumps(v) if isinstance(v, dict | list) else v for v in values])
    return out.getvalue()


def _json(answer: Answer) -> str:
    rows = [{k: plain(v) for k, v in zip(answer.columns, r, strict=True)} for r in answer.rows]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def plain(value: Any) -> Any:
    """A value as JSON has it: times in ISO 8601, what is not finite as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def cell(value: Any) -> str:
    """A value for the eye: numbers to six digits, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | decimal.Decimal):
        return f"{value:.6g}"
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return str(plain(value)) if not isinstance(value, dict | list) else json.dumps(plain(value))


def markdown(answer: Answer) -> str:
    """A Markdown table; pipes and line ends in cells are escaped."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", "<br>") for c in cells) + " |"

    marks = ["--:" if _number(t) else "---" for t in answer.types]
    rows = [line([cell(v) for v in row]) for row in answer.rows]
    return "\n".join([line(answer.columns), line(marks), *rows]) + "\n"


def _number(kind: str) -> bool:
    return bool(re.match(r"(U?(TINY|SMALL|BIG|HUGE)?INT|U?INTEGER|DOUBLE|FLOAT|DECIMAL)", kind))


def show(answer: Answer) -> None:
    """A table on the terminal; what does not fit on the screen goes through the pager."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    body = Table(box=SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    for name, kind in zip(answer.columns, answer.types, strict=True):
        body.add_column(name, justify="right" if _number(kind) else "left")
    for row in answer.rows:
        body.add_row(*(cell(v).replace("[", "\\[") for v in row))
    count = f"{len(answer.rows)} row{'' if len(answer.rows) == 1 else 's'}"
    if not console.is_terminal:
        console.width = 10_000  # a pipe has no edge to wrap at
    if console.is_terminal and len(answer.rows) > console.height - 5:
        with console.pager(styles=False):
            console.print(body)
    else:
        console.print(body)
    console.print(count, style="dim")
