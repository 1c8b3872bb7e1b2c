"""Text inside SQL."""

from __future__ import annotations


def quoted(text: str) -> str:
    """A string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
