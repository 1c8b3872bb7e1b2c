"""Values as readers see them in a table."""

from __future__ import annotations

DASH = "–"


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction as per cent; a dash for what could not be computed."""
    return DASH if value is None else f"{value:z.{digits}%}"


def number(value: float | None, digits: int = 2) -> str:
    """A plain number; a dash for what could not be computed."""
    return DASH if value is None else f"{value:z,.{digits}f}"
