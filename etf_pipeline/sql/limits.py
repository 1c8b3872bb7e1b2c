"""How much a query may take; apart from `safe`, so that a command's help needs no DuckDB."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much a query may take: seconds, memory (a size such as 500MB) and rows."""

    seconds: float = 60.0
    memory: str = "2GB"
    rows: int = 1_000_000
