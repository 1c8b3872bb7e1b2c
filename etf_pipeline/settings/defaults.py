"""The files that ship with the package: a universe, portfolios and Dagster's settings."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def default_text(name: str) -> str:
    """A default file that ships with the package (or lies beside it in a checkout)."""
    shipped = resources.files("etf_pipeline") / "_defaults" / name
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    root = Path(__file__).parents[2]
    path = root / name if name == "dagster.yaml" else root / "data" / name
    return path.read_text(encoding="utf-8")
